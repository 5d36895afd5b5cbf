//! Telephone numbers, and what goes by SMS (clause choice.sms).

use std::ops::RangeInclusive;

use gateway_policy::{Category, Label, Purpose};
use serde_json::Value;

use crate::manifest::Channel;

/// Whether what is sent for this purpose, over this channel, counts as sent by SMS.
pub fn is_by_sms(purpose: Purpose, channel: Option<Channel>) -> bool {
    channel == Some(Channel::Sms) || purpose.as_str().ends_with(".sms")
}

/// Whether a value with these labels is, or derives from, a telephone number.
pub fn is_number<'l>(labels: impl IntoIterator<Item = &'l Label>) -> bool {
    let Ok(number) = Category::parse("user.contact.phone_number") else { return false };
    labels.into_iter().any(|label| label.category.is_under(number))
}

/// A telephone number, as it is written; of a JSON number its digits, whether or not it is written as a fraction.
pub fn as_number(value: &Value) -> Option<String> {
    match value {
        Value::String(number) => Some(number.clone()),
        Value::Number(number) if number.is_f64() => number.as_f64().map(|number| format!("{number:.0}")),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Digits of a telephone number (E.164), at least without those of its country.
const DIGITS: RangeInclusive<usize> = 7..=15;

/// Of one document, at most: each is a question to the store.
const MOST: usize = 100;

/// What reads as a telephone number in a document that is, or derives from, one: of a memory, a reply or a message nothing
/// says which of its leaves it is. In a memory a name may be a value too.
pub fn numbers_within(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(document, &mut found);
    found.truncate(MOST);
    found
}

fn collect(document: &Value, found: &mut Vec<String>) {
    if found.len() >= MOST {
        return;
    }
    match document {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.extend(reads_as_one(name).then(|| name.clone()));
            collect(value, found);
        }),
        leaf => found.extend(as_number(leaf).filter(|text| reads_as_one(text))),
    }
}

fn reads_as_one(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    DIGITS.contains(&digits) && !text.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_however_it_is_written() {
        for (text, number) in [
            (r#""+1 (212) 555-0142""#, Some("+1 (212) 555-0142")),
            ("12125550142", Some("12125550142")),
            ("12125550142.0", Some("12125550142")),
            ("1.2125550142e10", Some("12125550142")),
            ("true", None),
            ("null", None),
            (r#"["12125550142"]"#, None),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(as_number(&value).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn of_a_document_each_leaf_and_name_is_looked_at_that_is_one_as_a_whole() {
        let document = serde_json::json!({
            "to": ["+1 (212) 555-0142", 12_125_550_143_u64, { "+1.212.555.0144": true }],
            "not": ["call +1 212 555 0145", "555-014", 4711, "1234567890123456", null],
        });
        assert_eq!(numbers_within(&document), ["+1 (212) 555-0142", "12125550143", "+1.212.555.0144"]);
        let many: Vec<u64> = (12_125_550_000..12_125_551_000).collect();
        assert_eq!(numbers_within(&many.into()).len(), MOST);
    }
}
