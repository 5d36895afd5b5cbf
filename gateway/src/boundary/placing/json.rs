//! A strict reader of RFC 8259 that checks where fields stand. It builds no values and allows less than
//! other readers do (no duplicate names, no lone surrogates), so that all of them agree on what it passed.

use super::error::Fault;
use super::render::FieldSpan;
use std::borrow::Cow;

/// Arrays and objects inside each other; common readers stop at 128 (serde_json) or more.
const MAX_DEPTH: usize = 64;

/// Checks that `text` is one JSON document and that each field is exactly one value of it.
pub(super) fn check(text: &str, fields: &[FieldSpan]) -> Result<(), Fault> {
    let mut reader =
        Reader { text, bytes: text.as_bytes(), pos: 0, fields, next_field: 0, names: Vec::new() };
    reader.document()
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    pos: usize,
    fields: &'t [FieldSpan],
    /// Fields before this one have been found to be whole values.
    next_field: usize,
    /// Names of the objects that are open, innermost last.
    names: Vec<Cow<'t, str>>,
}

/// An open array or object.
struct Open {
    object: bool,
    /// Where its names begin in `names`.
    names_from: usize,
    /// The field that this value began at, if it began at one.
    field: Option<usize>,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<(), Fault> {
        let mut open: Vec<Open> = Vec::new();
        self.space();
        'value: loop {
            // A value begins here.
            let field = self.field_here();
            match self.peek() {
                Some(first @ (b'{' | b'[')) => {
                    if open.len() >= MAX_DEPTH {
                        return Err(self.fault("arrays and objects are nested too deeply"));
                    }
                    self.advance();
                    self.space();
                    let object = first == b'{';
                    open.push(Open { object, names_from: self.names.len(), field });
                    if object {
                        if self.peek() != Some(b'}') {
                            self.name()?;
                            continue 'value;
                        }
                    } else if self.peek() != Some(b']') {
                        continue 'value;
                    }
                }
                _ => {
                    self.scalar()?;
                    self.field_ends(field)?;
                }
            }
            // A value has ended, or an empty array or object is about to.
            loop {
                self.space();
                let Some(innermost) = open.last() else {
                    return self.end();
                };
                match (self.peek(), innermost.object) {
                    (Some(b','), object) => {
                        self.advance();
                        self.space();
                        if object {
                            self.name()?;
                        }
                        continue 'value;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.advance();
                        if let Some(closed) = open.pop() {
                            if closed.object {
                                self.names_differ(closed.names_from)?;
                            }
                            self.field_ends(closed.field)?;
                        }
                    }
                    _ => return Err(self.fault("a comma or a closing bracket is missing")),
                }
            }
        }
    }

    fn end(&self) -> Result<(), Fault> {
        if self.pos < self.bytes.len() {
            return Err(self.fault("something follows the document"));
        }
        if self.next_field < self.fields.len() {
            return Err(Fault::Misplaced { field: self.next_field });
        }
        Ok(())
    }

    /// The next field, if it begins where a value begins now.
    fn field_here(&mut self) -> Option<usize> {
        let index = self.next_field;
        (self.fields.get(index)?.start == self.pos).then(|| {
            self.next_field = index.saturating_add(1);
            index
        })
    }

    fn field_ends(&self, field: Option<usize>) -> Result<(), Fault> {
        match field {
            Some(index) if self.fields.get(index).is_none_or(|span| span.end != self.pos) => {
                Err(Fault::Misplaced { field: index })
            }
            _ => Ok(()),
        }
    }

    /// A name and its colon; a field there is not matched, so it is misplaced.
    fn name(&mut self) -> Result<(), Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("an object's name is not a string"));
        }
        let start = self.pos;
        let escaped = self.string()?;
        let raw = self.text.get(start..self.pos).unwrap_or_default();
        let name = if escaped {
            serde_json::from_str::<String>(raw)
                .map(Cow::Owned)
                .map_err(|_| Fault::Malformed { at: start, rule: "an object's name is not valid text" })?
        } else {
            Cow::Borrowed(raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default())
        };
        self.names.push(name);
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.fault("a colon is missing"));
        }
        self.advance();
        self.space();
        Ok(())
    }

    fn names_differ(&mut self, from: usize) -> Result<(), Fault> {
        if let Some(names) = self.names.get_mut(from..) {
            names.sort_unstable();
            if names.iter().zip(names.iter().skip(1)).any(|(one, next)| one == next) {
                return Err(self.fault("an object has the same name twice"));
            }
        }
        self.names.truncate(from);
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.fault("a value is missing")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        let end = self.pos.saturating_add(word.len());
        if self.bytes.get(self.pos..end) != Some(word.as_bytes()) {
            return Err(self.fault("a value is missing"));
        }
        self.pos = end;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.advance();
        }
        if self.peek() == Some(b'0') {
            self.advance();
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.advance();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.advance();
            if let Some(b'+' | b'-') = self.peek() {
                self.advance();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.pos;
        while let Some(b'0'..=b'9') = self.peek() {
            self.advance();
        }
        if self.pos == start { Err(self.fault("a number lacks digits")) } else { Ok(()) }
    }

    /// From its opening quote to behind its closing one; whether it holds escapes.
    fn string(&mut self) -> Result<bool, Fault> {
        let mut escaped = false;
        self.advance();
        loop {
            let rest = self.bytes.get(self.pos..).unwrap_or_default();
            let plain = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
            self.pos = self.pos.saturating_add(plain.unwrap_or(rest.len()));
            match self.peek() {
                Some(b'"') => {
                    self.advance();
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.advance();
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("a string holds a control character")),
                None => return Err(self.fault("a string is not closed")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.advance();
                Ok(())
            }
            Some(b'u') => {
                self.advance();
                match self.hex4()? {
                    0xD800..=0xDBFF => {
                        if self.bytes.get(self.pos..self.pos.saturating_add(2)) != Some(b"\\u") {
                            return Err(self.fault("a surrogate stands alone"));
                        }
                        self.pos = self.pos.saturating_add(2);
                        match self.hex4()? {
                            0xDC00..=0xDFFF => Ok(()),
                            _ => Err(self.fault("a surrogate stands alone")),
                        }
                    }
                    0xDC00..=0xDFFF => Err(self.fault("a surrogate stands alone")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.fault("a string holds an unknown escape")),
        }
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let end = self.pos.saturating_add(4);
        let digits = self.bytes.get(self.pos..end).filter(|four| four.iter().all(u8::is_ascii_hexdigit));
        let code = digits
            .and_then(|four| std::str::from_utf8(four).ok())
            .and_then(|four| u32::from_str_radix(four, 16).ok())
            .ok_or_else(|| self.fault("an escape lacks four hexadecimal digits"))?;
        self.pos = end;
        Ok(code)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.advance();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    fn advance(&mut self) {
        self.pos = self.pos.saturating_add(1);
    }

    fn fault(&self, rule: &'static str) -> Fault {
        Fault::Malformed { at: self.pos, rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Strings over JSON's own alphabet, so that many of them are nearly documents.
    fn nearly_json() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\""),
            Just("\\"),
            Just("\"a\""),
            Just("\"b\""),
            Just("\"\\u0061\""),
            Just("\\u12"),
            Just("\"\\ud83d\\ude00\""),
            Just("\"\\ud83d\""),
            Just("0"),
            Just("1"),
            Just("-"),
            Just("."),
            Just("e"),
            Just("+"),
            Just("12.5e3"),
            Just("true"),
            Just("false"),
            Just("null"),
            Just("nul"),
            Just(" "),
            Just("\n"),
            Just("\u{1}"),
            Just("é"),
        ];
        proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn what_it_passes_serde_json_reads(text in nearly_json()) {
            if check(&text, &[]).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }

        #[test]
        fn what_serde_json_reads_it_passes_unless_a_name_is_double(text in nearly_json()) {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                let verdict = check(&text, &[]);
                let double = matches!(verdict, Err(Fault::Malformed { rule, .. }) if rule.contains("same name"));
                prop_assert!(verdict.is_ok() || double, "{verdict:?}");
            }
        }
    }

    #[test]
    fn names_are_compared_as_read_and_per_object() {
        for (text, good) in [
            (r#"{"a":1,"b":{"a":1}}"#, true),
            (r#"[{"a":1},{"a":2}]"#, true),
            (r#"{"a":1,"a":2}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"x":{"a":1,"b":2,"a":3}}"#, false),
        ] {
            assert_eq!(check(text, &[]).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&nested(MAX_DEPTH), &[]).is_ok());
        assert!(check(&nested(MAX_DEPTH + 1), &[]).is_err());
    }
}
