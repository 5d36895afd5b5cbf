//! The documents of the control plane, as they lie in the store.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::grant::{GrantEntry, granted};
use crate::boundary::Grant;
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
        granted(&self.grant, master, brand, partner)
    }
}

/// What is encrypted of a connection.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// By the manifest's names.
    pub named: BTreeMap<String, String>,
    /// Standard Webhooks key, `whsec_` and Base64: signs what goes to the partner.
    pub signing: String,
    /// Keys that verify what comes from the partner, the newest first: others than the one above, so that what
    /// the gateway sent can not be sent back to it.
    pub inbound: Vec<InboundSecret>,
}

/// A key that verifies a partner's messages.
#[derive(Clone, Serialize, Deserialize)]
pub struct InboundSecret {
    /// `whsec_` and Base64.
    pub secret: String,
    /// Milliseconds since the Unix epoch until which it is taken; none: until it is rotated.
    pub until_ms: Option<i64>,
}

impl Secrets {
    /// The secret of this name.
    pub fn named(&self, name: &str) -> Option<SecretString> {
        self.named.get(name).map(|value| SecretString::from(value.clone()))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}
