//! The documents of the control plane, as they lie in the store.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::grant::GrantEntry;
use crate::boundary::{Grant, PseudonymKey};
use crate::store::crypto::MasterKey;

/// A connection's document. Its secrets are beside it, encrypted: [`Secrets`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionDocument {
    /// SHA-256 of the component, hexadecimal.
    pub release: String,
    pub grant: BTreeMap<String, BTreeSet<GrantEntry>>,
    pub settings: Value,
    pub promotional: BTreeSet<String>,
    pub privacy_policy: String,
    pub switched_on_ms: i64,
    /// Endpoints that answered 410.
    #[serde(default)]
    pub endpoints_off: BTreeSet<String>,
}

impl ConnectionDocument {
    /// The grant, with the key of the pseudonyms that this brand has for this partner.
    pub fn grant(&self, master: &MasterKey, brand: &str, partner: &str) -> Grant {
        let key = master.index_digest("field-pseudonym", &[brand.as_bytes(), partner.as_bytes()]);
        let mut grant = Grant::with_pseudonyms(PseudonymKey::new(key));
        for (hook, entries) in &self.grant {
            for entry in entries {
                grant.add(hook, entry.field(), entry.form());
            }
        }
        grant
    }
}

/// What is encrypted of a connection.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// By the manifest's names.
    pub named: BTreeMap<String, String>,
    /// Standard Webhooks key, `whsec_` and Base64.
    pub signing: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}
