//! Coarser and pseudonymised values (design §2, verdict `transform`): what a grant may ask for, on which
//! fields, and what becomes of a value. Pure; whether a value may go is decided elsewhere, on the labels of
//! what leaves.
//!
//! | form | of | becomes |
//! | --- | --- | --- |
//! | `rounded` | a coordinate, user.location.precise | the number to one decimal: some 11 km of latitude. There is no gazetteer, so it is no city |
//! | `country-code` | user.contact.phone_number | `+` and the country calling code (ITU-T E.164); without a `+`, nothing |
//! | `day` | a time, RFC 3339 | its day in UTC, `YYYY-MM-DD` |
//! | `region` | a part of an address or place | the coarsest part that the event type has beside it, where the event has it |
//! | `pseudonym` | a text | `ps_` and 32 hex digits, keyed for (brand, partner): stable for both, of no use elsewhere |

mod calling_codes;
#[cfg(test)]
mod tests;

use gateway_policy::{Category, Label, Origin, Transform};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

use super::connection::HookField;
use crate::catalogue::path::escape;
use crate::catalogue::{EventType, Field, FieldKind, FieldPath, Segment};

/// What a pseudonym begins with, so that nobody takes it for an address or a name.
const PSEUDONYM_PREFIX: &str = "ps_";
/// Bytes of a pseudonym: no two values of a brand meet by chance.
const PSEUDONYM_BYTES: usize = 16;
/// Digits of a number in E.164, the country code included.
const MAX_E164_DIGITS: usize = 15;

/// Whether `field` can go in this form.
///
/// # Errors
/// The rule that it breaks.
pub fn fits_form(field: &HookField, form: Transform) -> Result<(), &'static str> {
    let under = |keys: &[&str]| is_under(field.labels.iter().map(|label| label.category), keys);
    let (fits, rule) = match form {
        Transform::Rounded => (
            field.kind == Some(FieldKind::Number) && under(&["user.location.precise"]),
            "rounded is for a number of category user.location.precise",
        ),
        Transform::CountryCode => (
            field.kind.is_some_and(FieldKind::is_text) && under(&["user.contact.phone_number"]),
            "country-code is for a text of category user.contact.phone_number",
        ),
        Transform::Day => (field.kind == Some(FieldKind::Time), "day is for a text of the format date-time"),
        Transform::Region => (
            field.region.is_some(),
            "region is for a part of an address or place with a coarser part beside it in the event type",
        ),
        Transform::Pseudonym => {
            (field.kind.is_some_and(FieldKind::is_text), "pseudonym is for a text of the event's data")
        }
    };
    if fits { Ok(()) } else { Err(rule) }
}

/// The value in this form; none where it has none. A region is not made of the value, but taken from beside it.
fn apply(form: Transform, value: &Value, key: Option<&PseudonymKey>) -> Option<Value> {
    match form {
        Transform::Rounded => rounded(value.as_f64()?),
        Transform::CountryCode => calling_code(value.as_str()?).map(Value::String),
        Transform::Day => day(value.as_str()?).map(Value::String),
        Transform::Region => None,
        Transform::Pseudonym => Some(Value::String(key?.pseudonym(value.as_str()?))),
    }
}

/// A grant's key for pseudonyms: of one brand and one partner. Never printed.
#[derive(Clone)]
pub struct PseudonymKey(Hmac<Sha256>);

impl PseudonymKey {
    /// From 32 bytes that no other brand and no other partner has.
    pub fn new(key: [u8; 32]) -> Self {
        // A whole block, zero-padded: the same as the 32 bytes (RFC 2104), and of a type that cannot fail.
        let mut block = [0_u8; 64];
        block.iter_mut().zip(key).for_each(|(to, from)| *to = from);
        Self(<Hmac<Sha256> as KeyInit>::new((&block).into()))
    }

    fn pseudonym(&self, text: &str) -> String {
        let digest = self.0.clone().chain_update(text.as_bytes()).finalize().into_bytes();
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        let digits =
            digest.iter().take(PSEUDONYM_BYTES).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        PSEUDONYM_PREFIX.chars().chain(digits).collect()
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey")
    }
}

/// The part of an address that stands in for a finer one: a property beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    key: Box<str>,
    pub(super) label: Label,
}

impl Region {
    /// The coarsest part beside `field` that is coarser than it; none where there is none.
    pub(super) fn beside(field: &Field, kind: &EventType) -> Option<Self> {
        let (Segment::Key(_), parents) = field.path.segments().split_last()? else { return None };
        let own = coarseness(field)?;
        let beside =
            |other: &&Field| other.path.segments().split_last().is_some_and(|(_, above)| above == parents);
        let parts = kind.fields.iter().filter(beside);
        let (rank, coarsest) =
            parts.filter_map(|part| Some((coarseness(part)?, part))).max_by_key(|(rank, _)| *rank)?;
        let Some(Segment::Key(key)) = coarsest.path.segments().last() else { return None };
        let origin = if coarsest.public { Origin::Public } else { Origin::FirstParty };
        let category = Category::parse(&coarsest.category).ok()?;
        (rank > own).then(|| Self { key: key.clone(), label: Label { category, origin } })
    }

