//! Fields in requests: paths that the gateway fills in outside the sandbox. A value never passes through here.

use crate::bindings::types;

/// A field that this plugin may place in a request and not read.
///
/// It has a path and no value; the gateway puts the value in, outside the sandbox, encoded for the
/// place where it stands. [`Event::sealed`](crate::Event::sealed) gives one, and only where the
/// consumer's event has the field and the policy lets it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub(crate) String);

impl Sealed {
    /// The path as the manifest declares it, for example `/contact/email`.
    pub fn path(&self) -> &str {
        &self.0
    }
}

/// A readable field that the gateway shall place, by its declared path (`*` for every index).
///
/// A plugin could write the value itself; this leaves the encoding to the gateway, and makes the
/// ledger more exact. A field that is withheld or absent renders as `null` in JSON, else as nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(pub(crate) String);

impl Field {
    /// The field at `path`.
    pub fn at(path: impl Into<String>) -> Self {
        Self(path.into())
    }
}

/// Text and fields in the order in which they stand: a slot of a path, a header, a body.
///
/// Its `Display` shows a field as its path in braces, which is what a plugin's own tests look at.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    done: Vec<types::Part>,
    /// Text after the last field, still growing: neighbouring pieces of text are one part, which
    /// saves the boundary a crossing of many small strings.
    tail: String,
}

impl Parts {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is there nothing yet?
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.tail.is_empty()
    }

    /// Adds text as it stands. The builders in [`json`](crate::json), [`xml`](crate::xml) and
    /// [`form`](crate::form) escape it for their media type first.
    pub fn text(&mut self, text: &str) {
        self.tail.push_str(text);
    }

    /// Adds a field.
    pub fn field(&mut self, field: impl Into<Field>) {
        self.end_text();
        self.done.push(types::Part::Field(field.into().0));
    }

    /// Adds everything of `other`.
    pub fn append(&mut self, other: Parts) {
        for part in other.done {
            match part {
                types::Part::Text(text) => self.tail.push_str(&text),
                field => {
                    self.end_text();
                    self.done.push(field);
                }
            }
        }
        self.tail.push_str(&other.tail);
    }

    /// The text after the last field, to be written on.
    pub(crate) fn tail(&mut self) -> &mut String {
        &mut self.tail
    }

    pub(crate) fn into_wire(mut self) -> Vec<types::Part> {
        self.end_text();
        self.done
    }

    fn end_text(&mut self) {
        if !self.tail.is_empty() {
            self.done.push(types::Part::Text(std::mem::take(&mut self.tail)));
        }
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in &self.done {
            match part {
                types::Part::Text(text) => f.write_str(text)?,
                types::Part::Field(path) => write!(f, "{{{path}}}")?,
            }
        }
        f.write_str(&self.tail)
    }
}

impl From<Sealed> for Field {
    fn from(sealed: Sealed) -> Self {
        Self(sealed.0)
    }
}

impl From<Field> for Parts {
    fn from(field: Field) -> Self {
        Self { done: vec![types::Part::Field(field.0)], tail: String::new() }
    }
}

impl From<Sealed> for Parts {
    fn from(sealed: Sealed) -> Self {
        Field::from(sealed).into()
    }
}

impl From<String> for Parts {
    fn from(text: String) -> Self {
        Self { done: Vec::new(), tail: text }
    }
}

impl From<&str> for Parts {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Parts {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_text_is_one_part() {
        let mut parts = Parts::new();
        parts.text("a");
        parts.text("b");
        parts.field(Sealed("/x".into()));
        parts.append(Parts::from("c"));
        parts.text("d");
        assert_eq!(parts.to_string(), "ab{/x}cd");
        assert_eq!(parts.into_wire().len(), 3);
    }
}
