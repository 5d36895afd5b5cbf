//! Rust: cargo compiles the plugin to a module, which becomes a component by the description of the interface that the
//! SDK has put into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::shared::{self, Shared};
use super::source::{self, Root};
use super::tools::Program;
use super::{BuildError, BuildOptions, Made, Project, file_error, hex};
use crate::cli::plugin::toolchain::{self, TARGET, Toolchain};
use crate::manifest::{Language, Provenance};

/// Compiles the plugin.
pub(super) fn make(
    project: &Project,
    options: &BuildOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let dir = &project.dir;
    let (name, version) = (&project.manifest.plugin.name, &project.manifest.plugin.version);
    let workspace = Workspace::of(dir, progress)?;
    let shared = workspace
        .stands_alone(dir)
        .then(|| shared::take(&workspace.workspace_root, workspace.local_names(), progress))
        .flatten();
    let target = shared.as_ref().map_or(&workspace.target_directory, |shared| &shared.target);
    let toolchain = Toolchain::find(dir, target, options.install_toolchain, progress)?;
    progress(&format!("building {name} {version} with {}", toolchain.describe()));
    let module = compile(dir, &workspace, shared.as_ref(), &toolchain, progress)?;
    let module = std::fs::read(&module).map_err(file_error(&module, "read"))?;
    let component = encode(&module).map_err(|reason| BuildError::Encode { dir: dir.clone(), reason })?;
    let path = options
        .out
        .clone()
        .unwrap_or_else(|| workspace.target_directory.join("components").join(&project.file_name));
    // After the build, which writes the lock file where there was none.
    let provenance = workspace.provenance(dir, &toolchain)?;
    Ok(Made { component, provenance, path })
}

/// What cargo says of the workspace that a plugin belongs to.
#[derive(Debug, Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
    resolve: Resolve,
}

/// Which package depends on which.
#[derive(Debug, Default, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    /// `None` for what lies on this machine's disk.
    source: Option<String>,
}

/// Reads the workspace, and builds where its own toolchain has the target.
const CARGO: Program = Program {
    name: "cargo",
    asked: &["cargo", "--version"],
    language: "Rust",
    least: (1, 95),
    needed: "1.95",
    remedy: "Install Rust 1.95 or later with rustup",
};
/// All that Rust needs beside its compiler for WebAssembly.
pub(super) const PROGRAMS: [Program; 1] = [CARGO];

/// [`super::sources`] of a plugin in Rust.
pub(super) fn sources(dir: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let workspace = Workspace::of(dir, &mut |_| {})?;
    Ok(workspace.local_dependencies(dir).into_iter().map(|root| root.dir).collect())
}

impl Workspace {
    fn of(dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self, BuildError> {
        CARGO.required(dir)?;
        let mut command = toolchain::clean(dir, "cargo");
        command.args(["metadata", "--format-version", "1", "--filter-platform", TARGET]);
        let ran = toolchain::run(&mut command, None, progress)?;
        let package = |log| BuildError::Package { dir: dir.to_path_buf(), log };
        if !ran.succeeded() {
            return Err(package(ran.log()));
        }
        serde_json::from_str(&ran.stdout).map_err(|error| package(error.to_string()))
    }

    /// Whether the plugin is a workspace of its own that nothing outside belongs to, with cargo's own settings.
    fn stands_alone(&self, dir: &Path) -> bool {
        let local = self.packages.iter().filter(|package| package.source.is_none());
        same_file(&self.workspace_root, dir)
            && self.target_directory == self.workspace_root.join("target")
            && local.into_iter().all(|package| package.manifest_path.starts_with(&self.workspace_root))
    }

    /// The names of the packages on this machine's disk.
    fn local_names(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().filter(|package| package.source.is_none()).map(|package| package.name.as_str())
    }

    /// The plugin's own source, that of the packages on this machine's disk that it depends on, and the workspace's
    /// settings; the lock file names all else.
    fn provenance(&self, dir: &Path, toolchain: &Toolchain) -> Result<Provenance, BuildError> {
        let lock = self.workspace_root.join("Cargo.lock");
        let locked = std::fs::read(&lock).map_err(file_error(&lock, "read"))?;
        let mut roots: Vec<Root> = self.local_dependencies(dir);
        let settings = self.workspace_root.join("Cargo.toml");
        if !same_file(&self.workspace_root, dir) {
            roots.push(Root { prefix: "workspace:Cargo.toml".to_owned(), dir: settings });
        }
        Ok(Provenance {
            language: Language::Rust,
            source: source::digest(&roots, &[lock])?,
            lock: hex(&Sha256::digest(&locked)),
            tools: BTreeMap::from([("rustc".to_owned(), toolchain.rustc_version(dir))]),
        })
    }

    /// The plugin's directory, and those of the packages by path that it is built from, also by way of others.
    fn local_dependencies(&self, dir: &Path) -> Vec<Root> {
        let own =
            self.packages.iter().find(|package| same_file(&package.manifest_path, &dir.join("Cargo.toml")));
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = own.map(|package| package.id.as_str()).into_iter().collect();
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                let nodes = self.resolve.nodes.iter().filter(|node| node.id == id);
                next.extend(nodes.flat_map(|node| node.dependencies.iter().map(String::as_str)));
            }
        }
        let local = self
            .packages
            .iter()
            .filter(|package| package.source.is_none() && reached.contains(package.id.as_str()));
        let root = |package: &Package| {
            let is_own = own.is_some_and(|own| own.id == package.id);
            let prefix = if is_own { String::new() } else { format!("package:{}", package.name) };
            Some(Root { prefix, dir: package.manifest_path.parent()?.to_path_buf() })
        };
        local.filter_map(root).collect()
    }

    /// Flags that take this machine's paths out of the component: panics name the file they are in.
    /// One list for the whole workspace, as another list would build std again. For projects that share a target
    /// directory one for all: cargo names files within a workspace by their path in it.
    fn remapped_paths(&self, shared: bool) -> Vec<String> {
        let mut flags: Vec<String> = self
            .packages
            .iter()
            .filter_map(|package| {
                let dir = package.manifest_path.parent()?.display();
                let name = &package.name;
                match package.source {
                    None if shared => None,
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
    shared: Option<&Shared>,
    toolchain: &Toolchain,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, BuildError> {
    let mut command = toolchain.cargo_build(dir);
    command.args(["--lib", "--message-format=json-render-diagnostics"]);
    // Encoded, because a path may hold a space; and set always, so that no configuration file adds flags.
    command.env("CARGO_ENCODED_RUSTFLAGS", workspace.remapped_paths(shared.is_some()).join("\u{1f}"));
    if let Some(shared) = shared {
        command.env("CARGO_TARGET_DIR", &shared.target);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
            id: name.into(),
            name: name.into(),
            manifest_path: manifest_path.into(),
            source: source.map(Into::into),
        };
        let workspace = Workspace {
            workspace_root: "/opt/x/my plugins".into(),
            target_directory: "/t".into(),
            resolve: Resolve::default(),
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
            workspace.remapped_paths(false),
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
}
