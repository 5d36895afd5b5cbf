//! Changing a connection's release: rollout, rollback, and taking over what gets no more. Each is one document written
//! at once, so a call runs with the one release or with the other.

use std::collections::{BTreeMap, BTreeSet};

use super::connections::written;
use super::control::find_release;
use super::documents::{Agreed, ConnectionDocument, Returned, Rollout};
use super::error::Refusal;
use super::gateway::Gateway;
use super::grant::{GrantMap, carried, declared};
use super::model::{ConnectionInput, ConnectionView};
use super::registry::{LiveRelease, Registry, Written};
use super::releases::declaration;
use super::switch_model::{Follow, RollbackInput, RolloutInput};
use super::trial::Trial;
use crate::boundary::Release;
use crate::manifest::{Reach, difference};
use crate::store::crypto::format_digest;
use crate::store::{Change, Document, DocumentKind};

impl Gateway {
    /// Gives a release to some of a brand's consumers; to all of them at 100.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] for a release that is withdrawn, blocked, or wider without a grant
    /// of its own; [`Refusal::Invalid`] for a percentage out of range and whatever keeps the release from being on.
    pub async fn put_rollout(
        &self,
        brand: &str,
        plugin: &str,
        input: RolloutInput,
        actor: &str,
    ) -> Result<ConnectionView, Refusal> {
        if !(1..=100).contains(&input.percent) {
            return Err(Refusal::invalid("the rollout", "/percent", "must be from 1 to 100"));
        }
        let _alone = self.changing.lock().await;
        let registry = self.registry.load_full();
        let before = written(&registry, brand, plugin)?;
        let standing = find_release(&registry, plugin, Some(&before.document.release))?;
        let new = find_release(&registry, plugin, Some(&input.release))?;
        let release = format_digest(&new.meta.digest);
        if before.document.release == release {
            return Err(Refusal::Conflict {
                message: format!("release {} is what every consumer gets already", new.meta.version),
            });
        }
        let under_way = before.document.rollout.as_ref().filter(|rollout| rollout.agreed.release == release);
        registry.may_switch_to(&new.meta, false)?;
        let kept = under_way.map(|rollout| rollout.agreed.clone());
        let grant = match (input.grant, &kept) {
            (Some(grant), _) => grant,
            (None, Some(kept)) => kept.grant.clone(),
            (None, None) => {
                narrower(standing, new)?;
                carried(&before.document.grant, |key| declared(&new.release, key))
            }
        };
        let settings = input.settings.or_else(|| kept.as_ref().map(|kept| kept.settings.clone()));
        let now_ms = self.clock.now_ms();
        let agreed = Agreed {
            release,
            grant,
            settings: settings.unwrap_or_else(|| before.document.settings.clone()),
            promotional: promotional(&before.document.promotional, &new.release),
            privacy_policy: new.release.manifest.plugin.privacy_policy.clone(),
            at_ms: kept.map_or(now_ms, |kept| kept.at_ms),
        };
        self.check_agreed(&registry, brand, plugin, before, new, &agreed).await?;
        if input.percent < 100 {
            same_slots(standing, new)?;
        }
        let (document, what) = if input.percent == 100 {
            (before.document.switched_to(agreed, now_ms), "complete the rollout of")
        } else {
            let rollout = Some(Rollout { percent: input.percent, agreed });
            (ConnectionDocument { rollout, returned: None, ..before.document.clone() }, "roll out")
        };
        let what = format!("{what} {} at {brand}/{plugin}: {} %", new.meta.version, input.percent);
        self.write_switched(brand, plugin, before, &document, actor, what).await?;
        self.connection(brand, plugin)
    }

