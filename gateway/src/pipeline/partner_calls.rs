//! What a partner sees of its plugins: calls, deliveries, texts, figures. It says nothing of why a field was withheld,
//! nor whether one was: a call that did not run is not there, as where nobody wrote; a request that was dropped is not
//! there, as where none was made; and nothing is there of partners' messages, because whether one ran would tell
//! what its consumer chose (clause integrations.opt-out).

use gateway_policy::{Conditions, LabelSet};
use serde::Deserialize;

use super::error::Refusal;
use super::flows::{page_size, spent};
use super::gateway::Gateway;
use super::model::{Caller, Page};
use super::partner_model::{
    PartnerCallView, PartnerDeliveryView, PartnerFilter, PartnerLogView, PartnerOutcome,
};
use super::registry::rfc3339;
use crate::boundary::{Subject, may_see_text};
use crate::store::crypto::{format_digest, format_uid, parse_uid};
use crate::store::{DeliveryState, FlowQuery, FlowRecord, Stage, Uid};

/// Rows of the ledger that one question looks through at most: the answer then has a cursor, and may be empty.
const LOOKED_THROUGH: usize = 5_000;
/// Rows read at once.
const READ: u32 = 1_000;

/// How a call ended, as its partner may know; none where it is not to be seen.
pub(super) fn seen(outcome: &str) -> Option<(PartnerOutcome, Option<String>)> {
    match outcome {
        // Where what it placed may meet, or what the partner has since received, is a matter of the policy and of
        // what the consumer chose.
        "failed:received-meanwhile" => None,
        "ran"
        | "refused:combination"
        // Whether a request can be put together may depend on a sealed value, which the plugin does not hold.
        | "refused:segment"
        | "refused:header-value"
        | "refused:too-long"
        | "refused:not-scalar"
        | "refused:list-not-allowed" => Some((PartnerOutcome::Ran, None)),
        other => {
            let (kind, code) = other.split_once(':')?;
            let outcome = match kind {
                "failed" => PartnerOutcome::Failed,
                "refused" => PartnerOutcome::Refused,
                _ => return None,
            };
            Some((outcome, Some(code.to_owned())))
        }
    }
}

/// The partner whose key asks.
///
/// # Errors
/// [`Refusal::Forbidden`] for a key that is no partner's.
pub(super) fn own(caller: &Caller) -> Result<&str, Refusal> {
    caller
        .partner
        .as_deref()
        .ok_or_else(|| Refusal::Forbidden { message: "this is for partners, about their own plugins".into() })
}

/// A stored log, as [`Gateway::log_of`] writes it.
#[derive(Deserialize)]
struct StoredLog {
    lines: Vec<(String, String)>,
    dropped: u32,
    /// None in what was stored before lines were marked.
    #[serde(default)]
    cut: u32,
    failure: Option<String>,
    labels: LabelSet,
    conditions: Conditions,
}

/// What a partner may see of a row of the ledger.
trait Seen: Sized + Send {
    /// Of which rows.
    const STAGE: Stage;

    /// None: it is not to be seen.
    fn of(gateway: &Gateway, row: &FlowRecord) -> impl Future<Output = Result<Option<Self>, Refusal>> + Send;
}

impl Seen for PartnerCallView {
    const STAGE: Stage = Stage::Call;

    async fn of(_: &Gateway, row: &FlowRecord) -> Result<Option<Self>, Refusal> {
        Ok(seen(&row.outcome).map(|(outcome, code)| Self {
            id: format_uid(&row.id),
            at: rfc3339(row.at_ms),
            brand: row.brand.clone(),
            plugin: row.plugin.clone(),
            release: format_digest(&row.release),
            hook: row.flow.as_str().to_owned(),
            slot: row.endpoint.clone(),
            event_type: row.event_type.clone(),
            outcome,
            code,
            milliseconds: row.micros as f64 / 1_000.0,
            fuel: row.fuel,
            memory: row.memory,
            warnings: spent(row),
        }))
    }
}

impl Seen for PartnerDeliveryView {
    const STAGE: Stage = Stage::Delivery;

    async fn of(gateway: &Gateway, row: &FlowRecord) -> Result<Option<Self>, Refusal> {
        gateway.partner_delivery(row).await
    }
}

impl Seen for PartnerLogView {
    const STAGE: Stage = Stage::Call;

    async fn of(gateway: &Gateway, row: &FlowRecord) -> Result<Option<Self>, Refusal> {
        if seen(&row.outcome).is_none() { Ok(None) } else { gateway.partner_log(row).await }
    }
}

impl Gateway {
    /// Calls of the partner's plugins, newest first.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] names the parameter; [`Refusal::Forbidden`] for a key that is no partner's.
    pub async fn partner_calls(
        &self,
        filter: &PartnerFilter,
        caller: &Caller,
    ) -> Result<Page<PartnerCallView>, Refusal> {
        self.partner_rows(filter, caller).await
    }

