//! Releases after their publication: what one changes, and who may take it.

use super::control::find_release;
use super::documents::ReleaseStatus;
use super::error::Refusal;
use super::gateway::Gateway;
use super::model::{Caller, ReleaseView, Role};
use super::publish::view;
use super::registry::{LiveRelease, Registry};
use super::switch_model::ReasonInput;
use crate::manifest::{Declaration, Difference, difference};
use crate::store::crypto::format_digest;
use crate::store::{DocumentKind, ReleaseMeta};

/// Characters of a reason.
const MAX_REASON: usize = 500;

/// What a release declares.
pub(super) fn declaration(live: &LiveRelease) -> Declaration {
    let interfaces = serde_json::from_str(&live.meta.interfaces).unwrap_or_default();
    Declaration { manifest: live.release.manifest.clone(), interfaces }
}

impl Registry {
    /// Whether a connection may switch to the release; one that runs already (`is_on`) may be changed where it is only
    /// withdrawn.
    pub(super) fn may_switch_to(&self, meta: &ReleaseMeta, is_on: bool) -> Result<(), Refusal> {
        let Some(status) = self.statuses.get(&meta.digest) else { return Ok(()) };
        let why = match (&status.blocked, &status.withdrawn) {
            (Some(reason), _) => format!("is blocked by the operator ({reason})"),
            (None, Some(reason)) if !is_on => format!("is withdrawn by its partner ({reason})"),
            _ => return Ok(()),
        };
        let (version, plugin) = (&meta.version, &meta.plugin);
        Err(Refusal::Conflict {
            message: format!(
                "release {version} of {plugin} {why}; choose another: `GET /v1/plugins/{plugin}/releases` lists them"
            ),
        })
    }
}

impl Gateway {
    /// What a release changes against another of the plugin.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn difference(
        &self,
        plugin: &str,
        from: &str,
        to: &str,
        caller: &Caller,
    ) -> Result<Difference, Refusal> {
        let registry = self.registry.load();
        let old = find_release(&registry, plugin, Some(from))?;
        may_see(old, caller)?;
        let new = find_release(&registry, plugin, Some(to))?;
        Ok(difference(&declaration(old), &declaration(new)))
    }

    /// What a release declares.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn declaration(&self, plugin: &str, release: &str, caller: &Caller) -> Result<Declaration, Refusal> {
        let registry = self.registry.load();
        let live = find_release(&registry, plugin, Some(release))?;
        may_see(live, caller)?;
        Ok(declaration(live))
    }

    /// The partner takes a release back: nothing switches to it any more; where it runs it goes on.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for another partner's; [`Refusal::Invalid`] without a reason.
    pub async fn withdraw_release(
        &self,
        plugin: &str,
        release: &str,
        input: ReasonInput,
        caller: &Caller,
    ) -> Result<ReleaseView, Refusal> {
        let reason = checked_reason(input)?;
        self.change_status(plugin, release, caller, "withdraw", |status| status.withdrawn = Some(reason))
            .await
    }

    /// The operator stops a release everywhere: the next call of it does not happen, and what waits for it waits on.
    ///
    /// # Errors
    /// As [`Gateway::withdraw_release`].
    pub async fn block_release(
        &self,
        plugin: &str,
        release: &str,
        input: ReasonInput,
        caller: &Caller,
    ) -> Result<ReleaseView, Refusal> {
        let reason = checked_reason(input)?;
        self.change_status(plugin, release, caller, "block", |status| status.blocked = Some(reason)).await
    }

    /// The operator lets a blocked release run again.
    ///
    /// # Errors
    /// As [`Gateway::withdraw_release`].
    pub async fn unblock_release(
        &self,
        plugin: &str,
        release: &str,
        caller: &Caller,
    ) -> Result<ReleaseView, Refusal> {
        self.change_status(plugin, release, caller, "unblock", |status| status.blocked = None).await
    }

    async fn change_status(
        &self,
        plugin: &str,
        release: &str,
        caller: &Caller,
        word: &str,
        change: impl FnOnce(&mut ReleaseStatus),
    ) -> Result<ReleaseView, Refusal> {
        let _alone = self.changing.lock().await;
        let registry = self.registry.load_full();
        let live = find_release(&registry, plugin, Some(release))?;
        may_see(live, caller)?;
        let digest = live.meta.digest;
        let mut status = registry.statuses.get(&digest).cloned().unwrap_or_default();
        change(&mut status);
        tracing::warn!(plugin, version = live.meta.version, word, "a release's status changes");
        if status == ReleaseStatus::default() {
            let what = format!("{word} {plugin} {}", live.meta.version);
            let change = self.change(&caller.key, what);
            let (kind, name) = (DocumentKind::ReleaseStatus, format_digest(&digest));
            self.store.delete_document(kind, plugin, &name, change).await?;
            self.reload().await?;
        } else {
            let body = serde_json::to_string(&status).map_err(|_| Refusal::Internal)?;
            let name = format_digest(&digest);
            self.put(DocumentKind::ReleaseStatus, plugin, &name, body, None, &caller.key).await?;
        }
        // Whoever looked before is through with its commit when this is answered, and whoever looks now knows.
        drop(self.blocking.write().await);
        let registry = self.registry.load();
        let live = find_release(&registry, plugin, Some(release))?;
        Ok(view(&live.meta, &live.release, registry.statuses.get(&digest)))
    }
}

/// A partner looks at what is its own, and changes nothing else.
fn may_see(live: &LiveRelease, caller: &Caller) -> Result<(), Refusal> {
    if caller.role == Role::Partner && caller.partner.as_deref() != Some(&live.meta.partner) {
        let message = format!("plugin {} is another partner's; name one of your own", live.meta.plugin);
        return Err(Refusal::Forbidden { message });
    }
    Ok(())
}

fn checked_reason(input: ReasonInput) -> Result<String, Refusal> {
    let reason = input.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        let detail = format!("must say why, in 1 to {MAX_REASON} characters: brands and the partner read it");
        return Err(Refusal::invalid("the document", "/reason", detail));
    }
    Ok(reason.to_owned())
}
