//! A recorded call for the brand whose consumer it is about: the event, what stands now of what it was decided by, and
//! what came of it. What the brand may not see elsewhere (what a plugin remembers, what of a partner's it may not use)
//! it does not see here.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_policy::{Access, FieldVerdict, Flow, LabelSet, Origin};
use serde_json::{Map, Value, json};

use super::super::accept::{StoredEvent, event_place};
use super::super::consumers::Consumer;
use super::super::dispatch::delivery_place;
use super::super::error::Refusal;
use super::super::event;
use super::super::gateway::Gateway;
use super::super::grant::granted;
use super::super::registry::rfc3339;
use super::super::rehearsal::{
    IdentityCase, ReceivedCase, RehearsedRequest, RehearsedReturn, ScriptedReply, fields,
};
use super::{NotRepeated, Recorded, RecordedInput, RecordingView, document, gone};
use crate::boundary::{Connection, EventView, PlannedDelivery, Subject, Trigger, toward_plugin};
use crate::store::{FlowQuery, FlowRecord, Stage};

/// Rows that one question about a call's own rows reads at most.
const ROWS: u32 = 1_000;
/// Milliseconds within which a request's first try is looked for.
const FIRST_TRY_MS: i64 = 60 * 60 * 1_000;

impl Gateway {
    pub(super) async fn whole(&self, recorded: &Recorded<'_>) -> Result<RecordingView, Refusal> {
        let row = recorded.row;
        let consumer = self.consumers.by_pseudonym(&*self.store, &self.master, &row.consumer).await?;
        let consumer = consumer.ok_or_else(|| gone("the consumer is deleted, and the event with them"))?;
        let event = self.store.event(&row.event).await?;
        let event = event.ok_or_else(|| gone("the event is not stored any more"))?;
        let body =
            consumer.key.open(&event_place(&event.uid), &event.payload).map_err(|_| Refusal::Internal)?;
        let read = event::reread(&body, event.accepted_ms, &self.catalogue)
            .ok_or_else(|| gone("the event does not fit the catalogue any more"))?;
        let text = case_event(&body, row, event.accepted_ms)?;
        let stored = StoredEvent::new(event.uid, event.key, event.accepted_ms, read);
        consumer.know_received(&*self.store).await?;

        let mut lacks = recorded.not_repeated();
        let as_agreed = self.connection_of(recorded);
        let received = self.received_case(recorded, &consumer);
        let choices = consumer.choices();
        let subject = Subject {
            conditions: &stored.event.conditions,
            choices: Some(&choices),
            engaged: consumer.engaged() || stored.event.engages,
        };
        let labels = received.iter().flat_map(|received| received.labels.values()).flat_map(LabelSet::iter);
        let record = self.record_case(recorded, &as_agreed, labels, subject);
        let mut connection = recorded.connection_case(recorded.agreed.grant.clone(), record);
        connection.engaged = consumer.engaged();
        connection.received = received;
        if recorded.reads_received() && connection.received.is_none() {
            lacks.push(NotRepeated::Received);
        }
        let names = self.identity(&as_agreed, &consumer, &stored);
        connection.identity =
            Some(IdentityCase { event: names.event.clone(), consumer: names.consumer.clone() });
        let came = self.came(recorded, &consumer, &mut lacks).await?;
        let mut view = recorded.view(text, &connection, &choices, came)?;
        view.replies = self.answered(row).await?;
        if row.payload.is_some() {
            let same = recorded.has_same_settings()
                && self.is_given_the_same(recorded, &as_agreed, &consumer, &stored, subject).await?;
            view.input = Some(if same { RecordedInput::Same } else { RecordedInput::Changed });
        }
        view.not_repeated = lacks;
        Ok(view)
    }

    /// The connection of the release that ran, by what the brand agreed to for it and the partner's record now.
    pub(super) fn connection_of(&self, recorded: &Recorded<'_>) -> Connection {
        let Recorded { row, release, partner, agreed, .. } = recorded;
        let connection = Connection::new(
            &self.book,
            row.brand.as_str().into(),
            Arc::clone(&release.release),
            Arc::clone(&partner.record),
            &granted(&agreed.grant, &self.master, &row.brand, &row.partner),
            agreed.promotional.iter().cloned().collect(),
            agreed.settings.clone(),
        );
        let registry = self.registry.load();
        let others = registry.connections.get(&row.brand).into_iter().flatten();
        let all: Vec<&Connection> = others.map(|(_, live)| &live.connection).collect();
        connection.note_derivable(&self.book, &all, |plugin| registry.unusable(&row.brand, plugin).is_some());
        connection.note_partners(&registry.partner_records());
        connection
    }

