//! JavaScript: the plugin and its packages become one module, which is kept with a running interpreter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tools::{Kit, Program, succeed};
use super::{BuildError, Project, Snapshot, file_error, hex, world};
use crate::cli::plugin::toolchain::clean;
use crate::manifest::Language;

/// Runs the tools.
const NODE: Program = Program {
    name: "node",
    asked: &["node", "--version"],
    language: "JavaScript",
    least: (20, 0),
    needed: "20",
    remedy: "Install Node.js 20 or later; on Debian, as root: apt-get install -y --no-install-recommends nodejs npm",
};
/// Installs the tools and the plugin's own packages.
const NPM: Program = Program {
    name: "npm",
    asked: &["npm", "--version"],
    language: "JavaScript",
    least: (7, 0),
    needed: "7",
    remedy: "It comes with Node.js; on Debian, as root: apt-get install -y --no-install-recommends npm",
};

/// What must be there.
pub(super) const PROGRAMS: [Program; 2] = [NODE, NPM];

const PACKAGE: &str = include_str!("../../../../tools/javascript/package.json");
const KIT: Kit = Kit {
    language: "JavaScript",
    files: &[
        ("package.json", PACKAGE),
        ("package-lock.json", include_str!("../../../../tools/javascript/package-lock.json")),
        ("build.mjs", include_str!("../../../../tools/javascript/build.mjs")),
        ("frozen.mjs", include_str!("../../../../tools/javascript/frozen.mjs")),
    ],
};

/// Beside a plugin's installed packages: of which lock file they are.
const MEMO: &str = "node_modules/.gateway-lock";

/// As far as a plugin's `package.json` matters.
#[derive(Deserialize)]
struct Package {
    main: Option<String>,
    #[serde(default)]
    dependencies: BTreeMap<String, Value>,
}

/// The language.
pub(super) struct Javascript;

impl Snapshot for Javascript {
    const LANGUAGE: Language = Language::JavaScript;
    const LOCK: &'static str = "package-lock.json";

    fn versions(&self, _: &Project) -> Result<BTreeMap<String, String>, BuildError> {
        let mut versions = fixed_versions();
        versions.insert("node".to_owned(), NODE.required(Path::new("."))?);
        versions.insert("gateway-kit".to_owned(), KIT.digest());
        Ok(versions)
    }

