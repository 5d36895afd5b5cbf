//! Rows of the ledger, put together. A row says what was decided and why; it holds no value of a consumer.

use gateway_policy::{Facts, FieldVerdict, Flow, Recipient};

use super::accept::StoredEvent;
use super::consumers::Consumer;
use super::gateway::Gateway;
use crate::boundary::{Connection, Moment};
use crate::store::crypto::new_uid;
use crate::store::{Digest, FlowRecord, Stage, Uid};

/// What all rows about one event and one connection share.
pub(super) struct Row<'a> {
    pub(super) brand: &'a str,
    pub(super) plugin: &'a str,
    pub(super) partner: &'a str,
    pub(super) release: Digest,
    pub(super) purpose: &'a str,
    pub(super) consumer: Uid,
    pub(super) event: Uid,
    pub(super) event_type: &'a str,
    pub(super) policy: Digest,
    pub(super) at_ms: i64,
}

impl<'a> Row<'a> {
    /// For a call of `connection` about `event`.
    pub(super) fn of_call(
        gateway: &Gateway,
        connection: &'a Connection,
        consumer: &Consumer,
        event: &'a StoredEvent,
        moment: Moment,
    ) -> Self {
        Self {
            brand: &connection.brand,
            plugin: &connection.plugin,
            partner: &connection.partner.name,
            release: connection.release.digest,
            purpose: connection.release.purpose.as_str(),
            consumer: consumer.pseudonym,
            event: event.uid,
            event_type: &event.event.kind,
            policy: gateway.book.digest(moment),
            at_ms: moment.now_ms,
        }
    }

    /// A row; the fields that only some stages have are left empty.
    pub(super) fn record(
        &self,
        stage: Stage,
        flow: Flow,
        recipient: Recipient,
        verdicts: Vec<FieldVerdict>,
        facts: Facts,
        outcome: impl Into<String>,
    ) -> FlowRecord {
        FlowRecord {
            id: new_uid(self.at_ms),
            at_ms: self.at_ms,
            stage,
            flow,
            recipient,
            brand: self.brand.to_owned(),
            plugin: self.plugin.to_owned(),
            partner: self.partner.to_owned(),
            release: self.release,
            policy: self.policy,
            purpose: self.purpose.to_owned(),
            consumer: self.consumer,
            event: self.event,
            event_type: self.event_type.to_owned(),
            verdicts,
            facts: facts.to_bits(),
            outcome: outcome.into(),
            endpoint: None,
            delivery: None,
            attempt: 0,
            payload: None,
            fuel: 0,
            micros: 0,
            memory: 0,
            spent: vec![],
            result: None,
        }
    }
}
