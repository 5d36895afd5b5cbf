//! Small policies with something the matter.

use crate::{Effect, Fact, Flow, Kind, Policy, PolicyError, Properties, Reason, Recipient, check, diff};

const HEAD: &str = "name = 'test'\neffective = '2020-01-01'\n[readings]\nquiet = 'strict'\n";

/// Rules, one a line: effect, then the rest of the table. All share with third parties.
fn policy(rules: &[&str]) -> Policy {
    let table = |rule: &&str| {
        let (effect, rest) = rule.split_once(' ').unwrap_or((*rule, ""));
        let rest = rest.replace("; ", "\n");
        format!(
            "[[rule]]\neffect = '{effect}'\nflow = ['share']\nrecipient = ['third-party']\n\
             clause = 'share.content'\n{rest}\n"
        )
    };
    let text: String = rules.iter().map(table).collect();
    Policy::parse(&format!("{HEAD}{text}")).unwrap()
}

fn property(rest: &str) -> Result<Properties, PolicyError> {
    Properties::parse(&format!(
        "[[property]]\nname = 'p'\nclause = 'share.content'\nsays = 's'\nflow = ['share']\n\
         recipient = ['third-party']\n{}",
        rest.replace("; ", "\n")
    ))
}

#[test]
fn rules_that_do_nothing_are_found_with_those_that_decide_in_their_place() {
    for (rules, found) in [
        // Needs a fact to be both; has an exception that takes all of it away.
        (&["permit when = ['engaged']; unless = ['engaged']"][..], &[(Kind::Dead, 1, &[][..])][..]),
        (
            &["permit", "forbid purpose = ['essential']; except = [{ purpose = ['essential'] }]"],
            &[(Kind::Dead, 2, &[])],
        ),
        // Everything that the second matches, the first decides.
        (
            &["permit", "forbid when = ['engaged']", "forbid when = ['engaged', 'signal.dnt']"],
            &[(Kind::Shadowed, 3, &[2])],
        ),
        (&["permit", "permit when = ['engaged']"], &[(Kind::Shadowed, 2, &[1])]),
        // Two together decide wherever the third matches.
        (
            &[
                "permit",
                "forbid when = ['engaged']",
                "forbid unless = ['engaged']; when = ['signal.dnt']",
                "forbid when = ['signal.dnt']",
            ],
            &[(Kind::ReasonOnly, 3, &[]), (Kind::Shadowed, 4, &[2, 3])],
        ),
        // A permit that a forbid always beats.
        (&["permit when = ['engaged']", "forbid when = ['engaged']"], &[(Kind::Contradiction, 1, &[2])]),
        // Nothing would be permitted there anyway.
        (&["permit when = ['engaged']", "forbid unless = ['engaged']"], &[(Kind::ReasonOnly, 2, &[])]),
        (&["permit", "forbid category = ['user.name']"], &[]),
    ] {
        let report = check(&policy(rules), &Properties::default());
        let seen: Vec<_> = report
            .findings
            .iter()
            .map(|finding| (finding.kind, finding.rule, finding.by.as_slice()))
            .collect();
        assert_eq!(seen, found, "{rules:?}");
        // What no combination matches has none to show.
        assert!(
            report.findings.iter().all(|finding| finding.example.is_none() == (finding.kind == Kind::Dead))
        );
    }
}

