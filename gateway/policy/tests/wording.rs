//! The shipped policy's words stand beside it: for every clause a quotation, or why there is none.

use gateway_policy::{Clause, Policy, Wording, Words};

const POLICY: &str = include_str!("../../policies/platform-2017-03-01.toml");
const WORDING: &str = include_str!("../../policies/wording/platform-2017-03-01.toml");

#[test]
fn every_clause_is_quoted_or_said_to_have_no_words() {
    let wording = Wording::parse(WORDING).unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    assert_eq!((wording.name(), wording.effective()), (policy.name(), policy.effective()));
    for clause in Clause::all() {
        let (Words::Quoted(text) | Words::Unsaid(text)) =
            wording.of(clause).unwrap_or_else(|| panic!("{clause} has no words"));
        assert!(text.len() > 20, "{clause}: {text}");
    }
}
