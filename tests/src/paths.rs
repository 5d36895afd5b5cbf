//! Where things are: the workspace, its target directory, shared data. It makes none of them.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a member of the workspace")
}

/// A file of the project's shared data; `None`, said on standard error, where this checkout has none beside it.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: there is no ../shared/data/{name} beside this checkout");
    None
}

/// The project's own sample of events.
pub fn sample() -> PathBuf {
    root().join("gateway/sample/events.jsonl")
}

/// A directory of the tests' own below the target directory, so that a second run finds what the first compiled.
pub fn scratch(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    // target/release/deps/spec-0123 -> target/release/spec
    let profile = program.parent().and_then(Path::parent).expect("tests run from the target directory");
    profile.join("gateway-tests").join(name)
}
