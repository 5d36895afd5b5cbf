//! One target directory for every project that is a workspace of its own, so that the standard library and what the
//! SDK depends on are compiled once on a machine, and not once a project.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::tools::cache_dir;
use crate::cli::plugin::toolchain::TARGET;

/// The directory, for one project until it is dropped.
pub(super) struct Shared {
    pub(super) target: PathBuf,
    _lock: File,
}

/// Takes the directory for the project in `root`, whose own packages are `packages`; waits while another has it.
/// None where there is no directory for what can be had again: the project then uses its own.
pub(super) fn take<'p>(
    root: &Path,
    packages: impl Iterator<Item = &'p str>,
    progress: &mut dyn FnMut(&str),
) -> Option<Shared> {
    take_in(&cache_dir().ok()?.join("rust"), root, packages, progress).ok()
}

fn take_in<'p>(
    base: &Path,
    root: &Path,
    packages: impl Iterator<Item = &'p str>,
    progress: &mut dyn FnMut(&str),
) -> std::io::Result<Shared> {
    std::fs::create_dir_all(base)?;
    let lock = File::create(base.join("lock"))?;
    if lock.try_lock().is_err() {
        progress("waiting for the build of another plugin");
        lock.lock()?;
    }
    let target = base.join("target");
    // Cargo tells packages of two workspaces apart by name and version alone, and would take another project's for
    // this one's where its files are older.
    let (memo, owner) = (base.join("project"), root.display().to_string());
    if std::fs::read_to_string(&memo).ok().as_ref() != Some(&owner) {
        forget(&target.join(TARGET).join("release/.fingerprint"), packages)?;
        std::fs::write(&memo, owner)?;
    }
    Ok(Shared { target, _lock: lock })
}

/// Makes cargo compile these packages again.
fn forget<'p>(fingerprints: &Path, packages: impl Iterator<Item = &'p str>) -> std::io::Result<()> {
    let packages: Vec<&str> = packages.collect();
    let entries = match std::fs::read_dir(fingerprints) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let package = name.to_str().and_then(|name| name.rsplit_once('-')).map(|(package, _)| package);
        if package.is_some_and(|package| packages.contains(&package)) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_project_compiled_under_these_names_is_forgotten() {
        let base = tempfile::tempdir().unwrap();
        let fingerprints = base.path().join("target").join(TARGET).join("release/.fingerprint");
        let fill = || {
            for name in ["lead-0123456789abcdef", "lead-two-0123456789abcdef", "serde-0123456789abcdef"] {
                std::fs::create_dir_all(fingerprints.join(name)).unwrap();
            }
        };
        let take = |root: &str| {
            drop(take_in(base.path(), Path::new(root), ["lead"].into_iter(), &mut |_| {}).unwrap());
            std::fs::read_dir(&fingerprints).unwrap().count()
        };
        fill();
        assert_eq!(take("/a"), 2);
        fill();
        assert_eq!(take("/a"), 3, "the same project goes on where it was");
        assert_eq!(take("/b"), 2);
    }
}
