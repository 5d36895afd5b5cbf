//! `plugin.toml` held against its shape. serde stops at the first mistake; a partner wants them all, each with its
//! place, and those of what the manifest means in the same pass. So what reads is kept and what does not is replaced by
//! a stand-in, and nothing is then said about what hangs on a stand-in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Manifest;
use super::place::{Place, Span};
use super::problem::Problem;
use super::shape::{Key, MANIFEST, Shape, names};
use crate::catalogue::nearest;

/// The file's name.
pub(super) const FILE: &str = "plugin.toml";

/// A text, as far as it reads.
#[derive(Default)]
pub(super) struct Text {
    /// None where the TOML itself does not read.
    pub(super) manifest: Option<Manifest>,
    /// What does not fit the shape.
    pub(super) problems: Vec<Problem>,
    /// Paths at which something else stands in the manifest than in the text.
    pub(super) unsound: Vec<String>,
    /// Where each path stands.
    pub(super) spans: BTreeMap<String, Span>,
}

/// Reads a text.
pub(super) fn read(text: &str) -> Text {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut walker = Walker { text, read: Text::default() };
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let (code, message, remedy) = match error.message() {
            DUPLICATE_KEY => ("duplicate-key", "this key stands there already", "keep one of them"),
            message if text.trim_start().starts_with('{') => {
                ("toml-syntax", message, "write it in TOML, with `[plugin]` first; this looks like JSON")
            }
            message => ("toml-syntax", message, "correct the TOML"),
        };
        walker.push(code, FILE, &span, message, remedy.to_owned());
    }
    // One mistake makes the reader stumble many times over at one place.
    walker.read.problems.dedup_by(|next, first| next.place == first.place);
    // After a syntax error the rest is guesswork: what is missing then may only be misread.
    if walker.read.problems.iter().any(|problem| problem.code == "toml-syntax") {
        return walker.read;
    }
    let manifest = walker.table(document.get_ref(), MANIFEST, "", &document.span());
    match serde_json::from_value(manifest) {
        Ok(manifest) => walker.read.manifest = Some(manifest),
        Err(error) => {
            let remedy = "compare it with the documentation of the manifest".to_owned();
            walker.push("wrong-type", FILE, &(0..0), &error.to_string(), remedy);
        }
    }
    walker.read
}

/// What the TOML reader says of a key that stands twice; the rest of the document reads.
const DUPLICATE_KEY: &str = "duplicate key";

/// Which other parts of the manifest a rule looks at: where one of them is unsound, the rule has nothing to go by.
/// An empty path stands for what is below the problem's own place.
fn looks_at(code: &str) -> &'static [&'static str] {
    match code {
        "no-hook" => &["share", "decide", "receive", "rights"],
        "unknown-into" => &["endpoint", "share", "decide"],
        "slot-without-setting" | "undeclared-secret" => &["settings"],
        "unused-secret" | "sealed-nowhere" => &["endpoint"],
        "combines-nothing" => &[""],
        _ => &[],
    }
}

impl Text {
    /// Whether a rule's problem is one of the text rather than of a stand-in.
    pub(super) fn stands(&self, problem: &Problem) -> bool {
        let at = problem.at.split('#').next().unwrap_or_default();
        let looked_at = looks_at(problem.code);
        !self.unsound.iter().any(|unsound| {
            within(at, unsound)
                || looked_at.iter().any(|part| within(unsound, if part.is_empty() { at } else { part }))
        })
    }

    /// Where a path stands, or the deepest part above it that is there.
    pub(super) fn span(&self, at: &str) -> Span {
        let mut path = at;
        loop {
            if let Some(span) = self.spans.get(path) {
                return span.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return 0..0,
            }
        }
    }
}

/// Whether `path` is `above` or below it.
fn within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

struct Walker<'t> {
    text: &'t str,
    read: Text,
}

