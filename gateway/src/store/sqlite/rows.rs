//! Reads rows into records. What does not read as what it should be is damage, and is never guessed.

use gateway_policy::{Flow, Recipient};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row, Type};

use super::super::{
    ApiKeyRecord, ChangedChoices, ConsumerRecord, DecisionRecord, DeliveryRecord, Digest, Document,
    EventRecord, FlowGroup, FlowRecord, FlowResult, FlowShape, KnownEvent, LedgerRow, MessageRecord, NewLog,
    ReleaseMeta, ReturnRecord, Stage, StoreError, Uid, WorkRecord,
};
use super::{control, deliveries};

/// One row, read column by column.
pub(super) struct Columns<'r> {
    row: &'r SqliteRow,
    next: usize,
    what: &'static str,
}

impl<'r> Columns<'r> {
    pub(super) fn new(row: &'r SqliteRow, what: &'static str) -> Self {
        Self { row, next: 0, what }
    }

    fn damaged(&self) -> StoreError {
        StoreError::Damaged(self.what)
    }

    pub(super) fn take<T: Decode<'r, Sqlite> + Type<Sqlite>>(&mut self) -> Result<T, StoreError> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| {
            tracing::error!(%error, what = self.what, "a stored row is damaged");
            self.damaged()
        })
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let bytes: &[u8] = self.take()?;
        bytes.try_into().map_err(|_| self.damaged())
    }

    fn optional_bytes<const N: usize>(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        let bytes: Option<&[u8]> = self.take()?;
        bytes.map(<[u8; N]>::try_from).transpose().map_err(|_| self.damaged())
    }

    fn parsed<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
        let text: &str = self.take()?;
        parse(text).ok_or_else(|| self.damaged())
    }

    fn unsigned(&mut self) -> Result<u64, StoreError> {
        self.take::<i64>().map(i64::cast_unsigned)
    }
}

pub(super) fn two_digests(row: &SqliteRow) -> Result<(Digest, Digest), StoreError> {
    let mut columns = Columns::new(row, "event");
    Ok((columns.bytes()?, columns.bytes()?))
}

pub(super) fn known_event(row: &SqliteRow) -> Result<KnownEvent, StoreError> {
    let mut columns = Columns::new(row, "event");
    Ok(KnownEvent { uid: columns.bytes()?, body: columns.bytes()?, accepted_ms: columns.take()? })
}

pub(super) const DOCUMENT: &str = "kind, scope, name, body, secret, connection";

pub(super) fn document(row: &SqliteRow) -> Result<Document, StoreError> {
    let mut columns = Columns::new(row, "document");
    Ok(Document {
        kind: columns.parsed(control::kind_of)?,
        scope: columns.take()?,
        name: columns.take()?,
        body: columns.take()?,
        secret: columns.take()?,
        connection: columns.optional_bytes()?,
    })
}

pub(super) const RELEASE: &str = "digest, plugin, version, partner, manifest, provenance, size, published_ms, \
                                  signed_by, signature, interfaces";

pub(super) fn release(row: &SqliteRow) -> Result<ReleaseMeta, StoreError> {
    let mut columns = Columns::new(row, "release");
    Ok(ReleaseMeta {
        digest: columns.bytes()?,
        plugin: columns.take()?,
        version: columns.take()?,
        partner: columns.take()?,
        manifest: columns.take()?,
        provenance: columns.take()?,
        size: columns.unsigned()?,
        published_ms: columns.take()?,
        signed_by: columns.take()?,
        signature: columns.take()?,
        interfaces: columns.take()?,
    })
}

pub(super) const KEY: &str = "id, secret_digest, role, brand, partner, created_ms";

pub(super) fn key(row: &SqliteRow) -> Result<ApiKeyRecord, StoreError> {
    let mut columns = Columns::new(row, "key");
    Ok(ApiKeyRecord {
        id: columns.take()?,
        secret_digest: columns.bytes()?,
        role: columns.take()?,
        brand: columns.take()?,
        partner: columns.take()?,
        created_ms: columns.take()?,
    })
}

pub(super) const CONSUMER: &str = "id, brand, subject, pseudonym, wrapped_key, engaged";

pub(super) fn consumer(row: &SqliteRow) -> Result<ConsumerRecord, StoreError> {
    let mut columns = Columns::new(row, "consumer");
    Ok(ConsumerRecord {
        id: columns.take()?,
        brand: columns.take()?,
        subject: columns.bytes()?,
        pseudonym: columns.bytes()?,
        wrapped_key: columns.take()?,
        engaged: columns.take()?,
    })
}

