//! Publishing: a release is checked, compiled and stored; it runs nowhere until a brand switches it on.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::Access;
use sha2::{Digest as _, Sha256};

use super::control::{find_release, problems};
use super::documents::ReleaseStatus;
use super::error::{Problem, Refusal};
use super::gateway::Gateway;
use super::model::{Caller, DeclaredField, ReleaseView};
use super::registry::{LiveConnection, LiveRelease, Registry, rfc3339};
use crate::boundary::placing::is_registered;
use crate::boundary::{Hook, Release, combine_key, grant_key};
use crate::manifest::url_template::UrlTemplate;
use crate::manifest::{self, ReleaseKey};
use crate::plugin_host::HostError;
use crate::store::crypto::format_digest;
use crate::store::{Digest, ReleaseMeta, ReleaseRecord};

impl Gateway {
    /// Publishes a release of the key's partner; `signature` is the value of
    /// [`manifest::RELEASE_SIGNATURE`].
    ///
    /// # Errors
    /// [`Refusal::UnsignedRelease`], or [`Refusal::Forbidden`] for a partner without a key, before the component is
    /// looked into; [`Refusal::Invalid`] with everything that is wrong with the component; [`Refusal::Forbidden`] where the
    /// manifest names another partner; [`Refusal::Conflict`] where the plugin is another partner's, or the
    /// version is taken by another component; [`Refusal::TooLarge`].
    pub async fn publish(
        &self,
        component: Vec<u8>,
        signature: Option<&str>,
        partner: &str,
        actor: &str,
    ) -> Result<ReleaseView, Refusal> {
        let limit = manifest::MAX_COMPONENT_BYTES;
        if component.len() > limit {
            return Err(Refusal::TooLarge { what: "the component", limit });
        }
        let keys = self.release_keys(partner)?;
        let signature = signature.ok_or_else(|| unsigned(partner, "it has no signature"))?;
        let made = manifest::read_signature(signature)
            .ok_or_else(|| unsigned(partner, "its signature is not in the form `v1a,BASE64`"))?;
        // Reading a hostile component takes a while; it must not hold up calls.
        let catalogue = self.catalogue.clone();
        let (component, signed_by, reviewed, interfaces) = tokio::task::spawn_blocking(move || {
            let digest = Sha256::digest(&component).into();
            let signed_by = keys.into_iter().find(|key| key.made(&made, &digest));
            let reviewed = signed_by.is_some().then(|| manifest::review(&component, &catalogue));
            let interfaces = manifest::imported_interfaces(&component);
            (component, signed_by, reviewed, interfaces)
        })
        .await
        .map_err(|_| Refusal::Internal)?;
        let (Some(signed_by), Some(reviewed)) = (signed_by, reviewed) else {
            return Err(unsigned(
                partner,
                "its bytes were changed after they were signed, or another key signed them",
            ));
        };
        let inspected = reviewed.map_err(invalid)?;
        let plugin = &inspected.manifest.plugin;
        if plugin.partner != partner {
            return Err(Refusal::Forbidden {
                message: format!(
                    "the manifest names partner {}, and this key publishes for {partner}; correct [plugin] partner",
                    plugin.partner
                ),
            });
        }
        let release = Release::new(inspected.digest, inspected.manifest.clone(), &self.catalogue)
            .map_err(|error| Refusal::invalid("the manifest", "", error.to_string()))?;
        // Outside the lock: compiling can take many seconds.
        self.host.load(inspected.digest, &component).await.map_err(|error| {
            tracing::warn!(%error, plugin = plugin.name, "a component was refused by the sandbox");
            unloadable(&error)
        })?;
        let _alone = self.changing.lock().await;
        let registry = self.registry.load();
        if let Some(other) =
            registry.releases_of(&plugin.name).first().filter(|live| live.meta.partner != partner)
        {
            return Err(Refusal::Conflict {
                message: format!(
                    "plugin {} belongs to partner {}; choose another name",
                    plugin.name, other.meta.partner
                ),
            });
        }
        if let Some(same) = registry.releases.get(&inspected.digest) {
            // The same bytes again: nothing to do, and no error.
            return Ok(own(&registry, same));
        }
        let version = plugin.version.to_string();
        if registry.releases_of(&plugin.name).iter().any(|live| live.meta.version == version) {
            return Err(Refusal::Conflict {
                message: format!(
                    "version {version} of {} is published with other bytes; give this one a new version",
                    plugin.name
                ),
            });
        }
        check_domains(&registry, partner, &inspected.manifest)?;
        let meta = ReleaseMeta {
            digest: inspected.digest,
            plugin: plugin.name.clone(),
            version: version.clone(),
            partner: partner.to_owned(),
            manifest: serde_json::to_string(&inspected.manifest).map_err(|_| Refusal::Internal)?,
            provenance: inspected.provenance.as_ref().map(manifest::Provenance::canonical),
            size: component.len() as u64,
            published_ms: self.clock.now_ms(),
            signed_by: signed_by.text(),
            signature: signature.to_owned(),
            interfaces: serde_json::to_string(&interfaces).map_err(|_| Refusal::Internal)?,
        };
        let mut published = view(&meta, &release, None);
        let change = self.change(actor, format!("publish {} {version}", plugin.name));
        self.store.put_release(ReleaseRecord { meta, component }, change).await?;
        self.reload().await?;
        self.take_over(&published.plugin, &published.release).await;
        published.brands = Some(brands(&self.registry.load(), &published.plugin, &inspected.digest));
        Ok(published)
    }