    /// Whether the call would be given the same fields now, those that it reads to the byte.
    async fn is_given_the_same(
        &self,
        recorded: &Recorded<'_>,
        connection: &Connection,
        consumer: &Consumer,
        stored: &StoredEvent,
        subject: Subject<'_>,
    ) -> Result<bool, Refusal> {
        let hook = recorded.hook;
        self.look_up_returned(consumer, hook).await?;
        let received = consumer.received(&recorded.connection);
        let given = self.given(consumer, hook);
        let onward = given.view();
        let exposed = consumer.exposed(&connection.partner.name);
        let identity = self.identity(connection, consumer, stored);
        let view: EventView<'_> = identity.view(stored, received.as_deref(), &onward, &exposed);
        let moment = self.book.moment(stored.accepted_ms, self.clock.now_ms());
        let toward = toward_plugin(&self.book, connection, recorded.index, hook, &view, subject, moment);
        let digest = toward.input.ok().map(|input| consumer.key.digest(input.get().fields.as_bytes()));
        Ok(digest == recorded.row.payload && named(&toward.verdicts) == named(&recorded.row.verdicts))
    }

    /// What the plugin received of the consumer, where its hook reads it and the brand may use it.
    fn received_case(&self, recorded: &Recorded<'_>, consumer: &Consumer) -> Option<ReceivedCase> {
        let received = consumer.received(&recorded.connection).filter(|_| recorded.reads_received())?;
        let (by, labels) = ((&*recorded.row.plugin, None), received.labels.values());
        if !self.may_use(Flow::Receive, consumer, by, false, &received.conditions, labels) {
            return None;
        }
        // A case has no conditions by which these would be found again.
        let now_ms = self.clock.now_ms();
        let besides =
            self.besides(&self.registry.load(), &received.conditions, self.book.moment(now_ms, now_ms));
        let mut labels = received.labels.clone();
        labels.values_mut().for_each(|labels| labels.join(&besides));
        Some(ReceivedCase { value: received.value.clone(), labels })
    }

    /// What came of the call, as an expectation states it.
    async fn came(
        &self,
        recorded: &Recorded<'_>,
        consumer: &Consumer,
        lacks: &mut Vec<NotRepeated>,
    ) -> Result<Value, Refusal> {
        let row = recorded.row;
        let mut came = Map::new();
        came.insert("hook".into(), recorded.key().into());
        came.insert("outcome".into(), row.outcome.clone().into());
        came.insert("recipient".into(), row.recipient.as_str().into());
        came.insert("fields".into(), document(&fields(&row.verdicts))?);
        came.insert("fuel".into(), row.fuel.into());
        came.insert("memory-bytes".into(), row.memory.into());
        match self.returned(recorded, consumer).await? {
            Some(returned) => drop(came.insert("returned".into(), returned)),
            None => lacks.push(NotRepeated::ReturnedValue),
        }
        match self.requests(recorded, consumer).await? {
            Some(requests) => drop(came.insert("requests".into(), document(&requests)?)),
            None => lacks.push(NotRepeated::Requests),
        }
        Ok(Value::Object(came))
    }

    /// What the plugin returned; none where the brand may not use it any more.
    async fn returned(&self, recorded: &Recorded<'_>, consumer: &Consumer) -> Result<Option<Value>, Refusal> {
        let row = recorded.row;
        let query = FlowQuery { until_ms: Some(row.at_ms + 1), ..of_call(row, Stage::Return) };
        let rows = self.store.flows(&query).await?;
        let Some(back) = rows.iter().find(|back| back.event == row.event && back.at_ms == row.at_ms) else {
            return Ok(Some(Value::Null));
        };
        let fields = fields(&back.verdicts);
        if back.outcome != "returned" {
            return document(&RehearsedReturn { value: json!({}), fields }).map(Some);
        }
        let records = self.store.last_returns(consumer.id, &row.plugin, ROWS).await?;
        let Some(record) = records.iter().find(|record| record.flow == back.id) else { return Ok(None) };
        let returned = self.open_return(consumer, record)?;
        let labels = returned.fields.iter().map(|field| &field.labels);
        let (plugin, release, conditions) = (&*row.plugin, &row.release, &returned.conditions);
        let may = match &recorded.hook.trigger {
            Trigger::Slot { slot, .. } => {
                self.may_answer(slot, consumer, (plugin, release), conditions, labels)
            }
            _ => self.may_use(Flow::Return, consumer, (plugin, Some(release)), false, conditions, labels),
        };
        if !may {
            return Ok(None);
        }
        document(&RehearsedReturn { value: returned.value.clone(), fields }).map(Some)
    }