pub(super) fn choices_and_person(row: &SqliteRow) -> Result<(String, Option<Digest>), StoreError> {
    let mut columns = Columns::new(row, "choices");
    Ok((columns.take()?, columns.optional_bytes()?))
}

pub(super) fn changed_choices(row: &SqliteRow) -> Result<ChangedChoices, StoreError> {
    let mut columns = Columns::new(row, "choices");
    Ok(ChangedChoices { brand: columns.take()?, subject: columns.bytes()?, version: columns.take()? })
}

pub(super) fn linked(row: &SqliteRow) -> Result<Digest, StoreError> {
    Columns::new(row, "link").bytes()
}

pub(super) const EVENT: &str = "e.uid, e.key, e.consumer, e.brand, e.kind, e.accepted_ms, e.payload";

fn event_columns(columns: &mut Columns<'_>) -> Result<EventRecord, StoreError> {
    Ok(EventRecord {
        uid: columns.bytes()?,
        key: columns.bytes()?,
        consumer: columns.take()?,
        brand: columns.take()?,
        kind: columns.take()?,
        accepted_ms: columns.take()?,
        payload: columns.take()?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<EventRecord, StoreError> {
    event_columns(&mut Columns::new(row, "event"))
}

/// Before [`EVENT`].
pub(super) const WORK: &str = "w.id, w.plugin, w.attempt";

pub(super) fn work(row: &SqliteRow) -> Result<WorkRecord, StoreError> {
    let mut columns = Columns::new(row, "work");
    Ok(WorkRecord {
        id: columns.take()?,
        plugin: columns.take()?,
        attempt: columns.take()?,
        event: event_columns(&mut columns)?,
    })
}

pub(super) const DECISION: &str = "e.key, d.slot, d.consumer, d.event, d.payload";

pub(super) fn decision(row: &SqliteRow) -> Result<DecisionRecord, StoreError> {
    let mut columns = Columns::new(row, "decision");
    Ok(DecisionRecord {
        event_key: columns.bytes()?,
        slot: columns.take()?,
        consumer: columns.take()?,
        event: columns.bytes()?,
        payload: columns.take()?,
    })
}

pub(super) const DELIVERY: &str = "s.uid, d.consumer, s.brand, d.plugin, d.event, d.endpoint, d.payload, \
                                   s.state, s.attempt, s.due_ms, s.last";

pub(super) fn delivery(row: &SqliteRow) -> Result<DeliveryRecord, StoreError> {
    let mut columns = Columns::new(row, "delivery");
    Ok(DeliveryRecord {
        id: columns.bytes()?,
        consumer: columns.take()?,
        brand: columns.take()?,
        plugin: columns.take()?,
        event: columns.bytes()?,
        endpoint: columns.take()?,
        payload: columns.take()?,
        state: deliveries::state_of(columns.take()?).ok_or(StoreError::Damaged("delivery"))?,
        attempt: columns.take()?,
        due_ms: columns.take()?,
        last: columns.take()?,
    })
}

pub(super) const RETURN: &str =
    "r.position, r.flow, s.release, r.consumer, r.brand, r.plugin, r.event, r.payload, r.at_ms";

pub(super) fn returned(row: &SqliteRow) -> Result<ReturnRecord, StoreError> {
    let mut columns = Columns::new(row, "returned field");
    Ok(ReturnRecord {
        position: columns.take()?,
        flow: columns.bytes()?,
        release: columns.bytes()?,
        consumer: columns.take()?,
        brand: columns.take()?,
        plugin: columns.take()?,
        event: columns.bytes()?,
        payload: columns.take()?,
        at_ms: columns.take()?,
    })
}

pub(super) const LOG: &str = "flow, consumer, text";

pub(super) fn log(row: &SqliteRow) -> Result<NewLog, StoreError> {
    let mut columns = Columns::new(row, "log");
    Ok(NewLog { flow: columns.bytes()?, consumer: columns.take()?, text: columns.take()? })
}

pub(super) const FLOW: &str = "f.id, f.at_ms, f.brand, f.consumer, f.event, f.facts, f.delivery, f.attempt, \
                               f.payload, f.fuel, f.micros, f.memory, f.spent, s.stage, s.flow, s.recipient, s.plugin, s.partner, \
                               s.release, s.policy, s.purpose, s.event_type, s.endpoint, s.outcome, s.verdicts, \
                               r.at_ms, r.outcome, r.status, r.code";

pub(super) fn flow(row: &SqliteRow) -> Result<FlowRecord, StoreError> {
    let mut columns = Columns::new(row, "flow");
    Ok(FlowRecord {
        id: columns.bytes()?,
        at_ms: columns.take()?,
        brand: columns.take()?,
        consumer: columns.bytes()?,
        event: columns.bytes()?,
        facts: columns.unsigned()?,
        delivery: columns.optional_bytes()?,
        attempt: columns.take()?,
        payload: columns.optional_bytes()?,
        fuel: columns.unsigned()?,
        micros: columns.unsigned()?,
        memory: columns.unsigned()?,
        spent: match columns.take::<Option<&str>>()? {
            None => Vec::new(),
            Some(text) => serde_json::from_str(text).map_err(|_| columns.damaged())?,
        },
        stage: columns.parsed(stage)?,
        flow: columns.parsed(Flow::parse)?,
        recipient: columns.parsed(Recipient::parse)?,
        plugin: columns.take()?,
        partner: columns.take()?,
        release: columns.bytes()?,
        policy: columns.bytes()?,
        purpose: columns.take()?,
        event_type: columns.take()?,
        endpoint: columns.take()?,
        outcome: columns.take()?,
        verdicts: columns.parsed(|text| serde_json::from_str(text).ok())?,
        result: match (columns.take()?, columns.take()?, columns.take()?, columns.take()?) {
            (Some(at_ms), Some(outcome), status, code) => Some(FlowResult { at_ms, outcome, status, code }),
            _ => None,
        },
    })
}

pub(super) fn flow_group(row: &SqliteRow) -> Result<FlowGroup, StoreError> {
    let mut columns = Columns::new(row, "group of flows");
    Ok(FlowGroup {
        shape: columns.take()?,
        facts: columns.unsigned()?,
        rows: columns.unsigned()?,
        example: columns.bytes()?,
    })
}

pub(super) fn ledger_row(row: &SqliteRow) -> Result<LedgerRow, StoreError> {
    let mut columns = Columns::new(row, "row of the ledger");
    Ok(LedgerRow {
        position: columns.take()?,
        id: columns.bytes()?,
        at_ms: columns.take()?,
        shape: columns.take()?,
        facts: columns.unsigned()?,
    })
}

pub(super) fn flow_shape(row: &SqliteRow) -> Result<FlowShape, StoreError> {
    let mut columns = Columns::new(row, "shape of flows");
    Ok(FlowShape {
        stage: columns.parsed(stage)?,
        flow: columns.parsed(Flow::parse)?,
        recipient: columns.parsed(Recipient::parse)?,
        partner: columns.take()?,
        policy: columns.bytes()?,
        purpose: columns.take()?,
        outcome: columns.take()?,
        verdicts: columns.parsed(|text| serde_json::from_str(text).ok())?,
    })
}

/// One thing that is kept of a consumer.
pub(super) enum KeptRow {
    /// A partner with what it received.
    Exposure(String, String),
    /// A connection with what its plugin received.
    Received(Uid, Vec<u8>),
}

pub(super) fn kept(row: &SqliteRow) -> Result<KeptRow, StoreError> {
    let mut columns = Columns::new(row, "exposure or received document");
    match (columns.take()?, columns.take()?, columns.optional_bytes()?, columns.take()?) {
        (Some(partner), Some(what), None, None) => Ok(KeptRow::Exposure(partner, what)),
        (None::<String>, None::<String>, Some(connection), Some(payload)) => {
            Ok(KeptRow::Received(connection, payload))
        }
        _ => Err(columns.damaged()),
    }
}

pub(super) const MESSAGE: &str = "uid, brand, plugin, connection, at_ms, attempt, payload";

pub(super) fn message(row: &SqliteRow) -> Result<MessageRecord, StoreError> {
    let mut columns = Columns::new(row, "message");
    Ok(MessageRecord {
        uid: columns.bytes()?,
        brand: columns.take()?,
        plugin: columns.take()?,
        connection: columns.bytes()?,
        at_ms: columns.take()?,
        attempt: columns.take()?,
        payload: columns.take()?,
    })
}

fn stage(word: &str) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| stage.as_str() == word)
}
