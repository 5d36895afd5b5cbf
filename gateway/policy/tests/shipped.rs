//! The shipped policy holds every property that stands beside it, and no rule of it is idle.

use gateway_policy::{Policy, Properties, check};

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
