//! One server for a file: what partners already received of a consumer is known to the process that serves it, so two
//! could let that meet which one would keep apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::StoreError;

/// Keeps every other server from the store's file, until it is dropped or the process ends.
#[derive(Debug)]
pub struct ServedAlone {
    _lock: File,
}

impl ServedAlone {
    /// For the store in this file, by whichever symbolic link it is reached. The lock is on a file of its own: closing a
    /// handle on the store's would end the locks that SQLite holds there.
    ///
    /// # Errors
    /// [`StoreError::Unusable`]: another process serves it, or the lock's file cannot be made.
    pub fn begin(store: &Path) -> Result<Self, StoreError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| StoreError::Unusable(format!("{path}: {error}"))
        };
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        // A link leads somewhere once there is something.
        options.open(store).map_err(failed(store))?;
        let path = beside(&store.canonicalize().map_err(failed(store))?);
        let lock = options.open(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::Error(error)) => Err(failed(&path)(error)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
                "another `gateway serve` has the store {}; stop it first, or give this one a `database` of its own",
                store.display()
            ))),
        }
    }
}

/// `FILE.lock`.
fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_served_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (dir.path().join("gateway.db"), dir.path().join("other.db"));
        let first = ServedAlone::begin(&store).unwrap();
        let refused = ServedAlone::begin(&store).unwrap_err().to_string();
        assert!(refused.contains("another `gateway serve`") && refused.contains("gateway.db"), "{refused}");
        ServedAlone::begin(&other).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&store, &link).unwrap();
        ServedAlone::begin(&link).unwrap_err();
        drop(first);
        ServedAlone::begin(&store).unwrap();

        // The first start by a link to what is not there yet.
        let (target, early) = (dir.path().join("new.db"), folder.path().join("early.db"));
        std::os::unix::fs::symlink(&target, &early).unwrap();
        let by_link = ServedAlone::begin(&early).unwrap();
        ServedAlone::begin(&target).unwrap_err();
        drop(by_link);
    }
}
