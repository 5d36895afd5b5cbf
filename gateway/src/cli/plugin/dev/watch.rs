//! Waits for changes in a plugin's project. Directories are watched, not files: editors write beside and rename.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cli::CliError;
use crate::cli::plugin::builder::is_left_out;

/// As long as nothing happens, a change is over: an editor, or a checkout, does several things at once.
const QUIET: Duration = Duration::from_millis(50);
/// What never rests is looked at all the same.
const AT_MOST: Duration = Duration::from_secs(1);

/// The directories of a project, but for what is hidden, what builds make and what running leaves behind.
pub(super) struct Watch {
    roots: Vec<PathBuf>,
    /// The same, for the watcher's thread.
    all: Arc<ArcSwap<Vec<PathBuf>>>,
    watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

impl Watch {
    pub(super) fn new(roots: &[PathBuf]) -> Result<Self, CliError> {
        // One that waits stands for all that come after it.
        let (tell, changes) = mpsc::channel(1);
        let all = Arc::new(ArcSwap::from_pointee(roots.to_vec()));
        let of = Arc::clone(&all);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| of.load().iter().any(|root| matters(root, &event))) {
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.map_err(CliError::start("watching"))?;
        let mut watch = Self { roots: roots.to_vec(), all, watcher, changes };
        watch.look()?;
        Ok(watch)
    }

    pub(super) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Watches these, too.
    pub(super) fn also(&mut self, roots: &[PathBuf]) -> Result<(), CliError> {
        let new = roots.iter().filter(|root| !self.roots.contains(root)).cloned();
        let new: Vec<PathBuf> = new.collect();
        self.roots.extend(new);
        self.all.store(Arc::new(self.roots.clone()));
        self.look()
    }

    /// Ends when something changed, and then rested.
    pub(super) async fn changed(&mut self) -> Result<(), CliError> {
        let gone = || CliError::FellShort("the watch on the project ended".to_owned());
        self.changes.recv().await.ok_or_else(gone)?;
        let end = Instant::now() + AT_MOST;
        while Instant::now() < end
            && let Ok(more) = tokio::time::timeout(QUIET, self.changes.recv()).await
        {
            more.ok_or_else(gone)?;
        }
        self.look()
    }

    /// Watches directories that came since, too; of one that is watched already nothing changes.
    fn look(&mut self) -> Result<(), CliError> {
        let mut next = self.roots.clone();
        while let Some(dir) = next.pop() {
            match self.watcher.watch(&dir, RecursiveMode::NonRecursive) {
                // Gone again, a change of what is above it; or unreadable, which a build would tell.
                Err(_) if !self.roots.contains(&dir) => continue,
                watched => watched.map_err(CliError::start("watching the project"))?,
            }
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            let dirs = entries.filter(is_dir).map(|entry| entry.path());
            let top = self.roots.contains(&dir);
            next.extend(dirs.filter(|path| {
                path.file_name().is_some_and(|name| !is_left_out(&name.to_string_lossy(), top))
            }));
        }
        Ok(())
    }
}

/// Whether it may have changed the project. That something was read has not; where events were lost, it may.
fn matters(root: &Path, event: &Event) -> bool {
    let is_ours = |path: &PathBuf| {
        let Ok(inside) = path.strip_prefix(root) else { return false };
        let mut parts = inside.components().enumerate();
        !parts.any(|(depth, part)| is_left_out(&part.as_os_str().to_string_lossy(), depth == 0))
    };
    !matches!(event.kind, EventKind::Access(_))
        && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(is_ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(30);

    #[test]
    fn what_builds_make_and_what_is_hidden_does_not_matter() {
        let root = Path::new("/p");
        for (path, expected) in [
            ("/p/src/lib.rs", true),
            ("/p/plugin.toml", true),
            ("/p/cases/one/event.json", true),
            ("/p", true),
            ("/p/target/x", false),
            ("/p/build/x.wasm", false),
            ("/p/node_modules/a/index.js", false),
            ("/p/src/.lib.rs.swp", false),
            ("/p/.git/index", false),
            ("/p/local.db-wal", false),
            ("/p/received.log", false),
            ("/p/local.cache/48/a.cwasm", false),
            ("/p/src/words.db", true),
            ("/q/src/lib.rs", false),
        ] {
            let event = Event::new(EventKind::Any).add_path(path.into());
            assert_eq!(matters(root, &event), expected, "{path}");
        }
        let read = EventKind::Access(notify::event::AccessKind::Read);
        assert!(!matters(root, &Event::new(read).add_path("/p/src/lib.rs".into())));
    }

    #[tokio::test]
    async fn a_file_that_is_renamed_into_place_and_one_in_a_new_directory_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("src")).unwrap();
        std::fs::create_dir_all(root.join("target")).unwrap();
        let mut watch = Watch::new(&[root.to_owned()]).unwrap();
        let mut seen = async |what: &str| {
            tokio::time::timeout(BOUND, watch.changed()).await.unwrap_or_else(|_| panic!("{what}")).unwrap();
        };
        std::fs::write(root.join(".new"), "1").unwrap();
        std::fs::rename(root.join(".new"), root.join("src/lib.rs")).unwrap();
        seen("renamed").await;
        std::fs::create_dir(root.join("schemas")).unwrap();
        seen("a directory").await;
        std::fs::write(root.join("schemas/a.json"), "{}").unwrap();
        seen("a file in it").await;
        std::fs::remove_file(root.join("src/lib.rs")).unwrap();
        seen("removed").await;
    }

    #[tokio::test]
    async fn a_directory_that_came_to_be_a_source_is_watched_beside_the_others() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut watch = Watch::new(&[own.path().to_owned()]).unwrap();
        watch.also(&[other.path().to_owned()]).unwrap();
        for (dir, name) in [(&other, "a package's"), (&own, "the plugin's own")] {
            std::fs::write(dir.path().join("lib.rs"), "1").unwrap();
            tokio::time::timeout(BOUND, watch.changed()).await.expect(name).unwrap();
        }
    }
}
