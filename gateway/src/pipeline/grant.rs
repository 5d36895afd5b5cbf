//! An entry of a grant, as a brand writes it and as it lies in the store. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::boundary::{Grant, PseudonymKey, Transform};
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
    /// `rounded` (a coordinate to one decimal), `country-code` (of a telephone number), `day` (of a time),
    /// `region` (the coarsest part of an address) or `pseudonym` (of a text; for this brand and partner).
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
