//! API keys. The secret is shown once; the store has its digest.

use gateway_policy::Choices;
use sha2::{Digest as _, Sha256};

use super::error::Refusal;
use super::gateway::Gateway;
use super::model::{Caller, Role};
use crate::store::crypto::format_digest;
use crate::store::{ApiKeyRecord, Change, Store};

/// What every secret begins with, so that a scanner can find one that leaked.
const PREFIX: &str = "gwk_";

/// A new key: its record and its secret.
///
/// # Errors
/// [`Refusal::Invalid`] where the scope does not fit the role.
pub fn new_key(
    role: Role,
    brand: Option<&str>,
    partner: Option<&str>,
    now_ms: i64,
) -> Result<(ApiKeyRecord, String), Refusal> {
    let wrong = |detail: &str| Err(Refusal::invalid("the key", "", detail));
    match (role, brand, partner) {
        (Role::Source | Role::Brand, Some(_), None) | (Role::Partner, None, Some(_)) => {}
        (Role::Operator | Role::Auditor, None, None) => {}
        (Role::Source | Role::Brand, ..) => {
            return wrong("a source or brand key needs a brand and no partner");
        }
        (Role::Partner, ..) => return wrong("a partner key needs a partner and no brand"),
        (Role::Operator | Role::Auditor, ..) => return wrong("an operator or auditor key has no scope"),
    }
    let random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|_| Refusal::Internal);
    let (mut secret, mut id) = ([0_u8; 32], [0_u8; 32]);
    random(&mut secret)?;
    random(&mut id)?;
    let secret = format!("{PREFIX}{}", format_digest(&secret));
    let mut id = format!("key_{}", format_digest(&id));
    id.truncate(20);
    let record = ApiKeyRecord {
        id,
        secret_digest: Sha256::digest(secret.as_bytes()).into(),
        role: role.as_str().to_owned(),
        brand: brand.map(str::to_owned),
        partner: partner.map(str::to_owned),
        created_ms: now_ms,
    };
    Ok((record, secret))
}

/// Stores a new key and returns its id and secret; also what a command does while no server runs.
///
/// # Errors
/// As [`new_key`], and where the store cannot be written.
pub async fn store_new_key(
    store: &dyn Store,
    role: Role,
    brand: Option<&str>,
    partner: Option<&str>,
    actor: &str,
    now_ms: i64,
) -> Result<(String, String), Refusal> {
    let (record, secret) = new_key(role, brand, partner, now_ms)?;
    let id = record.id.clone();
    let change = Change {
        at_ms: now_ms,
        actor: actor.to_owned(),
        what: format!("create key {id} ({})", role.as_str()),
    };
    store.put_key(record, change).await?;
    Ok((id, secret))
}

impl Gateway {
    /// The caller with this secret.
    pub async fn authenticate(&self, secret: &str) -> Option<Caller> {
        if !secret.starts_with(PREFIX) {
            return None;
        }
        let digest = Sha256::digest(secret.as_bytes()).into();
        let known = self.registry.load_full();
        if let Some(caller) = known.caller(&digest) {
            return Some(caller.clone());
        }
        // It may have been made a moment ago by another process; asked of the state that was looked at, because
        // a newer one may be in place by now.
        if self.store.control_version().await.ok()? == known.version {
            return None;
        }
        let _alone = self.changing.lock().await;
        if let Some(caller) = self.registry.load().caller(&digest) {
            return Some(caller.clone());
        }
        // Others that waited here have read it already, perhaps.
        if self.store.control_version().await.ok()? == self.registry.load().version {
            return None;
        }
        self.reload().await.ok()?;
        self.registry.load().caller(&digest).cloned()
    }

    /// Makes a key: its id, and the secret that is shown once.
    ///
    /// # Errors
    /// As [`store_new_key`].
    pub async fn create_key(
        &self,
        role: Role,
        brand: Option<&str>,
        partner: Option<&str>,
        actor: &str,
    ) -> Result<(String, String), Refusal> {
        let _alone = self.changing.lock().await;
        let made = store_new_key(&*self.store, role, brand, partner, actor, self.clock.now_ms()).await?;
        self.reload().await?;
        Ok(made)
    }

    /// Revokes a key; in effect when this returns.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn revoke_key(&self, id: &str, actor: &str) -> Result<(), Refusal> {
        let _alone = self.changing.lock().await;
        if !self.store.revoke_key(id, self.change(actor, format!("revoke key {id}"))).await? {
            return Err(Refusal::NotFound { what: format!("key {id}") });
        }
        Ok(self.reload().await?)
    }

    /// An entry for the record of changes.
    pub(super) fn change(&self, actor: &str, what: String) -> Change {
        Change { at_ms: self.clock.now_ms(), actor: actor.to_owned(), what }
    }
}

/// A source may only tighten.
///
/// # Errors
/// [`Refusal::Forbidden`].
pub(super) fn may_choose(caller: &Caller, before: &Choices, next: &Choices) -> Result<(), Refusal> {
    if caller.role == Role::Source && !before.tightens_to(next) {
        return Err(Refusal::Forbidden {
            message: "a source may only tighten a consumer's choices; a brand key may also loosen them"
                .into(),
        });
    }
    Ok(())
}
