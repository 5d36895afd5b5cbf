//! Decide: an answer that the brand waits for. It never fails open: late, broken or withheld is no answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_policy::{Choices, Conditions, Flow};
use serde::{Deserialize, Serialize};

use super::accept::StoredEvent;
use super::consumers::Consumer;
use super::counts::Tally;
use super::dispatch::{CallOutcome, note_cost, seal};
use super::error::Refusal;
use super::event;
use super::failed::{Failed, note_kept_apart};
use super::gateway::Gateway;
use super::ledger::Row;
use super::memories::Turn;
use super::model::{DecisionView, Provenance};
use super::registry::LiveConnection;
use crate::boundary::{Moment, Subject, from_decide, let_ask};
use crate::plugin_host::Budget;
use crate::store::crypto::{format_digest, format_uid, parse_digest};
use crate::store::{Acceptance, CallRecord, DecisionRecord, FlowRecord, NewEvent, Stage, Uid};

/// What a decision works on.
struct Asked {
    live: Arc<LiveConnection>,
    hook: usize,
    slot: String,
    consumer: Arc<Consumer>,
    event: Arc<StoredEvent>,
    deadline: Instant,
}

/// A recorded answer: whoever asks again gets it, where it may still be used.
#[derive(Serialize, Deserialize)]
struct Recorded {
    view: DecisionView,
    /// What held when that was collected which the answer derives from; none: it derives from nothing.
    conditions: Option<Conditions>,
}

/// The place of a recorded answer: associated data of its encryption.
fn decision_place(event: &Uid) -> String {
    format!("decision/{}", format_uid(event))
}

impl DecisionView {
    /// No decision, and why.
    fn none(reason: impl Into<String>) -> Self {
        Self { decision: None, plugin: None, provenance: None, reason: Some(reason.into()) }
    }
}

impl Gateway {
    /// Takes an event and answers for a slot, within the plugin's deadline.
    ///
    /// # Errors
    /// As [`Gateway::accept`]. That there is no decision is an answer, not an error.
    pub async fn decide(
        self: &Arc<Self>,
        brand: &str,
        slot: &str,
        body: &[u8],
    ) -> Result<DecisionView, Refusal> {
        let started = Instant::now();
        let (platform, now_ms) = (self.platform_brand(brand)?, self.clock.now_ms());
        let mut events = event::parse(body, false, brand, platform, &self.catalogue, now_ms)?;
        let Some(event) = events.pop() else { return Err(Refusal::Internal) };
        let live = self.registry.load().slot(brand, slot).cloned();
        let (consumer, mut record) = self.new_event(brand, &event, now_ms).await?;
        let live = live.map(|live| Arc::clone(live.serving(&self.master, &consumer.pseudonym)));
        let hook = live.as_ref().and_then(|live| live.connection.decide_hook(slot));
        self.note_sms(&consumer, &event).await?;
        let (Some(live), Some(hook)) = (live, hook) else {
            self.store_undecided(&consumer, record, event, now_ms).await?;
            return Ok(DecisionView::none("no-connection"));
        };
        let Some(declared) = live.connection.release.hooks.get(hook) else { return Err(Refusal::Internal) };
        if declared.event() != event.kind {
            let detail = format!("slot {slot} decides about {}; send such an event", declared.event());
            return Err(Refusal::invalid("the event", "/type", detail));
        }
        let allowed = Duration::from_millis(u64::from(declared.deadline_ms.unwrap_or(100)));
        let mut known = false;
        let mut accepted_ms = now_ms;
        if let Some(stored) = self.store.event_by_key(&record.key).await? {
            if stored.body != record.body {
                return Err(conflict());
            }
            if let Some(answer) = self.recorded(&consumer, &record.key, slot).await? {
                return Ok(answer);
            }
            record.uid = stored.uid;
            // It keeps the version of the policy under which it came (clause policy.version).
            accepted_ms = stored.accepted_ms;
            known = true;
        }
        let stored = Arc::new(StoredEvent::new(record.uid, record.key, accepted_ms, event));
        let asked =
            Asked { live, hook, slot: slot.to_owned(), consumer, event: stored, deadline: started + allowed };
        // The call itself ends by the deadline. What comes after it is a commit: the event is stored when the
        // caller hears anything, and an answer that its commit made late is not given.
        let answer = self.answer(asked, record, known).await?;
        Ok(if started.elapsed() > allowed { DecisionView::none("late") } else { answer })
    }