    /// Keys that the partner may sign releases with now.
    fn release_keys(&self, partner: &str) -> Result<Vec<ReleaseKey>, Refusal> {
        let registry = self.registry.load();
        let Some(live) = registry.partners.get(partner) else {
            return Err(Refusal::NotFound { what: format!("partner {partner}") });
        };
        if live.release_keys.is_empty() {
            return Err(Refusal::Forbidden {
                message: format!(
                    "partner {partner} has no key for releases; make one with `gateway plugin keygen`, and have the operator write the public one under `release_keys` of the partner's record"
                ),
            });
        }
        Ok(live.release_keys.clone())
    }

    /// The newest release of every plugin.
    pub fn plugins(&self) -> Vec<ReleaseView> {
        let registry = self.registry.load();
        registry
            .plugin_names()
            .into_iter()
            .filter_map(|name| registry.releases_of(name).first().map(|live| shown(&registry, live)))
            .collect()
    }

    /// Every release of a plugin, newest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn releases(&self, plugin: &str, caller: &Caller) -> Result<Vec<ReleaseView>, Refusal> {
        let registry = self.registry.load();
        find_release(&registry, plugin, None)?;
        let all = registry.releases_of(plugin).into_iter();
        Ok(all
            .map(|live| match caller.partner.as_deref() {
                Some(partner) if partner == live.meta.partner => own(&registry, live),
                _ => shown(&registry, live),
            })
            .collect())
    }
}

/// Refuses endpoints that no request could go to, since the partner's record has no domain for them.
fn check_domains(registry: &Registry, partner: &str, manifest: &manifest::Manifest) -> Result<(), Refusal> {
    let domains =
        registry.partners.get(partner).map(|live| live.record.domains.as_slice()).unwrap_or_default();
    let registered = if domains.is_empty() { "none".to_owned() } else { domains.join(", ") };
    let leads = |template: UrlTemplate| is_registered(&template.fixed_suffix(), domains);
    let endpoints = manifest.endpoint.iter().enumerate();
    let foreign =
        endpoints.filter(|(_, endpoint)| UrlTemplate::parse(&endpoint.url).is_ok_and(|url| !leads(url)));
    let wrong = foreign.map(|(index, _)| Problem {
        pointer: format!("endpoint[{index}].url"),
        detail: format!(
            "leads to no domain of partner {partner} (registered: {registered}), so no request could go there; correct it, or have the operator register the domain"
        ),
    });
    problems("the component", wrong.collect())
}

