//! Aggregates (clause share.aggregate): what a brand's auditor, and a plugin whose purpose is metrics,
//! training or improvement, may ask about many consumers at once.
//!
//! Invariant: every answer, and every refusal, is a row of the ledger before anybody hears it.
//! Invariant: a refusal is always the same. Whether there were too few consumers, the day is open, the
//! question unknown or the budget used up, is nobody's to know.
//! Invariant: a bucket is counted once and its answers kept for good. Who opts out or is deleted later, or
//! who asks, changes none of them, so no two answers differ by one consumer.

mod bucket;
mod question;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use gateway_policy::{Aggregation, Flow, Purpose};

use self::bucket::{Bucket, Frozen};
use self::question::{Day, Question};
pub use self::view::{AggregateGroup, AggregateQuery, AggregateView};
use super::error::Refusal;
use super::gateway::Gateway;
use super::ledger::Row;
use super::model::Caller;
use super::registry::LiveConnection;
use crate::boundary::{AggregateQuestion, Aggregates, Subject, Told, tell};
use crate::catalogue::EventType;
use crate::store::crypto::{format_uid, uid_floor};
use crate::store::{Digest, Stage, Uid};

/// Events that are read at once.
const READ: u32 = 1000;
/// The purpose of a brand's own question.
const OWN_PURPOSE: &str = "analytics.reporting";

