//! The closed vocabularies: data categories and data uses, by fideslang key.

use std::cmp::Reverse;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key that neither fideslang nor this project knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {vocabulary} {key:?}; the nearest known key is {nearest:?}")]
pub struct UnknownKey {
    /// `data category` or `data use`.
    pub vocabulary: &'static str,
    /// What was given.
    pub key: String,
    /// The known key with the longest common beginning, and of those the one that is nearest in length.
    pub nearest: &'static str,
}

fn keys(text: &'static str) -> Vec<&'static str> {
    // Invariant: the files are sorted bytewise; `find` searches them by halves (a test holds it).
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

static CATEGORIES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| keys(include_str!("../data/categories.txt")));
static PURPOSES: LazyLock<Vec<&'static str>> = LazyLock::new(|| keys(include_str!("../data/purposes.txt")));

fn find(known: &[&'static str], vocabulary: &'static str, key: &str) -> Result<&'static str, UnknownKey> {
    if let Some(found) = known.binary_search(&key).ok().and_then(|index| known.get(index)) {
        return Ok(found);
    }
    let common = |other: &str| other.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
    let nearest = known
        .iter()
        .copied()
        .max_by_key(|other| (common(other), Reverse(other.len().abs_diff(key.len()))))
        .unwrap_or("");
    Err(UnknownKey { vocabulary, key: key.to_owned(), nearest })
}

/// Whether `key` is `ancestor` or stands below it.
fn under(key: &str, ancestor: &str) -> bool {
    key.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident, $table:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(&'static str);

        impl $name {
            /// Looks the key up.
            ///
            /// # Errors
            /// [`UnknownKey`] where it is not in the vocabulary.
            pub fn parse(key: &str) -> Result<Self, UnknownKey> {
                find(&$table, $what, key).map(Self)
            }

            /// The key.
            pub fn as_str(self) -> &'static str {
                self.0
            }

            /// Whether this is `ancestor` or stands below it.
            pub fn is_under(self, ancestor: Self) -> bool {
                under(self.0, ancestor.0)
            }

            /// Every key of the vocabulary, sorted.
            pub fn all() -> impl Iterator<Item = Self> {
                $table.iter().map(|key| Self(key))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let key = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&key).map_err(serde::de::Error::custom)
            }
        }
    };
}

vocabulary! {
    /// A data category, such as `user.contact.email`.
    Category, CATEGORIES, "data category"
}

vocabulary! {
    /// A data use, such as `essential.service.operations.support`.
    Purpose, PURPOSES, "data use"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabularies_are_sorted_and_without_repeats() {
        for table in [&*CATEGORIES, &*PURPOSES] {
            assert!(table.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_key_stands_under_itself_and_its_ancestors_and_under_nothing_that_merely_begins_alike() {
        let key = |text| Category::parse(text).unwrap();
        assert!(key("user.device.ip_address").is_under(key("user.device")));
        assert!(key("user.device").is_under(key("user.device")));
        assert!(!key("user.device").is_under(key("user.device.ip_address")));
        assert!(!key("user.contact.url").is_under(key("user.content")));
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = Category::parse("user.contact.emial").unwrap_err();
        assert_eq!(error.nearest, "user.contact.email");
        assert_eq!(Category::parse("user.contac").unwrap_err().nearest, "user.contact");
    }
}
