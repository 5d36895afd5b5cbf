//! What forms make of values.

use proptest::prelude::*;
use serde_json::json;

use super::*;
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
        let found = apply(form, &value, Some(&key(1))).unwrap_or(Value::Null);
        assert_eq!(found, expected, "{form:?} {value}");
    }
}

#[test]
fn without_a_key_there_is_no_pseudonym() {
    assert_eq!(apply(Transform::Pseudonym, &json!("ada"), None), None);
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
            let Some(once) = apply(form, &value, None) else { continue };
            prop_assert_eq!(apply(form, &once, None), Some(once.clone()), "{:?} again", form);
            prop_assert!(once.to_string().len() <= value.to_string().len().max(6), "{:?} of {} is {}", form, value, once);
        }
    }

    /// As many values as there are tenths of a degree, codes and days: what was finer is not in them.
    #[test]
    fn values_that_agree_in_what_is_left_cannot_be_told_apart(tenth in -1_800_i32..1_800, a in -0.049..0.049_f64, b in -0.049..0.049_f64, number in "[0-9]{4,9}", other in "[0-9]{4,9}") {
        let near = |off: f64| apply(Transform::Rounded, &json!(f64::from(tenth) / 10.0 + off), None);
        prop_assert_eq!(near(a), near(b));
        let code = |rest: &str| apply(Transform::CountryCode, &json!(format!("+41{rest}")), None);
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
