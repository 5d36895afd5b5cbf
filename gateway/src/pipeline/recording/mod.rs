//! Recorded calls, as cases to be replayed: whole for the brand whose content it is, with made-up values for the
//! plugin's partner, whose release is run with them once more. Nothing is sent here, and nothing is written.

mod compare;
mod record;
mod redacted;
mod view;
mod whole;

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_policy::Transform;
use serde_json::Value;

pub use compare::{Comparison, MAY_DIFFER};
pub use view::{NotRepeated, RecordedInput, RecordedRelease, RecordingView};

use self::record::RecordCase;

use super::documents::{Agreed, ConnectionDocument};
use super::error::Refusal;
use super::gateway::Gateway;
use super::grant::GrantMap;
use super::model::{Caller, Role};
use super::registry::{LivePartner, LiveRelease, Registry};
use super::rehearsal::ConnectionCase;
use crate::boundary::{Hook, Source, grant_key};
use crate::store::crypto::{format_digest, format_uid, parse_uid};
use crate::store::{FlowRecord, Stage, Uid};

/// A recorded call, with what there is of it now.
struct Recorded<'r> {
    row: &'r FlowRecord,
    release: &'r LiveRelease,
    /// The hook that was called, by its index in the release.
    index: usize,
    hook: &'r Hook,
    partner: &'r LivePartner,
    /// [`crate::store::Document::connection`].
    connection: Uid,
    /// What the brand agreed to for the release, or for the one that stands where it did not agree to that one.
    agreed: Agreed,
    /// Since when, in milliseconds since the Unix epoch; none: it is not known of a release that a connection had.
    agreed_since_ms: Option<i64>,
}

fn gone(what: &str) -> Refusal {
    let remedy = "take another call, or write the case by hand (plugin-sdk/docs/cases.md)";
    Refusal::Gone { message: format!("{what}; this call can not be replayed: {remedy}") }
}

impl Gateway {
    /// A recorded call as a case, for the brand whose consumer it is about, or for the plugin's partner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for a call of another brand or partner, and for one that the partner does not see;
    /// [`Refusal::Gone`] names what is not kept any more; [`Refusal::Conflict`] where it cannot be told which slot was
    /// asked for, or no values can be made up.
    pub async fn recording(&self, id: &str, caller: &Caller) -> Result<RecordingView, Refusal> {
        let missing = || Refusal::NotFound {
            what:
                "call with this id for this key; of the ledger's rows those of stage `call` can be replayed"
                    .into(),
        };
        let row = self.store.flow(&parse_uid(id).ok_or_else(missing)?).await?.ok_or_else(missing)?;
        let registry = self.registry.load_full();
        match caller.role {
            Role::Brand if caller.brand.as_deref() == Some(&row.brand) => match row.stage {
                Stage::Call => self.whole(&Recorded::of(&row, &registry)?).await,
                Stage::Receive => Err(gone("a partner's message is kept only until it is worked on")),
                _ => Err(missing()),
            },
            Role::Partner if caller.partner.as_deref() == Some(&row.partner) && row.stage == Stage::Call => {
                let mut view = self.redacted(&row, &registry)?.ok_or_else(missing)?;
                view.made_up = self.made_up(&view, &registry, &row.release).await;
                Ok(view)
            }
            _ => Err(missing()),
        }
    }
}

impl<'r> Recorded<'r> {
    fn of(row: &'r FlowRecord, registry: &'r Registry) -> Result<Self, Refusal> {
        let written = registry
            .written(&row.brand, &row.plugin)
            .ok_or_else(|| gone("the plugin is switched off, and with it went what the brand agreed to"))?;
        let release = registry.releases.get(&row.release).ok_or_else(|| gone("no release took this call"))?;
        let partner =
            registry.partners.get(&row.partner).ok_or_else(|| gone("the partner is not registered"))?;
        let (index, hook) = called(release, row)?;
        let (agreed, agreed_since_ms) = agreed(&written.document, &format_digest(&row.release));
        Ok(Self { row, release, index, hook, partner, connection: written.id, agreed, agreed_since_ms })
    }

    fn key(&self) -> String {
        grant_key(&self.hook.trigger)
    }

