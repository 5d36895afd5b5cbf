//! The control plane: brands, partners, contracts, and the switch. Each change is checked against the
//! newest state, recorded, and in effect when its call returns.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_policy::{Category, Purpose};
use serde_json::Value;

use super::documents::{Agreed, ConnectionDocument, InboundSecret, Secrets};
use super::error::{Problem, Refusal};
use super::gateway::Gateway;
use super::grant::{GrantEntry, granted};
use super::model::{
    BrandInput, BrandView, ConnectionInput, ConnectionView, ContractInput, PartnerInput, PartnerView,
};
use super::registry::{LiveRelease, Registry, parse_rfc3339_ms, secrets_place};
use crate::boundary::{Connection, Release, Trigger, combine_key, fits_form, grant_key, refused_meetings};
use crate::catalogue::path::escape;
use crate::manifest::url_template::{UrlTemplate, is_host_label};
use crate::manifest::{self, ReleaseKey};
use crate::outbound::PublicKey;
use crate::store::crypto::{format_digest, new_uid, parse_digest};
use crate::store::{Document, DocumentKind};

/// Characters of a name.
const MAX_NAME: usize = 63;

/// A name for the control plane: `[a-z][a-z0-9-]*`.
fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if first && rest && name.len() <= MAX_NAME {
        return Ok(());
    }
    let detail = format!("must have 1 to {MAX_NAME} of a-z, 0-9 and -, and begin with a letter");
    Err(Refusal::invalid(format!("the name of the {what}"), "", detail))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|_| Refusal::Internal)
}

/// Refuses what has problems.
pub(super) fn problems(what: impl Into<String>, problems: Vec<Problem>) -> Result<(), Refusal> {
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid { what: what.into(), problems }) }
}

impl Gateway {
    pub(super) async fn put(
        &self,
        kind: DocumentKind,
        scope: &str,
        name: &str,
        body: String,
        secret: Option<Vec<u8>>,
        actor: &str,
    ) -> Result<(), Refusal> {
        let what = format!("put {kind:?} {scope} {name}").to_lowercase();
        let connection = (kind == DocumentKind::Connection).then(|| new_uid(self.clock.now_ms()));
        let (scope, name) = (scope.to_owned(), name.to_owned());
        let document = Document { kind, scope, name, body, secret, connection };
        self.store.put_document(document, self.change(actor, what)).await?;
        Ok(self.reload().await?)
    }

    /// Registers a brand, or changes it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`]; [`Refusal::Conflict`] where another brand is the platform's own.
    pub async fn put_brand(&self, name: &str, input: BrandInput, actor: &str) -> Result<BrandView, Refusal> {
        check_name("brand", name)?;
        let _alone = self.changing.lock().await;
        if input.platform {
            let registry = self.registry.load();
            if let Some((other, _)) =
                registry.brands.iter().find(|(other, brand)| brand.platform && *other != name)
            {
                return Err(Refusal::Conflict {
                    message: format!("brand {other} is the platform's own already, and there is one at most"),
                });
            }
        }
        self.put(DocumentKind::Brand, "", name, to_json(&input)?, None, actor).await?;
        Ok(BrandView { name: name.to_owned(), brand: input })
    }

