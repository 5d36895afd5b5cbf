//! The shape of `plugin.toml`: which keys there are and what they hold. It knows no meaning.

use serde_json::{Map, Value};

/// What a key holds.
pub(super) enum Shape {
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

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
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

/// All of `plugin.toml`.
pub(super) const MANIFEST: &[Key] = &[
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

impl Shape {
    /// What is written for it, in words.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Text | Self::Version | Self::Word(_) => "a string",
            Self::Flag => "true or false",
            Self::Count => "a whole number",
            Self::List(Self::Table(_)) => "an array of tables",
            Self::List(_) => "an array",
            Self::Table(_) | Self::OneOf(_) => "a table",
        }
    }

    /// Stands where nothing usable does, so that the rest of the manifest can be read and checked.
    pub(super) fn stand_in(&self) -> Value {
        match self {
            Self::Text => Value::from(""),
            Self::Version => Value::from("0.0.0"),
            Self::Word(words) => words.first().copied().into(),
            Self::Flag => Value::from(false),
            Self::Count => Value::from(0),
            Self::List(_) => Value::Array(Vec::new()),
            Self::Table(keys) => {
                let required = keys.iter().filter(|key| key.required);
                Value::Object(required.map(|key| (key.name.to_owned(), key.shape.stand_in())).collect())
            }
            Self::OneOf(_) => Value::Object(Map::new()),
        }
    }
}

/// Keys as a message lists them.
pub(super) fn names(keys: &[Key]) -> String {
    let names: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../plugin-sdk/docs/manifest.md");
    const CODES: &str = include_str!("../../../plugin-sdk/docs/errors.md");

    /// The section, key, type and whether it is required, as a row of the page begins.
    fn rows(keys: &[Key], section: &str, choice: bool, found: &mut BTreeSet<String>) {
        for key in keys {
            let need = if choice {
                "one of these"
            } else if key.required {
                "required"
            } else {
                ""
            };
            found.insert(format!("{section} | `{}` | {} | {need}", key.name, key.shape.words()));
            let (below, choice) = match &key.shape {
                Shape::Table(keys) | Shape::List(Shape::Table(keys)) => (*keys, false),
                Shape::OneOf(keys) => (*keys, true),
                _ => continue,
            };
            let heading = match (&key.shape, section) {
                (Shape::List(_), "The file") => format!("`[[{}]]`", key.name),
                (_, "The file") => format!("`[{}]`", key.name),
                _ => format!("`{}`", key.name),
            };
            rows(below, &heading, choice, found);
        }
    }

    #[test]
    fn the_page_has_a_row_for_each_key_and_no_other() {
        let mut known = BTreeSet::new();
        rows(MANIFEST, "The file", false, &mut known);
        let mut written = BTreeSet::new();
        let mut section = "";
        for line in PAGE.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                section = heading;
            } else if line.starts_with("| `") {
                let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
                let need = if ["required", "one of these"].contains(&cells[2]) { cells[2] } else { "" };
                assert!(!cells[2].is_empty() && cells[3].len() > 5, "{section}: {line}");
                written.insert(format!("{section} | {} | {} | {need}", cells[0], cells[1]));
                for code in cells.get(4).into_iter().flat_map(|codes| codes.split('`').skip(1).step_by(2)) {
                    assert!(CODES.contains(&format!("\n### {code}\n")), "{section}: no code {code}");
                }
            }
        }
        let (missing, other): (Vec<_>, Vec<_>) =
            (known.difference(&written).collect(), written.difference(&known).collect());
        assert!(missing.is_empty() && other.is_empty(), "missing: {missing:#?}; other: {other:#?}");
    }

    #[test]
    fn the_pages_example_is_a_manifest() {
        let example = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        crate::manifest::parse_toml(example).unwrap();
    }
}
