//! JSON bodies in which fields stand as whole values. Always well-formed; knows nothing of schemas.

use serde::Serialize;

use crate::{Failure, Field, Parts, Sealed, request::to_json};

/// One JSON value, fields included.
#[derive(Clone, Debug)]
pub struct Json(Parts);

/// An object with nothing in it yet.
///
/// ```
/// use plugin_sdk::{Field, json};
///
/// let body = json::object()
///     .with("kind", "lead")
///     .with("email", Field::at("/contact/email"))       // the gateway writes the value, quotes included
///     .with("lines", json::array([1, 2]));
/// assert_eq!(body.to_string(), r#"{"kind":"lead","email":{/contact/email},"lines":[1,2]}"#);
/// ```
pub fn object() -> Object {
    Object { parts: Parts::from("{"), empty: true }
}

/// An array of values.
pub fn array<V: Into<Json>>(values: impl IntoIterator<Item = V>) -> Json {
    let mut parts = Parts::from("[");
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            parts.text(",");
        }
        parts.append(value.into().0);
    }
    parts.text("]");
    Json(parts)
}

/// Anything that serde can write.
///
/// # Errors
/// [`Failure::Rejected`] where a map's keys are not strings.
pub fn value(value: &impl Serialize) -> Result<Json, Failure> {
    to_json(value).map(|text| Json(text.into()))
}

/// A JSON object being written.
#[derive(Clone, Debug)]
#[must_use]
pub struct Object {
    parts: Parts,
    empty: bool,
}

impl Object {
    /// Adds a member.
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        if !self.empty {
            self.parts.text(",");
        }
        self.empty = false;
        write_string(self.parts.tail(), name);
        self.parts.text(":");
        self.parts.append(value.into().0);
        self
    }

    /// Adds a member where there is a value, else leaves it out.
    pub fn with_some(self, name: &str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// Writes a JSON string (RFC 8259 §7).
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Whole runs at a time. What needs an escape is one byte, so `at` is between characters.
    while let Some((plain, special)) =
        rest.bytes().position(needs_escape).and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(c @ ('"' | '\\')) => out.extend(['\\', c]),
            Some(c) => {
                out.push_str("\\u00");
                out.extend(
                    [4, 0].iter().filter_map(|shift| char::from_digit((u32::from(c) >> shift) & 0xf, 16)),
                );
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\')
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}}}", self.parts)
    }
}

impl From<Object> for Json {
    fn from(mut object: Object) -> Self {
        object.parts.text("}");
        Self(object.parts)
    }
}

impl From<Object> for Parts {
    fn from(object: Object) -> Self {
        Json::from(object).0
    }
}

impl From<Json> for Parts {
    fn from(json: Json) -> Self {
        json.0
    }
}

impl From<Field> for Json {
    fn from(field: Field) -> Self {
        Self(field.into())
    }
}

impl From<Sealed> for Json {
    fn from(sealed: Sealed) -> Self {
        Self(sealed.into())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        let mut json = String::with_capacity(text.len() + 2);
        write_string(&mut json, text);
        Self(json.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl<V: Into<Json>> From<Option<V>> for Json {
    fn from(value: Option<V>) -> Self {
        value.map_or_else(|| Self("null".into()), Into::into)
    }
}

impl From<f64> for Json {
    /// JSON has no NaN and no infinity: they become `null`.
    fn from(number: f64) -> Self {
        if number.is_finite() { Self(number.to_string().into()) } else { Self("null".into()) }
    }
}

macro_rules! from_display {
    ($($type:ty),*) => {$(
        impl From<$type> for Json {
            fn from(value: $type) -> Self {
                Self(value.to_string().into())
            }
        }
    )*};
}
from_display!(bool, i32, i64, u32, u64, usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_back_as_they_were() {
        for text in
            ["", "plain", "\"quoted\"", "back\\slash", "a\nb\r\tc", "\u{0}\u{1f}", "Zürich 😀", "</script>"]
        {
            let Json(parts) = Json::from(text);
            assert_eq!(serde_json::from_str::<String>(&parts.to_string()).unwrap(), text, "{text:?}");
        }
    }

    #[test]
    fn a_member_without_a_value_is_left_out_or_null() {
        let body = object().with_some("a", None::<&str>).with("b", None::<i32>).with_some("c", Some(1.5));
        assert_eq!(Parts::from(body).to_string(), r#"{"b":null,"c":1.5}"#);
    }
}
