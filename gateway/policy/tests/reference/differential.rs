//! The compiled policy against the reference evaluator, on a million random questions.
//! Each run prints its seed; `POLICY_SEED=N` repeats a run, `POLICY_CASES=N` makes it shorter or longer.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;

use gateway_policy::{Clause, Decision, Policy};

use crate::compare::{agree, shrink};
use crate::draw::Random;
use crate::{CLAUSES, SHIPPED};

const CASES: u64 = 1_000_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

#[test]
fn the_compiled_policy_says_what_the_clauses_say() {
    let seed = number("POLICY_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let cases = number("POLICY_CASES").unwrap_or(CASES);
    // Not `println!`, which is shown of a failure only: a run that passes says too what it tried.
    writeln!(std::io::stderr(), "POLICY_SEED={seed} POLICY_CASES={cases}").unwrap();
    let policy = Policy::parse(SHIPPED).unwrap();
    let mut random = Random::new(seed);
    let mut allowed: BTreeMap<_, u64> = BTreeMap::new();
    for case in 0..cases {
        let (question, unknown) = random.draw();
        match agree(&policy, &question, &unknown) {
            Ok(Decision::Withhold) => {}
            Ok(_) => *allowed.entry((question.flow, question.recipient)).or_default() += 1,
            Err(_) => panic!("case {case} of POLICY_SEED={seed}: {}", shrink(&policy, question, &unknown)),
        }
    }
    // Where everything is withheld, agreement says little: every kind of flow must have been allowed often.
    for ((flow, recipient), count) in &allowed {
        let enough = cases / 2_000;
        assert!(*count >= enough, "{flow:?} to {recipient:?} was allowed only {count} times (seed {seed})");
    }
    assert_eq!(allowed.len(), 13, "{allowed:?} (seed {seed})");
}

#[test]
fn the_reference_speaks_of_clauses_that_there_are() {
    for (id, _) in CLAUSES {
        assert!(Clause::parse(id).is_some(), "{id}");
    }
}