    /// Ends a rollout: every consumer gets the release that stands.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where there is none.
    pub async fn end_rollout(
        &self,
        brand: &str,
        plugin: &str,
        actor: &str,
    ) -> Result<ConnectionView, Refusal> {
        let _alone = self.changing.lock().await;
        let registry = self.registry.load_full();
        let before = written(&registry, brand, plugin)?;
        if before.document.rollout.is_none() {
            return Err(Refusal::NotFound { what: format!("rollout of {plugin} at brand {brand}") });
        }
        let document = ConnectionDocument { rollout: None, ..before.document.clone() };
        let what = format!("end the rollout at {brand}/{plugin}");
        self.write_switched(brand, plugin, before, &document, actor, what).await?;
        self.connection(brand, plugin)
    }

    /// Returns to the release before, or to any that gets no more than one that the brand agreed to. What it had been
    /// granted is granted again, but for what the brand has taken away since from a field that both releases declare; a
    /// release that the connection never had is granted what the one that it gets no more than was.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] where the release is withdrawn, blocked, the one that stands, or
    /// gets more than every release that the brand agreed to; [`Refusal::Invalid`] where the settings do not fit it.
    pub async fn roll_back(
        &self,
        brand: &str,
        plugin: &str,
        input: RollbackInput,
        actor: &str,
    ) -> Result<ConnectionView, Refusal> {
        let _alone = self.changing.lock().await;
        let registry = self.registry.load_full();
        let before = written(&registry, brand, plugin)?;
        let history = &before.document.history;
        let named = match (&input.release, history.last()) {
            (Some(named), _) => named,
            (None, Some(last)) => &last.release,
            (None, None) => {
                return Err(Refusal::Conflict {
                    message: format!(
                        "the connection of {plugin} at brand {brand} had no other release before; name one"
                    ),
                });
            }
        };
        let old = find_release(&registry, plugin, Some(named))?;
        registry.may_switch_to(&old.meta, false)?;
        let now_ms = self.clock.now_ms();
        let past = consented(&registry, &before.document, old, now_ms)?;
        let of = |release: &str| registry.release(release).map(|live| &*live.release);
        // What the brand took away under any release since stays away.
        let later = history.iter().skip_while(|since| since.release != past.release).skip(1);
        let since = later.map(|since| (&since.grant, of(&since.release)));
        let grant = since
            .chain([(&before.document.grant, of(&before.document.release))])
            .fold(past.grant.clone(), |grant, (then, release)| restored(&grant, then, release, &old.release));
        let agreed = Agreed {
            release: format_digest(&old.meta.digest),
            grant,
            promotional: promotional(
                &past.promotional.union(&before.document.promotional).cloned().collect(),
                &old.release,
            ),
            at_ms: now_ms,
            ..past
        };
        self.check_agreed(&registry, brand, plugin, before, old, &agreed).await?;
        // Whoever returns does not want to be taken along again at the next publication.
        let document =
            ConnectionDocument { follow: Follow::None, ..before.document.switched_to(agreed, now_ms) };
        let what = format!("roll back {brand}/{plugin} to {}", old.meta.version);
        self.write_switched(brand, plugin, before, &document, actor, what).await?;
        self.connection(brand, plugin)
    }

    /// After a publication: connections that follow take the release over where it gets no more. The caller holds
    /// [`Gateway::changing`].
    pub(super) async fn take_over(&self, plugin: &str, release: &str) {
        let brands: Vec<String> = self.registry.load().written.keys().cloned().collect();
        for brand in brands {
            let registry = self.registry.load_full();
            let Some(before) = registry.written(&brand, plugin) else { continue };
            if before.document.follow != Follow::Narrower || before.document.rollout.is_some() {
                continue;
            }
            if let Err(refusal) = self.take_over_at(&registry, &brand, plugin, before, release).await {
                tracing::info!(brand, plugin, %refusal, "a new release waits for the brand");
            }
        }
    }

