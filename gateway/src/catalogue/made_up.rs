//! Documents that a schema could have, made from the schema alone: the same each time, and so without a trace of any
//! that there was.

use serde_json::{Map, Number, Value};

use super::path::{FieldPath, Segment};

/// Where nothing says what a text is.
const TEXT: &str = "made up";

/// By `format`.
const BY_FORMAT: [(&str, &str); 9] = [
    ("date-time", "2000-01-01T00:00:00Z"),
    ("date", "2000-01-01"),
    ("time", "00:00:00Z"),
    ("email", "someone@example.org"),
    ("hostname", "host.example"),
    ("ipv4", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("uri", "https://example.org/"),
    ("uuid", "00000000-0000-4000-8000-000000000000"),
];

/// By the end of `x-category`, where there is no format: what a plugin or a form of a grant would read.
const BY_CATEGORY: [(&str, &str); 3] =
    [(".email", "someone@example.org"), (".phone_number", "+1-212-555-0100"), (".ip_address", "192.0.2.1")];

/// A document with what the schema requires and with what `wanted` names, each array with one element.
pub(super) fn made_up(schema: &Map<String, Value>, wanted: &[&FieldPath]) -> Value {
    let wanted: Vec<&[Segment]> = wanted.iter().map(|path| path.segments()).collect();
    node(schema, &wanted)
}

fn node(schema: &Map<String, Value>, wanted: &[&[Segment]]) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => object(schema, wanted),
        Some("array") => array(schema, wanted),
        _ => leaf(schema),
    }
}

fn object(schema: &Map<String, Value>, wanted: &[&[Segment]]) -> Value {
    let is_required = |name: &str| {
        let required = schema.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|known| known == name))
    };
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let made = properties.filter_map(|(name, property)| {
        let below = below(wanted, |segment| matches!(segment, Segment::Key(key) if **key == **name));
        (is_required(name) || !below.is_empty())
            .then(|| Some((name.clone(), node(property.as_object()?, &below))))?
    });
    Value::Object(made.collect())
}

fn array(schema: &Map<String, Value>, wanted: &[&[Segment]]) -> Value {
    let below = below(wanted, |segment| *segment == Segment::Each);
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    let items = least.max(u64::from(!below.is_empty()));
    let Some(item) = schema.get("items").and_then(Value::as_object) else { return Value::Array(vec![]) };
    (0..items).map(|_| node(item, &below)).collect()
}

/// What is wanted below the step that fits.
fn below<'w>(wanted: &[&'w [Segment]], fits: impl Fn(&Segment) -> bool) -> Vec<&'w [Segment]> {
    let steps = wanted.iter().filter_map(|path| path.split_first());
    steps.filter(|(first, _)| fits(first)).map(|(_, rest)| rest).collect()
}

fn leaf(schema: &Map<String, Value>) -> Value {
    let listed = |key: &str| schema.get(key)?.as_array()?.iter().find(|value| !value.is_null()).cloned();
    if let Some(value) = schema.get("const").cloned().or_else(|| listed("enum")) {
        return value;
    }
    let kind = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        Some(name) => name.as_str(),
        None => None,
    };
    match kind {
        Some("number" | "integer") => number(schema),
        Some("boolean") => Value::Bool(false),
        _ => listed("x-dimension").unwrap_or_else(|| text(schema)),
    }
}

fn text(schema: &Map<String, Value>) -> Value {
    let says = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let (format, category) = (says("format"), says("x-category"));
    let by_format = BY_FORMAT.iter().find(|(name, _)| *name == format);
    let found = by_format.or_else(|| BY_CATEGORY.iter().find(|(end, _)| category.ends_with(end)));
    let bound =
        |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|many| usize::try_from(many).ok());
    let mut text: String = found.map_or(TEXT, |(_, value)| value).to_owned();
    let many = text.chars().count();
    text.extend(std::iter::repeat_n('x', bound("minLength").unwrap_or(0).saturating_sub(many)));
    Value::String(text.chars().take(bound("maxLength").unwrap_or(usize::MAX)).collect())
}

/// The least number that the schema allows, from one upward; the greatest where that is below.
fn number(schema: &Map<String, Value>) -> Value {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let mut made = 1.0_f64;
    made = bound("minimum").map_or(made, |least| made.max(least));
    made = bound("exclusiveMinimum").map_or(made, |below| made.max(below + 1.0));
    if let Some(step) = bound("multipleOf").filter(|step| *step > 0.0) {
        made = (made / step).ceil() * step;
    }
    made = bound("maximum").map_or(made, |most| made.min(most));
    made = bound("exclusiveMaximum").map_or(made, |above| made.min(above - 1.0));
    #[allow(clippy::cast_possible_truncation)] // whole and far within the range
    let whole = (made.fract() == 0.0 && made.abs() < 1e15).then(|| Value::from(made as i64));
    whole.or_else(|| Number::from_f64(made).map(Value::Number)).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Catalogue;
    use super::*;

    #[test]
    fn every_type_has_a_valid_document_with_any_of_its_fields_and_with_all() {
        let catalogue = Catalogue::embedded().unwrap();
        for kind in catalogue.event_types() {
            let none = kind.made_up(&[]).unwrap_or_else(|| panic!("{}: nothing", kind.name));
            assert!(kind.validate(&none).is_ok());
            for field in &kind.fields {
                let one =
                    kind.made_up(&[&field.path]).unwrap_or_else(|| panic!("{}: {}", kind.name, field.path));
                assert_eq!(field.path.select(&one).len(), 1, "{}: {}", kind.name, field.path);
            }
            let all: Vec<&FieldPath> = kind.fields.iter().map(|field| &field.path).collect();
            let all_made = kind.made_up(&all).unwrap();
            assert!(all.iter().all(|path| path.is_present(&all_made)), "{}", kind.name);
        }
    }

    #[test]
    fn a_leaf_is_what_its_schema_says_and_nothing_else() {
        for (schema, expected) in [
            (json!({ "type": "string" }), json!("made up")),
            (json!({ "type": "string", "maxLength": 4 }), json!("made")),
            (json!({ "type": "string", "minLength": 9 }), json!("made upxx")),
            (json!({ "type": ["null", "string"], "format": "date" }), json!("2000-01-01")),
            (json!({ "type": "string", "x-category": "user.contact.email" }), json!("someone@example.org")),
            (json!({ "type": "string", "enum": ["b", "a"] }), json!("b")),
            (json!({ "type": "string", "x-dimension": ["desktop", "phone"] }), json!("desktop")),
            (json!({ "type": "boolean", "const": true }), json!(true)),
            (json!({ "type": "boolean" }), json!(false)),
            (json!({ "type": "integer", "minimum": 5 }), json!(5)),
            (json!({ "type": "number", "maximum": 0.5 }), json!(0.5)),
            (json!({ "type": "integer", "multipleOf": 4 }), json!(4)),
            (json!({ "type": "integer", "exclusiveMaximum": 0 }), json!(-1)),
            (json!({ "type": "array", "items": { "type": "string" } }), json!([])),
            (
                json!({ "type": "array", "minItems": 2, "items": { "type": "string" } }),
                json!(["made up", "made up"]),
            ),
        ] {
            assert_eq!(node(schema.as_object().unwrap(), &[]), expected, "{schema}");
        }
    }
}