    /// Requests that the call asked for, sealed fields shown as that; none where one may hold more than the brand's own
    /// data, or it is not known what came of its first try.
    async fn requests(
        &self,
        recorded: &Recorded<'_>,
        consumer: &Consumer,
    ) -> Result<Option<Vec<RehearsedRequest>>, Refusal> {
        let (row, mut found) = (recorded.row, Vec::new());
        if row.flow != Flow::Share || row.outcome != "ran" {
            return Ok(Some(found));
        }
        let query = FlowQuery { until_ms: Some(row.at_ms + FIRST_TRY_MS), ..of_call(row, Stage::Delivery) };
        let tries = self.store.flows(&query).await?;
        for index in 0.. {
            let id = self.delivery_id(&row.event, &row.brand, &row.plugin, index);
            let Some(record) = self.store.delivery(&id).await? else { break };
            let text = consumer.key.open(&delivery_place(&id), &record.payload);
            let planned: PlannedDelivery = serde_json::from_slice(&text.map_err(|_| Refusal::Internal)?)
                .map_err(|_| Refusal::Internal)?;
            let labels: LabelSet =
                planned.carried.iter().flat_map(|carried| carried.labels.iter().cloned()).collect();
            if planned.release != row.release
                || !labels.iter().all(|label| matches!(label.origin, Origin::FirstParty | Origin::Public))
            {
                return Ok(None);
            }
            // The newest come first.
            let first = tries.iter().rev().find(|one| one.delivery == Some(id));
            let outcome = match first.map(|first| &*first.outcome) {
                Some("attempt") => "sent",
                Some(stays) => stays,
                None => return Ok(None),
            };
            found.push(RehearsedRequest::of(&planned, outcome, |path| recorded.hook.is_sealed(path)));
        }
        Ok(Some(found))
    }

    /// What endpoints answered while the call ran, in their order: the status alone, for no body is kept. What came of an
    /// exchange is committed after its row, so one that is missing counts as unanswered.
    async fn answered(&self, row: &FlowRecord) -> Result<Option<Value>, Refusal> {
        let ended_ms = row.at_ms.saturating_add(i64::try_from(row.micros / 1_000).unwrap_or(i64::MAX - 1));
        let query = FlowQuery { until_ms: Some(ended_ms.saturating_add(2)), ..of_call(row, Stage::Exchange) };
        let rows = self.store.flows(&query).await?;
        let asked = rows.iter().rev().filter(|asked| asked.event == row.event);
        let replies = script(asked.filter_map(|asked| {
            let answered = asked.result.as_ref().filter(|result| result.outcome == "answered");
            Some((asked.endpoint.as_deref()?, answered.and_then(|result| result.status)))
        }));
        Ok((!replies.is_empty()).then(|| json!({ "replies": replies })))
    }
}

/// Names of the fields that a call is given. Of its memory the row says no more than that there was one.
fn named(verdicts: &[FieldVerdict]) -> BTreeSet<&str> {
    let given = verdicts.iter().filter(|of| of.access != Access::Memory && of.verdict.allows());
    given.map(|of| &*of.field).collect()
}

/// What each endpoint answers in turn, from what was asked: endpoint and status, none for no answer. A script has no
/// silence, so an endpoint's ends with its first one: no later answer is given to an earlier question.
fn script<'a>(asked: impl Iterator<Item = (&'a str, Option<u16>)>) -> Vec<ScriptedReply> {
    let mut silent = BTreeSet::new();
    asked
        .filter_map(|(endpoint, status)| {
            let Some(status) = status.filter(|_| !silent.contains(endpoint)) else {
                silent.insert(endpoint);
                return None;
            };
            Some(ScriptedReply { endpoint: endpoint.to_owned(), status, body: None })
        })
        .collect()
}

/// Rows of the call's consumer and plugin that are not older than it.
fn of_call(row: &FlowRecord, stage: Stage) -> FlowQuery {
    FlowQuery {
        brand: Some(row.brand.clone()),
        consumer: Some(row.consumer),
        plugin: Some(row.plugin.clone()),
        stage: Some(stage),
        from_ms: Some(row.at_ms),
        limit: ROWS,
        ..FlowQuery::default()
    }
}

/// The stored event, with what the gateway knew of it beside.
fn case_event(body: &[u8], row: &FlowRecord, accepted_ms: i64) -> Result<Value, Refusal> {
    let mut event: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::Internal)?;
    event.insert("brand".into(), row.brand.clone().into());
    event.entry("time").or_insert_with(|| rfc3339(accepted_ms).into());
    Ok(Value::Object(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_script_ends_where_it_gave_no_answer() {
        for (asked, expected) in [
            (&[][..], &[][..]),
            (&[("a", Some(200)), ("a", Some(404))], &[("a", 200), ("a", 404)]),
            (&[("a", None), ("b", Some(200)), ("a", Some(201))], &[("b", 200)]),
            (&[("a", Some(200)), ("a", None), ("a", Some(201)), ("b", Some(202))], &[("a", 200), ("b", 202)]),
        ] {
            let replies = script(asked.iter().copied());
            let found: Vec<_> = replies.iter().map(|reply| (&*reply.endpoint, reply.status)).collect();
            assert_eq!(found, expected, "{asked:?}");
        }
    }
}