    /// The connection as a case says it, with what it and the operator's record say now.
    fn connection_case(&self, grant: GrantMap, record: RecordCase) -> ConnectionCase {
        ConnectionCase {
            grant: Some(grant),
            settings: Some(self.agreed.settings.clone()),
            promotional: self.agreed.promotional.clone(),
            partner: record.partner,
            contracts: record.contracts,
            ..ConnectionCase::default()
        }
    }

    /// What the release may have used and a case does not have: by what it declares, and not by what this call did.
    /// What its partner already had may decide about any call.
    fn not_repeated(&self) -> Vec<NotRepeated> {
        let interfaces: BTreeSet<String> =
            serde_json::from_str(&self.release.meta.interfaces).unwrap_or_default();
        let imported = [
            ("memory", NotRepeated::Memory),
            ("exchange", NotRepeated::Replies),
            ("aggregates", NotRepeated::Aggregates),
        ];
        let imported = imported.into_iter().filter(|(name, _)| interfaces.contains(*name));
        let mut found: Vec<NotRepeated> = imported.map(|(_, of)| of).collect();
        found.push(NotRepeated::Had);
        if !self.hook.reads_returned_by.is_empty() {
            found.push(NotRepeated::Returned);
        }
        let entries = self.agreed.grant.get(&self.key()).into_iter().flatten();
        if entries.into_iter().any(|entry| entry.form() == Some(Transform::Pseudonym)) {
            found.push(NotRepeated::Pseudonyms);
        }
        found
    }

    /// Whether its settings are known to be those of the call.
    fn has_same_settings(&self) -> bool {
        let of_then = self.agreed_since_ms.is_some_and(|since_ms| since_ms <= self.row.at_ms);
        of_then || self.release.release.manifest.settings.is_none()
    }

    fn reads_received(&self) -> bool {
        self.hook.fields.iter().any(|field| field.source == Source::Received)
    }

    /// What a view of either kind begins with.
    fn view(
        &self,
        event: Value,
        connection: &ConnectionCase,
        choices: &gateway_policy::Choices,
        recorded: Value,
    ) -> Result<RecordingView, Refusal> {
        let meta = &self.release.meta;
        Ok(RecordingView {
            flow: format_uid(&self.row.id),
            redacted: false,
            release: RecordedRelease {
                plugin: meta.plugin.clone(),
                version: meta.version.clone(),
                sha256: format_digest(&meta.digest),
            },
            hook: self.key(),
            event,
            connection: document(connection)?,
            choices: document(choices)?,
            replies: None,
            recorded,
            made_up: None,
            fuel: self.row.fuel,
            memory: self.row.memory,
            input: None,
            not_repeated: self.not_repeated(),
        })
    }
}

/// The hook that a row is about. A row of a decision names its slot, but for one that was written before rows did.
fn called<'r>(release: &'r Arc<LiveRelease>, row: &FlowRecord) -> Result<(usize, &'r Hook), Refusal> {
    let is_asked =
        |hook: &Hook| row.endpoint.is_none() || row.endpoint.as_deref() == hook.slot().map(|slot| &**slot);
    let is_called = |hook: &Hook| hook.flow == row.flow && hook.event() == row.event_type && is_asked(hook);
    let fitting: Vec<_> =
        release.release.hooks.iter().enumerate().filter(|(_, hook)| is_called(hook)).collect();
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => Err(gone("the release has no hook for it any more")),
        _ => Err(by_hand("nothing tells for which of the plugin's slots this was")),
    }
}

fn by_hand(why: &str) -> Refusal {
    Refusal::Conflict { message: format!("{why}; write the case by hand (plugin-sdk/docs/cases.md)") }
}

/// What the brand agreed to for a release, and since when where that is known.
fn agreed(document: &ConnectionDocument, release: &str) -> (Agreed, Option<i64>) {
    let rollout = document.rollout.as_ref().map(|rollout| &rollout.agreed);
    if let Some(agreed) = rollout.filter(|agreed| agreed.release == release && document.release != release) {
        return (agreed.clone(), Some(agreed.at_ms));
    }
    match document.history.iter().find(|agreed| agreed.release == release) {
        Some(agreed) if document.release != release => (agreed.clone(), None),
        _ => (document.agreed(document.switched_on_ms), Some(document.switched_on_ms)),
    }
}

fn document(value: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(|_| Refusal::Internal)
}
