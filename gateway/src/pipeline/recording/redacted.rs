//! A recorded call for the plugin's partner: the fields that the plugin was given, with made-up values. What was
//! withheld and what was never there are one, and of the consumer, their choices and the event nothing is in it.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{Access, Choices, LabelSet, Permission, PermissionScope};
use serde_json::{Value, json};

use super::super::error::Refusal;
use super::super::gateway::Gateway;
use super::super::grant::GrantEntry;
use super::super::partner_calls::seen;
use super::super::partner_model::PartnerOutcome;
use super::super::registry::Registry;
use super::{NotRepeated, Recorded, RecordingView};
use crate::boundary::{Source, Subject, may_see_text};
use crate::catalogue::FieldPath;
use crate::store::FlowRecord;

/// In place of everything that an event says of itself.
const MADE_UP: &str = "made-up";
const TIME: &str = "2000-01-01T00:00:00Z";

impl Gateway {
    /// None where the partner does not see the call, or what its plugin was given may not flow to it any more.
    pub(super) async fn redacted(
        &self,
        row: &FlowRecord,
        registry: &Registry,
    ) -> Result<Option<RecordingView>, Refusal> {
        let Some((outcome, code)) = seen(row) else { return Ok(None) };
        if !self.may_still_see(row, registry).await? {
            return Ok(None);
        }
        let recorded = Recorded::of(row, registry)?;
        let given = given(&recorded);
        let kind = self.catalogue.event_type(&row.event_type);
        let made = kind.and_then(|kind| {
            let paths = given.iter().filter_map(|name| Some(&kind.field(name)?.path));
            kind.made_up(&paths.collect::<Vec<&FieldPath>>())
        });
        let data = made.ok_or_else(|| Refusal::Conflict {
            message: "no values can be made up for an event of this type; write the case by hand".into(),
        })?;
        let mut connection = recorded.connection_case(grant(&recorded, &given));
        // Whether they did is nothing that the plugin was given.
        connection.engaged = true;
        let came = json!({ "hook": recorded.key(), "outcome": told(outcome, code) });
        let mut view = recorded.view(event(row, data), &connection, &permitted(&row.plugin), came)?;
        view.redacted = true;
        if recorded.reads_received() {
            view.not_repeated.push(NotRepeated::Received);
        }
        Ok(Some(view))
    }

    /// Whether all that the plugin was given may flow to its partner now, as for a text that it wrote: which fields
    /// an event had tells of the consumer too.
    async fn may_still_see(&self, row: &FlowRecord, registry: &Registry) -> Result<bool, Refusal> {
        let Some(live) = registry.connection(&row.brand, &row.plugin) else { return Ok(false) };
        let consumer = self.consumers.by_pseudonym(&*self.store, &self.master, &row.consumer).await?;
        let (Some(consumer), Some(event)) = (consumer, self.store.event(&row.event).await?) else {
            return Ok(false);
        };
        let event = self.open_event(&consumer, &event)?;
        let given = row.verdicts.iter().filter(|verdict| verdict.verdict.allows());
        let labels: LabelSet = given.flat_map(|verdict| verdict.labels.iter().cloned()).collect();
        let choices = consumer.choices();
        let subject = Subject {
            conditions: &event.conditions,
            choices: Some(&choices),
            engaged: consumer.engaged() || event.engages,
        };
        let moment = self.book.moment(row.at_ms, self.clock.now_ms());
        let connection = &live.of_release(&row.release).connection;
        Ok(may_see_text(&self.book, connection, row.flow, &labels, subject, moment))
    }
}

/// Declared fields that the plugin was given: those that it could read, and of those that it could only place the ones
/// without which there would have been no call. Whether another sealed field was there is left out.
fn given<'r>(recorded: &'r Recorded<'_>) -> BTreeSet<&'r str> {
    let allowed =
        |name: &str| recorded.row.verdicts.iter().any(|of| *of.field == *name && of.verdict.allows());
    let fields = recorded.hook.fields.iter().filter(|field| field.source == Source::FirstParty);
    fields
        .filter(|field| field.access == Access::Read || field.required)
        .map(|field| &*field.name)
        .filter(|name| allowed(name))
        .collect()
}

/// Of the grant what covers these fields, and the combinations.
fn grant(recorded: &Recorded<'_>, given: &BTreeSet<&str>) -> BTreeMap<String, BTreeSet<GrantEntry>> {
    let key = recorded.key();
    let entries = recorded.agreed.grant.iter().filter_map(|(name, entries)| {
        if *name == key {
            let kept = entries.iter().filter(|entry| given.contains(entry.field())).cloned();
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

/// The same for every consumer: what may be permitted is.
fn permitted(plugin: &str) -> Choices {
    let permission = Permission {
        scope: PermissionScope::Integration(plugin.to_owned()),
        wording: MADE_UP.to_owned(),
        actor: MADE_UP.to_owned(),
        at: TIME.to_owned(),
    };
    Choices { permissions: vec![permission], ..Choices::default() }
}

/// As `/v1/partner/calls` says it, in the ledger's words.
fn told(outcome: PartnerOutcome, code: Option<String>) -> String {
    let code = code.unwrap_or_default();
    match outcome {
        PartnerOutcome::Ran => "ran".to_owned(),
        PartnerOutcome::Failed => format!("failed:{code}"),
        PartnerOutcome::Refused => format!("refused:{code}"),
    }
}
