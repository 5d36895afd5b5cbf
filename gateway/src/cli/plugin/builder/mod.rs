//! `gateway plugin build`: from a plugin's source to a component with its manifest inside. Runs none of the plugin's
//! code but its build scripts, and what it does while its modules are read.

mod code;
mod javascript;
mod manifest;
mod python;
mod rust;
mod shared;
mod source;
mod tools;
mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::toolchain::ToolchainError;
use crate::manifest::{
    EmbedError, Language, Manifest, ManifestErrors, Problem, Provenance, embed, embed_provenance, inspect,
    provenance_of,
};
pub(super) use source::is_left_out;
pub use tools::ToolError;
pub(super) use tools::cache_dir;

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The plugin's directory: `plugin.toml`, and the file of one language.
    pub dir: PathBuf,
    /// The file to write. Where not given: of a Rust plugin `components/NAME.wasm` in cargo's target directory, of
    /// others `build/NAME.wasm`.
    pub out: Option<PathBuf>,
    /// May Debian's packages be installed, where there is no compiler?
    pub install_toolchain: bool,
    /// The release's version in place of the manifest's; a file whose path is not given is then named `NAME-dev.wasm`.
    pub version: Option<semver::Version>,
}

/// A component, ready to be checked and published.
#[derive(Clone, Debug)]
pub struct BuiltPlugin {
    /// The manifest's name.
    pub name: String,
    /// The manifest's version.
    pub version: semver::Version,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of its bytes in lower-case hexadecimal: the release's name.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// What it was built from.
    pub provenance: Provenance,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not a plugin's directory.
    #[error("`{}` has no {file}; name the directory of a plugin", dir.display())]
    NotAPlugin {
        /// The directory.
        dir: PathBuf,
        /// What it lacks.
        file: &'static str,
    },
    /// No telling which language it is in.
    #[error("`{}` has both {} and {}; a plugin is written in one language, so remove the other's file", dir.display(), files.0, files.1)]
    TwoLanguages {
        /// The directory.
        dir: PathBuf,
        /// The files that tell the language.
        files: (&'static str, &'static str),
    },
    /// `plugin.toml` is wrong.
    #[error("the manifest in `{}` is wrong:\n{source}", dir.display())]
    Manifest {
        /// The plugin's directory.
        dir: PathBuf,
        /// Everything wrong with it.
        source: ManifestErrors,
    },
    /// The shipped catalogue does not read.
    #[error("the catalogue of event types does not read: {0}")]
    Catalogue(String),
    /// There is no compiler, or a program of the toolchain could not be run.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The tools of JavaScript or Python are not there.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Cargo cannot make sense of `Cargo.toml`.
    #[error("cargo cannot read the package in `{}`:\n{log}", dir.display())]
    Package {
        /// The plugin's directory.
        dir: PathBuf,
        /// What cargo said.
        log: String,
    },
    /// What the plugin depends on is not fixed.
    #[error("{what}; {remedy}")]
    NotLocked {
        /// The file, and what is wrong with it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The plugin's own dependencies could not be had.
    #[error("the packages of `{}` cannot be installed:\n{log}", dir.display())]
    Dependencies {
        /// The plugin's directory.
        dir: PathBuf,
        /// What the package manager said.
        log: String,
    },
    /// The plugin does not compile.
    #[error("`{}` does not compile:\n{log}", dir.display())]
    Compile {
        /// The plugin's directory.
        dir: PathBuf,
        /// What the compiler said.
        log: String,
    },
    /// The package makes no WebAssembly library.
    #[error("the package in `{}` makes no WebAssembly module; its Cargo.toml needs\n  [lib]\n  crate-type = [\"cdylib\", \"rlib\"]", dir.display())]
    NoModule {
        /// The plugin's directory.
        dir: PathBuf,
    },
    /// The module is not a plugin.
    #[error("`{}` compiles to a module that is no component of the interface: {reason}\nDoes it call `plugin_sdk::export!`?", dir.display())]
    Encode {
        /// The plugin's directory.
        dir: PathBuf,
        /// What the encoder said.
        reason: String,
    },
    /// The manifest asks for a version of the interface that there is not.
    #[error(
        "the manifest's `api = \"{api}\"` is no version of the interface that this gateway serves; it serves {served}"
    )]
    UnknownApi {
        /// What it asks for.
        api: String,
        /// What there is.
        served: String,
    },
    /// The manifest does not go into the component.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The component does not do what its manifest says.
    #[error("the component of `{}` cannot be published:\n{}", dir.display(), ManifestErrors(problems.clone()))]
    Refused {
        /// The plugin's directory.
        dir: PathBuf,
        /// Everything wrong with it.
        problems: Vec<Problem>,
    },
    /// Its source cannot be told by a digest.
    #[error("`{}` is {what}; put a file in its place: what it leads to is no part of the source's digest", path.display())]
    NotAFile {
        /// The entry.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file could not be read or written.
    #[error("`{}` cannot be {doing}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// The file that tells a plugin's language.
const MARKS: [(&str, Language); 3] = [
    ("Cargo.toml", Language::Rust),
    ("package.json", Language::JavaScript),
    ("requirements.txt", Language::Python),
];

/// The language of the plugin in `dir`, by which file is there.
///
/// # Errors
/// [`BuildError::NotAPlugin`] where there is none, [`BuildError::TwoLanguages`] where there are two.
pub fn language_of(dir: &Path) -> Result<Language, BuildError> {
    let found: Vec<_> = MARKS.iter().filter(|(file, _)| dir.join(file).is_file()).collect();
    match found.as_slice() {
        [] => Err(BuildError::NotAPlugin {
            dir: dir.to_path_buf(),
            file: "Cargo.toml, package.json or requirements.txt",
        }),
        [(_, language)] => Ok(*language),
        [(one, _), (other, _), ..] => {
            Err(BuildError::TwoLanguages { dir: dir.to_path_buf(), files: (one, other) })
        }
    }
}

/// Something that building in a language needs, beside Rust's compiler.
#[derive(Debug)]
pub enum Tool {
    /// A program on the PATH.
    Program {
        /// Its name.
        name: &'static str,
        /// Its version, where it runs.
        version: Option<String>,
        /// Why it cannot be used.
        fault: Option<ToolError>,
    },
    /// What the gateway fixes and installs by itself.
    Kit {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Is it there already?
        installed: bool,
    },
}

/// What building in a language needs, in the order in which it is needed. Rust's compiler for WebAssembly is found by
/// [`Toolchain`](super::toolchain::Toolchain).
pub fn tools_of(language: Language, dir: &Path) -> Vec<Tool> {
    let (programs, (versions, place)) = match language {
        Language::Rust => (rust::PROGRAMS.as_slice(), (BTreeMap::new(), None)),
        Language::JavaScript => (javascript::PROGRAMS.as_slice(), javascript::kit()),
        Language::Python => (python::PROGRAMS.as_slice(), python::kit()),
    };
    let installed = place.is_some_and(|place| place.is_dir());
    let programs = programs.iter().map(|program| {
        let version = program.version(dir);
        let fault = program.judged(version.clone()).err();
        Tool::Program { name: program.name, version, fault }
    });
    programs
        .chain(versions.into_iter().map(|(name, version)| Tool::Kit { name, version, installed }))
        .collect()
}

/// The first program that a language needs and this machine has not.
pub fn missing_tool(language: Language, dir: &Path) -> Option<ToolError> {
    tools_of(language, dir).into_iter().find_map(|tool| match tool {
        Tool::Program { fault, .. } => fault,
        Tool::Kit { .. } => None,
    })
}

/// A plugin's directory with its manifest.
struct Project {
    dir: PathBuf,
    /// With the version that the release gets.
    manifest: Manifest,
    /// The name of its component, where no path is given.
    file_name: String,
}

/// What a language makes of a project, before it has a manifest.
struct Made {
    component: Vec<u8>,
    provenance: Provenance,
    path: PathBuf,
}

/// Builds the plugin in `options.dir`, telling each step to `progress`. Quick where nothing has
/// changed. Of Rust, the same source, lock file and compiler give the same bytes; a dependency by path from
/// outside the workspace must lie in the same place too, as cargo tells such crates apart by it.
///
/// # Errors
/// [`BuildError`]; the file that was there before is then untouched.
pub fn build(options: &BuildOptions, progress: &mut dyn FnMut(&str)) -> Result<BuiltPlugin, BuildError> {
    let dir = std::path::absolute(&options.dir).map_err(file_error(&options.dir, "read"))?;
    if !dir.join("plugin.toml").is_file() {
        return Err(BuildError::NotAPlugin { dir, file: "plugin.toml" });
    }
    let language = language_of(&dir)?;
    let mut manifest = manifest::read(&dir, progress)?;
    let mut file_name = format!("{}.wasm", manifest.plugin.name);
    if let Some(version) = &options.version {
        file_name = format!("{}-dev.wasm", manifest.plugin.name);
        manifest.plugin.version = version.clone();
    }
    let project = Project { dir, manifest, file_name };
    match language {
        Language::Rust => {
            let made = rust::make(&project, options, progress)?;
            let component = embed(&made.component, &project.manifest)?;
            let component = embed_provenance(&component, &made.provenance)?;
            project.written(&made.path, &component, made.provenance, progress)
        }
        Language::JavaScript => snapshot(&project, options, &javascript::Javascript, progress),
        Language::Python => snapshot(&project, options, &python::Python, progress),
    }
}

/// The manifest of the plugin in `dir`, checked as publication checks it; what is told and keeps nothing from being
/// built goes to `progress`.
///
/// # Errors
/// [`BuildError::Manifest`] with everything that is wrong.
pub fn read_manifest(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Manifest, BuildError> {
    manifest::read(dir, progress)
}

/// SHA-256 over what a directory's files hold that go into a component, lock files too: without readmes, cases, hidden
/// files, what builds make and what running leaves behind.
///
/// # Errors
/// A file that cannot be read; a symbolic link or device.
pub fn fingerprint(dirs: &[PathBuf]) -> Result<String, BuildError> {
    let root = |dir: &PathBuf| source::Root { prefix: dir.display().to_string(), dir: dir.clone() };
    source::digest(&dirs.iter().map(root).collect::<Vec<_>>(), &[])
}

/// The directories that a plugin's component is built from: its own, and of a Rust workspace those of the packages by
/// path. Where the workspace does not read, which a build will tell, the plugin's own.
pub fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = match language_of(dir) {
        Ok(Language::Rust) => rust::sources(dir).unwrap_or_default(),
        _ => Vec::new(),
    };
    if !found.iter().any(|one| one == dir) {
        found.insert(0, dir.to_path_buf());
    }
    found
}

/// SHA-256 over the files that say which packages a Rust workspace's plugin is built from, of these directories; the
/// same for all without such files.
///
/// # Errors
/// As [`fingerprint`].
pub fn packages_fingerprint(dirs: &[PathBuf]) -> Result<String, BuildError> {
    let files = dirs.iter().flat_map(|dir| ["Cargo.toml", "Cargo.lock"].map(|name| dir.join(name)));
    fingerprint(&files.filter(|file| file.is_file()).collect::<Vec<_>>())
}

/// A language whose tool keeps a running interpreter.
trait Snapshot {
    const LANGUAGE: Language;
    /// The file that fixes what the plugin depends on.
    const LOCK: &'static str;

    /// Versions of the tools, and that they can be had; it installs nothing.
    fn versions(&self, project: &Project) -> Result<BTreeMap<String, String>, BuildError>;

    /// The component, without its manifest.
    fn component(&self, project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, BuildError>;
}

/// Builds with such a tool, unless the file that is there was built from the same.
fn snapshot<S: Snapshot>(
    project: &Project,
    options: &BuildOptions,
    language: &S,
    progress: &mut dyn FnMut(&str),
) -> Result<BuiltPlugin, BuildError> {
    let (dir, name) = (&project.dir, &project.manifest.plugin.name);
    let version = &project.manifest.plugin.version;
    let lock = dir.join(S::LOCK);
    let lock = std::fs::read(&lock).map_err(|_| BuildError::NotLocked {
        what: format!("`{}` is not there", lock.display()),
        remedy: "make it with `npm install --package-lock-only`, and keep it beside package.json",
    })?;
    let provenance = Provenance {
        language: S::LANGUAGE,
        source: source::digest(
            &[source::Root { prefix: String::new(), dir: dir.clone() }],
            &[dir.join(S::LOCK)],
        )?,
        lock: hex(&Sha256::digest(&lock)),
        tools: language.versions(project)?,
    };
    let path = options.out.clone().unwrap_or_else(|| dir.join("build").join(&project.file_name));
    // The source holds the manifest and its schemas, and the tools' names hold what this gateway adds.
    if let Ok(bytes) = std::fs::read(&path)
        && provenance_of(&bytes).as_ref() == Some(&provenance)
        && inspect(&bytes).is_ok_and(|inspected| inspected.manifest.plugin.version == *version)
    {
        progress(&format!("{name} {version}: {} is built from this source already", path.display()));
        return Ok(project.built(&path, &bytes, provenance));
    }
    progress(&format!("building {name} {version} from {}", S::LANGUAGE.as_str()));
    let component = language.component(project, progress)?;
    let component = embed_provenance(&embed(&component, &project.manifest)?, &provenance)?;
    inspect(&component).map_err(|problems| BuildError::Refused { dir: dir.clone(), problems })?;
    project.written(&path, &component, provenance, progress)
}

impl Project {
    /// Writes the component and describes it.
    fn written(
        &self,
        path: &Path,
        component: &[u8],
        provenance: Provenance,
        progress: &mut dyn FnMut(&str),
    ) -> Result<BuiltPlugin, BuildError> {
        write_whole(path, component).map_err(file_error(path, "written"))?;
        let built = self.built(path, component, provenance);
        let (path, kilobytes) = (path.display(), built.size.div_ceil(1024));
        progress(&format!(
            "{} {}: {path} ({kilobytes} KB, sha256 {})",
            built.name, built.version, built.digest
        ));
        Ok(built)
    }

    fn built(&self, path: &Path, component: &[u8], provenance: Provenance) -> BuiltPlugin {
        BuiltPlugin {
            name: self.manifest.plugin.name.clone(),
            version: self.manifest.plugin.version.clone(),
            path: path.to_path_buf(),
            digest: hex(&Sha256::digest(component)),
            size: component.len() as u64,
            provenance,
        }
    }
}

fn file_error(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.to_path_buf();
    move |source| BuildError::File { path, doing, source }
}

/// Writes beside and renames: whoever reads `path` sees the old file or the new one, never half of one.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(beside)?;
    let mut file = tempfile::NamedTempFile::new_in(beside)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(digit.into(), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_no_plugin_is_named_with_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let options = BuildOptions {
            dir: dir.path().to_path_buf(),
            out: None,
            install_toolchain: false,
            version: None,
        };
        let said = || build(&options, &mut |_| {}).unwrap_err().to_string();
        assert!(said().contains("has no plugin.toml;"), "{}", said());
        std::fs::write(dir.path().join("plugin.toml"), "").unwrap();
        assert!(said().contains("has no Cargo.toml, package.json or requirements.txt;"), "{}", said());
        std::fs::write(dir.path().join("package.json"), "").unwrap();
        std::fs::write(dir.path().join("requirements.txt"), "").unwrap();
        assert!(said().contains("has both package.json and requirements.txt;"), "{}", said());
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("components/x.wasm");
        write_whole(&path, b"first").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(dir.path().join("components")).unwrap().count(), 1);
    }
}
