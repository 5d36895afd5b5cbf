//! The table of attacks in `gateway/ARCHITECTURE.md`: every attack on the policy has its row, each row says what stops
//! it and which row of the ledger shows it, and names tests that run, and each of these asks for rows of the ledger.
//! What a test asserts of them is not seen here.

use gateway_tests::paths;

/// The attacks on the policy, and of each the row of the table that stands for it. The table may have more.
const ATTACKS: [(&str, &str); 24] = [
    ("encode a readable field in another's value", "encode a readable field in another's value"),
    (
        "remember a field under one consumer and read it under another",
        "remember under one consumer, read under another",
    ),
    (
        "store partner data and return it later as first-party",
        "store partner data and return it as first-party",
    ),
    ("send in two calls what may not go in one", "send in two calls what may not go in one"),
    ("forward A's data through a returned field to B", "forward A's data through a returned field to B"),
    ("ask for an aggregate that isolates one consumer, by overlap", AGGREGATES),
    ("ask for an aggregate that isolates one consumer, by time bucket", AGGREGATES),
    ("ask for an aggregate that isolates one consumer, by tiny groups", AGGREGATES),
    ("put a sealed field into a header", SEALED),
    ("put a sealed field into a path", SEALED),
    ("put a sealed field into the log", SEALED),
    ("put a sealed field into a return", SEALED),
    ("claim a relation in the manifest", CLAIMS),
    ("claim a purpose in the manifest", CLAIMS),
    ("learn an opt-out from what is missing", "learn an opt-out from what is missing"),
    ("learn an opt-out from memory that is empty", "learn it from an empty memory, a silent exchange"),
    ("learn an opt-out from a second connection", "learn it from a second connection"),
    ("launder a field through the partner's own reply", LAUNDERED),
    ("launder a field through the partner's own message", LAUNDERED),
    (
        "send by a resend or replay what is no longer allowed",
        "send by a resend or replay what is no longer allowed",
    ),
    ("backdate an event to an older policy", "backdate an event to an older policy"),
    ("name a key after a value", "name a key after a value"),
    ("act between a consumer's opt-out and its effect", "act between an opt-out and its effect"),
    ("switch a release for one with a wider manifest", "switch to a release with a wider manifest"),
];
const AGGREGATES: &str = "isolate one consumer by aggregates: overlap, time, tiny groups";
const SEALED: &str = "a sealed field in a header, path, log, return";
const CLAIMS: &str = "claim a relation or a purpose";
const LAUNDERED: &str = "launder a field through the partner's reply or message";

/// Ways in which the tests come to rows of the ledger.
const LOOKS_AT_A_ROW: [&str; 9] = [
    "flows",
    "row(",
    "rows(",
    "newest(",
    "verdict(",
    "outcomes(",
    "exchanges(",
    // Of `combined`: what was decided, and what became of the call.
    ".view(",
    // Of `replayed/partners`: what was withheld, and what was there.
    "decided(",
];

/// Is stopped at the switch, where there is no flow and no row.
const AT_THE_SWITCH: &str = "onward::a_meeting_by_way_of_another_plugin_is_refused_with_the_whole_path";

/// A row of the table.
struct Row<'r> {
    attack: &'r str,
    stopped_by: &'r str,
    /// As the ledger has it.
    shown_by: &'r str,
    /// `FILE::NAME` under `tests/tests/spec`.
    tests: Vec<&'r str>,
}

fn architecture() -> String {
    std::fs::read_to_string(paths::root().join("gateway/ARCHITECTURE.md")).expect("the map of the rooms")
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let table = text.split("\n## Attacks\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let lines =
        table.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    lines
        .skip(2)
        .map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let mut cell = || cells.next().unwrap_or_default();
            let (attack, stopped_by, shown_by, tests) = (cell(), cell(), cell(), cell());
            let tests = tests.split('`').filter(|word| word.contains("::")).collect();
            Row { attack, stopped_by, shown_by, tests }
        })
        .collect()
}

