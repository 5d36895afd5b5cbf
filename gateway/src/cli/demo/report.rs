//! What a demo says: what flowed, the last line for programs, what to try next. It reads the ledger and
//! decides nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use gateway_policy::{Clause, Reason};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::Keys;
use super::setup::{SLOT, SLOT_PLUGIN};
use crate::cli::CliError;
use crate::cli::client::Client;
use crate::cli::flows::{self, decision_of, fields, reason_of};
use crate::pipeline::Counts;

/// The whole ledger, newest first.
pub(super) async fn flows(client: &Client, keys: &Keys) -> Result<Vec<Value>, CliError> {
    let (rows, _) = flows::read(&client.with_key(keys.auditor.clone()), Vec::new(), usize::MAX).await?;
    Ok(rows)
}

/// The JSON object that ends `demo --once`.
pub(super) fn last_line(counts: &Counts) -> String {
    let Counts { events, calls, allow, transform, withhold, delivered, failed, violations, flows, .. } =
        *counts;
    format!(
        "{{\"events\":{events},\"calls\":{calls},\
         \"fields\":{{\"allow\":{allow},\"transform\":{transform},\"withhold\":{withhold}}},\
         \"deliveries\":{{\"delivered\":{delivered},\"failed\":{failed}}},\
         \"violations\":{violations},\"flows\":{flows}}}"
    )
}

type Tally = BTreeMap<String, usize>;

fn count(tally: &mut Tally, what: &str) {
    *tally.entry(what.to_owned()).or_default() += 1;
}

fn total(tally: &Tally) -> usize {
    tally.values().sum()
}

/// The most frequent first.
fn sorted(tally: &Tally) -> Vec<(&str, usize)> {
    let mut pairs: Vec<(&str, usize)> = tally.iter().map(|(what, times)| (what.as_str(), *times)).collect();
    pairs.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    pairs
}

fn listed(tally: &Tally) -> String {
    let parts: Vec<String> = sorted(tally).iter().map(|(what, times)| format!("{what} {times}")).collect();
    parts.join(", ")
}

/// What flowed between one brand and one plugin.
#[derive(Default)]
struct Part {
    partner: String,
    recipient: Tally,
    outcomes: Tally,
    allowed: Tally,
    transformed: Tally,
    withheld: Tally,
    deliveries: Tally,
    returned: usize,
}

impl Part {
    fn add(&mut self, row: &Value) {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        self.partner = text("partner").to_owned();
        match text("stage") {
            "call" => {
                count(&mut self.recipient, text("recipient"));
                count(&mut self.outcomes, text("outcome"));
                for field in fields(row) {
                    let name = field.get("field").and_then(Value::as_str).unwrap_or_default();
                    match decision_of(field) {
                        Some("allow") => count(&mut self.allowed, name),
                        Some("transform") => count(&mut self.transformed, name),
                        _ => count(&mut self.withheld, reason_of(field).unwrap_or("unknown")),
                    }
                }
            }
            "delivery" => {
                let outcome = row.pointer("/result/outcome").and_then(Value::as_str);
                count(&mut self.deliveries, outcome.unwrap_or_else(|| text("outcome")));
            }
            "return" => self.returned += 1,
            _ => {}
        }
    }

    fn render(&self, brand: &str, plugin: &str) -> String {
        let mut text = String::new();
        let mut line = |label: &str, what: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {label:<12}{what}");
        };
        line("calls", &listed(&self.outcomes));
        line("allowed", &format!("{} fields: {}", total(&self.allowed), listed(&self.allowed)));
        if !self.transformed.is_empty() {
            line("transformed", &listed(&self.transformed));
        }
        line("withheld", &format!("{} fields", total(&self.withheld)));
        for (reason, times) in sorted(&self.withheld) {
            let why = explain(reason);
            line("", format!("{times} {reason}  {why}").trim_end());
        }
        if !self.deliveries.is_empty() {
            line("deliveries", &listed(&self.deliveries));
        }
        if self.returned > 0 {
            line("returned", &format!("{} times to {brand}", self.returned));
        }
        let relation = sorted(&self.recipient).first().map_or("", |(relation, _)| *relation);
        format!("{plugin} of {} ({relation}), for {brand}\n{text}", self.partner)
    }
}

/// The clause's sentence, where the reason is a clause.
fn explain(reason: &str) -> &'static str {
    reason.parse().ok().and_then(Reason::clause).map_or("", Clause::summary)
}