    async fn take_over_at(
        &self,
        registry: &Registry,
        brand: &str,
        plugin: &str,
        before: &Written,
        release: &str,
    ) -> Result<(), Refusal> {
        let standing = find_release(registry, plugin, Some(&before.document.release))?;
        let new = find_release(registry, plugin, Some(release))?;
        let version = |live: &LiveRelease| live.release.manifest.plugin.version.clone();
        // A pre-release is for whoever chose one.
        let is_trial = !version(new).pre.is_empty() && version(standing).pre.is_empty();
        if is_trial || version(new) <= version(standing) || registry.is_blocked(&standing.meta.digest) {
            return Ok(());
        }
        narrower(standing, new)?;
        let now_ms = self.clock.now_ms();
        let agreed = Agreed {
            release: format_digest(&new.meta.digest),
            grant: carried(&before.document.grant, |key| declared(&new.release, key)),
            promotional: promotional(&before.document.promotional, &new.release),
            at_ms: now_ms,
            ..before.document.agreed(now_ms)
        };
        self.check_agreed(registry, brand, plugin, before, new, &agreed).await?;
        let document = before.document.switched_to(agreed, now_ms);
        let what = format!("{brand}/{plugin} follows to {}", new.meta.version);
        self.write_switched(brand, plugin, before, &document, "gateway", what).await
    }

    /// Takes releases from their consumers whose trial failed.
    pub(super) async fn end_failed_rollouts(&self) {
        let registry = self.registry.load_full();
        let all = registry.connections.values().flatten();
        let failed = all.filter(|(_, live)| live.candidate.as_ref().is_some_and(|one| one.live.is_over()));
        for (plugin, live) in failed {
            let brand = &*live.connection.brand;
            let _alone = self.changing.lock().await;
            let now = self.registry.load_full();
            let Some(before) = now.written(brand, plugin) else { continue };
            let Some(rollout) = &before.document.rollout else { continue };
            let over = live.candidate.as_ref().map(|one| &one.live.written.document);
            let is_same = over.is_some_and(|over| {
                over.release == rollout.agreed.release && over.switched_on_ms == rollout.agreed.at_ms
            });
            if !is_same {
                continue;
            }
            let returned = Returned {
                release: rollout.agreed.release.clone(),
                at_ms: self.clock.now_ms(),
                why: Trial::rule(),
            };
            tracing::warn!(brand, plugin, release = returned.release, "a rollout failed and is ended");
            let what =
                format!("the rollout of {} at {brand}/{plugin} failed: {}", returned.release, returned.why);
            let document =
                ConnectionDocument { rollout: None, returned: Some(returned), ..before.document.clone() };
            if let Err(error) = self.write_switched(brand, plugin, before, &document, "gateway", what).await {
                tracing::error!(%error, "a failed rollout could not be ended; nobody gets its release from this process");
            }
        }
    }

    async fn check_agreed(
        &self,
        registry: &Registry,
        brand: &str,
        plugin: &str,
        before: &Written,
        live: &LiveRelease,
        agreed: &Agreed,
    ) -> Result<(), Refusal> {
        let secrets = self.open_secrets(brand, plugin, before)?;
        let input = ConnectionInput {
            release: agreed.release.clone(),
            grant: agreed.grant.clone(),
            settings: agreed.settings.clone(),
            secrets: BTreeMap::new(),
            promotional: agreed.promotional.clone(),
            rotate_inbound_secret: false,
            follow: Follow::None,
        };
        self.check_switch(registry, brand, plugin, live, &input, &secrets).await
    }

    async fn write_switched(
        &self,
        brand: &str,
        plugin: &str,
        before: &Written,
        document: &ConnectionDocument,
        actor: &str,
        what: String,
    ) -> Result<(), Refusal> {
        let document = Document {
            kind: DocumentKind::Connection,
            scope: brand.to_owned(),
            name: plugin.to_owned(),
            body: serde_json::to_string(document).map_err(|_| Refusal::Internal)?,
            secret: before.sealed.clone(),
            connection: Some(before.id),
        };
        let change = Change { at_ms: self.clock.now_ms(), actor: actor.to_owned(), what };
        self.store.put_document(document, change).await?;
        Ok(self.reload().await?)
    }
}

