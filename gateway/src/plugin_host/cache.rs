//! Compiled code on disk: `<cache_dir>/<compatibility>/<digest>.cwasm`, its SHA-256 beside it, of components and of the
//! large modules that were taken out of them ([`super::apart`]). It may not load from a directory that anyone else can
//! write.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Module};

use super::apart::imported;
use super::error::HostError;

const WORKSPACE_PREFIX: &str = "compile-";
/// What the name of a file of compiled code ends with, and that of its checksum.
const EXTENSION: &str = "cwasm";
const CHECKSUM: &str = "sha256";

/// Age at which no compilation can still be running: many times its limit.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// The part of the cache whose code one engine can load.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
}

/// Where the parts of one release's compilation stand while it runs; removed when dropped.
pub(super) struct Workspace {
    directory: tempfile::TempDir,
}

impl Workspace {
    pub(super) fn input(&self) -> PathBuf {
        self.directory.path().join("component.wasm")
    }

    pub(super) fn output(&self) -> PathBuf {
        self.directory.path().join("component.cwasm")
    }

    /// Where modules are that were compiled before: beside compiled components.
    pub(super) fn compiled(&self) -> &Path {
        self.directory.path().parent().unwrap_or(Path::new("."))
    }
}

/// What the cache has of a release.
pub(super) enum Cached {
    /// All of it.
    Whole(Code),
    /// Its component, and not a module that this imports.
    WithoutModule,
    /// Nothing, or nothing that loads.
    Nothing,
}

/// Compiled code of a release.
pub(super) struct Code {
    pub(super) component: Component,
    /// The modules that it imports.
    pub(super) modules: BTreeMap<[u8; 32], Module>,
}

/// Where compiled code of a component or a module stands in a directory.
pub(super) fn code_file(directory: &Path, digest: &[u8; 32]) -> PathBuf {
    directory.join(format!("{}.{EXTENSION}", hex(digest)))
}

/// Whether a compiled module is there; if so, it was used now.
pub(super) fn has_module(directory: &Path, digest: &[u8; 32]) -> bool {
    let file = code_file(directory, digest);
    let is_there = file.with_extension(CHECKSUM).exists() && file.exists();
    if is_there {
        touch(&file);
    }
    is_there
}

/// Marks code as used, for [`Cache::trim`]. Nothing is written to the file itself.
fn touch(artifact: &Path) {
    let _ = fs::File::open(artifact).and_then(|file| file.set_modified(SystemTime::now()));
}

impl Cache {
    /// Opens, and if need be makes, the directory for an engine's `compatibility`. Refuses one that
    /// is not the gateway's own, is a link, or that others may write.
    pub(super) fn open(root: &Path, compatibility: &str) -> Result<Self, HostError> {
        private_directory(root)?;
        let directory = root.join(compatibility);
        private_directory(&directory)?;
        let cache = Self { directory };
        cache.sweep();
        Ok(cache)
    }

    /// Removes what compilations left behind that were killed with the gateway. Younger ones may
    /// be another gateway's. Only space is at stake, so a failure is no reason not to start.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            if entry.file_name().as_encoded_bytes().starts_with(WORKSPACE_PREFIX.as_bytes())
                && age.is_some_and(|age| age > ABANDONED)
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The compiled release, if all of it is here and whole; `loaded` are modules that others run already. What is damaged
    /// counts as absent.
    pub(super) fn load(
        &self,
        engine: &Engine,
        digest: &[u8; 32],
        loaded: impl Fn(&[u8; 32]) -> Option<Module>,
    ) -> Cached {
        let component = self.read(engine, digest, Component::deserialize_file);
        let Some(component) = component else { return Cached::Nothing };
        let mut modules = BTreeMap::new();
        for (name, item) in component.component_type().imports(engine) {
            if let (Some(module), ComponentItem::Module(_)) = (imported(name), item.ty) {
                let code = match loaded(&module) {
                    Some(code) => {
                        touch(&self.artifact(&module));
                        Some(code)
                    }
                    None => self.read(engine, &module, Module::deserialize_file),
                };
                let Some(code) = code else { return Cached::WithoutModule };
                modules.insert(module, code);
            }
        }
        Cached::Whole(Code { component, modules })
    }

