//! Telephone numbers, and what goes by SMS (clause choice.sms).

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
}