/// Clauses and codes that a cell quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    let words = cell.split('`').skip(1).step_by(2);
    words.filter(|word| ["clause:", "not-run:", "refused:"].iter().any(|start| word.starts_with(start)))
}

/// The text of a test's file.
fn file_of(test: &str) -> Option<String> {
    let (file, _) = test.split_once("::")?;
    std::fs::read_to_string(paths::root().join("tests/tests/spec").join(format!("{file}.rs"))).ok()
}

/// The text of a function that is run as a test; none where there is no such test.
fn body_of(test: &str) -> Option<String> {
    let (_, name) = test.split_once("::")?;
    let text = file_of(test)?;
    let (before, after) = text.split_once(&format!("fn {name}("))?;
    // Its attributes are what stands since the last item ended.
    let attributes = before.rsplit_once("\n\n").map_or(before, |(_, own)| own);
    let is_run = ["#[test]", "#[tokio::test"].iter().any(|attribute| attributes.contains(attribute))
        && !attributes.contains("#[ignore");
    is_run.then(|| after.split("\n}\n").next().unwrap_or_default().to_owned())
}

fn faults(text: &str) -> Vec<String> {
    let rows = rows(text);
    let mut faults = Vec::new();
    for (attack, row) in ATTACKS {
        let count = rows.iter().filter(|known| known.attack == row).count();
        if count != 1 {
            faults.push(format!("{attack}: {count} rows say {row:?}"));
        }
    }
    for Row { attack, stopped_by, shown_by, tests } in rows {
        for (is_empty, fault) in [
            (stopped_by.is_empty(), "nothing stops it"),
            (shown_by.is_empty(), "no row shows it"),
            (tests.is_empty(), "no test tries it"),
        ] {
            if is_empty {
                faults.push(format!("{attack}: {fault}"));
            }
        }
        let files: String = tests.iter().filter_map(|test| file_of(test)).collect();
        for word in quoted(shown_by).filter(|word| !files.contains(&format!("\"{word}\""))) {
            faults.push(format!("{attack}: no file of its tests has {word}"));
        }
        for test in tests {
            let Some(body) = body_of(test) else {
                faults.push(format!("{attack}: {test} is no test"));
                continue;
            };
            if test != AT_THE_SWITCH && !LOOKS_AT_A_ROW.iter().any(|look| body.contains(look)) {
                faults.push(format!("{attack}: {test} asks for no row of the ledger"));
            }
        }
    }
    faults
}

#[test]
fn every_attack_has_its_row_with_tests_that_run_and_look_at_the_ledger() {
    let faults = faults(&architecture());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_table_that_lacks_something_is_refused() {
    let whole = architecture();
    for (attack, row) in ATTACKS {
        let line = whole.lines().find(|line| line.starts_with(&format!("| {row} |")));
        let line = line.unwrap_or_else(|| panic!("{attack}: no row {row:?}"));
        assert!(!faults(&whole.replace(&format!("{line}\n"), "")).is_empty(), "without {row:?}");
        for (cell, fault) in [(2, "nothing stops it"), (3, "no row shows it"), (4, "no test tries it")] {
            let mut cells: Vec<&str> = line.split('|').collect();
            cells[cell] = " ";
            let faults = faults(&whole.replace(line, &cells.join("|")));
            assert!(faults.contains(&format!("{row}: {fault}")), "{row:?} with no cell {cell}: {faults:?}");
        }
    }
    for (test, other, why) in [
        ("::two_hops_wash_no_label_off", "::two_hops_wash_a_label_off", "it is not there"),
        ("`onward::two_hops_wash", "`onwards::two_hops_wash", "there is no such file"),
        ("onward::two_hops_wash_no_label_off", "onward::remade", "it is a helper"),
        (
            "onward::two_hops_wash_no_label_off",
            "memory_exchange/memory::what_is_beyond_the_limits_is_refused_and_the_rest_is_kept",
            "it asks for no row",
        ),
        ("`clause:choice.sms`", "`clause:choice.post`", "its tests have no such clause"),
    ] {
        let changed = whole.replace(test, other);
        assert!(changed != whole && !faults(&changed).is_empty(), "{other}: {why}");
    }
}
