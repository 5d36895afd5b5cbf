//! The shipped policy holds every property that stands beside it, and no rule of it is idle.

use gateway_policy::{Aggregation, Policy, Properties, Size, check};

const POLICY: &str = include_str!("../../policies/platform-2017-03-01.toml");
const PROPERTIES: &str = include_str!("../../policies/properties/platform-2017-03-01.toml");

#[test]
fn every_property_holds_and_no_rule_is_idle() {
    let report = check(&Policy::parse(POLICY).unwrap(), &Properties::parse(PROPERTIES).unwrap());
    println!("{:?}", report.size);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.proved > 50 && report.left_out.is_empty(), "{report:?}");
    let idle: Vec<_> = report.findings.iter().filter(|finding| !finding.kind.decides()).collect();
    assert!(idle.is_empty(), "{idle:#?}");
    assert!(report.idle.is_empty(), "{:#?}", report.idle);
}

#[test]
fn a_loose_reading_leaves_its_property_out_and_no_other() {
    for name in ["content-needs-permission", "page-view-is-no-engagement"] {
        let line = POLICY.lines().find(|line| line.starts_with(name)).unwrap();
        let loose = POLICY.replacen(line, &line.replacen("strict", "loose", 1), 1);
        let properties = Properties::parse(PROPERTIES).unwrap();
        let report = check(&Policy::parse(&loose).unwrap(), &properties);
        assert!(report.failures.is_empty(), "{name}: {:#?}", report.failures);
        assert!(!report.left_out.is_empty(), "{name}");
    }
}

/// What the check covers changes only on purpose: a rule that made a class of its own, or a property that went.
#[test]
fn the_space_of_the_shipped_policy_is_so_large_and_all_of_it_is_covered() {
    let report = check(&Policy::parse(POLICY).unwrap(), &Properties::parse(PROPERTIES).unwrap());
    let Size { visited, .. } = report.size;
    let expected =
        Size { purposes: 11, categories: 17, decisions: 14_960, combinations: 5_139_140_797, visited };
    assert_eq!(report.size, expected);
    // As few as that, because facts are split only where a decision hangs on them.
    assert!((1..500_000).contains(&visited), "{visited}");
    assert_eq!(report.proved, 77);
}

/// Clause share.aggregate: what is told of fewer, or asked more often, is nearer to one consumer.
#[test]
fn aggregates_are_of_twenty_consumers_at_least() {
    let Aggregation { k, queries_per_day, clip } = *Policy::parse(POLICY).unwrap().aggregation();
    assert!(k >= 20 && queries_per_day <= 100 && clip <= 20, "{k} {queries_per_day} {clip}");
}