impl Walker<'_> {
    fn push(&mut self, code: &'static str, at: &str, span: &Span, message: &str, remedy: String) {
        let place = Place::of(FILE, self.text, span);
        self.read.problems.push(Problem::new(code, at, message, remedy).at_place(place));
    }

    fn unsound(&mut self, at: &str) {
        self.read.unsound.push(at.to_owned());
    }

    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], at: &str, span: &Span) -> Value {
        let mut read = Map::new();
        // A key that was meant as another stands for it: what it holds is not missing.
        let mut meant = Vec::new();
        for (name, value) in table.iter() {
            let here = join(at, name.get_ref());
            if let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                let found = self.value(value, &key.shape, &here);
                if found.is_none() {
                    self.unsound(&here);
                }
                let stand_in = || key.required.then(|| key.shape.stand_in());
                read.extend(found.or_else(stand_in).map(|value| (key.name.to_owned(), value)));
                continue;
            }
            let free = keys.iter().map(|key| key.name).filter(|known| !table.contains_key(*known));
            let known = nearest(&name.get_ref().replace('_', "-").to_lowercase(), free);
            let remedy = match known {
                Some(known) => {
                    meant.push(known);
                    format!("did you mean `{known}`?")
                }
                None => format!("remove it; the keys here are {}", names(keys)),
            };
            self.push("unknown-key", &here, &name.span(), "there is no such key here", remedy);
        }
        for key in keys.iter().filter(|key| !table.contains_key(key.name)) {
            let here = join(at, key.name);
            let known = meant.contains(&key.name);
            if known || key.required {
                self.unsound(&here);
            }
            if key.required {
                read.insert(key.name.to_owned(), key.shape.stand_in());
                if !known {
                    let message = format!("`{}` is missing", key.name);
                    self.push("missing-key", &here, span, &message, format!("add `{}`", key.name));
                }
            }
        }
        Value::Object(read)
    }

    /// The value, if it is of its shape.
    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: &'static Shape, at: &str) -> Option<Value> {
        let span = value.span();
        self.read.spans.insert(at.to_owned(), span.clone());
        match (shape, value.get_ref()) {
            (Shape::Text, DeValue::String(text)) => Some(Value::from(text.as_ref())),
            (Shape::Flag, DeValue::Boolean(flag)) => Some(Value::from(*flag)),
            (Shape::Version, DeValue::String(text)) => {
                if semver::Version::parse(text).is_ok() {
                    return Some(Value::from(text.as_ref()));
                }
                let remedy = "write it as MAJOR.MINOR.PATCH, for example 1.2.0".to_owned();
                self.push("bad-version", at, &span, "this is not a semantic version", remedy);
                None
            }
            (Shape::Word(words), DeValue::String(text)) => {
                if words.contains(&text.as_ref()) {
                    return Some(Value::from(text.as_ref()));
                }
                let remedy = nearest(&text.to_lowercase(), words.iter().copied()).map_or_else(
                    || format!("write one of {}", words.join(", ")),
                    |known| format!("did you mean `{known}`?"),
                );
                self.push("unknown-word", at, &span, "there is no such choice here", remedy);
                None
            }
            (Shape::Count, DeValue::Integer(number)) => {
                let number = u32::from_str_radix(number.as_str(), number.radix());
                if number.is_err() {
                    let remedy = format!("write a whole number from 0 to {}", u32::MAX);
                    self.push("wrong-type", at, &span, "the number is out of range", remedy);
                }
                number.ok().map(Value::from)
            }
            (Shape::List(shape), DeValue::Array(items)) => {
                let read = items.iter().enumerate().map(|(index, item)| {
                    let here = format!("{at}[{index}]");
                    self.value(item, shape, &here).unwrap_or_else(|| {
                        self.unsound(&here);
                        shape.stand_in()
                    })
                });
                Some(Value::Array(read.collect()))
            }
            (Shape::Table(keys), DeValue::Table(table)) => Some(self.table(table, keys, at, &span)),
            (Shape::OneOf(keys), DeValue::Table(table)) => self.one_of(table, keys, at, &span),
            (shape, found) => {
                let message = format!("{} where {} belongs", found.type_str(), shape.words());
                self.push("wrong-type", at, &span, &message, format!("write {}", shape.words()));
                None
            }
        }
    }

    fn one_of(&mut self, table: &DeTable<'_>, keys: &'static [Key], at: &str, span: &Span) -> Option<Value> {
        let mut read = Map::new();
        let mut known = true;
        for (name, value) in table.iter() {
            if let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                let found = self.value(value, &key.shape, &join(at, key.name));
                read.extend(found.map(|value| (key.name.to_owned(), value)));
                continue;
            }
            known = false;
            let remedy = nearest(name.get_ref(), keys.iter().map(|key| key.name)).map_or_else(
                || format!("write exactly one of {}", names(keys)),
                |known| format!("did you mean `{known}`?"),
            );
            let here = join(at, name.get_ref());
            self.push("unknown-key", &here, &name.span(), "there is no such key here", remedy);
        }
        if known && table.len() != 1 {
            let message = format!("this holds exactly one key, and there are {}", table.len());
            self.push("not-one-of", at, span, &message, format!("write exactly one of {}", names(keys)));
        }
        (table.len() == 1 && read.len() == 1).then_some(Value::Object(read))
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}
