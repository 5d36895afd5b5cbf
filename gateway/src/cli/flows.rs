//! `gateway flows`: the ledger, through the API of a running gateway.

use std::collections::BTreeSet;

use serde_json::Value;

use super::CliError;
use super::client::{Client, ClientArgs};
use super::output::{self, FormatArgs, Table};

/// Rows of one page: the most that the API gives.
const PAGE: usize = 1000;

/// Read the ledger: what was shared with whom, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key of role auditor reads all of it, a key of role brand its own. JSON output has every row whole:
each field with its verdict and reason.

Examples:
  gateway flows --brand northside-motors --partner acme-crm --category user.contact.email
  gateway flows --verdict withhold --from 2026-01-01T00:00:00Z --limit 1000 --format json")]
pub(super) struct Flows {
    #[command(flatten)]
    filter: Filter,
    /// Rows at most, newest first; it says so where there are more
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    limit: usize,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// What to look for; each narrows it down.
#[derive(Debug, Default, clap::Args)]
struct Filter {
    /// One brand
    #[arg(long)]
    brand: Option<String>,
    /// One consumer: the brand's id for them (then --brand is needed), or the ledger's pseudonym
    #[arg(long)]
    consumer: Option<String>,
    /// One plugin
    #[arg(long)]
    plugin: Option<String>,
    /// One partner
    #[arg(long)]
    partner: Option<String>,
    /// A data category, with all below it
    #[arg(long)]
    category: Option<String>,
    /// share, decide, return, …
    #[arg(long)]
    flow: Option<String>,
    /// call, delivery, return, receive, exchange, aggregate or disclose
    #[arg(long)]
    stage: Option<String>,
    /// allow, transform or withhold: rows with at least one such field
    #[arg(long)]
    verdict: Option<String>,
    /// Not before, RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// Before, RFC 3339
    #[arg(long)]
    until: Option<String>,
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, String)> {
        [
            ("brand", &self.brand),
            ("consumer", &self.consumer),
            ("plugin", &self.plugin),
            ("partner", &self.partner),
            ("category", &self.category),
            ("flow", &self.flow),
            ("stage", &self.stage),
            ("verdict", &self.verdict),
            ("from", &self.from),
            ("until", &self.until),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.clone().map(|value| (key, value)))
        .collect()
    }
}

impl Flows {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let (rows, more) = read(&self.client.connect()?, self.filter.query(), self.limit).await?;
        if more {
            eprintln!("there are more rows than these {}; raise --limit", rows.len());
        }
        if self.format.json() {
            return output::json(&rows);
        }
        let mut table = Table::new(&[
            "at",
            "stage",
            "flow",
            "brand",
            "plugin",
            "partner",
            "consumer",
            "outcome",
            "allow",
            "withhold",
            "endpoint",
            "declassified",
        ]);
        for row in &rows {
            table.row(cells(row));
        }
        if table.is_empty() {
            let named = self.filter.brand.or(self.filter.plugin).or(self.filter.partner).is_some();
            let hint = if named { "; a name that nothing has finds nothing either" } else { "" };
            return output::line(&format!("no flows{hint}"));
        }
        output::line(&table.render())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "a whole number from 1".to_owned())
}

/// Rows of the ledger, newest first, page after page until `limit` or the end; whether there are more.
pub(super) async fn read(
    client: &Client,
    query: Vec<(&'static str, String)>,
    limit: usize,
) -> Result<(Vec<Value>, bool), CliError> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    while rows.len() < limit {
        let mut query = query.clone();
        query.push(("limit", PAGE.min(limit - rows.len()).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = client.get("/v1/flows", &query).await?;
        let items = page.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        rows.extend(items.unwrap_or_default());
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok((rows, cursor.is_some()))
}

fn cells(row: &Value) -> Vec<String> {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let result = row.pointer("/result/outcome").and_then(Value::as_str);
    let outcome = match result {
        Some(result) => format!("{} {result}", text("outcome")),
        None => text("outcome"),
    };
    vec![
        text("at"),
        text("stage"),
        text("flow"),
        text("brand"),
        text("plugin"),
        text("partner"),
        text("consumer"),
        outcome,
        count(row, "allow").to_string(),
        count(row, "withhold").to_string(),
        text("endpoint"),
        declassified(row),
    ]
}

/// The declassifications by which fields of a row left.
fn declassified(row: &Value) -> String {
    let rules: BTreeSet<&str> =
        fields(row).filter_map(|field| field.get("declassified").and_then(Value::as_str)).collect();
    if rules.is_empty() { "-".to_owned() } else { rules.into_iter().collect::<Vec<_>>().join(" ") }
}

/// How many fields of a row have this verdict.
fn count(row: &Value, decision: &str) -> usize {
    fields(row).filter(|field| decision_of(field) == Some(decision)).count()
}

/// The fields of a row, each with its verdict.
pub(super) fn fields(row: &Value) -> impl Iterator<Item = &Value> {
    row.get("fields").and_then(Value::as_array).into_iter().flatten()
}

/// `allow`, `transform` or `withhold`.
pub(super) fn decision_of(field: &Value) -> Option<&str> {
    field.get("decision").and_then(Value::as_str)
}

/// Why.
pub(super) fn reason_of(field: &Value) -> Option<&str> {
    field.get("reason").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_ledger_becomes_a_row_of_the_table() {
        let row: Value = serde_json::json!({
            "at": "2026-01-01T00:00:00Z", "stage": "delivery", "flow": "share", "brand": "b", "plugin": "p",
            "partner": "q", "consumer": "0a", "outcome": "attempt", "endpoint": "leads",
            "fields": [
                { "field": "/a", "decision": "allow", "reason": "clause:share.brand" },
                { "field": "/b", "decision": "withhold", "reason": "no-permit" },
                { "field": "/c", "decision": "withhold", "reason": "not-granted" },
                { "field": "/d", "decision": "transform", "reason": "clause:share.brand", "declassified": "number-to-country" }
            ],
            "result": { "outcome": "delivered", "status": 200 }
        });
        let expected =
            "2026-01-01T00:00:00Z|delivery|share|b|p|q|0a|attempt delivered|1|2|leads|number-to-country";
        assert_eq!(cells(&row).join("|"), expected);
    }

    #[test]
    fn filters_are_passed_on_by_the_apis_names() {
        let filter =
            Filter { brand: Some("b".into()), verdict: Some("withhold".into()), ..Filter::default() };
        assert_eq!(filter.query(), [("brand", "b".to_owned()), ("verdict", "withhold".to_owned())]);
    }
}
