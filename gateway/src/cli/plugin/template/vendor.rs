//! The SDK and the interface as sources, for a Rust plugin that stands outside of this checkout.

const SDK_MANIFEST: &str = include_str!("../../../../../plugin-sdk/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");

macro_rules! sdk {
    ($($file:literal),* $(,)?) => {
        &[$((
            concat!("vendor/plugin-sdk/src/", $file),
            include_str!(concat!("../../../../../plugin-sdk/src/", $file)),
        )),*]
    };
}

macro_rules! wit {
    ($($file:literal),* $(,)?) => {
        &[$((concat!("vendor/wit/", $file), include_str!(concat!("../../../../../wit/", $file)))),*]
    };
}

const SDK: &[(&str, &str)] = sdk![
    "aggregates.rs",
    "allocator.rs",
    "bindings.rs",
    "bindings/v0_2.rs",
    "budget.rs",
    "event.rs",
    "events.rs",
    "exchange.rs",
    "field.rs",
    "form.rs",
    "hooks.rs",
    "json.rs",
    "lib.rs",
    "log.rs",
    "memory.rs",
    "request.rs",
    "xml.rs",
];

const WIT: &[(&str, &str)] = wit!["0.1/plugin.wit", "0.2/plugin.wit"];

/// What goes into the project.
pub(super) fn files() -> impl Iterator<Item = (String, String)> {
    let manifest = ("vendor/plugin-sdk/Cargo.toml", SDK_MANIFEST);
    SDK.iter().chain(WIT).copied().chain([manifest]).map(|(path, text)| (path.to_owned(), text.to_owned()))
}

/// The SDK's version, as its workspace says it.
pub(super) fn version() -> &'static str {
    let package = WORKSPACE.split_once("[workspace.package]").map_or("", |(_, rest)| rest);
    let line = package.lines().find_map(|line| line.strip_prefix("version = "));
    line.unwrap_or_default().trim_matches('"')
}

/// The lines of the workspace's dependencies that the SDK takes.
pub(super) fn workspace_dependencies() -> String {
    let taken = SDK_MANIFEST.lines().filter_map(|line| line.strip_suffix(".workspace = true"));
    let lines = taken.filter_map(|name| {
        let start = format!("{name} = {{ version");
        WORKSPACE.lines().find(|line| line.starts_with(&start))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn listed(dir: &Path, base: &Path, prefix: &str, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                listed(&path, base, prefix, into);
            } else {
                into.insert(format!("{prefix}/{}", path.strip_prefix(base).unwrap().display()));
            }
        }
    }

    #[test]
    fn every_source_of_the_sdk_and_the_interface_is_in_it() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut there = BTreeSet::from(["vendor/plugin-sdk/Cargo.toml".to_owned()]);
        let sdk = root.join("plugin-sdk/src");
        listed(&sdk, &sdk, "vendor/plugin-sdk/src", &mut there);
        listed(&root.join("wit"), &root.join("wit"), "vendor/wit", &mut there);
        assert_eq!(files().map(|(path, _)| path).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn what_the_sdk_takes_from_its_workspace_is_given() {
        let given = workspace_dependencies();
        assert!(given.contains("serde = {") && given.contains("wit-bindgen = {"), "{given}");
        assert!(semver::Version::parse(version()).is_ok());
    }
}
