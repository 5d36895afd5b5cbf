//! Given a machine without the tools of a language; when its plugin is built; then what is missing is named with the
//! way to get it, and nothing is left half written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gateway_tests::builds::gateway_binary;

/// `gateway` with nothing on its PATH.
fn gateway(dir: &Path, arguments: &[&str]) -> Output {
    let nothing = dir.join("nothing");
    std::fs::create_dir_all(&nothing).unwrap();
    let mut command = Command::new(gateway_binary());
    command.args(arguments).current_dir(dir).env_clear().env("PATH", nothing).env("HOME", dir);
    command.output().unwrap()
}

fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path);
    }
    found
}

#[test]
fn a_missing_tool_is_named_with_the_way_to_get_it_and_nothing_is_written() {
    let cases = [
        ("rust", "cargo is not installed", "Install Rust 1.95 or later"),
        ("javascript", "node is not installed", "apt-get install -y --no-install-recommends nodejs npm"),
        (
            "python",
            "python3 is not installed",
            "apt-get install -y --no-install-recommends python3 python3-venv",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (language, missing, remedy) in cases {
        let made = gateway(dir.path(), &["plugin", "new", language, "--lang", language]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let before = files(dir.path());
        for arguments in [["plugin", "build", language], ["plugin", "test", language]] {
            let output = gateway(dir.path(), &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            for text in [missing, remedy, "[tool-missing]", "errors.md#tool-missing"] {
                assert!(said.contains(text), "{arguments:?} does not say `{text}`:\n{said}");
            }
        }
        let doctor = gateway(dir.path(), &["plugin", "doctor", language]);
        let said = String::from_utf8_lossy(&doctor.stdout);
        assert_eq!(doctor.status.code(), Some(1), "{said}");
        assert!(said.contains(missing) && said.contains(remedy), "{said}");
        assert_eq!(files(dir.path()), before, "{language}");
    }
}
