//! `policies/README.md` lists every clause about data with the rules, the tests and the properties that
//! keep it, and all of them exist.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

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

/// No rule, and so no property of a policy, can speak of what is not there, of a link, or of versions: the table says
/// [`DESIGN`] for the rules, how and where in the last column, and names a property of the code that is tested over its
/// space (`proptest!`).
const BY_DESIGN: &[&str] = &["collect.consumer-decides", "integrations.no-control", "policy.version"];
const DESIGN: &str = "design";

/// The clause of which `share.legal.i` to `share.legal.v` are the five cases.
const OF_FIVE: &str = "share.legal";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

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

/// A row of the table.
struct Row<'r> {
    clause: &'r str,
    rules: &'r str,
    tests: &'r str,
    properties: &'r str,
    beside: &'r str,
}

fn rows(readme: &str) -> Vec<Row<'_>> {
    let table = readme.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    table
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [clause, rules, tests, properties, beside] = cells.as_slice() else { return None };
            clause.contains('.').then_some(Row { clause, rules, tests, properties, beside })
        })
        .collect()
}

/// The members of a cell; `–` stands for none.
fn members<'a>(cell: &'a str, between: &'a [char]) -> impl Iterator<Item = &'a str> {
    cell.split(between).map(str::trim).filter(|member| !member.is_empty() && *member != "–")
}

/// Every clause about data has one row, and an id.
fn clauses(readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let listed: Vec<&str> = rows(readme).iter().map(|row| row.clause).collect();
    for id in CLAUSES {
        match listed.iter().filter(|listed| *listed == id).count() {
            1 => {}
            count => faults.push(format!("{id} has {count} rows")),
        }
        if Clause::parse(id).is_none_or(|clause| clause.summary().is_empty()) {
            faults.push(format!("{id} is no clause"));
        }
    }
    faults
        .extend(listed.iter().filter(|id| !CLAUSES.contains(id)).map(|id| format!("{id} is not about data")));
    faults
        .extend(SEPARATELY.iter().filter(|id| !readme.contains(**id)).map(|id| format!("{id} is not named")));
    faults
}

/// What is kept by design is said to be, with what that is, the places that do it and the property that holds there;
/// nothing else is.
fn design(readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let listed = listed(readme);
    for Row { clause, rules, properties, beside, .. } in rows(readme) {
        let expected = BY_DESIGN.contains(&clause);
        if (rules == DESIGN) != expected {
            faults.push(format!("{clause} is kept by design, or is said to be"));
        }
        if expected {
            let numbers: Vec<&str> = members(properties, &['[', ']', ' ']).collect();
            let is_property = |number: &&str| listed.get(number).is_some_and(|test| is_a_property(test));
            if numbers.is_empty() || !numbers.iter().all(is_property) {
                faults.push(format!("{clause} names no property that is tested over its space"));
            }
            let places: Vec<&str> =
                beside.split('`').skip(1).step_by(2).filter(|word| word.contains('/')).collect();
            let said = beside.split('`').step_by(2).any(|text| text.contains(char::is_alphabetic));
            if !said || places.is_empty() {
                faults.push(format!("{clause} does not say what keeps it, and where"));
            }
            let missing = places.iter().filter(|place| !Path::new(ROOT).join(place).exists());
            faults.extend(missing.map(|place| format!("{clause}: {place} is not there")));
        }
    }
    faults
}

/// A clause's rules are those of the file, all of them.
fn rules(readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let policy = Policy::parse(POLICY).unwrap();
    for Row { clause, rules, .. } in rows(readme) {
        let mut named: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for group in members(rules, &[';']) {
            let (numbers, of) = match group.split_once('(') {
                Some((numbers, of)) => (numbers, of.trim_end_matches(')')),
                None => (group, clause),
            };
            named
                .entry(of)
                .or_default()
                .extend(members(numbers, &[',']).filter_map(|n| n.parse::<usize>().ok()));
        }
        if named.values().all(BTreeSet::is_empty) && rules != DESIGN {
            faults.push(format!("{clause} has no rule"));
        }
        let of = |clause: &str| -> BTreeSet<usize> {
            let rules = policy.rules().iter().filter(|rule| rule.clause.as_str() == clause);
            rules.map(|rule| rule.number).collect()
        };
        for (of_clause, numbers) in named.iter().filter(|_| rules != DESIGN) {
            if *numbers != of(of_clause) || numbers.is_empty() {
                faults.push(format!("{clause} names rules {numbers:?} of {of_clause}"));
            }
        }
        if of(clause).is_empty() == (named.contains_key(clause) && rules != DESIGN) {
            faults.push(format!("{clause} does not name its own rules"));
        }
    }
    faults
}