    /// Reads what was compiled. What is not what was written is removed, so that it is compiled again.
    fn read<T>(&self, engine: &Engine, digest: &[u8; 32], load: Load<T>) -> Option<T> {
        let artifact = self.artifact(digest);
        let expected = fs::read(self.checksum(digest)).ok()?;
        let damage = match sha256_of(&artifact) {
            Ok(actual) if actual[..] == expected[..] => match deserialize(engine, &artifact, load) {
                Ok(code) => {
                    touch(&artifact);
                    return Some(code);
                }
                // What the engine says may quote the file, and the remedy is the same for all causes.
                Err(_) => "does not load",
            },
            Ok(_) => "is damaged",
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(artifact = %artifact.display(), %error, "compiled code does not read");
                return None;
            }
        };
        tracing::warn!(artifact = %artifact.display(), "compiled code {damage}; compiling it again");
        // Without it the artifact counts as absent.
        let _ = fs::remove_file(self.checksum(digest));
        None
    }

    /// A place for a compilation, on the same file system as its result.
    pub(super) fn workspace(&self) -> Result<Workspace, HostError> {
        let directory = tempfile::Builder::new().prefix(WORKSPACE_PREFIX).tempdir_in(&self.directory);
        let directory = directory.map_err(|source| self.failed("making a directory in", source))?;
        Ok(Workspace { directory })
    }

    /// Takes a compilation's results in: first the modules, without which the component is of no use. A checksum goes before
    /// its file: without it a file is not loaded, and with another one it is compiled again.
    pub(super) fn keep(&self, digest: &[u8; 32], workspace: &Workspace) -> Result<(), HostError> {
        let failed = |source| self.failed("writing to", source);
        for entry in fs::read_dir(workspace.directory.path()).map_err(failed)?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path != workspace.output() && path.extension().is_some_and(|extension| extension == EXTENSION)
            {
                self.take(&path, &self.directory.join(name), workspace)?;
            }
        }
        self.take(&workspace.output(), &self.artifact(digest), workspace)
    }

    fn take(&self, compiled: &Path, artifact: &Path, workspace: &Workspace) -> Result<(), HostError> {
        let sum = sha256_of(compiled).map_err(|source| self.failed("reading in", source))?;
        let scratch = workspace.directory.path().join("checksum");
        fs::write(&scratch, sum)
            .and_then(|()| fs::rename(&scratch, artifact.with_extension(CHECKSUM)))
            .and_then(|()| fs::rename(compiled, artifact))
            .map_err(|source| self.failed("writing to", source))
    }

    /// Of what is not `used`, removes what was loaded or compiled longest ago, until the rest takes no more than `bytes`.
    /// Code that is mapped stays so. Only space is at stake, so what cannot be removed stays too.
    pub(super) fn trim(&self, used: &[[u8; 32]], bytes: u64) {
        let used: Vec<PathBuf> = used.iter().map(|digest| self.artifact(digest)).collect();
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut artifacts: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
            .filter(|entry| !used.contains(&entry.path()))
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        artifacts.sort_unstable();
        let mut taken: u64 = artifacts.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in artifacts {
            if taken <= bytes {
                return;
            }
            // Without it the artifact counts as absent.
            let _ = fs::remove_file(path.with_extension(CHECKSUM));
            if fs::remove_file(&path).is_ok() {
                taken = taken.saturating_sub(length);
            }
        }
    }

    fn artifact(&self, digest: &[u8; 32]) -> PathBuf {
        code_file(&self.directory, digest)
    }

    fn checksum(&self, digest: &[u8; 32]) -> PathBuf {
        self.artifact(digest).with_extension(CHECKSUM)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> HostError {
        HostError::Io { doing, path: self.directory.clone(), source }
    }
}

