//! The WIT world of one plugin, from its manifest's hooks and the interfaces that its source imports.

use std::path::Path;

use super::{BuildError, Project, file_error};
use crate::manifest::{Api, Manifest};

/// The world's name in the file that is written.
pub(super) const WORLD: &str = "plugin";

/// The hooks that a manifest declares, as the interface names them.
pub(super) fn hooks(manifest: &Manifest) -> Vec<&'static str> {
    [
        ("share", !manifest.share.is_empty()),
        ("decide", !manifest.decide.is_empty()),
        ("receive", !manifest.receive.is_empty()),
        ("rights", !manifest.rights.is_empty()),
    ]
    .into_iter()
    .filter_map(|(hook, declared)| declared.then_some(hook))
    .collect()
}

/// The version of the package that the manifest asks for.
pub(super) fn interface(manifest: &Manifest) -> Result<Api, BuildError> {
    let api = &manifest.plugin.api;
    Api::of_manifest(api).ok_or_else(|| BuildError::UnknownApi { api: api.clone(), served: Api::served() })
}

/// Writes `world.wit` and the package that it depends on below `dir`. `imports` are names of interfaces, such as
/// `memory`; the log is always there.
pub(super) fn write(project: &Project, imports: &[String], dir: &Path) -> Result<(), BuildError> {
    let interface = interface(&project.manifest)?;
    let package = dir.join("deps/plugin");
    std::fs::create_dir_all(&package).map_err(file_error(&package, "written"))?;
    let text = render(&hooks(&project.manifest), imports, interface.version());
    for (file, text) in [(package.join("plugin.wit"), interface.wit()), (dir.join("world.wit"), &text)] {
        std::fs::write(&file, text).map_err(file_error(&file, "written"))?;
    }
    Ok(())
}

fn render(hooks: &[&str], imports: &[String], version: &str) -> String {
    let mut names: Vec<&str> = imports.iter().map(String::as_str).chain(["log"]).collect();
    // What it has no function of comes with whatever uses it.
    names.retain(|name| *name != "types");
    names.sort_unstable();
    names.dedup();
    let edges = names
        .into_iter()
        .map(|name| ("import", name))
        .chain(hooks.iter().map(|hook| ("export", *hook)))
        .map(|(edge, name)| format!("  {edge} integration:plugin/{name}@{version};\n"))
        .collect::<String>();
    format!("package partner:plugin;\n\nworld {WORLD} {{\n{edges}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_has_the_hooks_that_are_declared_and_the_interfaces_that_are_used() {
        let imports = ["types".to_owned(), "memory".to_owned(), "log".to_owned()];
        assert_eq!(
            render(&["share", "decide"], &imports, "0.1.0"),
            "package partner:plugin;\n\nworld plugin {\n  import integration:plugin/log@0.1.0;\n  \
             import integration:plugin/memory@0.1.0;\n  export integration:plugin/share@0.1.0;\n  \
             export integration:plugin/decide@0.1.0;\n}\n"
        );
    }
}