fn unsigned(partner: &str, why: &str) -> Refusal {
    Refusal::UnsignedRelease {
        message: format!(
            "the release is not signed by a key of partner {partner}: {why}; sign it with `gateway plugin publish --signing-key`, whose public key is in the partner's record"
        ),
    }
}

/// What the partner can mend is told; a fault of the gateway or its machine reveals nothing.
fn unloadable(error: &HostError) -> Refusal {
    match error {
        HostError::CacheDirectory { .. }
        | HostError::Io { .. }
        | HostError::Engine { .. }
        | HostError::CompilerStart { .. }
        | HostError::DigestMismatch
        | HostError::Internal { .. } => Refusal::Internal,
        HostError::TooLarge { .. }
        | HostError::CompileTime { .. }
        | HostError::CompileLimit { .. }
        | HostError::Invalid { .. }
        | HostError::Interface { .. }
        | HostError::NoHook => Refusal::invalid("the component", "", error.to_string()),
    }
}

fn invalid(found: Vec<manifest::Problem>) -> Refusal {
    let problems = found
        .into_iter()
        .map(|problem| Problem { pointer: problem.at.clone(), detail: problem.to_string() })
        .collect();
    Refusal::Invalid { what: "the component".into(), problems }
}

fn shown(registry: &Registry, live: &LiveRelease) -> ReleaseView {
    view(&live.meta, &live.release, registry.statuses.get(&live.meta.digest))
}

/// As its partner sees it.
fn own(registry: &Registry, live: &LiveRelease) -> ReleaseView {
    let brands = brands(registry, &live.meta.plugin, &live.meta.digest);
    ReleaseView { brands: Some(brands), ..shown(registry, live) }
}

/// The brands whose calls a release handles.
fn brands(registry: &Registry, plugin: &str, release: &Digest) -> BTreeSet<String> {
    let handles = |live: &LiveConnection| live.connection.release.digest == *release;
    let brands = registry.connections.iter();
    brands
        .filter(|(_, of_brand)| of_brand.get(plugin).is_some_and(|live| handles(live)))
        .map(|(brand, _)| brand.clone())
        .collect()
}

pub(super) fn view(meta: &ReleaseMeta, release: &Release, status: Option<&ReleaseStatus>) -> ReleaseView {
    let (status, reason) = match status.map(|status| (&status.blocked, &status.withdrawn)) {
        Some((Some(reason), _)) => ("blocked", Some(reason.clone())),
        Some((None, Some(reason))) => ("withdrawn", Some(reason.clone())),
        _ => ("published", None),
    };
    let plugin = &release.manifest.plugin;
    ReleaseView {
        plugin: meta.plugin.clone(),
        version: meta.version.clone(),
        partner: meta.partner.clone(),
        release: format_digest(&meta.digest),
        summary: plugin.summary.clone(),
        purpose: plugin.purpose.clone(),
        privacy_policy: plugin.privacy_policy.clone(),
        size: meta.size,
        provenance: meta.provenance.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        published: rfc3339(meta.published_ms),
        signed_by: meta.signed_by.clone(),
        signature: meta.signature.clone(),
        status: status.to_owned(),
        reason,
        brands: None,
        interfaces: serde_json::from_str(&meta.interfaces).unwrap_or_default(),
        combinations: release
            .combinations
            .iter()
            .map(|combination| {
                (combine_key(combination), combination.of.iter().map(|part| part.text.clone()).collect())
            })
            .collect(),
        hooks: release
            .hooks
            .iter()
            .map(|hook| (grant_key(&hook.trigger), declared(hook)))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn declared(hook: &Hook) -> Vec<DeclaredField> {
    hook.fields.iter().map(declared_field).collect()
}

pub(super) fn declared_field(field: &crate::boundary::HookField) -> DeclaredField {
    DeclaredField {
        field: field.name.to_string(),
        access: if field.access == Access::Sealed { "sealed" } else { "read" }.to_owned(),
        required: field.required,
        why: field.why.clone(),
        category: field.labels.first().map(|label| label.category.to_string()).unwrap_or_default(),
    }
}
