//! Joins text and fields into one string, each field encoded, and remembers where each field went.
//! It knows nothing of the context a field lands in: the scanners check that afterwards.

use super::error::{Place, PlacingError};
use super::{FieldValue, MAX_BODY_BYTES, ValueLookup};
use crate::boundary::Part;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt::Write as _;

/// Everything but the unreserved characters of RFC 3986 §2.3.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As `SEGMENT`; the form serialiser of the URL standard encodes `~` as well.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// How a field is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One JSON value.
    Json,
    /// XML character data, safe in text and in either kind of quotes.
    Xml,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// As it is; a list is its items, one a line.
    Plain,
    /// As it is; lists are refused.
    Single,
}

/// Bytes of one field in the rendered string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldSpan {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The declared path has a `*`.
    pub(super) list: bool,
    /// Index of its part, from 0.
    pub(super) part: usize,
}

/// The joined parts.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// In the order of the text, without overlap.
    pub(super) fields: Vec<FieldSpan>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Rendered {
    /// The number, from 1, of the part that holds a byte.
    pub(super) fn part_at(&self, offset: usize) -> usize {
        self.ends
            .partition_point(|end| *end <= offset)
            .min(self.ends.len().saturating_sub(1))
            .saturating_add(1)
    }
}

/// Renders `parts` for `place`. Paths whose value is present are added to `placed`.
pub(super) fn render<'p>(
    parts: &'p [Part],
    encoding: Encoding,
    place: &Place,
    values: ValueLookup<'_, '_>,
    placed: &mut Vec<&'p str>,
) -> Result<Rendered, PlacingError> {
    let capacity = parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Field(_) => 64,
        })
        .fold(0_usize, usize::saturating_add)
        .min(MAX_BODY_BYTES);
    let mut rendered = Rendered {
        text: String::with_capacity(capacity),
        fields: Vec::new(),
        ends: Vec::with_capacity(parts.len()),
    };
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => rendered.text.push_str(text),
            Part::Field(path) => {
                let number = index.saturating_add(1);
                let value = values(path)
                    .ok_or_else(|| PlacingError::FieldNotGiven { place: place.clone(), part: number })?;
                let start = rendered.text.len();
                let list = matches!(value, FieldValue::Many(_));
                let present = match &value {
                    FieldValue::One(leaf) => leaf.is_some_and(|value| !value.is_null()),
                    FieldValue::Many(leaves) => !leaves.is_empty(),
                };
                match push_field(&mut rendered.text, encoding, &value) {
                    Ok(()) => {}
                    Err(Unfit::NotScalar) => {
                        return Err(PlacingError::NotScalar { place: place.clone(), part: number });
                    }
                    Err(Unfit::List) => {
                        return Err(PlacingError::ListNotAllowed { place: place.clone(), part: number });
                    }
                }
                rendered.fields.push(FieldSpan { start, end: rendered.text.len(), list, part: index });
                if present && !placed.contains(&path.as_str()) {
                    placed.push(path);
                }
            }
        }
        // Each value is bounded by the event's own limit, so one part overshoots by that at most.
        if rendered.text.len() > MAX_BODY_BYTES {
            return Err(PlacingError::TooLong { place: place.clone(), limit: MAX_BODY_BYTES });
        }
        rendered.ends.push(rendered.text.len());
    }
    Ok(rendered)
}

enum Unfit {
    NotScalar,
    List,
}

fn push_field(out: &mut String, encoding: Encoding, value: &FieldValue<'_>) -> Result<(), Unfit> {
    match (encoding, value) {
        (Encoding::Json, FieldValue::One(leaf)) => {
            match leaf {
                Some(value) => push_json(out, value),
                None => out.push_str("null"),
            }
            Ok(())
        }
        (Encoding::Json, FieldValue::Many(leaves)) => {
            out.push('[');
            for (index, leaf) in leaves.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json(out, leaf);
            }
            out.push(']');
            Ok(())
        }
        (Encoding::Single, FieldValue::Many(_)) => Err(Unfit::List),
        (_, FieldValue::One(None)) => Ok(()),
        (_, FieldValue::One(Some(leaf))) => push_scalar(out, encoding, leaf),
        (_, FieldValue::Many(leaves)) => {
            for (index, leaf) in leaves.iter().enumerate() {
                if index > 0 {
                    out.push_str(if encoding == Encoding::Form { "%0A" } else { "\n" });
                }
                push_scalar(out, encoding, leaf)?;
            }
            Ok(())
        }
    }
}

fn push_json(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => push_json_string(out, text),
        // `Display` of a value is its compact JSON text; writing to a string cannot fail.
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// RFC 8259 §7.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(
        out,
        text,
        |byte| byte < 0x20 || byte == b'"' || byte == b'\\',
        |out, c| match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
        },
    );
    out.push('"');
}

fn push_scalar(out: &mut String, encoding: Encoding, value: &Value) -> Result<(), Unfit> {
    match value {
        Value::Null => {}
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        // Digits, sign, point and exponent: no encoding but the form's changes them.
        Value::Number(number) if encoding != Encoding::Form => {
            let _ = write!(out, "{number}");
        }
        Value::Number(number) => out.extend(utf8_percent_encode(&number.to_string(), FORM)),
        Value::String(text) => match encoding {
            Encoding::Xml => push_xml(out, text),
            Encoding::Form => out.extend(utf8_percent_encode(text, FORM)),
            Encoding::Json | Encoding::Plain | Encoding::Single => out.push_str(text),
        },
        Value::Array(_) | Value::Object(_) => return Err(Unfit::NotScalar),
    }
    Ok(())
}

/// Escapes for text and for either kind of quotes at once. White space other than the blank goes as
/// a character reference: a parser would turn CR into LF in text, and all three into blanks in an
/// attribute (XML 1.0 §2.11, §3.3.3). A character that XML 1.0 cannot carry at all (§2.2: most of the
/// C0 controls, U+FFFE, U+FFFF) becomes U+FFFD.
fn push_xml(out: &mut String, text: &str) {
    // 0xEF leads U+F000 to U+FFFF, so also the two noncharacters.
    let special = |byte: u8| byte < 0x20 || matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'' | 0xef);
    push_escaped(out, text, special, |out, c| match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&apos;"),
        '\t' => out.push_str("&#9;"),
        '\n' => out.push_str("&#10;"),
        '\r' => out.push_str("&#13;"),
        other if super::xml::is_char(other) => out.push(other),
        _ => out.push('\u{fffd}'),
    });
}

/// Copies runs of ordinary bytes whole; gives each character whose first byte is `special` to `escape`.
fn push_escaped(
    out: &mut String,
    text: &str,
    special: impl Fn(u8) -> bool,
    escape: impl Fn(&mut String, char),
) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(&special) {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = tail.chars();
        if let Some(c) = chars.next() {
            escape(out, c);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}
