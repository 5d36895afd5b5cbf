//! `gateway plugin status`: how a partner's plugins did over the last day.

use serde_json::Value;

use crate::cli::CliError;
use crate::cli::client::ClientArgs;
use crate::cli::output::{self, FormatArgs, Table};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Status {
    /// The plugin; every one of the partner's where not given
    plugin: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

const COLUMNS: [(&str, &str); 10] = [
    ("brand", "brand"),
    ("plugin", "plugin"),
    ("calls", "calls"),
    ("failures", "failures"),
    ("p50 ms", "p50_milliseconds"),
    ("p99 ms", "p99_milliseconds"),
    ("fuel", "fuel"),
    ("breaker", "breaker"),
    ("waiting", "deliveries_waiting"),
    ("dead", "deliveries_dead"),
];

impl Status {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let answer = self.client.connect()?.get("/v1/partner/status", &[]).await?;
        let of_plugin = |entry: &&Value| {
            let name = entry.get("plugin").and_then(Value::as_str);
            self.plugin.is_none() || name == self.plugin.as_deref()
        };
        let entries: Vec<&Value> = answer.as_array().into_iter().flatten().filter(of_plugin).collect();
        if self.format.json() {
            return output::json(&entries);
        }
        output::line(&shown(&entries))
    }
}

/// The figures as a table, and below it what asks for the partner's attention.
fn shown(entries: &[&Value]) -> String {
    let mut table = Table::new(&COLUMNS.map(|(heading, _)| heading));
    let mut lines = Vec::new();
    for entry in entries {
        table.row(COLUMNS.map(|(_, key)| member(entry, key)));
        let of = format!("{} at {}", member(entry, "plugin"), member(entry, "brand"));
        if let Some(reason) = entry.get("blocked").and_then(Value::as_str) {
            lines.push(format!(
                "{of}: the operator blocked its release: {reason} (plugin-sdk/docs/errors.md#blocked)"
            ));
        }
        for warning in entry.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            let member = |key| member(warning, key);
            lines.push(format!(
                "{of}: {} of its calls used more than 80 % of `{}`; the most was {} of {} allowed (plugin-sdk/docs/limits.md)",
                member("calls"),
                member("budget"),
                member("used"),
                member("allowed"),
            ));
        }
    }
    lines.insert(0, table.render());
    lines.join("\n")
}

fn member(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(number) => number.to_string(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::shown;

    #[test]
    fn a_block_and_each_budget_that_calls_came_near_have_a_line_below_the_figures() {
        let quiet = json!({ "brand": "dental", "plugin": "lead", "calls": 0, "warnings": [] });
        let busy = json!({
            "brand": "motors", "plugin": "lead", "calls": 7, "blocked": "it loses leads",
            "warnings": [{ "budget": "fuel", "calls": 3, "used": 480, "allowed": 500 }],
        });
        let text = shown(&[&quiet, &busy]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("motors  lead    7      -"), "{text}");
        assert_eq!(
            lines[3..],
            [
                "lead at motors: the operator blocked its release: it loses leads (plugin-sdk/docs/errors.md#blocked)",
                "lead at motors: 3 of its calls used more than 80 % of `fuel`; the most was 480 of 500 allowed (plugin-sdk/docs/limits.md)",
            ]
        );
    }
}
