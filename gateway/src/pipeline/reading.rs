//! A JSON document read into its type. It may not repeat a value of the document: serde's own messages do, so only
//! what they expected is kept, with the place.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::catalogue::path::escape;

use super::error::Problem;

/// Why a document was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// It is not JSON at all.
    pub malformed: bool,
    /// What is wrong, and where.
    pub problem: Problem,
}

/// Reads one JSON document, refusing what its type does not know.
///
/// # Errors
/// [`Unreadable`], with the place and the rule.
pub fn read_document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    // serde takes an array for a struct too, its members by their place; a document is an object.
    if bytes.trim_ascii_start().starts_with(b"[") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        let problem = Problem { pointer: String::new(), detail: "expected an object".into() };
        return Err(Unreadable { malformed: false, problem });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        explain(bytes, error.inner(), pointer)
    })?;
    reader.end().map_err(|error| explain(bytes, &error, String::new()))?;
    Ok(value)
}

fn explain(bytes: &[u8], error: &serde_json::Error, pointer: String) -> Unreadable {
    // serde says of an object where one of several forms is due that its syntax is wrong, however well it is written.
    if !error.is_data() && serde_json::from_slice::<Value>(bytes).is_err() {
        let detail = format!("it is not JSON (RFC 8259): line {}, column {}", error.line(), error.column());
        return Unreadable { malformed: true, problem: Problem { pointer: String::new(), detail } };
    }
    let message = error.to_string();
    let pointer = match message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        // The fault is found between the name and its value, where no path leads; the name is the type's own.
        Some((name, _)) if !pointer.ends_with(&format!("/{name}")) => format!("{pointer}/{name}"),
        _ => pointer,
    };
    Unreadable { malformed: false, problem: Problem { pointer, detail: rule(&message) } }
}

/// The rule that a message of serde is about, without what was found instead.
fn rule(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("the field {field} is required");
    }
    if message.starts_with("duplicate field ") {
        return "a field is there twice; keep one".into();
    }
    // What was found comes first and may contain anything; what was expected is the type's own word.
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    match expected {
        Some(expected) if message.starts_with("unknown field ") => {
            format!("there is no such field; expected {expected}")
        }
        Some(expected) if message.starts_with("unknown variant ") => format!("expected {expected}"),
        Some(expected) => format!("expected {}", json_word(expected)),
        None if message.starts_with("unknown field ") => "there is no such field; none is expected".into(),
        None => "it is not of the documented type".into(),
    }
}

/// serde's words for Rust's types in JSON's words.
fn json_word(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "one of the documented forms",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        other => other,
    }
}

/// A JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => escape(key).into_owned(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&token);
    }
    pointer
}
