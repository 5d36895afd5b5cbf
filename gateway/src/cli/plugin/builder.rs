//! `gateway plugin build`: from a plugin's source to a component with its manifest inside. Runs none of the plugin's code but its build scripts.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::toolchain::{self, TARGET, Toolchain, ToolchainError};
use crate::catalogue::Catalogue;
use crate::manifest::{self, EmbedError, Manifest, ManifestErrors, Reading, embed, load_dir};

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The plugin's directory, with `plugin.toml` and `Cargo.toml`.
    pub dir: PathBuf,
    /// The file to write; `components/NAME.wasm` in cargo's target directory where not given.
    pub out: Option<PathBuf>,
    /// May Debian's packages be installed, where there is no compiler?
    pub install_toolchain: bool,
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
    /// There is no compiler.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Cargo cannot make sense of `Cargo.toml`.
    #[error("cargo cannot read the package in `{}`:\n{log}", dir.display())]
    Package {
        /// The plugin's directory.
        dir: PathBuf,
        /// What cargo said.
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
    /// The manifest does not go into the component.
    #[error(transparent)]
    Embed(#[from] EmbedError),
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

/// Builds the plugin in `options.dir`, telling each step to `progress`. Quick where nothing has
/// changed. The same source, lock file and compiler give the same bytes; a dependency by path from
/// outside the workspace must lie in the same place too, as cargo tells such crates apart by it.
///
/// # Errors
/// [`BuildError`]; the file that was there before is then untouched.
pub fn build(options: &BuildOptions, progress: &mut dyn FnMut(&str)) -> Result<BuiltPlugin, BuildError> {
    let dir = std::path::absolute(&options.dir).map_err(file_error(&options.dir, "read"))?;
    for file in ["plugin.toml", "Cargo.toml"] {
        if !dir.join(file).is_file() {
            return Err(BuildError::NotAPlugin { dir, file });
        }
    }
    let manifest = read_manifest(&dir, progress)?;
    let (name, version) = (manifest.plugin.name.clone(), manifest.plugin.version.clone());

    let workspace = Workspace::of(&dir, progress)?;
    let toolchain = Toolchain::find(&dir, &workspace.target_directory, options.install_toolchain, progress)?;
    progress(&format!("building {name} {version} with {}", toolchain.describe()));
    let module = compile(&dir, &workspace, &toolchain, progress)?;

    let module = std::fs::read(&module).map_err(file_error(&module, "read"))?;
    let component = encode(&module).map_err(|reason| BuildError::Encode { dir, reason })?;
    let component = embed(&component, &manifest)?;

    let path = options
        .out
        .clone()
        .unwrap_or_else(|| workspace.target_directory.join("components").join(format!("{name}.wasm")));
    write_whole(&path, &component).map_err(file_error(&path, "written"))?;
    let digest = hex(&Sha256::digest(&component));
    let size = component.len() as u64;
    progress(&format!("{name} {version}: {} ({} KB, sha256 {digest})", path.display(), size.div_ceil(1024)));
    Ok(BuiltPlugin { name, version, path, digest, size })
}

/// The manifest, checked as publication checks it. Event types are another matter: the gateway that it is published to
/// may have more of them than this program knows.
fn read_manifest(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Manifest, BuildError> {
    let wrong = |source| BuildError::Manifest { dir: dir.to_path_buf(), source };
    let catalogue = Catalogue::embedded().map_err(|error| BuildError::Catalogue(error.to_string()))?;
    let Reading { manifest, problems } = manifest::read_dir(dir, &catalogue);
    let (unknown, problems): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.code == "unknown-event");
    match manifest {
        Some(manifest) => Ok(manifest),
        None if problems.is_empty() => {
            unknown.iter().for_each(|problem| progress(&format!("warning: {problem}")));
            load_dir(dir).map_err(wrong)
        }
        None => Err(wrong(ManifestErrors(unknown.into_iter().chain(problems).collect()))),
    }
}

fn file_error(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.to_path_buf();
    move |source| BuildError::File { path, doing, source }
}

/// What cargo says of the workspace that a plugin belongs to.
#[derive(Debug, Deserialize)]
struct Workspace {
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    /// `None` for what lies on this machine's disk.
    source: Option<String>,
}

impl Workspace {
    fn of(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self, BuildError> {
        let mut command = toolchain::clean(dir, "cargo");
        command.args(["metadata", "--format-version", "1", "--filter-platform", TARGET]);
        let ran = toolchain::run(&mut command, None, progress)?;
        let package = |log| BuildError::Package { dir: dir.to_path_buf(), log };
        if !ran.succeeded() {
            return Err(package(ran.log()));
        }
        serde_json::from_str(&ran.stdout).map_err(|error| package(error.to_string()))
    }

    /// Flags that take this machine's paths out of the component: panics name the file they are in.
    /// One list for the whole workspace, as another list would build std again.
    fn remapped_paths(&self) -> Vec<String> {
        let mut flags: Vec<String> = self
            .packages
            .iter()
            .filter_map(|package| {
                let dir = package.manifest_path.parent()?.display();
                let name = &package.name;
                match package.source {
                    None => Some(format!("--remap-path-prefix={dir}=/{name}")),
                    // .../registry/src/INDEX/NAME-VERSION, or a checkout.
                    Some(_) => {
                        let parent = package.manifest_path.parent()?.parent()?.display();
                        Some(format!("--remap-path-prefix={parent}=/crates"))
                    }
                }
            })
            .collect();
        flags.sort_unstable();
        flags.dedup();
        flags
    }
}

/// One line of cargo's `--message-format=json`, as far as it matters.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles the plugin and finds its module.
fn compile(
    dir: &Path,
    workspace: &Workspace,
    toolchain: &Toolchain,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, BuildError> {
    let mut command = toolchain.cargo_build(dir);
    command.args(["--lib", "--message-format=json-render-diagnostics"]);
    // Encoded, because a path may hold a space; and set always, so that no configuration file adds flags.
    command.env("CARGO_ENCODED_RUSTFLAGS", workspace.remapped_paths().join("\u{1f}"));
    let ran = toolchain::run(&mut command, None, progress)?;
    if !ran.succeeded() {
        return Err(BuildError::Compile { dir: dir.to_path_buf(), log: ran.log() });
    }
    module_of(&ran.stdout, &dir.join("Cargo.toml"))
        .ok_or_else(|| BuildError::NoModule { dir: dir.to_path_buf() })
}

/// The WebAssembly module that cargo made of the package at `manifest_path`.
fn module_of(messages: &str, manifest_path: &Path) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| {
            message.reason == "compiler-artifact" && same_file(&message.manifest_path, manifest_path)
        })
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

/// Cargo may name a package by another spelling of its path, as through a symbolic link.
fn same_file(a: &Path, b: &Path) -> bool {
    a == b || std::fs::canonicalize(a).is_ok_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// A component of the module, by the description of the interface that the SDK has put into it.
fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
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

    fn options(dir: &Path) -> BuildOptions {
        BuildOptions { dir: dir.to_path_buf(), out: None, install_toolchain: false }
    }

    #[test]
    fn a_directory_that_is_no_plugin_is_named_with_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let error = build(&options(dir.path()), &mut |_| {}).unwrap_err();
        assert!(matches!(error, BuildError::NotAPlugin { file: "plugin.toml", .. }), "{error}");
        std::fs::write(dir.path().join("plugin.toml"), "").unwrap();
        let error = build(&options(dir.path()), &mut |_| {}).unwrap_err();
        assert!(matches!(error, BuildError::NotAPlugin { file: "Cargo.toml", .. }), "{error}");
    }

    #[test]
    fn the_module_is_the_packages_own() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/sdk/Cargo.toml","filenames":["/t/libsdk.rlib"]}"#,
            "\n",
            "not json\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/b/Cargo.toml","filenames":["/t/b.wasm"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","filenames":["/t/liba.rlib","/t/a.wasm"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(
            module_of(messages, Path::new("/w/a/Cargo.toml")).as_deref(),
            Some(Path::new("/t/a.wasm"))
        );
        assert_eq!(module_of(messages, Path::new("/w/sdk/Cargo.toml")), None);
    }

    #[test]
    fn no_path_of_this_machine_goes_into_the_component() {
        let package = |name: &str, manifest_path: &str, source: Option<&str>| Package {
            name: name.into(),
            manifest_path: manifest_path.into(),
            source: source.map(Into::into),
        };
        let workspace = Workspace {
            target_directory: "/t".into(),
            packages: vec![
                package("serde", "/opt/x/.cargo/registry/src/i/serde-1.0.0/Cargo.toml", Some("registry+x")),
                package(
                    "serde_json",
                    "/opt/x/.cargo/registry/src/i/serde_json-1.0.0/Cargo.toml",
                    Some("registry+x"),
                ),
                package("a", "/opt/x/my plugins/a/Cargo.toml", None),
            ],
        };
        assert_eq!(
            workspace.remapped_paths(),
            [
                "--remap-path-prefix=/opt/x/.cargo/registry/src/i=/crates",
                "--remap-path-prefix=/opt/x/my plugins/a=/a"
            ]
        );
    }

    #[test]
    fn a_module_that_is_none_is_refused() {
        for module in [b"".as_slice(), b"\0asm", b"not wasm"] {
            assert!(encode(module).is_err(), "{module:?}");
        }
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