    fn component(&self, project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, BuildError> {
        let package = package(&project.dir)?;
        let entry = entry(&project.dir, &package)?;
        let interface = world::interface(&project.manifest)?;
        let kit = installed(progress)?;
        if !package.dependencies.is_empty() {
            install_packages(&project.dir, progress)?;
        }
        let work = tempfile::tempdir().map_err(file_error(&project.dir, "written"))?;
        let at = |name: &str| work.path().join(name);
        let request = json!({
            "dir": project.dir,
            "entry": entry,
            "hooks": world::hooks(&project.manifest),
            "log": format!("integration:plugin/log@{}", interface.version()),
            "bundle": at("bundle.js"),
            "wit": at("wit"),
            "world": world::WORLD,
            "component": at("component.wasm"),
        });
        let file = at("request.json");
        std::fs::write(&file, request.to_string()).map_err(file_error(&file, "written"))?;
        let mut step = |name: &str| {
            let mut command = node(&project.dir);
            command.arg(kit.join("build.mjs")).arg(name).arg(&file);
            let ran = succeed(&mut command, progress)?;
            ran.map_err(|log| BuildError::Compile { dir: project.dir.clone(), log })
        };
        let imports = imported(&step("bundle")?, interface.version());
        world::write(project, &imports, &at("wit"))?;
        step("componentize")?;
        let component = at("component.wasm");
        std::fs::read(&component).map_err(file_error(&component, "read"))
    }
}

/// Versions that the kit fixes.
fn fixed_versions() -> BTreeMap<String, String> {
    let package: Package =
        serde_json::from_str(PACKAGE).unwrap_or(Package { main: None, dependencies: BTreeMap::new() });
    let text = |(name, version): (String, Value)| Some((name, version.as_str()?.to_owned()));
    package.dependencies.into_iter().filter_map(text).collect()
}

/// Node in the plugin's directory, without what an outer Node is told.
fn node(dir: &Path) -> std::process::Command {
    let mut command = clean(dir, "node");
    command.env_remove("NODE_OPTIONS").env_remove("NODE_PATH");
    command
}

fn package(dir: &Path) -> Result<Package, BuildError> {
    let file = dir.join("package.json");
    let text = std::fs::read(&file).map_err(file_error(&file, "read"))?;
    serde_json::from_slice(&text).map_err(|error| BuildError::Package {
        dir: dir.to_path_buf(),
        log: format!("package.json: line {}, column {}: {error}", error.line(), error.column()),
    })
}

/// The module that `main` names, a file of the plugin's own.
fn entry(dir: &Path, package: &Package) -> Result<PathBuf, BuildError> {
    let main = package.main.as_deref().unwrap_or("src/plugin.js");
    let file = dir.join(main);
    let inside = |file: &Path| {
        let (dir, file) = (dir.canonicalize().ok()?, file.canonicalize().ok()?);
        (file.is_file() && file.starts_with(&dir)).then_some(file)
    };
    inside(&file).ok_or_else(|| BuildError::Package {
        dir: dir.to_path_buf(),
        log: format!(
            "`main` of package.json names `{main}`, which is no file of the plugin; write the plugin there"
        ),
    })
}

/// The interfaces that a bundle imports, by name; of another version, by its whole name, which the world then refuses.
fn imported(listed: &str, version: &str) -> Vec<String> {
    let names: Vec<String> = serde_json::from_str(listed.trim()).unwrap_or_default();
    let ours = |name: &String| {
        let rest = name.strip_prefix("integration:plugin/")?;
        Some(rest.strip_suffix(&format!("@{version}"))?.to_owned())
    };
    names.iter().filter_map(ours).collect()
}

/// The kit with its packages.
fn installed(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
    Ok(KIT.installed("", |dir| {
        NPM.required(Path::new("."))?;
        KIT.run(&mut npm_ci(dir), progress)
    })?)
}

/// Exactly what the lock file names; no script of a package runs.
fn npm_ci(dir: &Path) -> std::process::Command {
    let mut command = clean(dir, "npm");
    command.args(["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]);
    command
}

/// The plugin's own packages, where those that are there are of another lock file.
fn install_packages(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let (lock, memo) = (dir.join(Javascript::LOCK), dir.join(MEMO));
    let digest = hex(&Sha256::digest(std::fs::read(&lock).map_err(file_error(&lock, "read"))?));
    if std::fs::read_to_string(&memo).is_ok_and(|installed| installed == digest) {
        return Ok(());
    }
    NPM.required(dir).map_err(BuildError::Tool)?;
    let installed = succeed(&mut npm_ci(dir), progress)?;
    installed.map_err(|log| BuildError::Dependencies { dir: dir.to_path_buf(), log })?;
    std::fs::write(&memo, digest).map_err(file_error(&memo, "written"))
}

/// What the kit fixes, and where it is or would be; for `gateway plugin doctor`.
pub(super) fn kit() -> (BTreeMap<String, String>, Option<PathBuf>) {
    (fixed_versions(), KIT.place("").ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kit_fixes_its_versions() {
        let versions = fixed_versions();
        assert_eq!(versions.keys().collect::<Vec<_>>(), ["@bytecodealliance/componentize-js", "esbuild"]);
        assert!(versions.values().all(|version| semver::Version::parse(version).is_ok()), "{versions:?}");
        assert_eq!(
            super::super::tools::spelled(&npm_ci(Path::new("/"))),
            "npm ci --ignore-scripts --omit=dev --no-audit --no-fund"
        );
    }

    #[test]
    fn imports_are_named_by_their_interface() {
        let listed = r#"["integration:plugin/log@0.1.0","integration:plugin/memory@0.1.0","integration:plugin/memory@9.0.0"]"#;
        assert_eq!(imported(listed, "0.1.0"), ["log", "memory"]);
    }

    #[test]
    fn a_main_that_is_no_file_of_the_plugin_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("src/plugin.js"), "").unwrap();
        for (main, fine) in [
            (None, true),
            (Some("src/plugin.js"), true),
            (Some("src"), false),
            (Some("/etc/hostname"), false),
            (Some("x.js"), false),
        ] {
            let package = Package { main: main.map(str::to_owned), dependencies: BTreeMap::new() };
            assert_eq!(entry(dir.path(), &package).is_ok(), fine, "{main:?}");
        }
    }
}