    async fn answer(
        self: &Arc<Self>,
        asked: Asked,
        record: NewEvent,
        known: bool,
    ) -> Result<DecisionView, Refusal> {
        let mut choices = asked.consumer.choices();
        let (mut outcome, mut view) = self.judge_decision(&asked, &mut choices).await?;
        let _until_commit = self.blocking.read().await;
        if self.registry.load().is_blocked(&asked.live.connection.release.digest)
            && let Some(flow) = outcome.record.flows.first()
            && !flow.outcome.starts_with("not-run:")
        {
            let flow = FlowRecord { outcome: "failed:blocked".into(), ..flow.clone() };
            (outcome, view) = self.no_answer(&asked, flow, None)?;
        }
        let CallOutcome { record: mut call, turn, returned, .. } = outcome;
        call.exposures = asked.consumer.unwritten(&asked.live.connection.partner.name);
        if known {
            let event = asked.event.uid;
            let (row, exposures) = (call.flows.first().cloned(), call.exposures.clone());
            if self.commit(CallOutcome { record: call, deliveries: vec![], turn, returned }).await? {
                asked.consumer.exposures_written(&exposures);
                return self.while_chosen(&asked, &choices, view).await;
            }
            // The same event was asked about twice at once. This call ran all the same, so its row is written.
            self.commit(CallOutcome::row(row, exposures.clone())).await?;
            asked.consumer.exposures_written(&exposures);
            let recorded = self.recorded(&asked.consumer, &record.key, &asked.slot).await?;
            return recorded.ok_or_else(|| {
                tracing::error!(event = format_uid(&event), "a decision is recorded and cannot be read");
                Refusal::Internal
            });
        }
        let plugins = record.work.clone();
        let exposures = call.exposures.clone();
        let tally = Tally::of(&call.flows);
        match self.store.accept_decided(record, call.clone()).await? {
            Acceptance::New { work } => {
                asked.consumer.exposures_written(&exposures);
                self.tally(&tally);
                if let Some(turn) = turn {
                    turn.committed();
                }
                if let Some(returned) = returned {
                    returned.committed();
                }
                let event = Arc::clone(&asked.event);
                self.stored(&asked.consumer, event, plugins, work, Instant::now().into()).await;
                self.while_chosen(&asked, &choices, view).await
            }
            // The same event came in twice at once. This call ran all the same, so its row is written.
            raced => {
                let record = CallRecord { decision: None, returns: vec![], memory: None, ..call };
                self.commit(CallOutcome { record, deliveries: vec![], turn: None, returned: None }).await?;
                asked.consumer.exposures_written(&exposures);
                if matches!(raced, Acceptance::Conflict) {
                    return Err(conflict());
                }
                let recorded = self.recorded(&asked.consumer, &asked.event.key, &asked.slot).await?;
                Ok(recorded.unwrap_or_else(|| DecisionView::none("repeated")))
            }
        }
    }

    /// What is committed, unless the consumer chose otherwise since it was decided: then as it is judged now.
    async fn while_chosen(
        &self,
        asked: &Asked,
        choices: &Arc<Choices>,
        view: DecisionView,
    ) -> Result<DecisionView, Refusal> {
        if Arc::ptr_eq(choices, &asked.consumer.choices()) {
            return Ok(view);
        }
        let recorded = self.recorded(&asked.consumer, &asked.event.key, &asked.slot).await?;
        Ok(recorded.unwrap_or_else(|| DecisionView::none("withheld")))
    }

