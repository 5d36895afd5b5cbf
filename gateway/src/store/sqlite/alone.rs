//! One server for a file: what partners already received of a consumer is known to the process that serves it, so two
//! could let that meet which one would keep apart.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::connection::own_file;

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
        let failed = |error| StoreError::Unusable(format!("the store {}: {error}", store.display()));
        // A link leads somewhere once there is something.
        own_file(store)?;
        let lock = own_file(&beside(&store.canonicalize().map_err(failed)?))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
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
