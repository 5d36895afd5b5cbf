//! The documents of the control plane, as they lie in the store.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A connection's document. Its secrets are beside it, encrypted: [`Secrets`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionDocument {
    /// SHA-256 of the component, hexadecimal.
    pub release: String,
    pub grant: BTreeMap<String, BTreeSet<String>>,
    pub settings: Value,
    pub promotional: BTreeSet<String>,
    pub privacy_policy: String,
    pub switched_on_ms: i64,
    /// Endpoints that answered 410.
    #[serde(default)]
    pub endpoints_off: BTreeSet<String>,
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

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}
