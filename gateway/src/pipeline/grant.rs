//! An entry of a grant, as a brand writes it and as it lies in the store. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::Transform;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::boundary::{Grant, PseudonymKey, Release, combine_key, grant_key};
use crate::store::crypto::MasterKey;

/// A field that a brand agrees to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(untagged)]
pub enum GrantEntry {
    /// As it is, by its declared path.
    Whole(String),
    /// Coarser or pseudonymised.
    Formed(FormedField),
}

/// A field that goes in another form and no finer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FormedField {
    /// Its declared path.
    pub field: String,
    /// `rounded` (a coordinate to one decimal: a cell of some 11 km, not a named city), `country-code` (of a
    /// telephone number), `day` (of a time), `region` (the coarsest part of an address that the event has) or
    /// `pseudonym` (of a text; for this brand and partner).
    #[serde(rename = "as")]
    #[schema(value_type = String, example = "country-code")]
    pub form: Transform,
}

impl GrantEntry {
    /// The field's declared path.
    pub fn field(&self) -> &str {
        match self {
            Self::Whole(field) => field,
            Self::Formed(formed) => &formed.field,
        }
    }

    /// The form in which it goes; none: as it is.
    pub fn form(&self) -> Option<Transform> {
        match self {
            Self::Whole(_) => None,
            Self::Formed(formed) => Some(formed.form),
        }
    }
}

impl From<String> for GrantEntry {
    fn from(field: String) -> Self {
        Self::Whole(field)
    }
}

/// By hand, so that a fault is found at its place: an untagged enum says only that nothing fits.
impl<'de> Deserialize<'de> for GrantEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = GrantEntry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or an object with `field` and `as`")
            }

            fn visit_str<E>(self, field: &str) -> Result<GrantEntry, E> {
                Ok(GrantEntry::Whole(field.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GrantEntry, A::Error> {
                FormedField::deserialize(MapAccessDeserializer::new(map)).map(GrantEntry::Formed)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

/// Fields by the key of a grant, such as `share EVENT-TYPE`; combinations under `combine FIELD`.
pub type GrantMap = BTreeMap<String, BTreeSet<GrantEntry>>;

/// What a release declares under a key of a grant; none: nothing of that key.
pub(super) fn declared<'r>(release: &'r Release, key: &str) -> Option<BTreeSet<&'r str>> {
    if let Some(hook) = release.hooks.iter().find(|hook| grant_key(&hook.trigger) == key) {
        return Some(hook.fields.iter().map(|field| &*field.name).collect());
    }
    let combination = release.combinations.iter().find(|combination| combine_key(combination) == key)?;
    Some(combination.of.iter().map(|part| part.text.as_str()).collect())
}

/// A grant, as far as a release declares what it is of: `declared` says it by key. A combination whole or not at all.
pub fn carried<'r>(grant: &GrantMap, declared: impl Fn(&str) -> Option<BTreeSet<&'r str>>) -> GrantMap {
    let mut next = GrantMap::new();
    for (key, entries) in grant {
        let Some(declared) = declared(key) else { continue };
        let fits = |entry: &&GrantEntry| declared.contains(entry.field());
        let kept: BTreeSet<GrantEntry> = entries.iter().filter(fits).cloned().collect();
        if !key.starts_with("combine ") || kept.len() == declared.len() {
            next.insert(key.clone(), kept);
        }
    }
    next
}

/// A grant as decisions read it, with the key of the pseudonyms that this brand has for this partner.
pub(super) fn granted(
    entries: &BTreeMap<String, BTreeSet<GrantEntry>>,
    master: &MasterKey,
    brand: &str,
    partner: &str,
) -> Grant {
    let key = master.index_digest("field-pseudonym", &[brand.as_bytes(), partner.as_bytes()]);
    let mut grant = Grant::with_pseudonyms(PseudonymKey::new(key));
    for (hook, entries) in entries {
        for entry in entries {
            grant.add(hook, entry.field(), entry.form());
        }
    }
    grant
}