    /// Registers a partner, or changes its record.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub async fn put_partner(
        &self,
        name: &str,
        input: PartnerInput,
        actor: &str,
    ) -> Result<PartnerView, Refusal> {
        check_name("partner", name)?;
        let mut wrong = Vec::new();
        for (index, domain) in input.domains.iter().enumerate() {
            let labels: Vec<&str> = domain.split('.').collect();
            // A host whose last label is a number is an address to the URL standard; no top-level domain begins so.
            let is_name =
                labels.last().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()));
            if labels.len() < 2 || !is_name || !labels.iter().all(|label| is_host_label(label)) {
                wrong.push(Problem {
                    pointer: format!("/domains/{index}"),
                    detail:
                        "must be a domain name of at least two labels in lower case, such as acme.example, and no address"
                            .into(),
                });
            }
        }
        for (index, key) in input.webhook_keys.iter().enumerate() {
            if let Err(detail) = PublicKey::from_text(key) {
                wrong.push(Problem { pointer: format!("/webhook_keys/{index}"), detail });
            }
        }
        for (index, key) in input.release_keys.iter().enumerate() {
            if let Err(detail) = ReleaseKey::from_text(key) {
                wrong.push(Problem { pointer: format!("/release_keys/{index}"), detail });
            }
        }
        problems(format!("partner {name}"), wrong)?;
        let _alone = self.changing.lock().await;
        self.put(DocumentKind::Partner, "", name, to_json(&input)?, None, actor).await?;
        let contracts =
            self.registry.load().partners.get(name).map(|live| live.contracts.clone()).unwrap_or_default();
        Ok(PartnerView { name: name.to_owned(), partner: input, contracts })
    }

    /// Writes a contract of a partner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown partner; [`Refusal::Invalid`] names unknown purposes and categories.
    pub async fn put_contract(
        &self,
        partner: &str,
        name: &str,
        input: ContractInput,
        actor: &str,
    ) -> Result<ContractInput, Refusal> {
        check_name("contract", name)?;
        let mut wrong = Vec::new();
        let mut check = |list: &str, index: usize, error: Option<gateway_policy::UnknownKey>| {
            if let Some(error) = error {
                wrong.push(Problem { pointer: format!("/{list}/{index}"), detail: error.to_string() });
            }
        };
        for (index, key) in input.purposes.iter().enumerate() {
            check("purposes", index, Purpose::parse(key).err());
        }
        for (index, key) in input.categories.iter().enumerate() {
            check("categories", index, Category::parse(key).err());
        }
        if input.expires.as_deref().is_some_and(|text| parse_rfc3339_ms(text).is_none()) {
            wrong.push(Problem { pointer: "/expires".into(), detail: "must be an RFC 3339 time".into() });
        }
        problems(format!("contract {name}"), wrong)?;
        let _alone = self.changing.lock().await;
        if !self.registry.load().partners.contains_key(partner) {
            return Err(Refusal::NotFound { what: format!("partner {partner}") });
        }
        self.put(DocumentKind::Contract, partner, name, to_json(&input)?, None, actor).await?;
        Ok(input)
    }

    /// The switch: turns a plugin on for a brand, or changes how it is on.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand, plugin or release; [`Refusal::Invalid`] names every unknown
    /// hook and field of the grant, bad settings and missing secrets; [`Refusal::Conflict`] for a taken slot.
    pub async fn put_connection(
        &self,
        brand: &str,
        plugin: &str,
        input: ConnectionInput,
        actor: &str,
    ) -> Result<ConnectionView, Refusal> {
        let _alone = self.changing.lock().await;
        let registry = self.registry.load_full();
        if !registry.brands.contains_key(brand) {
            return Err(Refusal::NotFound { what: format!("brand {brand}") });
        }
        let live = find_release(&registry, plugin, Some(&input.release))?;
        if !registry.partners.contains_key(&live.meta.partner) {
            return Err(Refusal::NotFound { what: format!("partner {}", live.meta.partner) });
        }
        let before = registry.written(brand, plugin);
        let release = format_digest(&live.meta.digest);
        let is_same = before.is_some_and(|before| before.document.release == release);
        registry.may_switch_to(&live.meta, is_same)?;
        let before_secrets = before.map(|before| self.open_secrets(brand, plugin, before)).transpose()?;
        let (secrets, is_new) = merged_secrets(before_secrets.as_ref(), &input, self.clock.now_ms())?;
        self.check_switch(&registry, brand, plugin, live, &input, &secrets).await?;
        let now_ms = self.clock.now_ms();
        let agreed = Agreed {
            release,
            grant: input.grant,
            settings: input.settings,
            promotional: input.promotional,
            privacy_policy: live.release.manifest.plugin.privacy_policy.clone(),
            at_ms: now_ms,
        };
        let document = match before {
            Some(before) => before.document.switched_to(agreed, now_ms),
            None => ConnectionDocument::new(agreed),
        };
        // Written by the brand: the endpoints that answered 410 get another try.
        let document = ConnectionDocument {
            follow: input.follow,
            endpoints_off: BTreeSet::new(),
            returned: None,
            ..document
        };
        let text = serde_json::to_vec(&secrets).map_err(|_| Refusal::Internal)?;
        let sealed = self.master.seal(&secrets_place(brand, plugin), &text).map_err(|_| Refusal::Internal)?;
        self.put(DocumentKind::Connection, brand, plugin, to_json(&document)?, Some(sealed), actor).await?;
        let mut view = self.connection(brand, plugin)?;
        let takes_messages = live.release.handle.is_some();
        let newest = secrets.inbound.into_iter().next().map(|inbound| inbound.secret);
        view.inbound_secret = newest.filter(|_| takes_messages && (is_new || input.rotate_inbound_secret));
        view.signing_secret = is_new.then_some(secrets.signing);
        Ok(view)
    }

    /// Everything that a connection must keep before it runs with a release.
    pub(super) async fn check_switch(
        &self,
        registry: &Registry,
        brand: &str,
        plugin: &str,
        live: &LiveRelease,
        input: &ConnectionInput,
        secrets: &Secrets,
    ) -> Result<(), Refusal> {
        problems(format!("connection {plugin}"), check_connection(&live.release, input, secrets))?;
        self.check_slots(registry, brand, plugin, live)?;
        self.check_meetings(registry, brand, plugin, live, input)?;
        // Compiled now, not at the first call: a release that cannot be loaded is not switched on.
        if self.load_release(&live.meta.digest).await.is_none() {
            return Err(Refusal::Unavailable);
        }
        Ok(())
    }

    /// Clause integrations.combine: what could meet only against the policy, over all that the partner gets from
    /// this brand, is not switched on.
    fn check_meetings(
        &self,
        registry: &Registry,
        brand: &str,
        plugin: &str,
        live: &LiveRelease,
        input: &ConnectionInput,
    ) -> Result<(), Refusal> {
        let Some(partner) = registry.partners.get(&live.meta.partner) else { return Err(Refusal::Internal) };
        let grant = granted(&input.grant, &self.master, brand, &live.meta.partner);
        let connection = Connection::new(
            &self.book,
            brand.into(),
            Arc::clone(&live.release),
            Arc::clone(&partner.record),
            &grant,
            input.promotional.iter().cloned().collect(),
            input.settings.clone(),
        );
        let others: Vec<&Connection> = registry
            .connections
            .get(brand)
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != plugin)
            .flat_map(|(_, other)| {
                let candidate = other.candidate.as_ref().map(|candidate| &candidate.live.connection);
                std::iter::once(&other.connection).chain(candidate)
            })
            .collect();
        problems(format!("connection {plugin}"), check_returned(registry, &connection))?;
        let now_ms = self.clock.now_ms();
        let moment = self.book.moment(now_ms, now_ms);
        let mut paths = refused_meetings(&self.book, &connection, &others, moment);
        // What this one returns may be what another reads, and meet there.
        for (at, other) in others.iter().enumerate().filter(|(_, other)| other.reads_from(plugin, &others)) {
            let mut rest: Vec<&Connection> = others.clone();
            rest.remove(at);
            rest.push(&connection);
            paths.extend(refused_meetings(&self.book, other, &rest, moment));
        }
        let known = live.release.combinations.iter().map(combine_key).collect::<Vec<_>>().join("`, `");
        let remedy = if known.is_empty() {
            "leave one of them out".to_owned()
        } else {
            format!("leave one of them out, or grant the combination (`{known}`)")
        };
        let wrong = paths
            .iter()
            .map(|path| Problem { pointer: "/grant".into(), detail: format!("{path}; {remedy}") });
        problems(format!("connection {plugin}"), wrong.collect())
    }

    fn check_slots(
        &self,
        registry: &Registry,
        brand: &str,
        plugin: &str,
        live: &LiveRelease,
    ) -> Result<(), Refusal> {
        // By what is written: one that cannot be used now, because its release is blocked, say, has its slot still.
        let others = registry.written.get(brand).into_iter().flatten().filter(|(name, _)| *name != plugin);
        for (other, written) in others {
            let document = &written.document;
            let candidate = document.rollout.as_ref().map(|rollout| &rollout.agreed.release);
            let digests = std::iter::once(&document.release).chain(candidate);
            let releases =
                digests.filter_map(|text| registry.releases.get(&parse_digest(text)?)).map(|of| &of.release);
            let taken: HashSet<&str> = releases.flat_map(|of| of.slots().map(|(slot, _)| slot)).collect();
            if let Some((slot, _)) = live.release.slots().find(|(slot, _)| taken.contains(slot)) {
                return Err(Refusal::Conflict {
                    message: format!(
                        "slot {slot} of brand {brand} is filled by plugin {other}; switch that off first"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Turns a plugin off; in effect on the next decision, work already queued included. What the plugin remembers and
    /// received of the brand's consumers goes with the connection.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn delete_connection(&self, brand: &str, plugin: &str, actor: &str) -> Result<(), Refusal> {
        let _alone = self.changing.lock().await;
        let change = self.change(actor, format!("delete connection {brand} {plugin}"));
        if !self.store.delete_document(DocumentKind::Connection, brand, plugin, change).await? {
            return Err(Refusal::NotFound { what: format!("connection of {plugin} at brand {brand}") });
        }
        Ok(self.reload().await?)
    }
}

/// What a connection would read of plugins that there are not, or that return no such thing.
fn check_returned(registry: &Registry, connection: &Connection) -> Vec<Problem> {
    let mut wrong = Vec::new();
    for (index, hook) in connection.release.hooks.iter().enumerate() {
        for (at, field) in hook.fields.iter().enumerate() {
            let Some((plugin, leaf)) = manifest::returned_by(&field.name) else { continue };
            if !connection.grants(index, at) {
                continue;
            }
            let on = registry.connection(&connection.brand, plugin).map(|live| &live.connection.release);
            let newest = || registry.releases_of(plugin).first().map(|live| &live.release);
            let detail = match on.or_else(newest) {
                None => {
                    let known = registry.plugin_names().into_iter().collect::<Vec<_>>().join(", ");
                    format!("there is no plugin {plugin} (published: {known})")
                }
                Some(release) if release.returns(leaf) => continue,
                Some(release) => {
                    let leaves = release.returned_leaves().collect::<BTreeSet<_>>();
                    let leaves = leaves.into_iter().collect::<Vec<_>>().join(", ");
                    let version = &release.manifest.plugin.version;
                    format!("{plugin} {version} does not return {leaf}; it returns: {leaves}")
                }
            };
            wrong.push(Problem {
                pointer: format!("/grant/{}", escape(&grant_key(&hook.trigger))),
                detail: format!("field {:?} cannot be read: {detail}; leave it out", field.name),
            });
        }
    }
    wrong
}

/// A release by version or digest; the newest where none is named.
pub(super) fn find_release<'r>(
    registry: &'r Registry,
    plugin: &str,
    release: Option<&str>,
) -> Result<&'r LiveRelease, Refusal> {
    let all = registry.releases_of(plugin);
    if all.is_empty() {
        let known = registry.plugin_names().into_iter().collect::<Vec<_>>().join(", ");
        return Err(Refusal::NotFound { what: format!("plugin {plugin} (published: {known})") });
    }
    let digest = release.and_then(parse_digest);
    all.into_iter()
        .map(|live| &**live)
        .find(|live| match release {
            None => true,
            Some(version) => Some(live.meta.digest) == digest || live.meta.version == version,
        })
        .ok_or_else(|| Refusal::NotFound {
            what: format!("release {} of plugin {plugin}", release.unwrap_or("")),
        })
}

/// Milliseconds that a secret for the partner's messages is still taken after it was rotated.
const ROTATION_MS: i64 = 24 * 60 * 60 * 1000;

/// The secrets of a connection: those given, and those kept. Also whether the signing key is new.
fn merged_secrets(
    before: Option<&Secrets>,
    input: &ConnectionInput,
    now_ms: i64,
) -> Result<(Secrets, bool), Refusal> {
    let mut named: BTreeMap<String, String> = before.map(|secrets| secrets.named.clone()).unwrap_or_default();
    named.extend(input.secrets.clone());
    let signing = match before {
        Some(secrets) => secrets.signing.clone(),
        None => new_webhook_secret()?,
    };
    let mut inbound = before.map(|secrets| secrets.inbound.clone()).unwrap_or_default();
    inbound.retain(|inbound| inbound.until_ms.is_none_or(|until| now_ms < until));
    if inbound.is_empty() || input.rotate_inbound_secret {
        for older in &mut inbound {
            older.until_ms.get_or_insert(now_ms + ROTATION_MS);
        }
        inbound.insert(0, InboundSecret { secret: new_webhook_secret()?, until_ms: None });
    }
    Ok((Secrets { named, signing, inbound }, before.is_none()))
}

fn new_webhook_secret() -> Result<String, Refusal> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|_| Refusal::Internal)?;
    Ok(format!("whsec_{}", STANDARD.encode(key)))
}

