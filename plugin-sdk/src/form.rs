//! Bodies of `application/x-www-form-urlencoded`. Encodes what the plugin writes; the gateway encodes the fields.

use crate::{Field, Parts, Sealed};

/// A form being written.
///
/// ```
/// use plugin_sdk::{Field, Parts, form::Form};
///
/// let form = Form::new().text("note", "50 % & more").field("mail", Field::at("/contact/email"));
/// assert_eq!(Parts::from(form).to_string(), "note=50+%25+%26+more&mail={/contact/email}");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Form(Parts);

impl Form {
    /// A form without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry that the plugin writes itself.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        encode_into(self.0.tail(), value);
        self
    }

    /// Adds an entry that the gateway fills in.
    pub fn field(mut self, name: &str, field: impl Into<Field>) -> Self {
        self.name(name);
        self.0.field(field);
        self
    }

    /// The same where the event has the field.
    pub fn field_some(self, name: &str, field: Option<Sealed>) -> Self {
        match field {
            Some(field) => self.field(name, field),
            None => self,
        }
    }

    fn name(&mut self, name: &str) {
        let first = self.0.is_empty();
        let out = self.0.tail();
        if !first {
            out.push('&');
        }
        encode_into(out, name);
        out.push('=');
    }
}

impl From<Form> for Parts {
    fn from(form: Form) -> Self {
        form.0
    }
}

/// The URL Standard's form encoding.
fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => {
                out.push('%');
                for digit in [byte >> 4, byte & 0xf] {
                    out.extend(char::from_digit(digit.into(), 16).map(|c| c.to_ascii_uppercase()));
                }
            }
        }
    }
}
