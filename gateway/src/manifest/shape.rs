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
