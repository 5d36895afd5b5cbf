//! `gateway plugin new`: a project that builds, checks and passes its test at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::template::{self, Language};
use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs};
use crate::manifest::is_name;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct New {
    /// The plugin's name: lower case letters, digits and hyphens
    name: String,
    /// What it is written in
    #[arg(long, value_enum)]
    lang: Language,
    /// Where the project goes; left out: a directory of the plugin's name
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

impl New {
    pub(super) fn run(self) -> Result<(), CliError> {
        if !is_name(&self.name) {
            return Err(CliError::Usage(
                "a plugin's name is `[a-z][a-z0-9-]{0,62}`; use lower case letters, digits and hyphens"
                    .into(),
            ));
        }
        if let Some(taken) = template::taken_name(self.lang, &self.name) {
            return Err(CliError::Usage(format!(
                "`{taken}` is a crate that the plugin depends on; choose another name, such as `{taken}-plugin`"
            )));
        }
        let dir = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        let files = template::files(self.lang, &self.name).map_err(CliError::start("the catalogue"))?;
        write_project(&dir, &files)?;
        if self.format.json() {
            let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
            return output::json(&json!({ "plugin": self.name, "dir": dir, "files": paths }));
        }
        let dir = dir.display();
        output::line(&format!(
            "{dir}: a plugin in {}, with a case. Next:\n  gateway plugin build {dir}\n  gateway plugin test {dir}",
            self.lang.title(),
        ))
    }
}

/// Writes into a directory beside `dir` and renames it, so that there is all of the project or nothing.
fn write_project(dir: &Path, files: &[(String, String)]) -> Result<(), CliError> {
    let full = match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(full) => full,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(CliError::file("reading", dir)(error)),
    };
    if full {
        let message = format!("{} is not empty; name another directory with --dir", dir.display());
        return Err(CliError::FellShort(message));
    }
    let absolute = std::path::absolute(dir).map_err(CliError::file("finding", dir))?;
    let parent = absolute.parent().unwrap_or(&absolute);
    std::fs::create_dir_all(parent).map_err(CliError::file("making", parent))?;
    let beside = tempfile::Builder::new()
        .prefix(".new-plugin-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(CliError::file("making a directory in", parent))?;
    for (path, text) in files {
        let path = beside.path().join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(CliError::file("making", folder))?;
        }
        std::fs::File::create_new(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(CliError::file("writing", &path))?;
    }
    // Onto an empty directory a rename is allowed; onto a file or a full one it is not.
    let whole = beside.keep();
    std::fs::rename(&whole, &absolute).map_err(|error| {
        let _ = std::fs::remove_dir_all(&whole);
        CliError::file("writing", dir)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, lang: Language, dir: &Path) -> Result<(), CliError> {
        let format = FormatArgs::default();
        New { name: name.into(), lang, dir: Some(dir.to_owned()), format }.run()
    }

    #[test]
    fn every_language_has_a_project_whose_manifest_may_be_published() {
        let catalogue = crate::catalogue::Catalogue::embedded().unwrap();
        for lang in Language::ALL {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join("first-lead");
            new("first-lead", lang, &dir).unwrap();
            let manifest = crate::manifest::load_dir(&dir).unwrap();
            assert_eq!(crate::manifest::check(&manifest, &catalogue), []);
            assert_eq!(manifest.plugin.name, "first-lead");
            assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left beside it");
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("mine"), "mine").unwrap();
        let error = new("lead", Language::Rust, parent.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        assert!(new("lead", Language::Rust, &parent.path().join("mine")).is_err());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        // An empty directory is taken.
        let empty = parent.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        new("lead", Language::Python, &empty).unwrap();
        assert!(empty.join("app.py").is_file());
    }

    #[test]
    fn a_name_that_no_plugin_may_have_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        for (name, lang) in [
            ("Lead", Language::Python),
            ("", Language::Rust),
            ("../lead", Language::JavaScript),
            ("plugin-sdk", Language::Rust),
            ("serde", Language::Rust),
        ] {
            let error = new(name, lang, &parent.path().join("p")).unwrap_err();
            assert!(matches!(error, CliError::Usage(_)), "{name}: {error}");
        }
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        new("serde", Language::Python, &parent.path().join("p")).unwrap();
    }
}