/// A clause's properties are there, and every property has a clause.
fn properties(readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let properties = Properties::parse(PROPERTIES).unwrap();
    let there: BTreeSet<&str> = properties.names().map(|(name, _)| name).collect();
    let mut named = BTreeSet::new();
    for Row { clause, properties, .. } in rows(readme).into_iter().filter(|row| row.rules != DESIGN) {
        let of_row: Vec<&str> = members(properties, &[',']).collect();
        if of_row.is_empty() {
            faults.push(format!("{clause} has no property"));
        }
        let missing = of_row.iter().filter(|property| !there.contains(**property));
        faults.extend(missing.map(|property| format!("{clause} names property {property}")));
        named.extend(of_row);
    }
    for (name, clause) in properties.names() {
        if !named.contains(name) && !SEPARATELY.contains(&clause.as_str()) {
            faults.push(format!("no row names {name}"));
        }
    }
    faults
}

/// The list of tests, by number.
fn listed(readme: &str) -> BTreeMap<&str, &str> {
    let lines = readme.lines().filter_map(|line| line.strip_suffix('`')?.split_once(". `"));
    lines.filter(|(number, _)| number.parse::<usize>().is_ok()).collect()
}

/// A clause has tests, and each is one of the sources'.
fn tests(readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let listed = listed(readme);
    for Row { clause, tests, .. } in rows(readme) {
        let numbers: Vec<&str> = members(tests, &['[', ']', ' ']).collect();
        if numbers.is_empty() {
            faults.push(format!("{clause} has no test"));
        }
        for number in numbers {
            match listed.get(number) {
                None => faults.push(format!("{clause}: there is no test {number}")),
                Some(test) if !is_a_test(test) => faults.push(format!("{clause}: {test} is not there")),
                Some(_) => {}
            }
        }
    }
    faults
}

/// Whether `FILE::NAME` is a function that is run as a test.
fn is_a_test(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let text = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    // Its attributes are what stands since the last item ended.
    let attributes = before.rsplit_once("\n\n").map_or(before, |(_, own)| own);
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

/// Whether `FILE::NAME` is a test of values that are made up for it.
fn is_a_property(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let text = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    // Neither a module nor a function of one ended since the block began.
    let block = before.rsplit_once("proptest! {").map(|(_, within)| within);
    is_a_test(test) && block.is_some_and(|within| !within.contains("\n}") && !within.contains("\n    }"))
}

const CHECKS: [fn(&str) -> Vec<String>; 5] = [clauses, design, rules, properties, tests];

#[test]
fn every_clause_about_data_has_a_row_with_rules_tests_and_properties_that_exist() {
    let faults: Vec<String> = CHECKS.iter().flat_map(|check| check(README)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_clause_is_in_the_table_or_named_as_kept_separately() {
    let listed: BTreeSet<&str> = CLAUSES.iter().chain(SEPARATELY).copied().collect();
    let all: BTreeSet<&str> = Clause::all().map(Clause::as_str).collect();
    let missing: Vec<_> = all.difference(&listed).filter(|id| **id != OF_FIVE).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What is taken away from a clause is missed.
#[test]
fn a_table_that_lacks_something_is_refused() {
    let row = |clause: &str| README.lines().find(|line| line.starts_with(&format!("| {clause} |"))).unwrap();
    let with = |clause: &str, at: usize, text: &'static str| -> String {
        let mut cells: Vec<&str> = row(clause).split('|').collect();
        cells[at] = text;
        README.replace(row(clause), &cells.join("|"))
    };
    let cell = |clause: &str, at: usize| with(clause, at, " – ");
    for clause in CLAUSES {
        let gone = README.replace(&format!("{}\n", row(clause)), "");
        assert!(!clauses(&gone).is_empty(), "{clause} without its row");
        assert!(!tests(&cell(clause, 3)).is_empty(), "{clause} without its tests");
        assert!(!rules(&cell(clause, 2)).is_empty(), "{clause} without its rules");
        if BY_DESIGN.contains(clause) {
            assert!(!design(&cell(clause, 2)).is_empty(), "{clause} without its word");
            for property in [" – ", " design ", " [24] ", " [99] "] {
                assert!(!design(&with(clause, 4, property)).is_empty(), "{clause} with {property:?}");
            }
            for what in [
                " ",
                " somebody sees to it ",
                " `gateway/src/lib.rs` ",
                " it is kept (`gateway/src/nowhere.rs`) ",
            ] {
                assert!(!design(&with(clause, 5, what)).is_empty(), "{clause} kept by {what:?}");
            }
        } else {
            assert!(!properties(&cell(clause, 4)).is_empty(), "{clause} without its properties");
            assert!(!design(&with(clause, 2, " design ")).is_empty(), "{clause} by design");
            assert!(!properties(&with(clause, 4, " design ")).is_empty(), "{clause} by design");
        }
    }
    for (listed, other) in [
        ("::an_opt_out_by_keyword_holds", "::an_opt_out_by_keyword_held"),
        ("tests/tests/spec/choices.rs", "tests/tests/spec/choice.rs"),
        // A helper of the tests is no test.
        (
            "choices.rs::what_a_plugin_returned_is_not_used_once_the_consumer_opted_out_of_it",
            "received.rs::tier",
        ),
    ] {
        let renamed = README.replace(listed, other);
        assert!(renamed != README && !tests(&renamed).is_empty(), "{other}");
    }
    assert!(!tests(&README.replace("[24] [25]", "[24] [99]")).is_empty(), "a number that is not listed");
}