/// `deserialize_file` of a component or of a module.
type Load<T> = unsafe fn(&Engine, PathBuf) -> wasmtime::Result<T>;

/// The one unsafe act of the host: mapping machine code from a file.
#[allow(unsafe_code)]
fn deserialize<T>(engine: &Engine, artifact: &Path, load: Load<T>) -> wasmtime::Result<T> {
    // SAFETY: `deserialize_file` asks for a file that `Engine::precompile_component` or
    // `precompile_module` made and that nothing changes while it is mapped.
    // - Made: only `Cache::keep` puts files under this name, from `compile::compile_file`, which
    //   writes what they returned; the caller has just compared its SHA-256 with
    //   the one recorded then, so it is that file and whole. The directory's name carries the
    //   engine's compatibility hash, and wasmtime checks version, settings and kind itself.
    // - By no one else: `private_directory` has refused a directory that is a link, belongs to
    //   another user, or that group or others may write, so nobody but this user can put a file here.
    // - Unchanged: a file under this name is never written in place, only replaced by `rename`,
    //   which leaves the mapped one as it is.
    unsafe { load(engine, artifact.to_owned()) }
}

fn private_directory(path: &Path) -> Result<(), HostError> {
    let refused = |rule| HostError::CacheDirectory { path: path.to_owned(), rule };
    let failed =
        |source| HostError::Io { doing: "opening the cache directory", path: path.to_owned(), source };

    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(refused("is not a directory itself but a link"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("belongs to another user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refused("can be written by others"));
    }
    Ok(())
}

fn sha256_of(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

pub(super) fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_new_cache_is_private() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(&root.path().join("code"), "engine").unwrap();
        for path in [cache.directory.as_path(), cache.directory.parent().unwrap()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        for mode in [0o770, 0o707, 0o777] {
            let root = tempfile::tempdir().unwrap();
            fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
            let refusal = Cache::open(root.path(), "engine").unwrap_err();
            assert!(matches!(refusal, HostError::CacheDirectory { rule: "can be written by others", .. }));
        }
    }

    #[test]
    fn what_a_killed_compilation_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), "engine").unwrap();
        let (old, young) = (cache.directory.join("compile-old"), cache.directory.join("compile-young"));
        fs::create_dir(&old).unwrap();
        fs::create_dir(&young).unwrap();
        let long_ago = SystemTime::now() - 2 * ABANDONED;
        fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
        Cache::open(root.path(), "engine").unwrap();
        assert_eq!((old.exists(), young.exists()), (false, true));
    }

    #[test]
    fn the_oldest_code_goes_where_there_is_too_much() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), "engine").unwrap();
        let now = SystemTime::now();
        for age in 0..5 {
            fs::write(cache.checksum(&[age; 32]), [0; 32]).unwrap();
            fs::write(cache.artifact(&[age; 32]), [0; 100]).unwrap();
            let file = fs::File::options().write(true).open(cache.artifact(&[age; 32])).unwrap();
            file.set_modified(now - Duration::from_secs(60) * age.into()).unwrap();
        }
        let left = |bytes| {
            cache.trim(&[[4; 32]], bytes);
            let is_there =
                |age: &u8| cache.artifact(&[*age; 32]).exists() && cache.checksum(&[*age; 32]).exists();
            (0..5).filter(is_there).collect::<Vec<_>>()
        };
        assert_eq!(left(400), [0, 1, 2, 3, 4]);
        assert_eq!(left(200), [0, 1, 4]);
        assert_eq!(left(0), [4], "what is used stays");
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        symlink(root.path().join("real"), root.path().join("link")).unwrap();
        let refusal = Cache::open(&root.path().join("link"), "engine").unwrap_err();
        assert!(matches!(refusal, HostError::CacheDirectory { .. }));
    }
}
