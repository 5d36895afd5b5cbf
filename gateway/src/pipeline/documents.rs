//! The documents of the control plane, as they lie in the store.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::grant::{GrantEntry, granted};
use super::switch_model::Follow;
use crate::boundary::Grant;
use crate::store::crypto::MasterKey;

/// Earlier releases of a connection of which is kept what was agreed to.
const MAX_HISTORY: usize = 50;

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
    /// Whether it takes over new releases by itself.
    #[serde(default)]
    pub follow: Follow,
    /// Releases that it had before, the last one last; each once.
    #[serde(default)]
    pub history: Vec<Agreed>,
    /// The release that some consumers get instead.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// The last rollout that ended by itself.
    #[serde(default)]
    pub returned: Option<Returned>,
}

/// What a brand agreed to for a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreed {
    /// SHA-256 of the component, hexadecimal.
    pub release: String,
    pub grant: BTreeMap<String, BTreeSet<GrantEntry>>,
    pub settings: Value,
    pub promotional: BTreeSet<String>,
    pub privacy_policy: String,
    /// Until when it ran; of a rollout: when it began.
    pub at_ms: i64,
}

/// A release that some consumers get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Of a hundred.
    pub percent: u8,
    pub agreed: Agreed,
}

/// A rollout that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    pub release: String,
    pub at_ms: i64,
    pub why: String,
}

/// A release that may be taken no more, or not run at all: [`crate::store::DocumentKind::ReleaseStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// By its partner: no connection takes it any more.
    #[serde(default)]
    pub withdrawn: Option<String>,
    /// By the operator: it runs nowhere.
    #[serde(default)]
    pub blocked: Option<String>,
}

impl ConnectionDocument {
    /// Of a connection that there was none of.
    pub fn new(agreed: Agreed) -> Self {
        let Agreed { release, grant, settings, promotional, privacy_policy, at_ms } = agreed;
        Self {
            release,
            grant,
            settings,
            promotional,
            privacy_policy,
            switched_on_ms: at_ms,
            endpoints_off: BTreeSet::new(),
            follow: Follow::None,
            history: Vec::new(),
            rollout: None,
            returned: None,
        }
    }

    /// The same with another release, as it was agreed to; what it had goes into the history.
    pub fn switched_to(&self, agreed: Agreed, now_ms: i64) -> Self {
        let mut next = Self { rollout: None, ..self.clone() };
        if agreed.release != self.release {
            next.history.retain(|known| known.release != self.release && known.release != agreed.release);
            next.history.push(self.agreed(now_ms));
            let surplus = next.history.len().saturating_sub(MAX_HISTORY);
            next.history.drain(..surplus);
            next.endpoints_off = BTreeSet::new();
        }
        let Agreed { release, grant, settings, promotional, privacy_policy, .. } = agreed;
        Self { release, grant, settings, promotional, privacy_policy, switched_on_ms: now_ms, ..next }
    }

    /// What stands.
    pub fn agreed(&self, at_ms: i64) -> Agreed {
        Agreed {
            release: self.release.clone(),
            grant: self.grant.clone(),
            settings: self.settings.clone(),
            promotional: self.promotional.clone(),
            privacy_policy: self.privacy_policy.clone(),
            at_ms,
        }
    }

    /// The document of its rollout's release.
    pub fn candidate(&self) -> Option<Self> {
        let Rollout { agreed, .. } = self.rollout.clone()?;
        let at_ms = agreed.at_ms;
        let endpoints_off = self.endpoints_off.clone();
        let switched = self.switched_to(agreed, at_ms);
        Some(Self { history: Vec::new(), returned: None, endpoints_off, ..switched })
    }

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
