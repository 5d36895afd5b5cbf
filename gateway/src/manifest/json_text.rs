//! Where in a JSON text its parts stand, and which of its keys stand twice. It reads only texts that have parsed.

use std::collections::BTreeSet;

use super::place::Span;
use crate::catalogue::escape;

/// The place of what a JSON Pointer names, or of the deepest part above it that is there. What holds others is shown by
/// its key, as its bracket says nothing.
pub(super) fn place_of(text: &str, pointer: &str) -> Span {
    let mut shown = 0..0;
    let mut reader = Reader { text, at: 0 };
    for wanted in pointer.split('/').skip(1) {
        let Some((key, value)) = reader.child(wanted) else {
            return shown;
        };
        reader.at = value;
        let mut end = Reader { text, at: value };
        end.skip_value();
        shown = match (key, reader.peek()) {
            (Some(key), Some(b'{' | b'[')) => key,
            _ => value..end.at,
        };
    }
    shown
}

/// The first key that stands twice in one object, with its pointer: a reader takes the last of them without a word.
pub(super) fn repeated_key(text: &str) -> Option<(String, Span)> {
    enum Open {
        Object { seen: BTreeSet<String>, key: String },
        Array { index: usize },
    }
    let mut reader = Reader { text, at: 0 };
    let mut open: Vec<Open> = Vec::new();
    loop {
        match reader.peek()? {
            b'{' => {
                reader.step();
                open.push(Open::Object { seen: BTreeSet::new(), key: String::new() });
            }
            b'[' => {
                reader.step();
                open.push(Open::Array { index: 0 });
            }
            b'}' | b']' => {
                reader.step();
                open.pop();
            }
            b',' => {
                reader.step();
                if let Some(Open::Array { index }) = open.last_mut() {
                    *index = index.saturating_add(1);
                }
            }
            b':' => reader.step(),
            b'"' => {
                let (span, string) = reader.string();
                if reader.peek() != Some(b':') {
                    continue;
                }
                if let Some(Open::Object { seen, key }) = open.last_mut() {
                    key.clone_from(&string);
                    if !seen.insert(string) {
                        let pointer = open.iter().map(|open| match open {
                            Open::Object { key, .. } => format!("/{}", escape(key)),
                            Open::Array { index } => format!("/{index}"),
                        });
                        return Some((pointer.collect(), span));
                    }
                }
            }
            _ => reader.skip_value(),
        }
    }
}

/// A cursor; every step leaves it at or after where it was.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    /// The next octet that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.step();
        }
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// The string at the cursor, quotes in its span.
    fn string(&mut self) -> (Span, String) {
        let start = self.at;
        self.step();
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            self.step();
            match byte {
                b'\\' => self.step(),
                b'"' => break,
                _ => {}
            }
        }
        let span = start..self.at;
        let read = self.text.get(span.clone()).and_then(|quoted| serde_json::from_str(quoted).ok());
        (span, read.unwrap_or_default())
    }

    /// Goes behind the value at the cursor.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                }
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    self.step();
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.step();
                }
                b',' | b':' => self.step(),
                _ => {
                    while self.text.as_bytes().get(self.at).is_some_and(|byte| !b",]} \t\r\n".contains(byte))
                    {
                        self.step();
                    }
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Where the key, if it has one, and the value of a child of the value at the cursor stand.
    fn child(&mut self, wanted: &str) -> Option<(Option<Span>, usize)> {
        let object = match self.peek()? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        self.step();
        let mut index = 0_usize;
        loop {
            match self.peek()? {
                b'}' | b']' => return None,
                b',' => self.step(),
                b'"' if object => {
                    let (span, key) = self.string();
                    self.peek();
                    self.step();
                    self.peek();
                    if escape(&key) == wanted {
                        return Some((Some(span), self.at));
                    }
                    self.skip_value();
                }
                _ => {
                    if index.to_string() == wanted {
                        return Some((None, self.at));
                    }
                    index = index.saturating_add(1);
                    self.skip_value();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{ "type": "object", "a/b": [1, {"x\"y": true}, [ ]],
  "required": ["é", "b"], "n": -1.5e3 }"#;

    #[test]
    fn a_pointer_leads_to_its_value_or_to_the_deepest_part_that_is_there() {
        for (pointer, shown) in [
            ("", ""),
            ("/type", r#""object""#),
            ("/a~1b", r#""a/b""#),
            ("/a~1b/0", "1"),
            ("/a~1b/1", r#"{"x\"y": true}"#),
            ("/a~1b/1/x\"y", "true"),
            ("/a~1b/2", "[ ]"),
            ("/a~1b/3", r#""a/b""#),
            ("/required/0", r#""é""#),
            ("/required/1", r#""b""#),
            ("/n", "-1.5e3"),
            ("/n/deeper", "-1.5e3"),
            ("/none", ""),
        ] {
            assert_eq!(TEXT.get(place_of(TEXT, pointer)), Some(shown), "{pointer}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_found_wherever_it_is() {
        for (text, found) in [
            (TEXT, None),
            (r#"{"a": 1, "a": 2}"#, Some(("/a", 9..12))),
            (r#"{"a": [{"b": 1}, {"b": 1, "b": 2}]}"#, Some(("/a/1/b", 26..29))),
            (r#"{"a": {"b": 1}, "b": {"a": "a"}}"#, None),
            (r#"{"a": 1, "\u0061": 2}"#, Some(("/a", 9..17))),
            ("[]", None),
        ] {
            let twice = repeated_key(text);
            assert_eq!(twice.as_ref().map(|(at, span)| (at.as_str(), span.clone())), found, "{text}");
        }
    }
}
