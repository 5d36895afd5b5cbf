//! `gateway plugin check`: everything that keeps a component, or a plugin's source, from being published.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::read_component;
use crate::catalogue::Catalogue;
use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs};
use crate::manifest;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Check {
    /// A component, or a plugin's directory or `plugin.toml`
    path: PathBuf,
    /// A folder of event types beside the shipped ones
    #[arg(long)]
    catalogue_dir: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Check {
    pub(super) fn run(self) -> Result<(), CliError> {
        let catalogue = match &self.catalogue_dir {
            Some(dir) => Catalogue::load(dir),
            None => Catalogue::embedded(),
        }
        .map_err(CliError::start("the catalogue"))?;
        let problems = problems(&self.path, &catalogue)?;
        let path = self.path.display();
        if self.format.json() {
            output::json(&json!({ "path": path.to_string(), "problems": problems }))?;
        } else if problems.is_empty() {
            output::line(&format!("{path}: nothing is wrong with it"))?;
        } else {
            let count = problems.len();
            let things = if count == 1 { "problem" } else { "problems" };
            output::line(&format!("{path}: {count} {things}\n\n{}", manifest::drawn(&problems)))?;
        }
        if problems.is_empty() { Ok(()) } else { Err(CliError::Told) }
    }
}

/// Everything wrong with a component's file, or with the manifest in a directory.
fn problems(path: &Path, catalogue: &Catalogue) -> Result<Vec<manifest::Problem>, CliError> {
    if path.is_dir() {
        return Ok(manifest::read_dir(path, catalogue).problems);
    }
    if path.extension().is_some_and(|extension| extension == "toml") {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(manifest::read_dir(dir, catalogue).problems);
    }
    let component = read_component(path)?;
    Ok(manifest::review(&component, catalogue).err().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_finds_everything_at_once_in_a_file_and_in_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::embedded().unwrap();
        let manifest = r#"
            [plugin]
            name = "Bad Name"
            version = "1.0.0"
            partner = "p"
            api = "0.1"
            summary = "s"
            privacy-policy = "http://p.example/privacy"
            purpose = "no.such.purpose"
        "#;
        std::fs::write(dir.path().join("plugin.toml"), manifest).unwrap();
        assert!(problems(dir.path(), &catalogue).unwrap().len() >= 3);

        let file = dir.path().join("plugin.wasm");
        std::fs::write(&file, b"no component").unwrap();
        assert!(!problems(&file, &catalogue).unwrap().is_empty());
        assert!(matches!(problems(&dir.path().join("none.wasm"), &catalogue), Err(CliError::File { .. })));
    }
}
