//! Labels: where a value comes from and what kind of data it is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Category;

/// Where a value comes from (clause collect.sources). There is no "unknown": a value without an
/// origin cannot be labelled, and what is not labelled does not flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Collected by the platform or the brand.
    FirstParty,
    /// Sent or computed by the named partner.
    Partner(Arc<str>),
    /// Public data (clause choice.public).
    Public,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstParty => f.write_str("first-party"),
            Self::Partner(name) => write!(f, "partner:{name}"),
            Self::Public => f.write_str("public"),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "first-party" => Ok(Self::FirstParty),
            "public" => Ok(Self::Public),
            _ => match text.strip_prefix("partner:") {
                Some(name) if !name.is_empty() => Ok(Self::Partner(name.into())),
                _ => Err(format!("unknown origin {text:?}; known: first-party, public, partner:NAME")),
            },
        }
    }
}

/// (category, origin). Written `first-party:user.contact.email`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// What kind of data.
    pub category: Category,
    /// Where it comes from.
    pub origin: Origin,
}

impl Label {
    /// A label for what the platform or the brand collected.
    pub fn first_party(category: Category) -> Self {
        Self { category, origin: Origin::FirstParty }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.category)
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (origin, category) =
            text.rsplit_once(':').ok_or_else(|| format!("{text:?} is not ORIGIN:CATEGORY"))?;
        Ok(Self {
            category: Category::parse(category).map_err(|error| error.to_string())?,
            origin: origin.parse()?,
        })
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// All labels of one value. A verdict on it is the strictest of its labels' verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelSet(BTreeSet<Label>);

impl LabelSet {
    /// Adds a label.
    pub fn insert(&mut self, label: Label) {
        self.0.insert(label);
    }

    /// Adds a label; whether it was not there.
    pub fn insert_new(&mut self, label: &Label) -> bool {
        !self.0.contains(label) && self.0.insert(label.clone())
    }

    /// Whether a label is in it.
    pub fn contains(&self, label: &Label) -> bool {
        self.0.contains(label)
    }

    /// Adds all labels of another set: labels only ever accumulate.
    pub fn join(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// The labels, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Label> + Clone {
        self.0.iter()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<Label> for LabelSet {
    fn extend<I: IntoIterator<Item = Label>>(&mut self, labels: I) {
        self.0.extend(labels);
    }
}

impl FromIterator<Label> for LabelSet {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_reads_as_it_is_written() {
        for text in
            ["first-party:user.contact.email", "partner:acme-crm:user.account", "public:user.content.public"]
        {
            assert_eq!(text.parse::<Label>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_label_without_an_origin_is_refused() {
        for text in
            ["user.contact.email", ":user.contact.email", "partner::user.account", "elsewhere:user.account"]
        {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }
}
