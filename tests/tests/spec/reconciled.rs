//! The demo with every sample plugin on: what all partners received against what the ledger says that they received.

mod leaves;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use gateway::manifest::Language;
use gateway_tests::{child, events, paths};
use serde_json::Value;

use crate::demo::unescaped;
use crate::languages::has_tools;
use crate::leaks::values_of;
use crate::worked_out::values;

/// Shorter values of the input stand in any text; `leaves` has them, place by place.
const AT_LEAST: usize = 6;

/// What one run left.
pub(crate) struct Run {
    /// What it printed.
    pub(crate) text: String,
    input: Vec<Value>,
    received: Vec<Value>,
    flows: Vec<Value>,
}

fn run(input: &Path) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    let arguments: [&OsStr; 6] = [
        "--once".as_ref(),
        "--all".as_ref(),
        "--record".as_ref(),
        record.as_os_str(),
        "--input".as_ref(),
        input.as_os_str(),
    ];
    let output = child::command(dir.path()).arg("demo").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    Run {
        text,
        input: events::read(input),
        received: events::read(&record.join("received.jsonl")),
        flows: events::read(&record.join("flows.jsonl")),
    }
}

/// On the project's own sample, and on the real events where they are beside this checkout; each once.
pub(crate) fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| {
        [Some(paths::sample()), paths::shared("events.jsonl")]
            .iter()
            .flatten()
            .map(|path| run(path))
            .collect()
    })
}

/// The delivery's or the exchange's id, as both sides have it.
fn id_of(received: &Value) -> &str {
    let id = received["headers"]["webhook-id"].as_str().expect("a request has its webhook-id");
    id.strip_prefix("msg_").expect("which is made of the ledger's id")
}

/// Rows of requests that arrived.
fn arrived(run: &Run) -> Vec<&Value> {
    let outcome = |row: &Value| row["result"]["outcome"].as_str().unwrap_or_default().to_owned();
    run.flows.iter().filter(|row| ["delivered", "answered"].contains(&outcome(row).as_str())).collect()
}

#[test]
fn every_row_that_says_it_arrived_is_at_its_partner_once_and_the_other_way_round() {
    for run in runs() {
        let mut said: Vec<(String, &str)> = arrived(run)
            .iter()
            .map(|row| (format!("{}.example", domain_of(row)), row["delivery"].as_str().unwrap()))
            .collect();
        let mut got: Vec<(String, &str)> = run
            .received
            .iter()
            .map(|request| {
                let host = request["headers"]["host"].as_str().unwrap();
                // HOST.PARTNER.example
                (host.split_once('.').unwrap().1.to_owned(), id_of(request))
            })
            .collect();
        said.sort_unstable();
        got.sort_unstable();
        assert_eq!(said, got);
        let partners: BTreeSet<&str> = arrived(run).iter().map(|row| domain_of(row)).collect();
        // Where npm is missing and this is no CI, the plugin in JavaScript is left out.
        let expected = ["acme", "gold-club", "ident"].into();
        assert!(partners.is_superset(&expected), "{partners:?}");
    }
}

/// Each runs: one sends what it places, the other gives figures back. Where the tools of a language are missing and this is
/// no CI, its plugin is left out.
#[test]
fn the_plugins_in_javascript_and_python_have_rows() {
    for (language, plugin, stage, outcome) in [
        (Language::JavaScript, "visit-note", "delivery", "attempt"),
        (Language::Python, "reply-length", "return", "returned"),
    ] {
        if !has_tools(language) {
            continue;
        }
        for run in runs() {
            let rows = |stage: &str, outcome: &str| {
                let all = run.flows.iter().filter(|row| row["plugin"] == plugin && row["stage"] == stage);
                all.filter(|row| row["outcome"] == outcome).count()
            };
            assert!(rows("call", "ran") > 0 && rows(stage, outcome) > 0, "{plugin}: no rows of {stage}");
        }
    }
}

/// The partner's domain without what all have in common.
fn domain_of(row: &Value) -> &str {
    match row["partner"].as_str().unwrap() {
        "acme-crm" => "acme",
        partner => partner,
    }
}

/// What a request holds of the input is what the row of that request allows, of one event: nothing of another consumer,
/// and no field beside.
#[test]
fn no_value_of_the_input_is_at_a_partner_whose_row_does_not_allow_it() {
    for run in runs() {
        let known: Vec<String> = values_of(&run.input, AT_LEAST).into_keys().collect();
        let search = AhoCorasick::new(&known).unwrap();
        let by_id: BTreeMap<&str, &Value> =
            arrived(run).into_iter().map(|row| (row["delivery"].as_str().unwrap(), row)).collect();
        let mut leaks = Vec::new();
        let mut found = 0;
        for request in &run.received {
            let row = by_id.get(id_of(request)).unwrap_or_else(|| panic!("no row explains {request}"));
            let allowed: Vec<&str> = row["fields"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|field| ["allow", "transform"].contains(&field["decision"].as_str().unwrap()))
                .map(|field| field["field"].as_str().unwrap())
                .collect();
            let text = unescaped(&request.to_string());
            found += usize::from(search.is_match(&text));
            let of_its_kind = run
                .input
                .iter()
                .filter(|event| event["brand"] == row["brand"] && event["type"] == row["event_type"]);
            // What is left of it once the allowed values of one event are taken out.
            let explained = of_its_kind.into_iter().any(|event| {
                let own = allowed.iter().flat_map(|field| values(&event["data"], field));
                let own = own.chain([&event["time"]]).filter_map(Value::as_str);
                let mut own: Vec<&str> = own.filter(|value| value.len() >= AT_LEAST).collect();
                // A value may be a part of another.
                own.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
                let rest = own.iter().fold(text.clone(), |rest, value| rest.replace(value, ""));
                !search.is_match(&rest)
            });
            if !explained {
                leaks.push(format!("{request}\n  by {row}"));
            }
        }
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
        assert!(found >= 5, "there was something to find: {found}");
    }
}