/// Everything wrong with what a brand wrote.
pub(super) fn check_connection(
    release: &Release,
    input: &ConnectionInput,
    secrets: &Secrets,
) -> Vec<Problem> {
    let mut wrong = Vec::new();
    for (key, fields) in &input.grant {
        if let Some(combination) = release.combinations.iter().find(|known| combine_key(known) == *key) {
            let all: BTreeSet<&str> = combination.of.iter().map(|part| part.text.as_str()).collect();
            let formed = fields.iter().any(|entry| entry.form().is_some());
            if formed || fields.iter().map(GrantEntry::field).collect::<BTreeSet<_>>() != all {
                let all = all.into_iter().collect::<Vec<_>>().join(", ");
                wrong.push(Problem {
                    pointer: format!("/grant/{}", escape(key)),
                    detail: format!("a combination is granted as a whole or not at all: {all}"),
                });
            }
            continue;
        }
        let Some(hook) = release.hooks.iter().find(|hook| grant_key(&hook.trigger) == *key) else {
            let hooks = release.hooks.iter().map(|hook| grant_key(&hook.trigger));
            let declared =
                hooks.chain(release.combinations.iter().map(combine_key)).collect::<Vec<_>>().join(", ");
            wrong.push(Problem {
                pointer: format!("/grant/{}", escape(key)),
                detail: format!("the plugin has no hook {key:?}; it declares: {declared}"),
            });
            continue;
        };
        let mut refuse = |detail: String| {
            wrong.push(Problem { pointer: format!("/grant/{}", escape(key)), detail });
        };
        let mut seen = BTreeSet::new();
        for entry in fields {
            let field = entry.field();
            let Some(known) = hook.fields.iter().find(|known| *known.name == *field) else {
                let declared = hook.fields.iter().map(|field| &*field.name).collect::<Vec<_>>().join(", ");
                refuse(format!(
                    "the plugin does not declare field {field:?} for {key}; it declares: {declared}"
                ));
                continue;
            };
            if !seen.insert(field) {
                refuse(format!("field {field:?} is granted twice, in different forms; keep one"));
            }
            if let Some(form) = entry.form()
                && let Err(rule) = fits_form(known, form)
            {
                refuse(format!(
                    "field {field:?} cannot go as {}: {rule}; grant it as it is, or leave it out",
                    form.as_str()
                ));
            }
        }
    }
    for problem in manifest::validate_settings(&release.manifest, &input.settings).err().unwrap_or_default() {
        wrong.push(Problem { pointer: format!("/{}", problem.at), detail: problem.to_string() });
    }
    for endpoint in &release.manifest.endpoint {
        let Ok(template) = UrlTemplate::parse(&endpoint.url) else { continue };
        for slot in template.host_slots() {
            let Some(Value::String(label)) = input.settings.get(slot) else { continue };
            if !is_host_label(label) {
                let rule = "lower case letters, digits and inner hyphens, at most 63";
                let detail = format!("is one label of the host in `{}`: {rule}", endpoint.url);
                wrong.push(Problem { pointer: format!("/settings/{}", escape(slot)), detail });
            }
        }
    }
    let declared =
        release.manifest.settings.as_ref().map(|settings| settings.secrets.as_slice()).unwrap_or_default();
    for name in declared.iter().filter(|name| !secrets.named.contains_key(*name)) {
        wrong.push(Problem {
            pointer: format!("/secrets/{}", escape(name)),
            detail: format!("secret {name:?} is missing; the plugin's endpoints authenticate with it"),
        });
    }
    for name in input.secrets.keys().filter(|name| !declared.contains(name)) {
        wrong.push(Problem {
            pointer: format!("/secrets/{}", escape(name)),
            detail: format!("the plugin declares no secret {name:?}"),
        });
    }
    for slot in &input.promotional {
        let known = release
            .hooks
            .iter()
            .any(|hook| matches!(&hook.trigger, Trigger::Slot { slot: s, .. } if **s == **slot));
        if !known {
            wrong.push(Problem {
                pointer: "/promotional".into(),
                detail: format!("the plugin has no slot {slot:?}"),
            });
        }
    }
    wrong
}
