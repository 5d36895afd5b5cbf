//! `gateway plugin run`: one event through the boundary and the sandbox of production, and what came of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rehearse::{RehearseArgs, listed, value};
use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs, Table};
use crate::pipeline::{Case, read_document};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    rehearse: RehearseArgs,
    /// The event: a CloudEvent in JSON
    #[arg(long)]
    event: PathBuf,
    /// The connection: grant, settings, the partner's record; left out: everything is granted
    #[arg(long)]
    connection: Option<PathBuf>,
    /// What the consumer chose, as in the API
    #[arg(long)]
    choices: Option<PathBuf>,
    /// The hook to call, where the event calls more than one: `share TYPE` or `decide SLOT`
    #[arg(long)]
    hook: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Run {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let event = std::fs::read(&self.event).map_err(CliError::file("reading", &self.event))?;
        let case = Case {
            event: Some(event),
            connection: document(self.connection.as_deref())?,
            choices: document(self.choices.as_deref())?,
            hook: self.hook.clone(),
            ..Case::default()
        };
        let (rehearsal, plugin) = self.rehearse.prepare().await?;
        let called = rehearsal.run(&plugin, case, "").await.map_err(|problems| {
            CliError::FellShort(format!("the call cannot be made:\n{}", listed(&problems)))
        })?;
        let called = value(&called)?;
        if self.format.json() { output::json(&called) } else { output::line(&render(&called)) }
    }
}

/// A document of a file; its default where there is none.
fn document<T: serde::de::DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, CliError> {
    let Some(path) = path else { return Ok(T::default()) };
    let bytes = std::fs::read(path).map_err(CliError::file("reading", path))?;
    read_document(&bytes)
        .map_err(|unreadable| CliError::FellShort(format!("{}: {}", path.display(), unreadable.problem)))
}

/// For people: fields as a table, then what came of the call.
fn render(called: &Value) -> String {
    let labels = |of: Option<&Value>| {
        let labels = of.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        labels.collect::<Vec<_>>().join(", ")
    };
    let mut table = Table::new(&["field", "access", "verdict", "reason", "labels"]);
    for (name, field) in called.get("fields").and_then(Value::as_object).into_iter().flatten() {
        let of = |key: &str| text(field.get(key));
        table.row([name.clone(), of("access"), of("verdict"), of("reason"), labels(field.get("labels"))]);
    }
    let mut lines = vec![
        format!(
            "{}: {} ({})",
            text(called.get("hook")),
            text(called.get("outcome")),
            text(called.get("recipient"))
        ),
        table.render(),
    ];
    if let Some(returned) = called.get("returned").filter(|returned| !returned.is_null()) {
        lines.push(format!("returned: {}", text(returned.get("value"))));
    }
    for kind in ["requests", "exchanges"] {
        for request in called.get(kind).and_then(Value::as_array).into_iter().flatten() {
            lines.push(format!(
                "{} to {}: {}; path {}; headers {}; labels {}\n{}",
                kind.trim_end_matches('s'),
                text(request.get("endpoint")),
                text(request.get("outcome")),
                text(request.get("path")),
                text(request.get("headers")),
                labels(request.get("labels")),
                text(request.get("body")),
            ));
        }
    }
    lines.extend(said(called));
    let cost = (text(called.get("fuel")), text(called.get("memory-bytes")));
    lines.push(format!("fuel {}, memory {} bytes", cost.0, cost.1));
    lines.join("\n")
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

/// Why a call failed, where it did, and what it wrote.
pub(super) fn said(called: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(failure) = called.get("failure").filter(|failure| !failure.is_null()) {
        let said = failure.get("said").map(|said| format!("; it said: {}", text(Some(said))));
        lines.push(format!("failed: {}{}", text(failure.get("message")), said.unwrap_or_default()));
    }
    for line in called.get("log").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("log {}: {}", text(line.get("level")), text(line.get("message"))));
    }
    for (count, what) in [("log-dropped", "not kept"), ("log-cut", "cut")] {
        if let Some(count) = called.get(count) {
            lines.push(format!("log: {} lines were over the limit and {what}", text(Some(count))));
        }
    }
    lines
}
