//! Connections as a brand sees them: what is on, and what could be.

use super::documents::{ConnectionDocument, Secrets};
use super::error::Refusal;
use super::gateway::Gateway;
use super::model::ConnectionView;
use super::registry::{LiveRelease, Registry, Written, rfc3339, secrets_place};
use super::releases::declaration;
use super::switch_model::{Offered, PastRelease, RolloutView};
use crate::manifest::difference;
use crate::store::crypto::{format_digest, parse_digest};

impl Gateway {
    /// A connection as it stands.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn connection(&self, brand: &str, plugin: &str) -> Result<ConnectionView, Refusal> {
        let registry = self.registry.load();
        let written = written(&registry, brand, plugin)?;
        self.connection_view(&registry, brand, plugin, written)
    }

    /// What is on at a brand.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand.
    pub fn connections(&self, brand: &str) -> Result<Vec<ConnectionView>, Refusal> {
        self.platform_brand(brand)?;
        let registry = self.registry.load();
        let of_brand = registry.written.get(brand).into_iter().flatten();
        of_brand.map(|(plugin, written)| self.connection_view(&registry, brand, plugin, written)).collect()
    }

    /// The secrets of a connection, opened.
    pub(super) fn open_secrets(
        &self,
        brand: &str,
        plugin: &str,
        written: &Written,
    ) -> Result<Secrets, Refusal> {
        let sealed = written.sealed.as_deref().ok_or(Refusal::Internal)?;
        let place = secrets_place(brand, plugin);
        let secrets = self.master.open(&place, sealed).map_err(|_| Refusal::Internal)?;
        serde_json::from_slice(&secrets).map_err(|_| Refusal::Internal)
    }

    fn connection_view(
        &self,
        registry: &Registry,
        brand: &str,
        plugin: &str,
        written: &Written,
    ) -> Result<ConnectionView, Refusal> {
        let document = &written.document;
        let live = registry.connection(brand, plugin);
        let release = registry.release(&document.release);
        let status = parse_digest(&document.release).and_then(|digest| registry.statuses.get(&digest));
        let withdrawn = status.is_some_and(|status| status.withdrawn.is_some());
        let state = match registry.unusable(brand, plugin) {
            Some("not-run:blocked") => "blocked",
            Some(_) => "unusable",
            None if withdrawn => "withdrawn",
            None => "on",
        };
        let breaker = live.map(|live| live.breaker.stands(self.clock.now_ms()));
        let names = match live {
            Some(live) => live.secrets.named.keys().cloned().collect(),
            None => self.open_secrets(brand, plugin, written)?.named.keys().cloned().collect(),
        };
        Ok(ConnectionView {
            brand: brand.to_owned(),
            plugin: plugin.to_owned(),
            partner: release.map(|release| release.meta.partner.clone()).unwrap_or_default(),
            version: version(registry, &document.release),
            release: document.release.clone(),
            grant: document.grant.clone(),
            settings: document.settings.clone(),
            secrets: names,
            promotional: document.promotional.clone(),
            privacy_policy: document.privacy_policy.clone(),
            switched_on: rfc3339(document.switched_on_ms),
            endpoints_off: document.endpoints_off.clone(),
            breaker: breaker.as_ref().map_or("closed", |breaker| breaker.state).to_owned(),
            breaker_since: breaker.as_ref().and_then(|breaker| breaker.since_ms).map(rfc3339),
            breaker_until: breaker.as_ref().and_then(|breaker| breaker.until_ms).map(rfc3339),
            state: state.to_owned(),
            follow: document.follow,
            offered: release.and_then(|release| offered(registry, release)),
            rollout: rollout_view(registry, document),
            history: document
                .history
                .iter()
                .rev()
                .map(|past| PastRelease {
                    version: version(registry, &past.release),
                    release: past.release.clone(),
                    until: rfc3339(past.at_ms),
                })
                .collect(),
            signing_secret: None,
            inbound_secret: None,
        })
    }
}

/// What is written of a connection.
pub(super) fn written<'r>(registry: &'r Registry, brand: &str, plugin: &str) -> Result<&'r Written, Refusal> {
    registry
        .written(brand, plugin)
        .ok_or_else(|| Refusal::NotFound { what: format!("connection of {plugin} at brand {brand}") })
}

fn version(registry: &Registry, release: &str) -> String {
    registry.release(release).map(|live| live.meta.version.clone()).unwrap_or_default()
}

/// The highest version above this one's that may be switched to.
fn offered(registry: &Registry, current: &LiveRelease) -> Option<Offered> {
    let above = registry.releases_of(&current.meta.plugin).into_iter().filter(|live| {
        live.release.manifest.plugin.version > current.release.manifest.plugin.version
            && !registry.statuses.contains_key(&live.meta.digest)
    });
    let newest =
        above.max_by(|a, b| a.release.manifest.plugin.version.cmp(&b.release.manifest.plugin.version))?;
    Some(Offered {
        version: newest.meta.version.clone(),
        release: format_digest(&newest.meta.digest),
        difference: difference(&declaration(current), &declaration(newest)),
    })
}

fn rollout_view(registry: &Registry, document: &ConnectionDocument) -> Option<RolloutView> {
    if let Some(rollout) = &document.rollout {
        let agreed = &rollout.agreed;
        return Some(RolloutView {
            version: version(registry, &agreed.release),
            release: agreed.release.clone(),
            percent: rollout.percent,
            grant: agreed.grant.clone(),
            at: rfc3339(agreed.at_ms),
            ended: None,
        });
    }
    let returned = document.returned.as_ref()?;
    Some(RolloutView {
        version: version(registry, &returned.release),
        release: returned.release.clone(),
        percent: 0,
        grant: Default::default(),
        at: rfc3339(returned.at_ms),
        ended: Some(returned.why.clone()),
    })
}
