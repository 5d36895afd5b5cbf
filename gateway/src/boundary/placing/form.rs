//! Checks `application/x-www-form-urlencoded` bodies and where fields stand in them. It decodes nothing.

use super::error::Fault;
use super::render::FieldSpan;
use super::runs::FieldWalk;

/// Checks that `text` is `name=value` pairs, every other character encoded, and that each field stands in a value.
pub(super) fn check(text: &str, fields: &[FieldSpan]) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let mut walk = FieldWalk::new(fields);
    // Where the value begins, once the pair's `=` has been read.
    let mut value = None;
    let mut at = 0_usize;
    loop {
        let byte = bytes.get(at).copied();
        match (byte, value) {
            (Some(b'&') | None, Some(start)) => {
                walk.run(start, at, true)?;
                value = None;
                if byte.is_none() {
                    return walk.end();
                }
            }
            (Some(b'&') | None, None) => return Err(malformed(at, "a pair has no `=`")),
            (Some(b'='), None) => value = Some(walk.start(at.saturating_add(1))),
            (Some(b'='), Some(_)) => return Err(malformed(at, "`=` stands in a value; encode it as %3D")),
            (Some(b'%'), _) => {
                let end = at.saturating_add(3);
                let digits = bytes.get(at.saturating_add(1)..end).unwrap_or_default();
                if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(malformed(at, "`%` is not followed by two hexadecimal digits"));
                }
                if value.is_some() {
                    walk.escape(at, end)?;
                }
                at = end;
                continue;
            }
            (Some(b'+' | b'*' | b'-' | b'.' | b'_' | b'~'), _) => {}
            (Some(other), _) if other.is_ascii_alphanumeric() => {}
            (Some(_), _) => return Err(malformed(at, "a character is not encoded")),
        }
        at = at.saturating_add(1);
    }
}

fn malformed(at: usize, rule: &'static str) -> Fault {
    Fault::Malformed { at, rule }
}