/// What flowed, for people.
pub(super) fn summary(flows: &[Value], counts: &Counts, received: u64) -> String {
    let mut parts: BTreeMap<(String, String), Part> = BTreeMap::new();
    for row in flows {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        parts.entry((text("brand"), text("plugin"))).or_default().add(row);
    }
    let mut text = "What flowed\n\n".to_owned();
    for ((brand, plugin), part) in &parts {
        text.push_str(&part.render(brand, plugin));
        text.push('\n');
    }
    let _ = write!(
        text,
        "{} events, {} calls, {} outcomes refused, {} rows in the ledger; the partner's endpoint received {received} requests",
        counts.events, counts.calls, counts.violations, counts.flows
    );
    text
}

/// Address, keys, and three commands to paste.
pub(super) fn what_next(address: SocketAddr, keys: &Keys) -> String {
    let mut text =
        format!("The gateway listens on http://{address}\n\nIts keys, as long as this demo runs:\n");
    let mut key = |role: &str, scope: &str, secret: &secrecy::SecretString| {
        let _ = writeln!(text, "  {role:<9} {scope:<17} {}", secret.expose_secret());
    };
    key("operator", "", &keys.operator);
    key("auditor", "", &keys.auditor);
    for (brand, source, own) in &keys.brands {
        key("source", brand, source);
        key("brand", brand, own);
    }
    for (partner, own) in &keys.partners {
        key("partner", partner, own);
    }

    let brand = keys.brands.first().map_or("", |(brand, ..)| brand);
    let secret = |key: Option<&secrecy::SecretString>| {
        key.map(|key| key.expose_secret().to_owned()).unwrap_or_default()
    };
    let (source, own) = (secret(keys.source(brand)), secret(keys.brand(brand)));
    let auditor = secret(Some(&keys.auditor));
    let event = format!(
        r#"{{"specversion":"1.0","id":"try-'$(date +%s%N)'","source":"/try","type":"page.viewed","subject":"visitor-1","brand":"{brand}","region":"US","data":{{"url":"https://{brand}.example/offers","seconds_on_page":75,"device_type":"desktop"}}}}"#
    );
    let _ = write!(
        text,
        "
What to try next

1. Ask whether a page shows its chat button:

curl -sS -X POST http://{address}/v1/brands/{brand}/decisions/{SLOT} \\
  -H 'Authorization: Bearer {source}' -H 'Content-Type: application/cloudevents+json' \\
  -d '{event}'

2. Turn that integration off, then ask again: the answer is null, with its reason.

curl -sS -X DELETE http://{address}/v1/brands/{brand}/connections/{SLOT_PLUGIN} \\
  -H 'Authorization: Bearer {own}'

3. See what was shared of that brand's consumers, with whom, and why:

curl -sS 'http://{address}/v1/flows?brand={brand}&limit=5' \\
  -H 'Authorization: Bearer {auditor}'

ctrl-c ends the demo and deletes its data."
    );
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_line_is_the_object_that_was_agreed_on() {
        let counts = Counts {
            events: 1,
            calls: 2,
            allow: 3,
            transform: 4,
            withhold: 5,
            delivered: 6,
            failed: 7,
            violations: 8,
            flows: 9,
            unrecorded: 10,
        };
        assert_eq!(
            last_line(&counts),
            r#"{"events":1,"calls":2,"fields":{"allow":3,"transform":4,"withhold":5},"deliveries":{"delivered":6,"failed":7},"violations":8,"flows":9}"#
        );
    }

    #[test]
    fn the_summary_tells_what_was_withheld_and_why() {
        let flows = [
            json!({ "stage": "delivery", "brand": "b", "plugin": "p", "partner": "q", "outcome": "attempt",
                "result": { "outcome": "delivered" } }),
            json!({ "stage": "call", "brand": "b", "plugin": "p", "partner": "q", "recipient": "third-party",
                "outcome": "ran", "fields": [
                    { "field": "/a", "decision": "allow", "reason": "clause:integrations.share" },
                    { "field": "/b", "decision": "withhold", "reason": "clause:share.content" } ] }),
        ];
        let text = summary(&flows, &Counts::default(), 1);
        for part in [
            "p of q (third-party), for b",
            "calls       ran 1",
            "1 fields: /a 1",
            "1 clause:share.content  The contents of conversations",
            "deliveries  delivered 1",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
