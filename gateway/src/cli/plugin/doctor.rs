//! `gateway plugin doctor`: what building plugins needs on this machine, and how to get what is missing. It installs
//! nothing.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::builder::{self, Tool};
use super::toolchain::Toolchain;
use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs, Table};
use crate::manifest::Language;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Doctor {
    /// A plugin's directory: only what its language needs; left out: all languages
    dir: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

/// One thing that a language needs.
#[derive(Debug, Serialize)]
struct Finding {
    language: &'static str,
    tool: String,
    /// `found`, `missing`, `too-old`, or `at-first-build`: the first build installs it.
    state: &'static str,
    version: Option<String>,
    /// How to get it, where it is missing.
    remedy: Option<String>,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let findings = tokio::task::spawn_blocking(move || examine(self.dir.as_deref()))
            .await
            .map_err(CliError::start("the examination"))??;
        let sound = findings.iter().all(|finding| finding.remedy.is_none());
        if self.format.json() {
            output::json(&findings)?;
        } else {
            output::line(&render(&findings))?;
        }
        if sound { Ok(()) } else { Err(CliError::Told) }
    }
}

fn render(findings: &[Finding]) -> String {
    let mut table = Table::new(&["language", "tool", "state", "version"]);
    for finding in findings {
        table.row([
            finding.language.to_owned(),
            finding.tool.clone(),
            finding.state.to_owned(),
            finding.version.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let remedies = findings.iter().filter_map(|finding| finding.remedy.as_deref());
    remedies.fold(table.render(), |text, remedy| format!("{text}\n\n{remedy}"))
}

fn examine(dir: Option<&Path>) -> Result<Vec<Finding>, CliError> {
    let languages = match dir {
        Some(dir) => {
            vec![builder::language_of(dir).map_err(|error| CliError::Usage(error.to_string()))?]
        }
        None => vec![Language::Rust, Language::JavaScript, Language::Python],
    };
    let here = dir.unwrap_or(Path::new("."));
    let mut findings = Vec::new();
    for language in languages {
        findings.extend(builder::tools_of(language, here).into_iter().map(|tool| finding(language, tool)));
        if language == Language::Rust {
            findings.push(compiler(here));
        }
    }
    Ok(findings)
}

fn compiler(dir: &Path) -> Finding {
    let found = Toolchain::look(dir);
    Finding {
        language: Language::Rust.as_str(),
        tool: "compiler for WebAssembly".to_owned(),
        state: if found.is_ok() { "found" } else { "missing" },
        version: found
            .as_ref()
            .ok()
            .map(|toolchain| format!("{} ({})", toolchain.rustc_version(dir), toolchain.describe())),
        remedy: found.err().map(|error| error.to_string()),
    }
}

fn finding(language: Language, tool: Tool) -> Finding {
    let language = language.as_str();
    match tool {
        Tool::Program { name, version, fault } => Finding {
            language,
            tool: name.to_owned(),
            state: match (&fault, &version) {
                (None, _) => "found",
                (Some(_), None) => "missing",
                (Some(_), Some(_)) => "too-old",
            },
            version,
            remedy: fault.map(|fault| fault.to_string()),
        },
        Tool::Kit { name, version, installed } => Finding {
            language,
            tool: name,
            state: if installed { "found" } else { "at-first-build" },
            version: Some(version),
            remedy: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_tools_and_what_is_missing_its_remedy() {
        let findings = examine(None).unwrap();
        for language in ["rust", "javascript", "python"] {
            assert!(findings.iter().any(|finding| finding.language == language), "{language}");
        }
        for finding in &findings {
            let fine = matches!(finding.state, "found" | "at-first-build");
            assert_eq!(fine, finding.remedy.is_none(), "{finding:?}");
        }
    }

    #[test]
    fn a_plugin_asks_for_its_own_language_only() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(examine(Some(dir.path())), Err(CliError::Usage(_))));
        std::fs::write(dir.path().join("requirements.txt"), "").unwrap();
        let findings = examine(Some(dir.path())).unwrap();
        assert!(findings.iter().all(|finding| finding.language == "python"), "{findings:?}");
    }
}
