//! What forms make of values, and what declassifications lift of the shipped policy.

use gateway_policy::{Decision, Fact, Facts, Flow, Policy, Purpose, Reason, Recipient};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::boundary::PolicyBook;
use crate::catalogue::Catalogue;

fn key(seed: u8) -> PseudonymKey {
    PseudonymKey::new([seed; 32])
}

#[test]
fn each_form_of_each_kind_of_value() {
    use Transform::{CountryCode, Day, Pseudonym, Rounded};
    for (form, value, expected) in [
        (Rounded, json!(47.5596), json!(47.6)),
        (Rounded, json!(-0.04), json!(0.0)),
        (Rounded, json!(-122.419_416), json!(-122.4)),
        (Rounded, json!(7), json!(7.0)),
        (Rounded, json!("47.5596"), Value::Null),
        (CountryCode, json!("+1 (212) 555-0142"), json!("+1")),
        (CountryCode, json!("+41 61 555 01 42"), json!("+41")),
        (CountryCode, json!(" +423 555 01 42"), json!("+423")),
        (CountryCode, json!("212-555-0142"), Value::Null),
        (CountryCode, json!("0041 61 555 01 42"), Value::Null),
        (CountryCode, json!("+999 555"), Value::Null),
        (CountryCode, json!("+1 212 555 0142 ext. 7"), Value::Null),
        (CountryCode, json!("+1234567890123456"), Value::Null),
        (CountryCode, json!("+"), Value::Null),
        (Day, json!("2026-01-02T03:04:05Z"), json!("2026-01-02")),
        (Day, json!("2026-01-02T03:04:05.678+05:00"), json!("2026-01-01")),
        (Day, json!("yesterday"), Value::Null),
        (Day, json!(1_764_000_000), Value::Null),
        (Pseudonym, json!(7), Value::Null),
    ] {
        let found = form.apply(&value, Some(&key(1))).unwrap_or(Value::Null);
        assert_eq!(found, expected, "{form:?} {value}");
    }
}

#[test]
fn without_a_key_there_is_no_pseudonym() {
    assert_eq!(Transform::Pseudonym.apply(&json!("ada"), None), None);
}

proptest! {
    #[test]
    fn a_coarser_value_is_as_coarse_as_it_gets(text in "\\+?[0-9 ()-]{0,20}", degrees in -180.0..180.0_f64, ms in 0_i64..4_000_000_000) {
        let at = OffsetDateTime::from_unix_timestamp(ms).unwrap().format(&Rfc3339).unwrap();
        for (form, value) in [
            (Transform::Rounded, json!(degrees)),
            (Transform::CountryCode, json!(text)),
            (Transform::Day, json!(at)),
        ] {
            let Some(once) = form.apply(&value, None) else { continue };
            prop_assert_eq!(form.apply(&once, None), Some(once.clone()), "{:?} again", form);
            prop_assert!(once.to_string().len() <= value.to_string().len().max(6), "{:?} of {} is {}", form, value, once);
        }
    }

    /// As many values as there are tenths of a degree, codes and days: what was finer is not in them.
    #[test]
    fn values_that_agree_in_what_is_left_cannot_be_told_apart(tenth in -1_800_i32..1_800, a in -0.049..0.049_f64, b in -0.049..0.049_f64, number in "[0-9]{4,9}", other in "[0-9]{4,9}") {
        let near = |off: f64| Transform::Rounded.apply(&json!(f64::from(tenth) / 10.0 + off), None);
        prop_assert_eq!(near(a), near(b));
        let code = |rest: &str| Transform::CountryCode.apply(&json!(format!("+41{rest}")), None);
        prop_assert_eq!(code(&number), code(&other));
    }

    #[test]
    fn a_pseudonym_is_stable_for_its_key_differs_for_another_and_holds_nothing_of_the_text(text in "\\PC{0,80}", other in "\\PC{0,80}", seed in 0_u8..255) {
        let made = key(seed).pseudonym(&text);
        prop_assert_eq!(&made, &key(seed).pseudonym(&text));
        prop_assert_ne!(&made, &key(seed + 1).pseudonym(&text));
        prop_assert_eq!(made == key(seed).pseudonym(&other), text == other);
        prop_assert_eq!(made.len(), PSEUDONYM_PREFIX.len() + 2 * PSEUDONYM_BYTES);
        prop_assert!(made.bytes().skip(PSEUDONYM_PREFIX.len()).all(|b| b.is_ascii_hexdigit()));
        // Six characters of a text stand in 32 random hex digits once in a million million cases.
        let characters: Vec<char> = text.chars().collect();
        for window in characters.windows(6) {
            prop_assert!(!made.contains(&window.iter().collect::<String>()));
        }
    }
}

fn field<'c>(catalogue: &'c Catalogue, kind: &str, path: &str) -> (&'c Field, Option<Region>) {
    let kind = catalogue.event_type(kind).unwrap();
    let field = kind.field(path).unwrap();
    (field, Region::beside(field, kind))
}