    /// Decides, runs and checks; the answer is released only once its record is committed.
    /// `choices` become those by which what it says was decided.
    async fn judge_decision(
        self: &Arc<Self>,
        asked: &Asked,
        choices: &mut Arc<Choices>,
    ) -> Result<(CallOutcome, DecisionView), Refusal> {
        let Asked { live, hook, slot, consumer, event, deadline } = asked;
        let mut turn = None;
        let mut in_time = true;
        if live.loaded.imports_memory() {
            let turns = consumer.memory_turn(&*self.store, &live.id);
            match tokio::time::timeout_at((*deadline).into(), turns).await {
                Ok(taken) => turn = Some(taken?),
                Err(_) => in_time = false,
            }
        }
        let Some(declared) = live.connection.release.hooks.get(*hook) else { return Err(Refusal::Internal) };
        self.look_up_returned(consumer, declared).await?;
        let memory = turn.as_ref().and_then(Turn::memory);
        self.note_numbers_of_call(live, declared, consumer, event, memory.as_deref()).await?;
        let now_ms = self.clock.now_ms();
        let moment: Moment = self.book.moment(event.accepted_ms, now_ms);
        let row = Row::of_call(self, &live.connection, consumer, event, moment);
        let before = consumer.choices();
        let subject = Subject {
            conditions: &event.event.conditions,
            choices: Some(&before),
            engaged: consumer.engaged() || event.event.engages,
        };
        let recalled = self.recalled(live, *hook, turn.as_ref(), subject, moment);
        // Before anything is taken in of what the partner would receive.
        let runs = in_time && live.breaker.admit(now_ms).is_ok();
        let toward =
            self.toward(live, *hook, declared, consumer, event, recalled.as_ref(), subject, moment, runs);
        let mut flow =
            row.record(Stage::Call, Flow::Decide, toward.recipient, toward.verdicts, toward.facts, "ran");
        flow.endpoint = Some(slot.clone());
        let input = match toward.input {
            Ok(input) => input,
            Err(not_run) => {
                if runs {
                    live.breaker.unused(now_ms);
                }
                flow.outcome = not_run.code().into();
                return self.no_answer(asked, flow, None);
            }
        };
        if !in_time {
            flow.outcome = "failed:busy".into();
            return self.no_answer(asked, flow, None);
        }
        if !runs {
            flow.outcome = "not-run:breaker-open".into();
            return self.no_answer(asked, flow, None);
        }
        let input = let_ask(input, &live.connection, || self.aggregates_for(live));
        flow.payload = Some(consumer.key.digest(input.get().fields.as_bytes()));
        let started = Instant::now();
        let declared = Duration::from_millis(u64::from(declared.deadline_ms.unwrap_or(100)));
        let budget = Budget::within(declared).ending_in(deadline.saturating_duration_since(started));
        let (session, exchanger) = self.asking(live, Flow::Decide, consumer, event, &toward.crossing);
        let mut call = self.host.decide(&live.loaded, slot, input, budget, exchanger).await;
        // The consumer may have chosen otherwise while it ran.
        *choices = consumer.choices();
        let engaged = consumer.engaged() || event.event.engages;
        let subject = Subject { choices: Some(choices), engaged, ..subject };
        let mut crossing = session.map_or(toward.crossing, |session| session.crossing());
        note_kept_apart(&mut flow, crossing.refused_meeting());
        flow.micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        note_cost(&mut flow, &call);
        let used = std::mem::take(&mut call.memory);
        if used.touched {
            crossing.touch_memory();
        }
        let log = self.log_of(&call, &flow, consumer, || {
            (crossing.labels(&live.connection), crossing.conditions().clone())
        });
        let checked = match call.result {
            Ok(answer) => from_decide(&self.book, &live.connection, &crossing, subject, moment, &answer)
                .map_err(Failed::of_violation),
            Err(error) => Err(Failed::of_call(&error)),
        };
        let kept = checked.is_ok().then_some(used);
        let after = crossing.memory_after(&live.connection, kept);
        let memory = turn.as_mut().map(|turn| turn.leave(consumer, after)).transpose()?.flatten();
        let checked = match checked {
            Ok(checked) => checked,
            Err(failed) => {
                self.note_failure(live, now_ms, &failed.code, failed.broken);
                failed.tell(&mut flow);
                let (mut outcome, view) = self.no_answer(asked, flow, log)?;
                outcome.record.memory = memory;
                outcome.turn = turn;
                return Ok((outcome, view));
            }
        };
        live.succeeded();
        let conditions = checked.returned.as_ref().map(|returned| returned.get().conditions.clone());
        let view = match &checked.returned {
            None => DecisionView::none("withheld"),
            Some(returned) => {
                let returned = returned.get();
                DecisionView {
                    decision: Some(returned.value.clone()),
                    plugin: Some(live.connection.plugin.to_string()),
                    provenance: Some(Provenance {
                        flow: format_uid(&flow.id),
                        release: format_digest(&live.connection.release.digest),
                        privacy_policy: Some(live.written.document.privacy_policy.clone()),
                        labels: returned
                            .fields
                            .iter()
                            .map(|field| (field.field.to_string(), field.labels.clone()))
                            .collect(),
                    }),
                    reason: None,
                }
            }
        };
        let mut outcome = self.outcome(&row, flow, checked, consumer, event.accepted_ms)?;
        outcome.record.log = log;
        outcome.record.memory = memory;
        outcome.turn = turn;
        let recorded = Recorded { view, conditions };
        outcome.record.decision = Some(decision_record(asked, &recorded)?);
        Ok((outcome, recorded.view))
    }

