// Two steps of a build, each told what to do by a JSON file:
//   node build.mjs bundle REQUEST       writes the bundle, prints the interfaces that it imports
//   node build.mjs componentize REQUEST writes the component
// What goes wrong is said on standard error in a line or a few.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const [step, requestFile] = process.argv.slice(2);
const request = JSON.parse(await readFile(requestFile, 'utf8'));

// The names of the interface's hooks and of their functions, as JavaScript writes them.
const FUNCTIONS = { share: 'onEvent', decide: 'decide', receive: 'onMessage' };

/** The module that is built: the plugin's, with what is not there refused before it is read. */
function entry() {
  const hooks = request.hooks.map((hook) => {
    const name = FUNCTIONS[hook];
    return `export const ${hook} = { ${name}: served('${hook}', '${name}') };`;
  });
  return `
import ${JSON.stringify(fileURLToPath(new URL('frozen.mjs', import.meta.url)))};
import { write } from '${request.log}';
import * as plugin from ${JSON.stringify(request.entry)};

function served(hook, name) {
  if (typeof plugin[hook]?.[name] !== 'function') {
    throw new Error(\`the plugin exports no \\\`\${hook}\\\` with a function \\\`\${name}\\\`, and the manifest declares [[\${hook}]]\`);
  }
  return (...given) => {
    try {
      return plugin[hook][name](...given);
    } catch (error) {
      // A failure of the interface, { payload: { tag: 'rejected', val: 'why' } }, is an answer. All else ends the call,
      // and its text would be lost.
      if (error?.payload === undefined) write('error', error instanceof Error ? \`\${error}\\n\${error.stack}\` : String(error));
      throw error;
    }
  };
}
${hooks.join('\n')}
`;
}

async function bundle() {
  const esbuild = await import('esbuild');
  const { metafile } = await esbuild.build({
    stdin: { contents: entry(), resolveDir: request.dir, sourcefile: 'entry.js' },
    absWorkingDir: request.dir,
    outfile: request.bundle,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['module', 'import'],
    // What a plugin calls and does not use, such as Date.now(), is refused all the same.
    treeShaking: false,
    external: ['integration:*'],
    metafile: true,
    logLevel: 'silent',
  }).catch(async (failed) => {
    if (!failed.errors) throw failed;
    const formatted = await esbuild.formatMessages(failed.errors, { kind: 'error' });
    throw new Error(`${formatted.join('\n').trim()}\nA plugin has no modules of Node; its own packages come from package-lock.json.`);
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map((found) => found.path));
  console.log(JSON.stringify([...new Set(imports)].sort()));
}

async function componentize() {
  // The tools write the time into the component, as code: two builds of one plugin would differ in it, and the gateway
  // would compile the interpreter again. No plugin may ask for the time.
  Date.now = () => 0;
  const tool = await import('@bytecodealliance/componentize-js');
  const { component } = await tool.componentize({
    sourcePath: request.bundle,
    witPath: request.wit,
    worldName: request.world,
    disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
  });
  await writeFile(request.component, component);
}

try {
  await { bundle, componentize }[step]();
} catch (error) {
  console.error(error?.message ?? String(error));
  process.exitCode = 1;
}