#[test]
fn a_region_is_the_coarsest_part_beside_it() {
    let catalogue = Catalogue::embedded().unwrap();
    for (kind, path, expected) in [
        ("page.viewed", "/location/city", Some("country")),
        ("chat.ended", "/visit/location/city", Some("country")),
        ("page.viewed", "/location/country", None),
        ("device.reported", "/location/lat", None),
        ("contact.provided", "/contact/phone", None),
    ] {
        let region = field(&catalogue, kind, path).1;
        assert_eq!(region.as_ref().map(|region| &*region.key), expected, "{kind} {path}");
        let path = FieldPath::parse(path).unwrap();
        let beside = region.and_then(|region| region.beside_of(&path));
        let beside =
            beside.map(|beside| catalogue.event_type(kind).unwrap().field(beside.as_str()).is_some());
        assert_eq!(beside, expected.map(|_| true), "{kind} {path}");
    }
}

#[test]
fn rewriting_reads_from_the_original_and_what_has_no_form_is_absent() {
    let catalogue = Catalogue::embedded().unwrap();
    let (city, region) = field(&catalogue, "page.viewed", "/location/city");
    let country = field(&catalogue, "page.viewed", "/location/country").0;
    let data = json!({ "location": { "city": "Basle", "country": "CH" }, "url": "u" });
    let fields = [
        Rewrite { path: &country.path, transform: Transform::Pseudonym, region: None },
        Rewrite { path: &city.path, transform: Transform::Region, region: region.as_ref() },
    ];
    let (copy, left) = rewrite(&data, &fields, Some(&key(1)));
    assert_eq!(copy["location"]["city"], "CH");
    assert!(copy["location"]["country"].as_str().unwrap().starts_with(PSEUDONYM_PREFIX));
    assert_eq!((copy["url"].as_str(), left), (Some("u"), vec![true, true]));
    let (copy, left) = rewrite(&json!({ "location": { "city": "Basle" } }), &fields, Some(&key(1)));
    assert_eq!((copy, left), (json!({ "location": { "city": null } }), vec![false, false]));

    let at = FieldPath::parse("/transcript/*/at").unwrap();
    let data = json!({ "transcript": [{ "at": "2026-01-02T03:04:05Z" }, {}, { "at": "late" }] });
    let (copy, left) =
        rewrite(&data, &[Rewrite { path: &at, transform: Transform::Day, region: None }], None);
    assert_eq!(copy, json!({ "transcript": [{ "at": "2026-01-02" }, {}, { "at": null }] }));
    assert_eq!(left, [true]);
}

#[test]
fn each_declassification_is_a_named_rule_of_known_keys() {
    let names: std::collections::BTreeSet<_> = declassify::RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), declassify::RULES.len());
    assert_eq!(declassify::ready(), declassify::RULES.len());
}

#[test]
fn content_sensitive_data_and_names_of_devices_keep_their_labels() {
    for key in [
        "user.content.private.transcript",
        "user.content.self_image",
        "user.health_and_medical",
        "user.government_id",
        "user.financial",
        "user.biometric",
        "user.device.device_id",
        "user.device.ip_address",
        "user.device.cookie_id",
        "user.location",
        "user.behavior.purchase_history",
    ] {
        let own = Label::first_party(Category::parse(key).unwrap());
        for form in Transform::ALL {
            assert_eq!(declassify::label(form, &own), (own.clone(), None), "{key} {form:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What the shipped policy withholds of the original and not of what leaves, a rule has named.
    #[test]
    fn a_declassification_lifts_what_it_names_and_nothing_else(at in 0..declassify::RULES.len(), below in any::<prop::sample::Index>(), purpose in any::<prop::sample::Index>(), third in any::<bool>(), bits in any::<u64>()) {
        let rule = &declassify::RULES[at];
        let policy = Policy::parse(PolicyBook::SHIPPED).unwrap();
        let categories: Vec<Category> =
            Category::all().filter(|key| is_under(std::iter::once(*key), &[rule.from])).collect();
        let own = Label::first_party(*below.get(&categories));
        let (leaves, by) = declassify::label(rule.form, &own);
        prop_assert_eq!(by, Some(rule.name));
        prop_assert_eq!(leaves.category.as_str(), rule.to);
        prop_assert_eq!(&leaves.origin, &own.origin);
        let purposes: Vec<Purpose> = Purpose::all().collect();
        let recipient = if third { Recipient::ThirdParty } else { Recipient::ServiceProvider };
        let facts = Fact::ALL.iter().enumerate()
            .fold(Facts::none(), |facts, (bit, fact)| facts.with(*fact, bits >> bit & 1 == 1))
            // Most combinations are opted out of everything, which says nothing about the forms.
            .with(Fact::BrandDirected, true).with(Fact::OptOutAll, false).with(Fact::OptOutIntegration, false);
        for flow in [Flow::Share, Flow::Decide] {
            let verdict = |label: &Label| policy.compile(flow, recipient, *purpose.get(&purposes), label.category).decide(facts);
            let (before, after) = (verdict(&own), verdict(&leaves));
            if after.decision != Decision::Withhold && before.decision == Decision::Withhold {
                let Reason::Clause(clause) = before.reason else { panic!("{before:?}") };
                prop_assert!(rule.lifts.contains(&clause.as_str()), "{} lifts {clause}", rule.name);
            }
        }
    }
}