    fn no_answer(
        &self,
        asked: &Asked,
        flow: FlowRecord,
        log: Option<crate::store::NewLog>,
    ) -> Result<(CallOutcome, DecisionView), Refusal> {
        let recorded = Recorded { view: DecisionView::none(flow.outcome.clone()), conditions: None };
        let decision = Some(decision_record(asked, &recorded)?);
        let record = CallRecord { flows: vec![flow], decision, log, ..CallRecord::default() };
        Ok((CallOutcome { record, deliveries: vec![], turn: None, returned: None }, recorded.view))
    }

    /// The recorded answer for an event and a slot, by what held for all that it derives from.
    async fn recorded(
        &self,
        consumer: &Consumer,
        key: &crate::store::Digest,
        slot: &str,
    ) -> Result<Option<DecisionView>, Refusal> {
        let Some(record) = self.store.decision(key, slot).await? else { return Ok(None) };
        let text = consumer
            .key
            .open(&decision_place(&record.event), &record.payload)
            .map_err(|_| Refusal::Internal)?;
        let Recorded { view, conditions } = serde_json::from_slice(&text).map_err(|_| Refusal::Internal)?;
        let Some(conditions) = conditions else { return Ok(Some(view)) };
        let labels = view.provenance.iter().flat_map(|provenance| provenance.labels.values());
        let may = view.plugin.as_deref().is_none_or(|plugin| {
            // Of no release that is known: nothing says for what it may be used.
            let release = view.provenance.as_ref().and_then(|from| parse_digest(&from.release));
            release.is_some_and(|release| {
                self.may_answer(slot, consumer, (plugin, &release), &conditions, labels)
            })
        });
        Ok(Some(if may { view } else { DecisionView::none("withheld") }))
    }

    /// Stores an event for a slot that nothing fills.
    async fn store_undecided(
        self: &Arc<Self>,
        consumer: &Arc<Consumer>,
        record: NewEvent,
        event: event::Event,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let (uid, key, plugins) = (record.uid, record.key, record.work.clone());
        let mut outcomes = self.store.accept(vec![record]).await?;
        super::accept::conflicts(&outcomes, false)?;
        if let Some(Acceptance::New { work }) = outcomes.pop() {
            let stored = Arc::new(StoredEvent::new(uid, key, now_ms, event));
            self.stored(consumer, stored, plugins, work, Instant::now().into()).await;
        }
        Ok(())
    }
}

fn decision_record(asked: &Asked, recorded: &Recorded) -> Result<DecisionRecord, Refusal> {
    let text = serde_json::to_vec(recorded).map_err(|_| Refusal::Internal)?;
    Ok(DecisionRecord {
        event_key: asked.event.key,
        slot: asked.slot.clone(),
        consumer: asked.consumer.id,
        event: asked.event.uid,
        payload: seal(&asked.consumer, &decision_place(&asked.event.uid), &text)?,
    })
}

fn conflict() -> Refusal {
    Refusal::Conflict {
        message: "an event with this source and id is stored with another body; give a new event a new id"
            .into(),
    }
}