/// What the brand agreed to for a release or, where the connection never had it, for the last one that it gets no more
/// than.
fn consented(
    registry: &Registry,
    document: &ConnectionDocument,
    old: &LiveRelease,
    now_ms: i64,
) -> Result<Agreed, Refusal> {
    let version = &old.meta.version;
    let release = format_digest(&old.meta.digest);
    if document.release == release {
        return Err(Refusal::Conflict { message: format!("release {version} is the one that stands") });
    }
    if let Some(past) = document.history.iter().find(|past| past.release == release) {
        return Ok(past.clone());
    }
    let standing = document.agreed(now_ms);
    let all = std::iter::once(&standing).chain(document.history.iter().rev());
    let is_enough = |of: &&Agreed| registry.release(&of.release).is_some_and(|of| gained(of, old).is_none());
    if let Some(enough) = all.clone().find(is_enough) {
        return Ok(enough.clone());
    }
    let stands = registry.release(&standing.release);
    let (than, told) = stands.map_or_else(Default::default, |stands| {
        (format!(" than {}", stands.meta.version), gained(stands, old).unwrap_or_default())
    });
    Err(Refusal::Conflict {
        message: format!(
            "release {version} gets more{than} ({told}), and than any other that this connection had; agree to it first, by a rollout of 100 percent with its `grant`, or by writing the connection"
        ),
    })
}

/// What a release gets beyond another, in words; none: nothing.
fn gained(old: &LiveRelease, new: &LiveRelease) -> Option<String> {
    let found = difference(&declaration(old), &declaration(new));
    let wider = found.changes.iter().filter(|change| change.reach == Reach::Wider);
    let told: Vec<_> = wider.map(|change| format!("{}: {}", change.at, change.what)).collect();
    (found.reach == Reach::Wider).then(|| told.join("; "))
}

/// A release that gets more needs a grant of its own.
fn narrower(old: &LiveRelease, new: &LiveRelease) -> Result<(), Refusal> {
    let Some(told) = gained(old, new) else { return Ok(()) };
    Err(Refusal::Conflict {
        message: format!(
            "release {} gets more than {} ({told}); agree to it by giving its `grant`",
            new.meta.version, old.meta.version,
        ),
    })
}

/// Whoever asks for a slot sends one type of event, whichever release its consumer gets.
fn same_slots(standing: &LiveRelease, new: &LiveRelease) -> Result<(), Refusal> {
    for (slot, event) in new.release.slots() {
        let asked = standing.release.slots().find(|(known, _)| *known == slot).map(|(_, event)| event);
        if let Some(asked) = asked.filter(|asked| *asked != event) {
            let detail = format!(
                "decides in slot {slot} about {event}, and release {} about {asked}; give it to all consumers at once, with `percent` 100",
                standing.meta.version
            );
            return Err(Refusal::invalid("the rollout", "/release", detail));
        }
    }
    Ok(())
}

/// What was granted to `old`, without what was taken from a field since that `current` declares too; where the field
/// goes in a form now, it goes in that one.
fn restored(past: &GrantMap, now: &GrantMap, current: Option<&Release>, old: &Release) -> GrantMap {
    let mut next = GrantMap::new();
    for (key, entries) in past {
        let known = current.and_then(|current| declared(current, key));
        let standing = |field: &str| now.get(key)?.iter().find(|entry| entry.field() == field);
        let kept = entries.iter().filter_map(|entry| {
            let was_askable = known.as_ref().is_some_and(|known| known.contains(entry.field()));
            match standing(entry.field()) {
                Some(now) if now.form().is_some() => Some(now.clone()),
                Some(_) => Some(entry.clone()),
                None if was_askable => None,
                None => Some(entry.clone()),
            }
        });
        next.insert(key.clone(), kept.collect());
    }
    carried(&next, |key| declared(old, key))
}

/// Slots that stay promotional.
fn promotional(of: &BTreeSet<String>, release: &Release) -> BTreeSet<String> {
    let slots: BTreeSet<&str> = release.slots().map(|(slot, _)| slot).collect();
    of.iter().filter(|slot| slots.contains(slot.as_str())).cloned().collect()
}
