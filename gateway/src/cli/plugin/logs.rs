//! `gateway plugin logs`: what a partner's plugins wrote, and which of their calls failed.

use serde_json::{Value, json};

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
    /// Calls at most, 1 to 1000
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
        query.push(("outcome", "failed".to_owned()));
        let failed = client.get("/v1/partner/calls", &query).await?;
        if self.format.json() {
            return output::json(&json!({ "logs": logs, "failed": failed }));
        }
        let mut lines: Vec<[String; 5]> = Vec::new();
        for log in items(&logs) {
            let of = |level: &str, text: &str| {
                [text_of(log, "at"), text_of(log, "brand"), text_of(log, "plugin"), level.into(), text.into()]
            };
            for line in log.get("lines").and_then(Value::as_array).into_iter().flatten() {
                let part = |at: usize| line.get(at).and_then(Value::as_str).unwrap_or_default();
                lines.push(of(part(0), part(1)));
            }
            for (count, what) in [
                ("lines_dropped", "more lines were over the limit and not kept"),
                ("lines_cut", "lines were longer than a line may be and are cut"),
            ] {
                let count = log.get(count).and_then(Value::as_u64).unwrap_or(0);
                if count > 0 {
                    lines.push(of("-", &format!("({count} {what})")));
                }
            }
            if let Some(failure) = log.get("failure").and_then(Value::as_str) {
                lines.push(of("failure", failure));
            }
        }
        for call in items(&failed) {
            let code = format!("see plugin-sdk/docs/errors.md#{}", text_of(call, "code"));
            let of = |key: &str| text_of(call, key);
            lines.push([of("at"), of("brand"), of("plugin"), "failed".into(), code]);
        }
        lines.sort();
        let mut table = Table::new(&["at", "brand", "plugin", "level", "text"]);
        lines.into_iter().for_each(|line| table.row(line));
        output::line(&table.render())
    }
}

fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page.get("items").and_then(Value::as_array).into_iter().flatten()
}

fn text_of(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned()
}
