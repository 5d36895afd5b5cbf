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
        let mut table = Table::new(&COLUMNS.map(|(heading, _)| heading));
        for entry in entries {
            table.row(COLUMNS.map(|(_, key)| match entry.get(key) {
                Some(Value::String(text)) => text.clone(),
                Some(number) => number.to_string(),
                None => "-".to_owned(),
            }));
        }
        output::line(&table.render())
    }
}
