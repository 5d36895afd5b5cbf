//! One digest for a plugin's source: what goes into the component, and no more, so that it stays while cases and
//! readmes change.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{BuildError, file_error, hex};

/// A directory of source, and what its files' names begin with in the digest.
pub(super) struct Root {
    pub(super) prefix: String,
    pub(super) dir: PathBuf,
}

/// Directories that hold what is made of the source, wherever they are.
const MADE: [&str; 4] = ["build", "node_modules", "target", "__pycache__"];
/// How names end that a gateway, a tool or a try writes into the directory where it runs: databases with what stands next
/// to them, logs, keys.
const LEFT_BEHIND: [&str; 7] = [".cache", ".db", ".db-shm", ".db-wal", ".db.lock", ".key", ".log"];

/// Whether something of this name is no source: hidden, or made of it; and at the `top` of a project what running leaves
/// behind there.
pub(in crate::cli::plugin) fn is_left_out(name: &str, top: bool) -> bool {
    let left_behind = || LEFT_BEHIND.iter().any(|end| name.ends_with(end));
    name.starts_with('.') || MADE.contains(&name) || (top && left_behind())
}

/// The directory that tests it.
const CASES: &str = "cases";

/// SHA-256 over every file's name (octets, their number before them) and SHA-256, in the order of the names. Left
/// out: hidden files, readmes (`*.md`), `build`, `cases`, `node_modules`, `target`, `__pycache__`, at the top
/// what running leaves behind (databases, `*.cache`, `*.log`, `*.key`), and `without`: the lock file has its own digest.
///
/// # Errors
/// A file that cannot be read; a symbolic link or device.
pub(super) fn digest(roots: &[Root], without: &[PathBuf]) -> Result<String, BuildError> {
    let mut files = Vec::new();
    for root in roots {
        collect(&root.dir, &root.prefix, true, without, &mut files)?;
    }
    files.sort_unstable();
    let mut whole = Sha256::new();
    for (name, content) in files {
        whole.update((name.len() as u64).to_be_bytes());
        whole.update(name);
        whole.update(content);
    }
    Ok(hex(&whole.finalize()))
}

/// Adds the name and digest of one file.
fn add(path: &Path, name: String, files: &mut Vec<(String, [u8; 32])>) -> Result<(), BuildError> {
    let content = std::fs::read(path).map_err(file_error(path, "read"))?;
    files.push((name, Sha256::digest(content).into()));
    Ok(())
}

fn collect(
    at: &Path,
    prefix: &str,
    top: bool,
    without: &[PathBuf],
    files: &mut Vec<(String, [u8; 32])>,
) -> Result<(), BuildError> {
    let kind = std::fs::symlink_metadata(at).map_err(file_error(at, "read"))?.file_type();
    if kind.is_file() {
        return add(at, prefix.to_owned(), files);
    }
    for entry in std::fs::read_dir(at).map_err(file_error(at, "read"))? {
        let entry = entry.map_err(file_error(at, "read"))?;
        let (path, file_name) = (entry.path(), entry.file_name());
        let file_name = file_name.to_string_lossy();
        let kind = entry.file_type().map_err(file_error(&path, "read"))?;
        let skipped = is_left_out(&file_name, top)
            || file_name.ends_with(".md")
            || file_name == CASES
            || without.contains(&path);
        if skipped {
            continue;
        }
        let name = if prefix.is_empty() { file_name.into_owned() } else { format!("{prefix}/{file_name}") };
        if kind.is_dir() {
            collect(&path, &name, false, without, files)?;
        } else if kind.is_file() {
            add(&path, name, files)?;
        } else {
            let what = if kind.is_symlink() { "a symbolic link" } else { "no regular file" };
            return Err(BuildError::NotAFile { path, what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_the_source_and_of_nothing_else() {
        let digest_of = |files: &[(&str, &str)]| {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            let lock = dir.path().join("package-lock.json");
            digest(&[Root { prefix: String::new(), dir: dir.path().to_path_buf() }], &[lock]).unwrap()
        };
        let source = [("plugin.toml", "x"), ("src/plugin.js", "y")];
        let whole = digest_of(&source);
        for beside in [
            "package-lock.json",
            "README.md",
            ".git/config",
            "build/a.wasm",
            "cases/one/event.json",
            "node_modules/x/index.js",
            "src/__pycache__/x.pyc",
            "local.db",
            "local.db-wal",
            "local.db.lock",
            "local.cache/48/a.cwasm",
            "local.master.key",
            "serve.log",
        ] {
            assert_eq!(digest_of(&[source.as_slice(), &[(beside, "z")]].concat()), whole, "{beside}");
        }
        for other in [
            vec![("plugin.toml", "x"), ("src/plugin.js", "z")],
            vec![("plugin.toml", "x"), ("src/plugin.mjs", "y")],
            vec![("plugin.toml", "x")],
            vec![("plugin.toml", "x"), ("src/plugin.js", "y"), ("schemas/a.json", "{}")],
            vec![("plugin.toml", "x"), ("src/plugin.js", "y"), ("src/words.db", "z")],
        ] {
            assert_ne!(digest_of(&other), whole, "{other:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("linked.json")).unwrap();
        let error =
            digest(&[Root { prefix: String::new(), dir: dir.path().to_path_buf() }], &[]).unwrap_err();
        assert!(error.to_string().contains("linked.json` is a symbolic link"), "{error}");
    }
}