#[test]
fn a_rule_that_decides_nothing_comes_with_a_combination_that_it_matches() {
    let rules = [
        "permit when = ['engaged']",
        "forbid when = ['engaged']; category = ['user.name']",
        "forbid when = ['engaged']",
    ];
    let report = check(&policy(&rules), &Properties::default());
    let seen: Vec<_> =
        report.findings.iter().map(|finding| (finding.kind, finding.example.clone().unwrap())).collect();
    let [(Kind::Contradiction, contradiction), (Kind::ReasonOnly, name)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(contradiction.facts, [(Fact::Engaged, true)]);
    assert_eq!(
        (name.flow, name.recipient, name.category.as_str()),
        (Flow::Share, Recipient::ThirdParty, "user.name")
    );
}

#[test]
fn a_property_that_fails_comes_with_the_combination_and_the_rule_at_fault() {
    let rules =
        policy(&["permit when = ['engaged']", "forbid category = ['user.content']; unless = ['signal.dnt']"]);
    for (text, expected) in [
        ("never = 'allow'; category = ['user.content']; unless = ['signal.dnt']", None),
        ("always = 'allow'; category = ['user.name']; when = ['engaged']", None),
        ("never = 'permit'; unless = ['engaged']", None),
        ("always = 'forbid'; category = ['user.content']; unless = ['signal.dnt']", None),
        (
            "never = 'allow'; category = ['user.content']",
            Some((vec![(Fact::Dnt, true), (Fact::Engaged, true)], Some((1, Effect::Permit)))),
        ),
        (
            "always = 'allow'; category = ['user.content']; when = ['engaged']",
            Some((vec![(Fact::Dnt, false), (Fact::Engaged, true)], Some((2, Effect::Forbid)))),
        ),
        ("always = 'allow'; category = ['user.name']", Some((vec![(Fact::Engaged, false)], None))),
        ("never = 'permit'", Some((vec![(Fact::Engaged, true)], Some((1, Effect::Permit))))),
        ("always = 'forbid'; category = ['user.content']", Some((vec![(Fact::Dnt, true)], None))),
    ] {
        let report = check(&rules, &property(text).unwrap());
        let failure = report.failures.first();
        let seen = failure.map(|failure| (failure.example.clone().unwrap().facts, failure.rule));
        assert_eq!(seen, expected, "{text}");
        assert_eq!(report.proved, usize::from(expected.is_none()), "{text}");
    }
}

#[test]
fn a_property_about_nothing_fails_and_one_about_a_loose_reading_is_left_out() {
    let nothing = property("never = 'allow'; when = ['engaged']; unless = ['engaged']").unwrap();
    let report = check(&policy(&["permit"]), &nothing);
    assert!(matches!(report.failures.as_slice(), [failure] if failure.example.is_none()));
    let about = property("never = 'allow'; reading = 'quiet'").unwrap();
    let loose = Policy::parse(&HEAD.replace("strict", "loose")).unwrap();
    assert_eq!(check(&loose, &about).left_out, ["p"]);
}

#[test]
fn a_file_of_properties_that_says_what_it_may_not_is_refused() {
    for (text, says) in [
        ("never = 'allow'; always = 'allow'", "one of `never` and `always`"),
        ("", "one of `never` and `always`"),
        ("never = 'forbid'", "unknown variant"),
        ("never = 'allow'; when = ['engagd']", "unknown fact"),
        ("never = 'allow'; category = ['@content']", "group @content is not defined"),
        ("never = 'allow'; effect = 'permit'", "unknown field"),
        ("never = 'allow'; reading = 'quite'", ""),
    ] {
        match property(text) {
            Err(error) => assert!(error.to_string().contains(says), "{text}: {error}"),
            // Whether there is such a reading, only the policy knows: a property that names none holds.
            Ok(properties) => {
                assert_eq!(check(&policy(&["permit"]), &properties).failures.len(), 1, "{text}")
            }
        }
    }
}

#[test]
fn what_flips_is_told_both_ways_by_clause() {
    let old = policy(&["permit when = ['engaged']", "forbid category = ['user.name']"]);
    let new = policy(&["permit when = ['engaged']", "forbid category = ['user.contact']"]);
    let difference = diff(&old, &new);
    let seen: Vec<_> = difference
        .flips
        .iter()
        .map(|flip| (flip.old.allows(), flip.new.allows(), flip.example.category.as_str()))
        .collect();
    assert_eq!(seen.len(), 2, "{difference:?}");
    assert!(
        seen.contains(&(true, false, "user.contact")) || seen.contains(&(false, true, "user.name")),
        "{seen:?}"
    );
    for flip in &difference.flips {
        assert_eq!((flip.flow, flip.recipient), (Flow::Share, Recipient::ThirdParty));
        assert!(matches!(flip.old.reason, Reason::Clause(_)));
        assert_eq!(flip.example.facts.len(), 1, "{flip:?}");
    }
    assert!(diff(&old, &old).flips.is_empty());
}
