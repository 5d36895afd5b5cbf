//! Small policies with something the matter.

use crate::{
    Effect, Fact, Flow, Kind, Policy, PolicyError, Properties, Reason, Recipient, Transform, check, diff,
};

const HEAD: &str = "name = 'test'\neffective = '2020-01-01'\n[readings]\nquiet = 'strict'\n";

/// Rules, one a line: effect, then the rest of the table. All share with third parties.
fn policy(rules: &[&str]) -> Policy {
    declassifying(rules, &[])
}

fn written(rule: &str) -> String {
    let (effect, rest) = rule.split_once(' ').unwrap_or((rule, ""));
    let rest = rest.replace("; ", "\n");
    format!(
        "[[rule]]\neffect = '{effect}'\nflow = ['share']\nrecipient = ['third-party']\n\
         clause = 'share.content'\n{rest}\n"
    )
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

/// With rules of declassification: name, form, from, to, lifts, between spaces.
fn declassifying(rules: &[&str], declassifications: &[&str]) -> Policy {
    let tables: String = declassifications.iter().map(|rule| declassification(rule)).collect();
    let rules: String = rules.iter().map(|rule| written(rule)).collect();
    Policy::parse(&format!("{HEAD}{rules}{tables}")).unwrap()
}

fn declassification(rule: &str) -> String {
    let words: Vec<&str> = rule.split(' ').collect();
    let [name, form, from, to, lifts @ ..] = words.as_slice() else { panic!("{rule}") };
    format!(
        "[[declassify]]\nname = '{name}'\nform = '{form}'\nfrom = '{from}'\nto = '{to}'\n\
         clause = 'use.brand-directed'\nlifts = {lifts:?}\n"
    )
}

#[test]
fn declassifications_that_do_not_do_what_they_say_are_found() {
    let sms = "forbid category = ['user.contact']; when = ['opt-out.sms']";
    for (declassifications, found) in [
        (&["a country-code user.contact.phone_number user.telemetry share.content"][..], &[][..]),
        (
            &["a pseudonym user.unique_id.pseudonymous user.unique_id.pseudonymous"],
            &[("a", Kind::Dead, None)],
        ),
        // What it says that it lifts also withholds what leaves.
        (
            &["a country-code user.contact.phone_number user.contact share.content"],
            &[("a", Kind::Dead, Some("share.content"))],
        ),
        (
            &["a country-code user.contact.phone_number user.telemetry share.content choice.sms"],
            &[("a", Kind::Dead, Some("choice.sms"))],
        ),
        (
            &["a pseudonym user.name user.unique_id", "b pseudonym user.name.first user.account"],
            &[("b", Kind::Shadowed, None)],
        ),
        // Of another form it is another rule.
        (&["a pseudonym user.name user.unique_id", "b rounded user.name.first user.account"], &[]),
    ] {
        let report = check(&declassifying(&["permit", sms], declassifications), &Properties::default());
        let seen: Vec<_> = report
            .idle
            .iter()
            .map(|idle| (&*idle.declassification, idle.kind, idle.lift.map(|clause| clause.as_str())))
            .collect();
        assert_eq!(seen, found, "{declassifications:?}");
        let by: Vec<&str> = report.idle.iter().flat_map(|idle| &idle.by).map(|name| &**name).collect();
        assert_eq!(
            by,
            if report.idle.iter().any(|idle| idle.kind == Kind::Shadowed) { &["a"][..] } else { &[] }
        );
    }
}

#[test]
fn what_a_declassification_lifts_and_does_not_name_fails_with_the_combination() {
    let sms = "forbid category = ['user.contact']; when = ['opt-out.sms']";
    let narrow = "permit category = ['user.telemetry']";
    let meeting = "[[rule]]\neffect = 'forbid'\nflow = ['combine']\nrecipient = ['third-party']\n\
                   category = ['user.contact']\nwith = ['user.behavior']\nclause = 'choice.marketing'\n\
                   [[rule]]\neffect = 'permit'\nflow = ['combine']\nrecipient = ['third-party']\n\
                   clause = 'share.content'\n";
    let never = property("never = 'lift'").unwrap();
    let combine = "[[property]]\nname = 'p'\nclause = 'share.content'\nsays = 's'\nnever = 'lift'\n\
                   flow = ['combine']\nrecipient = ['third-party']\n";
    let combine = Properties::parse(combine).unwrap();
    let text = |rules: &[&str]| -> String { rules.iter().map(|rule| written(rule)).collect() };
    for (rules, declassified, properties, expected) in [
        (
            text(&["permit", sms]),
            "a country-code user.contact.phone_number user.telemetry",
            &never,
            Some(("user.contact.phone_number", None, vec![(Fact::OptOutSms, true)])),
        ),
        (
            text(&["permit", sms]),
            "a country-code user.contact.phone_number user.telemetry share.content",
            &never,
            None,
        ),
        (text(&["permit", sms]), "a country-code user.contact.phone_number user.contact", &never, None),
        // Nothing permitted what there was.
        (
            text(&[narrow]),
            "a country-code user.contact.phone_number user.telemetry share.content",
            &never,
            Some(("user.contact.phone_number", None, vec![])),
        ),
        // Of a pair, in either order.
        (
            meeting.to_owned(),
            "a country-code user.contact.phone_number user.telemetry",
            &combine,
            Some(("user.behavior", Some("user.contact.phone_number"), vec![])),
        ),
        (
            meeting.to_owned(),
            "a country-code user.contact.phone_number user.telemetry choice.marketing",
            &combine,
            None,
        ),
    ] {
        let policy = format!("{HEAD}{rules}{}", declassification(declassified));
        let report = check(&Policy::parse(&policy).unwrap(), properties);
        let seen = report.failures.first().map(|failure| {
            let example = failure.example.as_ref().unwrap();
            let relabelled = failure.relabelled.as_ref().unwrap();
            assert_eq!((relabelled.form, relabelled.by.as_deref()), (Transform::CountryCode, Some("a")));
            let with = example.with.map(|with| with.as_str());
            (example.category.as_str(), with, example.facts.clone())
        });
        let turned = expected.clone().map(|(a, with, facts)| (with.unwrap_or(a), with.map(|_| a), facts));
        assert!(seen == expected || seen == turned, "{declassified}: {seen:?}");
    }
    // Without a declassification it is about nothing.
    assert!(check(&policy(&["permit"]), &never).failures[0].example.is_none());
}

#[test]
fn what_a_form_makes_of_labels_is_exactly_what_is_said() {
    let policy = declassifying(&["permit"], &["a pseudonym user.name user.unique_id"]);
    for (text, expected) in [
        ("form = ['pseudonym']; category = ['user.name']; becomes = 'user.unique_id'", None),
        ("category = ['user.contact']", None),
        ("form = ['day', 'rounded']", None),
        ("form = ['pseudonym']; category = ['user.name']; becomes = 'user.account'", Some("user.name")),
        // No less, and no more.
        (
            "form = ['pseudonym']; category = ['user.name', 'user.contact']; becomes = 'user.unique_id'",
            Some("user.contact"),
        ),
        (
            "form = ['pseudonym']; category = ['user.name.first']; becomes = 'user.unique_id'",
            Some("user.name"),
        ),
        ("category = ['user.name.last']", Some("user.name.last")),
    ] {
        let text = text.replace("; ", "\n");
        let text = format!("[[form]]\nname = 'p'\nclause = 'share.content'\nsays = 's'\n{text}");
        let report = check(&policy, &Properties::parse(&text).unwrap());
        let seen = report.failures.first().map(|failure| failure.relabelled.clone().unwrap().from);
        assert_eq!(seen.map(|from| from.as_str()), expected, "{text}");
    }
    for (text, says) in [
        ("becomes = 'user.unique_id'", "needs `form` and `category`"),
        ("category = ['user.nme']", "unknown data category"),
        ("form = ['blurred']", "unknown variant"),
        ("never = 'allow'", "unknown field"),
    ] {
        let text = format!("[[form]]\nname = 'p'\nclause = 'share.content'\nsays = 's'\n{text}");
        let error = Properties::parse(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn what_forms_make_of_labels_otherwise_is_told() {
    let old = declassifying(&["permit"], &["a pseudonym user.name user.unique_id"]);
    let new = declassifying(&["permit"], &["b pseudonym user.name.first user.account"]);
    let difference = diff(&old, &new);
    assert!(difference.flips.is_empty());
    let seen: Vec<_> = difference
        .relabellings
        .iter()
        .map(|one| (one.old.by.as_deref(), one.new.by.as_deref(), one.new.to.as_str(), one.categories))
        .collect();
    assert!(seen.contains(&(Some("a"), Some("b"), "user.account", 1)), "{seen:?}");
    assert!(seen.iter().any(|(old, new, ..)| (*old, *new) == (Some("a"), None)), "{seen:?}");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(diff(&old, &old).relabellings.is_empty());
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
