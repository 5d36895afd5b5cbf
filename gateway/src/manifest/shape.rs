//! The shape of `plugin.toml`: which keys there are and what they hold. It knows no meaning.
//!
//! serde stops at the first key that it does not know; a partner wants them all, each with its line
//! and the key that was meant. So the text is held against this table before serde reads it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use crate::catalogue::nearest;

/// What a key holds.
enum Shape {
    Text,
    Version,
    Word(&'static [&'static str]),
    Flag,
    Count,
    List(&'static Shape),
    Table(&'static [Key]),
    /// A table with exactly one of these keys.
    OneOf(&'static [Key]),
}

struct Key {
    name: &'static str,
    required: bool,
    shape: Shape,
}

const fn must(name: &'static str, shape: Shape) -> Key {
    Key { name, required: true, shape }
}

const fn may(name: &'static str, shape: Shape) -> Key {
    Key { name, required: false, shape }
}

const TEXTS: Shape = Shape::List(&Shape::Text);

const RECEIVES: Shape = Shape::List(&Shape::Table(&[
    must("field", Shape::Text),
    must("access", Shape::Word(&["read", "sealed"])),
    may("required", Shape::Flag),
    must("why", Shape::Text),
]));

const AUTH: Shape = Shape::OneOf(&[
    must("bearer", Shape::Text),
    must("basic", Shape::Table(&[must("username", Shape::Text), must("password", Shape::Text)])),
    must("header", Shape::Table(&[must("name", Shape::Text), must("value", Shape::Text)])),
    must("hmac", Shape::Text),
    must(
        "oauth2-client-credentials",
        Shape::Table(&[
            must("token-url", Shape::Text),
            must("client-id", Shape::Text),
            must("client-secret", Shape::Text),
        ]),
    ),
]);

const MANIFEST: &[Key] = &[
    must(
        "plugin",
        Shape::Table(&[
            must("name", Shape::Text),
            must("version", Shape::Version),
            must("partner", Shape::Text),
            must("api", Shape::Text),
            must("summary", Shape::Text),
            must("privacy-policy", Shape::Text),
            must("purpose", Shape::Text),
        ]),
    ),
    may(
        "share",
        Shape::List(&Shape::Table(&[
            must("event", Shape::Text),
            may("receives", RECEIVES),
            may("returns", Shape::Text),
        ])),
    ),
    may(
        "decide",
        Shape::List(&Shape::Table(&[
            must("slot", Shape::Text),
            must("event", Shape::Text),
            may("deadline-ms", Shape::Count),
            may("receives", RECEIVES),
            must("returns", Shape::Text),
        ])),
    ),
    may("receive", Shape::List(&Shape::Table(&[must("consumer", Shape::Text), may("returns", Shape::Text)]))),
    may("rights", Shape::List(&Shape::Table(&[must("kinds", TEXTS)]))),
    may(
        "combine",
        Shape::List(&Shape::Table(&[must("of", TEXTS), must("into", Shape::Text), must("why", Shape::Text)])),
    ),
    may(
        "endpoint",
        Shape::List(&Shape::Table(&[
            must("name", Shape::Text),
            must("method", Shape::Text),
            must("url", Shape::Text),
            may("media-type", Shape::Text),
            may("auth", AUTH),
            may("channel", Shape::Word(&["web", "email", "sms", "phone"])),
            may("headers", TEXTS),
            may("reply", Shape::Text),
        ])),
    ),
    may("settings", Shape::Table(&[may("schema", Shape::Text), may("secrets", TEXTS)])),
];

/// Everything about the text that does not fit, with lines and columns.
pub(super) fn compare(text: &str) -> Vec<Problem> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut walker = Walker { text, problems: Vec::new() };
    for error in errors {
        let place = walker.place(error.span());
        walker.problems.push(Problem::new(
            "toml-syntax",
            "plugin.toml",
            format!("{place}: {}", error.message()),
            "correct the TOML",
        ));
    }
    // After a syntax error the rest is guesswork; what is missing then may only be misread.
    if walker.problems.is_empty() {
        let span = document.span();
        walker.table(document.get_ref(), MANIFEST, "", span);
    }
    walker.problems
}

type Span = std::ops::Range<usize>;

struct Walker<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl Walker<'_> {
    fn place(&self, span: Option<Span>) -> String {
        let before = span.and_then(|span| self.text.get(..span.start)).unwrap_or(self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count().saturating_add(1);
        format!("line {line}, column {column}")
    }

    fn push(&mut self, code: &'static str, at: &str, span: Span, message: &str, remedy: String) {
        let place = self.place(Some(span));
        let at = if at.is_empty() { "plugin.toml" } else { at };
        self.problems.push(Problem::new(code, at, format!("{place}: {message}"), remedy));
    }

    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], at: &str, span: Span) {
        for (name, value) in table.iter() {
            let here = join(at, name.get_ref());
            match keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.value(value, &key.shape, &here),
                None => {
                    let known = nearest(name.get_ref(), keys.iter().map(|key| key.name));
                    let remedy = known.map_or_else(
                        || format!("remove it; the keys here are {}", names(keys)),
                        |known| format!("did you mean `{known}`?"),
                    );
                    self.push("unknown-key", &here, name.span(), "there is no such key here", remedy);
                }
            }
        }
        for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            let message = format!("`{}` is missing", key.name);
            self.push(
                "missing-key",
                &join(at, key.name),
                span.clone(),
                &message,
                format!("add `{}`", key.name),
            );
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: &'static Shape, at: &str) {
        let span = value.span();
        match (shape, value.get_ref()) {
            (Shape::Text, DeValue::String(_)) | (Shape::Flag, DeValue::Boolean(_)) => {}
            (Shape::Version, DeValue::String(text)) => {
                if semver::Version::parse(text).is_err() {
                    let remedy = "write it as MAJOR.MINOR.PATCH, for example 1.2.0".to_owned();
                    self.push("bad-version", at, span, "this is not a semantic version", remedy);
                }
            }
            (Shape::Word(words), DeValue::String(text)) => {
                if !words.contains(&text.as_ref()) {
                    let remedy = nearest(text, words.iter().copied()).map_or_else(
                        || format!("write one of {}", words.join(", ")),
                        |known| format!("did you mean `{known}`?"),
                    );
                    self.push("unknown-word", at, span, "there is no such choice here", remedy);
                }
            }
            (Shape::Count, DeValue::Integer(number)) => {
                if u32::from_str_radix(number.as_str(), number.radix()).is_err() {
                    let remedy = format!("write a whole number from 0 to {}", u32::MAX);
                    self.push("wrong-type", at, span, "the number is out of range", remedy);
                }
            }
            (Shape::List(shape), DeValue::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, shape, &format!("{at}[{index}]"));
                }
            }
            (Shape::Table(keys), DeValue::Table(table)) => self.table(table, keys, at, span),
            (Shape::OneOf(keys), DeValue::Table(table)) => {
                for (name, value) in table.iter() {
                    if let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                        self.value(value, &key.shape, &join(at, key.name));
                    }
                }
                let known = |name: &str| keys.iter().any(|key| key.name == name);
                if table.len() != 1 || !table.keys().all(|name| known(name.get_ref())) {
                    let remedy = format!("write exactly one of {}", names(keys));
                    self.push("unknown-key", at, span, "this holds exactly one known key", remedy);
                }
            }
            (shape, found) => {
                let expected = match shape {
                    Shape::Text | Shape::Version | Shape::Word(_) => "a string",
                    Shape::Flag => "true or false",
                    Shape::Count => "a whole number",
                    Shape::List(Shape::Table(_)) => "an array of tables",
                    Shape::List(_) => "an array",
                    Shape::Table(_) | Shape::OneOf(_) => "a table",
                };
                let message = format!("{} is not what stands here", found.type_str());
                self.push("wrong-type", at, span, &message, format!("write {expected}"));
            }
        }
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn names(keys: &[Key]) -> String {
    let names: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}
