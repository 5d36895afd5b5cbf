//! `policies/README.md` lists every clause about data with the rules, the tests and the properties that
//! keep it, and all of them exist.

#![expect(clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gateway_policy::{Clause, Policy, Properties};

const README: &str = include_str!("../../policies/README.md");
const POLICY: &str = include_str!("../../policies/platform-2017-03-01.toml");
const PROPERTIES: &str = include_str!("../../policies/properties/platform-2017-03-01.toml");

/// The clauses about data.
const CLAUSES: &[&str] = &[
    "collect.transcripts",
    "collect.brand-requested",
    "collect.automatic",
    "collect.personal",
    "collect.mobile",
    "collect.sources",
    "collect.consumer-decides",
    "use.brand-directed",
    "use.deploy-content",
    "use.own-sites",
    "use.train",
    "cookies.strictly-necessary",
    "cookies.performance",
    "cookies.functionality",
    "cookies.third-party-analytics",
    "choice.cookies",
    "signals.dnt",
    "signals.gpc",
    "share.legal.i",
    "share.legal.ii",
    "share.legal.iii",
    "share.legal.iv",
    "share.legal.v",
    "share.aggregate",
    "share.no-sale",
    "share.content",
    "share.brand",
    "integrations.share",
    "integrations.receive",
    "integrations.combine",
    "integrations.no-control",
    "integrations.opt-out",
    "integrations.onward",
    "choice.marketing",
    "choice.sms",
    "choice.location",
    "choice.public",
    "principles.sensitive",
    "principles.purpose",
    "transfer.contract",
    "transfer.onward",
    "policy.version",
];

/// Kept by the other columns alone: no rule can speak of what is not there, of a link, or of versions.
const NO_RULE: &[&str] = &["collect.consumer-decides", "integrations.no-control", "policy.version"];

/// Kept separately, and named as such.
const SEPARATELY: &[&str] = &[
    "rights.access",
    "rights.correct",
    "rights.delete",
    "rights.limit",
    "rights.complaint",
    "principles.retention",
    "security.transmission",
    "security.storage",
    "security.access",
    "security.backup",
];

struct Row {
    rules: String,
    tests: String,
    properties: String,
}

fn rows() -> BTreeMap<&'static str, Row> {
    let table = README.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    table
        .filter_map(|line| {
            let cells: Vec<&'static str> = line.split('|').map(str::trim).collect();
            let row = |at: usize| cells[at].to_owned();
            let known = cells.len() == 5 && cells[0].contains('.');
            known.then(|| (cells[0], Row { rules: row(1), tests: row(2), properties: row(3) }))
        })
        .collect()
}

/// The members of a cell; `–` stands for none.
fn members<'a>(cell: &'a str, between: &'a [char]) -> impl Iterator<Item = &'a str> {
    cell.split(between).map(str::trim).filter(|member| !member.is_empty() && *member != "–")
}

#[test]
fn every_clause_about_data_has_a_row_and_an_id() {
    let listed: BTreeSet<&str> = rows().into_keys().collect();
    let expected: BTreeSet<&str> = CLAUSES.iter().copied().collect();
    assert_eq!(listed, expected);
    for id in CLAUSES {
        assert!(Clause::parse(id).is_some_and(|clause| !clause.summary().is_empty()), "{id}");
    }
    for id in SEPARATELY {
        assert!(README.contains(id), "{id}");
    }
}

#[test]
fn every_rule_named_is_there_and_every_rule_is_named() {
    let policy = Policy::parse(POLICY).unwrap();
    for (clause, row) in rows() {
        let mut named: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for group in members(&row.rules, &[';']) {
            let (numbers, of) = match group.split_once('(') {
                Some((numbers, of)) => (numbers, of.trim_end_matches(')').to_owned()),
                None => (group, clause.to_owned()),
            };
            named
                .entry(of)
                .or_default()
                .extend(members(numbers, &[',']).map(|n| n.parse::<usize>().unwrap()));
        }
        assert_eq!(named.is_empty(), NO_RULE.contains(&clause), "{clause}");
        for (of, numbers) in named {
            let rules = policy.rules().iter().filter(|rule| rule.clause.as_str() == of);
            let there: BTreeSet<usize> = rules.map(|rule| rule.number).collect();
            assert_eq!(numbers, there, "{clause} names rules of {of}");
        }
        let own = policy.rules().iter().any(|rule| rule.clause.as_str() == clause);
        let names_own = members(&row.rules, &[';']).any(|group| !group.contains('('));
        assert_eq!(own, names_own, "{clause}");
    }
}

#[test]
fn every_property_named_is_there_and_every_property_is_named() {
    let properties = Properties::parse(PROPERTIES).unwrap();
    let there: BTreeSet<&str> = properties.names().map(|(name, _)| name).collect();
    let mut named = BTreeSet::new();
    let rows = rows();
    for (clause, row) in &rows {
        let of_row: Vec<&str> = members(&row.properties, &[',']).collect();
        assert_eq!(of_row.is_empty(), NO_RULE.contains(clause), "{clause}");
        for property in of_row {
            assert!(there.contains(property), "{clause} names {property}");
            named.insert(property);
        }
    }
    for (name, clause) in properties.names() {
        let listed = named.contains(name) || SEPARATELY.contains(&clause.as_str());
        assert!(listed, "no row names {name}");
    }
}

#[test]
fn every_test_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tests: BTreeMap<&str, &str> = README
        .lines()
        .filter_map(|line| line.strip_suffix('`')?.split_once(". `"))
        .filter(|(number, _)| number.parse::<usize>().is_ok())
        .collect();
    for (clause, row) in rows() {
        let numbers: Vec<&str> = members(&row.tests, &['[', ']', ' ']).collect();
        assert!(!numbers.is_empty(), "{clause} has no test");
        for number in numbers {
            let test = tests.get(number).unwrap_or_else(|| panic!("{clause}: there is no test {number}"));
            let (file, name) = test.split_once("::").unwrap();
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(text.contains(&format!("fn {name}(")), "{clause}: {test} is not there");
        }
    }
}