    /// Its path, from that of the field beside it.
    pub(super) fn beside_of(&self, field: &FieldPath) -> Option<FieldPath> {
        let (above, _) = field.as_str().rsplit_once('/')?;
        FieldPath::parse(&format!("{above}/{}", escape(&self.key))).ok()
    }
}

/// How coarse a part of an address or place is; none where it is no part of one. The taxonomy tells the parts
/// of an address apart; those of a place have one category, and go by their names.
fn coarseness(field: &Field) -> Option<u8> {
    let named = || match field.path.segments().last() {
        Some(Segment::Key(name)) => match &**name {
            "country" => 2,
            "region" | "state" => 1,
            _ => 0,
        },
        _ => 0,
    };
    match field.category.as_str() {
        "user.contact.address.country" => Some(2),
        "user.contact.address.state" => Some(1),
        "user.contact.address.street" | "user.contact.address.postal_code" | "user.contact.address.city" => {
            Some(0)
        }
        "user.contact.address" | "user.location.imprecise" => Some(named()),
        _ => None,
    }
}

/// A field of an event that goes in another form.
pub(super) struct Rewrite<'a> {
    pub(super) path: &'a FieldPath,
    pub(super) transform: Transform,
    pub(super) region: Option<&'a Region>,
}

/// `data` with each of these fields in its form; what has none is `null`, and so absent. For each field,
/// whether anything is left of it.
pub(super) fn rewrite(
    data: &Value,
    fields: &[Rewrite<'_>],
    key: Option<&PseudonymKey>,
) -> (Value, Vec<bool>) {
    let mut copy = data.clone();
    let mut left = Vec::with_capacity(fields.len());
    for field in fields {
        walk(field.path.segments(), data, &mut copy, field, key);
        left.push(field.path.is_present(&copy));
    }
    (copy, left)
}

/// Reads from the original alone, so that no field's form depends on another's.
fn walk(
    path: &[Segment],
    original: &Value,
    copy: &mut Value,
    field: &Rewrite<'_>,
    key: Option<&PseudonymKey>,
) {
    let Some((first, rest)) = path.split_first() else { return };
    match (first, original, copy) {
        (Segment::Key(name), Value::Object(from), Value::Object(to)) => {
            let (Some(value), Some(place)) = (from.get(&**name), to.get_mut(&**name)) else { return };
            if rest.is_empty() {
                *place = match field.region {
                    Some(region) if field.transform == Transform::Region => {
                        from.get(&*region.key).filter(|part| !part.is_object() && !part.is_array()).cloned()
                    }
                    _ => apply(field.transform, value, key),
                }
                .unwrap_or(Value::Null);
            } else {
                walk(rest, value, place, field, key);
            }
        }
        (Segment::Each, Value::Array(from), Value::Array(to)) => {
            for (value, place) in from.iter().zip(to) {
                if rest.is_empty() {
                    *place = apply(field.transform, value, key).unwrap_or(Value::Null);
                } else {
                    walk(rest, value, place, field, key);
                }
            }
        }
        _ => {}
    }
}

fn is_under(mut categories: impl Iterator<Item = Category>, keys: &[&str]) -> bool {
    let above: Vec<Category> = keys.iter().filter_map(|key| Category::parse(key).ok()).collect();
    categories.all(|category| above.iter().any(|above| category.is_under(*above)))
}

fn rounded(degrees: f64) -> Option<Value> {
    // Adding zero turns -0.0 into 0.0: which side of the line it was is finer than asked for.
    serde_json::Number::from_f64((degrees * 10.0).round() / 10.0 + 0.0).map(Value::Number)
}

/// The day in UTC, so that it says nothing about where it was written down.
fn day(text: &str) -> Option<String> {
    let date = OffsetDateTime::parse(text, &Rfc3339)
        .map(|at| at.to_offset(time::UtcOffset::UTC).date())
        .or_else(|_| time::Date::parse(text, &Iso8601::DATE))
        .ok()?;
    Some(format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()))
}

/// `+` and the country calling code of a number in international form, however it is spaced.
fn calling_code(text: &str) -> Option<String> {
    let rest = text.trim().strip_prefix('+')?;
    let mut digits = String::new();
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' | '\u{2011}' => {}
            _ => return None,
        }
    }
    if digits.len() > MAX_E164_DIGITS {
        return None;
    }
    calling_codes::of(&digits).map(|code| format!("+{code}"))
}