    /// Tries to deliver to the partner's endpoints, newest first. A try that was not made is not there.
    ///
    /// # Errors
    /// As [`Gateway::partner_calls`].
    pub async fn partner_deliveries(
        &self,
        filter: &PartnerFilter,
        caller: &Caller,
    ) -> Result<Page<PartnerDeliveryView>, Refusal> {
        self.partner_rows(filter, caller).await
    }

    /// A try, where it was made and something came of it.
    pub(super) async fn partner_delivery(
        &self,
        row: &FlowRecord,
    ) -> Result<Option<PartnerDeliveryView>, Refusal> {
        let (Some(result), Some(delivery)) = (&row.result, &row.delivery) else { return Ok(None) };
        if row.outcome != "attempt" || !matches!(&*result.outcome, "delivered" | "retry" | "dead") {
            return Ok(None);
        }
        let mut next_try = None;
        if result.outcome == "retry"
            && let Some(record) = self.store.delivery(delivery).await?
        {
            // It is decided about when it is due; until then one that will be dropped looks like any other, and
            // afterwards there is no try, which is all that the endpoint sees too.
            let waits = record.state == DeliveryState::Pending && record.attempt == row.attempt;
            next_try = (waits && record.due_ms > self.clock.now_ms()).then(|| rfc3339(record.due_ms));
        }
        Ok(Some(PartnerDeliveryView {
            id: format!("msg_{}", format_uid(delivery)),
            at: rfc3339(row.at_ms),
            brand: row.brand.clone(),
            plugin: row.plugin.clone(),
            endpoint: row.endpoint.clone().unwrap_or_default(),
            attempt: row.attempt,
            outcome: result.outcome.clone(),
            status: result.status,
            code: result.code.clone(),
            next_try,
        }))
    }

    /// What the partner's plugins logged, and why they say that they failed, newest first; each only while all its
    /// labels may flow to the partner.
    ///
    /// # Errors
    /// As [`Gateway::partner_calls`].
    pub async fn partner_logs(
        &self,
        filter: &PartnerFilter,
        caller: &Caller,
    ) -> Result<Page<PartnerLogView>, Refusal> {
        self.partner_rows(filter, caller).await
    }

    async fn partner_log(&self, row: &FlowRecord) -> Result<Option<PartnerLogView>, Refusal> {
        let Some(stored) = self.store.call_log(&row.id).await? else { return Ok(None) };
        // Of a plugin that is off nothing flows (clause use.brand-directed).
        let registry = self.registry.load_full();
        let Some(live) = registry.connection(&row.brand, &row.plugin) else { return Ok(None) };
        let consumer = self.consumers.by_id(&*self.store, &self.master, stored.consumer).await?;
        let place = format!("log/{}", format_uid(&row.id));
        let opened = consumer.key.open(&place, &stored.text).ok();
        let Some(log) = opened.and_then(|text| serde_json::from_slice::<StoredLog>(&text).ok()) else {
            tracing::error!("a stored log cannot be read; it is left out");
            return Ok(None);
        };
        let choices = consumer.choices();
        let subject =
            Subject { conditions: &log.conditions, choices: Some(&choices), engaged: consumer.engaged() };
        let moment = self.book.moment(row.at_ms, self.clock.now_ms());
        let may = may_see_text(&self.book, &live.connection, row.flow, &log.labels, subject, moment);
        Ok(may.then(|| PartnerLogView {
            call: format_uid(&row.id),
            at: rfc3339(row.at_ms),
            brand: row.brand.clone(),
            plugin: row.plugin.clone(),
            lines: log.lines.into_iter().map(|(level, message)| [level, message]).collect(),
            lines_dropped: log.dropped,
            lines_cut: log.cut,
            failure: log.failure,
        }))
    }

    /// A page of what is seen of the partner's rows.
    async fn partner_rows<V: Seen>(
        &self,
        filter: &PartnerFilter,
        caller: &Caller,
    ) -> Result<Page<V>, Refusal> {
        let limit = page_size(filter.limit)? as usize;
        let bad = || Refusal::invalid("query parameter after", "", "is not one that a page gave");
        let mut before: Option<Uid> =
            filter.after.as_deref().map(|text| parse_uid(text).ok_or_else(bad)).transpose()?;
        let partner = own(caller)?;
        let (mut items, mut looked) = (Vec::new(), 0);
        loop {
            let query = FlowQuery {
                partner: Some(partner.to_owned()),
                brand: filter.brand.clone(),
                plugin: filter.plugin.clone(),
                stage: Some(V::STAGE),
                before,
                limit: READ,
                ..FlowQuery::default()
            };
            let rows = self.store.flows(&query).await?;
            let last = rows.len() < READ as usize;
            for row in rows {
                if items.len() == limit || looked == LOOKED_THROUGH {
                    return Ok(Page { items, next: before.as_ref().map(format_uid) });
                }
                looked += 1;
                before = Some(row.id);
                let outcome = seen(&row.outcome).map(|(outcome, _)| outcome);
                if V::STAGE == Stage::Call && filter.outcome.is_some() && filter.outcome != outcome {
                    continue;
                }
                items.extend(V::of(self, &row).await?);
            }
            if last {
                return Ok(Page { items, next: None });
            }
        }
    }
}