/// Who asks.
enum Asker<'a> {
    Key(&'a str),
    Plugin(&'a LiveConnection),
}

/// An answer, and its row of the ledger.
struct Answered {
    flow: Uid,
    groups: Option<Vec<(String, f64)>>,
}

impl Gateway {
    /// Answers a question about a brand's consumers.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: for an unknown brand, or for every question that has no answer, alike.
    pub async fn aggregate(
        self: &Arc<Self>,
        brand: &str,
        query: AggregateQuery,
        caller: &Caller,
    ) -> Result<AggregateView, Refusal> {
        self.platform_brand(brand)?;
        let AggregateQuery { measure, event, field, day, by } = query;
        let question = AggregateQuestion { measure, event, field, day, by };
        let answered = self.ask(brand, &question, Asker::Key(&caller.key)).await?;
        let groups =
            answered.groups.ok_or_else(|| Refusal::NotFound { what: "answer to this question".into() })?;
        Ok(AggregateView {
            brand: brand.to_owned(),
            measure: question.measure,
            event: question.event,
            field: question.field,
            day: question.day,
            by: question.by,
            groups: groups.into_iter().map(|(group, value)| AggregateGroup { group, value }).collect(),
            flow: format_uid(&answered.flow),
        })
    }

    /// The answers that a call of this connection may ask for.
    pub(super) fn aggregates_for(self: &Arc<Self>, live: &Arc<LiveConnection>) -> Arc<dyn Aggregates> {
        Arc::new(OfPlugin { gateway: Arc::downgrade(self), live: Arc::clone(live) })
    }

    async fn ask(
        self: &Arc<Self>,
        brand: &str,
        asked: &AggregateQuestion,
        asker: Asker<'_>,
    ) -> Result<Answered, Refusal> {
        let now_ms = self.clock.now_ms();
        let moment = self.book.moment(now_ms, now_ms);
        let rule = self.book.aggregation(moment);
        let (name, purpose, connection) = match &asker {
            Asker::Key(id) => {
                (format!("key:{id}"), Purpose::parse(OWN_PURPOSE).map_err(|_| Refusal::Internal)?, None)
            }
            Asker::Plugin(live) => {
                let connection = &live.connection;
                (format!("plugin:{}", connection.plugin), connection.release.purpose, Some(connection))
            }
        };
        let today = Day::of(now_ms).to_string();
        let limit = rule.map_or(0, |rule| rule.queries_per_day);
        let within = self.store.count_question(&name, brand, &today, limit).await?;
        let question = Question::of(asked, &self.catalogue, now_ms);
        let parts = question.as_ref().and_then(Question::parts).unwrap_or_default();
        let told: Told = tell(&self.book, connection, purpose, parts, moment);
        let groups = match (&question, rule) {
            (Some(question), Some(rule)) if within && told.allows() => {
                self.frozen(brand, question.kind, question.day, rule).await?.answer(&question.key(), rule.k)
            }
            _ => None,
        };
        let row = Row {
            brand,
            plugin: connection.map_or("", |connection| &*connection.plugin),
            partner: connection.map_or("", |connection| &*connection.partner.name),
            release: connection.map_or([0; 32], |connection| connection.release.digest),
            purpose: purpose.as_str(),
            consumer: [0; 16],
            event: [0; 16],
            event_type: question.as_ref().map_or("", |question| question.kind.name.as_str()),
            policy: self.book.digest(moment),
            at_ms: now_ms,
        };
        let outcome = if groups.is_some() { "answered" } else { "refused" };
        let mut flow =
            row.record(Stage::Aggregate, Flow::Aggregate, told.recipient, told.verdicts, told.facts, outcome);
        // In our words: what was asked in others' could be a value.
        flow.endpoint =
            Some(question.as_ref().map_or_else(|| "no known question".to_owned(), Question::text));
        let id = flow.id;
        self.store.record_flows(vec![flow], None).await?;
        self.counters.flows(1);
        Ok(Answered { flow: id, groups })
    }

    /// The answers of a bucket: those that are kept, or else counted now.
    async fn frozen(
        self: &Arc<Self>,
        brand: &str,
        kind: &EventType,
        day: Day,
        rule: Aggregation,
    ) -> Result<Frozen, Refusal> {
        let (name, date) = (&kind.name, day.to_string());
        if let Some(kept) = self.store.aggregate(brand, name, &date).await? {
            return self.open_bucket(brand, name, &date, &kept);
        }
        // A count reads a day's events: one at a time, and who waited for it finds its answers.
        let _alone = self.counting.lock().await;
        if let Some(kept) = self.store.aggregate(brand, name, &date).await? {
            return self.open_bucket(brand, name, &date, &kept);
        }
        let frozen = self.count(brand, kind, day, rule).await?;
        let text = serde_json::to_vec(&frozen).map_err(|_| Refusal::Internal)?;
        let sealed =
            self.master.seal(&bucket_place(brand, name, &date), &text).map_err(|_| Refusal::Internal)?;
        // Another node may have counted meanwhile: the first count is the answer.
        let kept = self.store.keep_aggregate(brand, name, &date, self.clock.now_ms(), sealed).await?;
        self.open_bucket(brand, name, &date, &kept)
    }

    fn open_bucket(&self, brand: &str, event: &str, day: &str, sealed: &[u8]) -> Result<Frozen, Refusal> {
        let text =
            self.master.open(&bucket_place(brand, event, day), sealed).map_err(|_| Refusal::Internal)?;
        serde_json::from_slice(&text).map_err(|_| Refusal::Internal)
    }

    /// Counts a closed day, by the time of acceptance: no event can come into it any more.
    async fn count(
        &self,
        brand: &str,
        kind: &EventType,
        day: Day,
        rule: Aggregation,
    ) -> Result<Frozen, Refusal> {
        let moment = self.book.moment(day.start_ms(), self.clock.now_ms());
        let mut bucket = Bucket::new(kind, rule, &self.book, moment).ok_or(Refusal::Internal)?;
        let Some((mut from, until)) = uid_floor(day.start_ms()).zip(uid_floor(day.end_ms())) else {
            return Ok(Frozen::default());
        };
        let mut persons: HashMap<i64, Digest> = HashMap::new();
        loop {
            let events = self.store.events_between(brand, &kind.name, from, until, READ).await?;
            let more = events.len() >= READ as usize;
            for record in events {
                from = after(record.uid);
                if persons.get(&record.consumer).is_some_and(|person| bucket.has_enough_of(person)) {
                    continue;
                }
                let consumer = self.consumers.by_id(&*self.store, &self.master, record.consumer).await?;
                let person = *persons.entry(record.consumer).or_insert_with(|| consumer.person_id());
                if bucket.has_enough_of(&person) {
                    continue;
                }
                let event = self.open_event(&consumer, &record)?;
                let choices = consumer.choices();
                let subject = Subject {
                    conditions: &event.conditions,
                    choices: Some(&choices),
                    engaged: consumer.engaged(),
                };
                bucket.add(person, &event.data, subject);
            }
            if !more {
                return Ok(bucket.freeze());
            }
        }
    }
}

/// The place of a bucket's answers: associated data of their encryption.
fn bucket_place(brand: &str, event: &str, day: &str) -> String {
    format!("aggregate/{brand}/{event}/{day}")
}

/// The least id above this one.
fn after(uid: Uid) -> Uid {
    u128::from_be_bytes(uid).saturating_add(1).to_be_bytes()
}

/// The questions of one plugin at one brand.
struct OfPlugin {
    gateway: Weak<Gateway>,
    live: Arc<LiveConnection>,
}

#[async_trait]
impl Aggregates for OfPlugin {
    async fn ask(&self, question: AggregateQuestion) -> Option<Vec<(String, f64)>> {
        let gateway = self.gateway.upgrade()?;
        let live = Arc::clone(&self.live);
        // To its end, also where the call's time is up: a day that takes long to count is there for the next.
        let asking = Arc::clone(&gateway);
        let answer = gateway
            .tasks
            .spawn(async move { asking.ask(&live.connection.brand, &question, Asker::Plugin(&live)).await });
        answer.await.ok()?.ok()?.groups
    }
}
