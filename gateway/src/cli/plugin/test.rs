//! `gateway plugin test`: a plugin's cases, run through the boundary and the sandbox of production.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::rehearse::{RehearseArgs, expectation, listed, value, written};
use super::run::said;
use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs, Table};
use crate::pipeline::{CaseProblem, Rehearsal, RehearsedPlugin, differences, read_case};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Test {
    #[command(flatten)]
    rehearse: RehearseArgs,
    /// The folder of cases; left out: `cases` in the plugin's directory
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Write what came of each case as what it expects
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// What came of one case.
pub(super) struct Tested {
    name: String,
    /// `passed`, `differs`, `updated` or `broken`.
    verdict: &'static str,
    /// Differences or problems.
    lines: Vec<String>,
    outcome: Option<Value>,
}

impl Test {
    pub(super) async fn run(self) -> Result<(), CliError> {
        if self.cases.is_none() && self.rehearse.dir.is_file() {
            let file = self.rehearse.dir.display();
            return Err(CliError::Usage(format!(
                "{file} is a component; name its folder of cases with --cases"
            )));
        }
        let cases = self.cases.clone().unwrap_or_else(|| self.rehearse.dir.join("cases"));
        let folders = folders(&cases)?;
        let (rehearsal, plugin) = self.rehearse.prepare().await?;
        let mut tested = Vec::with_capacity(folders.len());
        for (name, dir) in folders {
            tested.push(one(&rehearsal, &plugin, name, &dir, self.update).await?);
        }
        let failed = failed(&tested);
        if self.format.json() {
            let listed = tested.iter().map(|one| {
                json!({
                    "case": one.name, "verdict": one.verdict, "lines": one.lines, "outcome": one.outcome,
                })
            });
            output::json(&listed.collect::<Vec<_>>())?;
        } else {
            output::line(&render(&tested))?;
        }
        if failed == 0 { Ok(()) } else { Err(CliError::Told) }
    }
}

/// How many did not come out as expected.
pub(super) fn failed(tested: &[Tested]) -> usize {
    tested.iter().filter(|one| matches!(one.verdict, "differs" | "broken")).count()
}

/// Runs every case in a folder of cases.
pub(super) async fn all(
    rehearsal: &Rehearsal,
    plugin: &RehearsedPlugin,
    cases: &Path,
) -> Result<Vec<Tested>, CliError> {
    let mut tested = Vec::new();
    for (name, dir) in folders(cases)? {
        tested.push(one(rehearsal, plugin, name, &dir, false).await?);
    }
    Ok(tested)
}

async fn one(
    rehearsal: &Rehearsal,
    plugin: &RehearsedPlugin,
    name: String,
    dir: &Path,
    update: bool,
) -> Result<Tested, CliError> {
    let label = format!("cases/{name}");
    let broken = |name: String, problems: Vec<CaseProblem>| Tested {
        name,
        verdict: "broken",
        lines: listed(&problems).lines().map(|line| line.trim().to_owned()).collect(),
        outcome: None,
    };
    let (case, expected) = match read_case(dir, &label) {
        Ok(read) => read,
        Err(problems) => return Ok(broken(name, problems)),
    };
    let called = match rehearsal.run(plugin, case, &label).await {
        Ok(called) => value(&called)?,
        Err(problems) => return Ok(broken(name, problems)),
    };
    let (verdict, lines) = if update {
        write_expected(dir, &called)?;
        ("updated", Vec::new())
    } else {
        match &expected {
            None => {
                let line = format!("{label}/expected.json: is missing; `--update` writes it");
                ("broken", vec![line])
            }
            Some(expected) => match differences(expected, &called) {
                none if none.is_empty() => ("passed", none),
                some => ("differs", some),
            },
        }
    };
    Ok(Tested { name, verdict, lines, outcome: Some(called) })
}

/// The folders of cases, by name: without hidden ones, such as what a write that broke off left.
fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(CliError::file("reading the cases in", dir))? {
        let path = entry.map_err(CliError::file("reading the cases in", dir))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') {
            found.push((name, path));
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(CliError::FellShort(format!(
            "{} has no case; make a folder in it with an event.json",
            dir.display()
        )));
    }
    Ok(found)
}

fn write_expected(dir: &Path, called: &Value) -> Result<(), CliError> {
    let path = dir.join("expected.json");
    std::fs::write(&path, written(&expectation(called))?).map_err(CliError::file("writing", &path))
}

/// A table of them, and how those differ that do.
pub(super) fn render(tested: &[Tested]) -> String {
    let failed = failed(tested);
    let mut table = Table::new(&["case", "verdict", "outcome", "requests", "fuel", "memory"]);
    for one in tested {
        let of = |key: &str| one.outcome.as_ref().and_then(|outcome| outcome.get(key));
        let number = |key: &str| of(key).map_or_else(|| "-".to_owned(), ToString::to_string);
        let requests = of("requests").and_then(Value::as_array).map_or(0, Vec::len);
        let outcome = of("outcome").and_then(Value::as_str).unwrap_or("-").to_owned();
        table.row([
            one.name.clone(),
            one.verdict.to_owned(),
            outcome,
            requests.to_string(),
            number("fuel"),
            number("memory-bytes"),
        ]);
    }
    let mut text = table.render();
    for one in tested.iter().filter(|one| !one.lines.is_empty()) {
        let mut lines = one.lines.clone();
        lines.extend(one.outcome.iter().filter(|_| one.verdict == "differs").flat_map(said));
        text.push_str(&format!("\n\n{}:\n  {}", one.name, lines.join("\n  ")));
    }
    text.push_str(&format!("\n\n{} of {} passed", tested.len() - failed, tested.len()));
    text
}
