//! A recorded call for the plugin's partner: made-up values for what the plugin declares and the brand grants. Of the
//! consumer, their choices and the event nothing is in it, not even which fields there were: no such thing is read here. So
//! what came of the call is in it only as `/v1/partner/calls` says it; what came back, and with which labels, is told of the
//! release's call with these values.

use std::sync::Arc;

use gateway_policy::{Access, Choices, Conditions, Permission, PermissionScope, Region};
use serde_json::{Value, json};

use super::super::error::Refusal;
use super::super::gateway::Gateway;
use super::super::grant::{GrantEntry, GrantMap};
use super::super::registry::Registry;
use super::super::rehearsal::{Rehearsal, RehearsedPlugin};
use super::compare::as_seen;
use super::{NotRepeated, Recorded, RecordingView, by_hand};
use crate::boundary::{HookField, Source, Subject};
use crate::catalogue::FieldPath;
use crate::store::{Digest, FlowRecord};

/// In place of everything that an event says of itself.
const MADE_UP: &str = "made-up";
const TIME: &str = "2000-01-01T00:00:00Z";

impl Gateway {
    /// None where the partner does not see the call.
    pub(super) fn redacted(
        &self,
        row: &FlowRecord,
        registry: &Registry,
    ) -> Result<Option<RecordingView>, Refusal> {
        let Some(outcome) = as_seen(&row.outcome) else { return Ok(None) };
        let recorded = Recorded::of(row, registry)?;
        let given = given(&recorded)?;
        let kind = self.catalogue.event_type(&row.event_type);
        let beside: Vec<FieldPath> = given.iter().filter_map(|field| field.region()).collect();
        let paths = given.iter().filter_map(|field| field.path.as_ref()).chain(&beside);
        let data = kind.and_then(|kind| kind.made_up(&paths.collect::<Vec<_>>()));
        let data = data.ok_or_else(|| by_hand("no values can be made up for an event of this type"))?;
        let choices = permitted(&recorded);
        let conditions = Conditions {
            region: Region::Us,
            in_conversation: kind.is_some_and(|kind| kind.conversation),
            ..Conditions::default()
        };
        let subject = Subject { conditions: &conditions, choices: Some(&choices), engaged: true };
        let record = self.record_case(&recorded, &self.connection_of(&recorded), [].iter(), subject);
        let mut connection = recorded.connection_case(grant(&recorded, &given), record);
        connection.engaged = true;
        let came = json!({ "hook": recorded.key(), "outcome": outcome });
        let mut view = recorded.view(event(row, data), &connection, &choices, came)?;
        view.redacted = true;
        if recorded.reads_received() {
            view.not_repeated.push(NotRepeated::Received);
        }
        Ok(Some(view))
    }

    /// What the release makes of its case, which is as little of a consumer's as the case. None where it runs nowhere, and
    /// where this machine's load would decide.
    pub(super) async fn made_up(
        &self,
        view: &RecordingView,
        registry: &Registry,
        release: &Digest,
    ) -> Option<Value> {
        let live = registry.releases.get(release).filter(|_| !registry.is_blocked(release))?;
        let _alone = self.rehearsing.lock().await;
        let loaded = match &live.loaded {
            Some(loaded) => loaded.clone(),
            None => self.load_release(release).await?,
        };
        let plugin = RehearsedPlugin::published(Arc::clone(&live.release), loaded);
        let called = Rehearsal::of(self).run(&plugin, view.case().ok()?, "").await.ok()?;
        let by_load = ["failed:deadline", "failed:busy"].contains(&&*called.outcome);
        if by_load { None } else { serde_json::to_value(called).ok() }
    }
}

/// Declared fields of the event that the brand grants: those that the plugin reads, and of those that it may only place
/// the ones without which there is no call.
fn given<'r>(recorded: &Recorded<'r>) -> Result<Vec<&'r HookField>, Refusal> {
    let granted = recorded.agreed.grant.get(&recorded.key());
    let is_granted = |field: &HookField| {
        field.source == Source::FirstParty
            && granted.into_iter().flatten().any(|entry| entry.field() == &*field.name)
    };
    let fields = &recorded.hook.fields;
    if let Some(field) = fields.iter().find(|field| field.required && !is_granted(field)) {
        let name = &field.name;
        return Err(by_hand(&format!("{name} is required, and is none that the brand grants of the event")));
    }
    let wanted = |field: &&HookField| is_granted(field) && (field.access == Access::Read || field.required);
    let given: Vec<&HookField> = fields.iter().filter(wanted).collect();
    if given.is_empty() { Err(by_hand("the brand grants nothing that the hook reads")) } else { Ok(given) }
}

/// Of the grant what covers these fields, and the combinations.
fn grant(recorded: &Recorded<'_>, given: &[&HookField]) -> GrantMap {
    let key = recorded.key();
    let is_given = |entry: &GrantEntry| given.iter().any(|field| *field.name == *entry.field());
    let entries = recorded.agreed.grant.iter().filter_map(|(name, entries)| {
        if *name == key {
            let kept = entries.iter().filter(|entry| is_given(entry)).cloned();
            return Some((name.clone(), kept.collect()));
        }
        name.starts_with("combine ").then(|| (name.clone(), entries.clone()))
    });
    entries.collect()
}

fn event(row: &FlowRecord, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": MADE_UP, "source": MADE_UP, "type": row.event_type, "subject": MADE_UP,
        "time": TIME, "brand": row.brand, "region": "US", "data": data,
    })
}

/// The same for every consumer: what may be permitted is, for the plugin and for its purpose.
fn permitted(recorded: &Recorded<'_>) -> Choices {
    let purpose = recorded.release.release.purpose.as_str().to_owned();
    let scopes =
        [PermissionScope::Integration(recorded.row.plugin.clone()), PermissionScope::Purpose(purpose)];
    let permission = |scope: PermissionScope| Permission {
        scope,
        wording: MADE_UP.to_owned(),
        actor: MADE_UP.to_owned(),
        at: TIME.to_owned(),
    };
    Choices { permissions: scopes.map(permission).into(), ..Choices::default() }
}
