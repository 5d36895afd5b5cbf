//! `gateway plugin logs`: what a partner's plugins wrote, which of their calls failed, and which came near a limit.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::CliError;
use crate::cli::client::ClientArgs;
use crate::cli::output::{self, FormatArgs, Table};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Logs {
    /// The plugin; every one of the partner's where not given
    plugin: Option<String>,
    /// Only at this brand
    #[arg(long)]
    brand: Option<String>,
    /// Calls at most, of those that wrote and of those that failed each, 1 to 1000
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Logs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.client.connect()?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.plugin.map(|plugin| ("plugin", plugin)));
        query.extend(self.brand.map(|brand| ("brand", brand)));
        let logs = client.get("/v1/partner/logs", &query).await?;
        let newest = client.get("/v1/partner/calls", &query).await?;
        query.push(("outcome", "failed".to_owned()));
        let failed = client.get("/v1/partner/calls", &query).await?;
        let warned: Vec<&Value> = items(&newest).filter(|call| warnings(call).next().is_some()).collect();
        if self.format.json() {
            return output::json(&json!({ "logs": logs, "failed": failed, "warned": warned }));
        }
        let mut lines: Vec<[String; 5]> = items(&logs).flat_map(written).collect();
        lines.extend(items(&failed).map(failure));
        // What a failed call used is in its own line.
        let answered = warned.into_iter().filter(|call| text_of(call, "outcome") != "failed");
        lines.extend(answered.map(|call| line(call, "budget", &used(call))));
        in_order(&mut lines);
        let mut table = Table::new(&["at", "brand", "plugin", "level", "text"]);
        lines.into_iter().for_each(|line| table.row(line));
        output::line(&table.render())
    }
}

/// By time alone, which as text may lack digits at its end: what a call wrote stays in its order.
fn in_order(lines: &mut [[String; 5]]) {
    lines.sort_by_key(|[at, ..]| OffsetDateTime::parse(at, &Rfc3339).ok());
}

/// What a call wrote, with what is missing of it.
fn written(log: &Value) -> Vec<[String; 5]> {
    let mut lines = Vec::new();
    for written in log.get("lines").and_then(Value::as_array).into_iter().flatten() {
        let part = |at: usize| written.get(at).and_then(Value::as_str).unwrap_or_default();
        lines.push(line(log, part(0), part(1)));
    }
    for (count, what) in [
        ("lines_dropped", "more lines were over the limit and not kept"),
        ("lines_cut", "lines were longer than a line may be and are cut"),
    ] {
        let count = log.get(count).and_then(Value::as_u64).unwrap_or(0);
        if count > 0 {
            lines.push(line(log, "-", &format!("({count} {what})")));
        }
    }
    if let Some(failure) = log.get("failure").and_then(Value::as_str) {
        lines.push(line(log, "failure", failure));
    }
    lines
}

/// That a call failed: where to read about it, and the budgets that it used up or came near.
fn failure(call: &Value) -> [String; 5] {
    let mut text = format!("see plugin-sdk/docs/errors.md#{}", text_of(call, "code"));
    if warnings(call).next().is_some() {
        text = format!("{}; {text}", used(call));
    }
    line(call, "failed", &text)
}

fn line(of: &Value, level: &str, text: &str) -> [String; 5] {
    [text_of(of, "at"), text_of(of, "brand"), text_of(of, "plugin"), level.into(), text.into()]
}

fn warnings(call: &Value) -> impl Iterator<Item = &Value> {
    call.get("warnings").and_then(Value::as_array).into_iter().flatten()
}

/// Each budget that the call warns of, with what was used and what is allowed.
fn used(call: &Value) -> String {
    let number = |warning: &Value, key| warning.get(key).and_then(Value::as_u64).unwrap_or_default();
    let each = warnings(call).map(|warning| {
        let (used, allowed) = (number(warning, "used"), number(warning, "allowed"));
        format!("{}: {used} used, {allowed} allowed", text_of(warning, "budget"))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page.get("items").and_then(Value::as_array).into_iter().flatten()
}

fn text_of(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_the_order_of_their_time_and_those_of_one_call_in_theirs() {
        let said = |at: &str, text: &str| [at, "-", "-", "info", text].map(str::to_owned);
        let (early, late) = ("2026-01-01T00:00:07.27Z", "2026-01-01T00:00:07.279Z");
        let mut lines =
            vec![said(late, "b"), said(late, "a"), said(early, "c"), said("2026-01-01T00:00:07Z", "d")];
        in_order(&mut lines);
        assert_eq!(lines.iter().map(|line| line[4].as_str()).collect::<Vec<_>>(), ["d", "c", "b", "a"]);
    }

    #[test]
    fn a_cut_log_and_an_overrun_say_how_much_is_missing_or_was_used() {
        let log = json!({
            "at": "T", "brand": "motors", "plugin": "lead", "lines": [["info", "x… [cut: 9 bytes more]"]],
            "lines_dropped": 4, "lines_cut": 1, "failure": "no lead",
        });
        let lines = written(&log).into_iter().map(|line| format!("{} {}", line[3], line[4]));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "info x… [cut: 9 bytes more]",
                "- (4 more lines were over the limit and not kept)",
                "- (1 lines were longer than a line may be and are cut)",
                "failure no lead",
            ]
        );
        let fuel = json!([{ "budget": "fuel", "used": 500, "allowed": 500 }]);
        for (warnings, text) in [
            (fuel, "fuel: 500 used, 500 allowed; see plugin-sdk/docs/errors.md#out-of-fuel"),
            (json!([]), "see plugin-sdk/docs/errors.md#out-of-fuel"),
        ] {
            let call = json!({ "at": "T", "code": "out-of-fuel", "warnings": warnings });
            assert_eq!(failure(&call), ["T", "-", "-", "failed", text]);
        }
    }
}
