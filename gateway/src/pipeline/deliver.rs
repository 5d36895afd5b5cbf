//! Deliver: each try is a new decision with its own row, written first. A request with a label that is
//! now withheld is dropped as a whole.

use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{Choices, Facts, Partner, Recipient};

use super::consumers::Consumer;
use super::dispatch::{UNUSABLE_WAIT_MS, delivery_place};
use super::documents::ConnectionDocument;
use super::error::Refusal;
use super::gateway::Gateway;
use super::ledger::Row;
use super::queue::{Queue, Slot};
use super::registry::{LiveConnection, Registry, UNUSABLE};
use super::worker::{Due, Place, READ};
use crate::boundary::{Moment, OutboundRequest, Permitted, PlannedDelivery, Stays, Subject, toward_partner};
use crate::manifest::{Auth, Endpoint};
use crate::outbound::{Credentials, Disposition, RetrySchedule, classify, outcome_code};
use crate::store::crypto::format_uid;
use crate::store::{
    AttemptResult, Change, DeliveryRecord, DeliveryState, Digest, Document, DocumentKind, FlowRecord,
    FlowResult, Stage, Uid,
};

/// A request of the outbox, in memory.
pub(super) struct DueDelivery {
    pub(super) id: Uid,
    pub(super) brand: String,
    pub(super) plugin: String,
    pub(super) event: Uid,
    pub(super) accepted_ms: i64,
    /// Attempts made.
    pub(super) attempt: u32,
    pub(super) consumer: Arc<Consumer>,
    pub(super) planned: Arc<PlannedDelivery>,
}

impl DueDelivery {
    /// A row of an attempt at it.
    fn in_row(&self, attempt: u32, row: FlowRecord) -> FlowRecord {
        let endpoint = Some(self.planned.endpoint.name.clone());
        FlowRecord { endpoint, delivery: Some(self.id), attempt, ..row }
    }
}

/// What was decided about a try.
enum Decided {
    /// The plugin is on, and cannot be used now.
    Unusable,
    /// With the row that says why.
    Stays(FlowRecord),
    /// With its row, which is written first.
    Goes(Box<Try>, FlowRecord),
}

/// A try that may be made once its row is committed.
struct Try {
    /// Its row.
    flow: Uid,
    request: Permitted<OutboundRequest>,
    credentials: Credentials,
    live: Arc<LiveConnection>,
    /// By what it was decided.
    registry: Arc<Registry>,
    choices: Arc<Choices>,
}

/// A first try whose row is about to be committed. Dropped, it is not made, and the store says what is due.
pub(super) struct Begun {
    place: Place<DueDelivery>,
    slot: Slot,
    goes: Box<Try>,
}

impl Begun {
    /// The row is committed.
    pub(super) fn committed(self, gateway: &Arc<Gateway>, due: DueDelivery) {
        let Self { place, slot, goes } = self;
        let gateway = Arc::clone(gateway);
        place.spawn(async move { gateway.make_try(&due, *goes, slot).await });
    }
}

impl Due for DueDelivery {
    type Id = Uid;
    const NAME: &'static str = "a delivery";

    fn id(&self) -> Uid {
        self.id
    }

    fn queue(gateway: &Gateway) -> &Queue<Uid, Self> {
        &gateway.deliveries
    }

    async fn read(gateway: &Gateway) {
        gateway.read_due_deliveries().await;
    }

    async fn work(self, gateway: &Arc<Gateway>, slot: Slot) -> Result<(), Refusal> {
        gateway.deliver(&self, slot).await
    }
}

impl Gateway {
    async fn read_due_deliveries(&self) {
        let records = match self.store.due_deliveries(self.clock.now_ms(), READ).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "due deliveries cannot be read");
                return;
            }
        };
        if records.len() >= READ as usize {
            self.deliveries.fall_behind();
        }
        for record in records {
            if !self.deliveries.is_news(&record.id) {
                continue;
            }
            match self.due_delivery(record).await {
                Ok(due) => self.deliveries.push(due.id, due),
                Err(error) => tracing::error!(%error, "a stored delivery cannot be read; it waits"),
            }
        }
    }

    async fn due_delivery(&self, record: DeliveryRecord) -> Result<DueDelivery, Refusal> {
        let consumer = self.consumers.by_id(&*self.store, &self.master, record.consumer).await?;
        let text =
            consumer.key.open(&delivery_place(&record.id), &record.payload).map_err(|_| Refusal::Internal)?;
        let planned: PlannedDelivery = serde_json::from_slice(&text).map_err(|_| Refusal::Internal)?;
        Ok(DueDelivery {
            id: record.id,
            brand: record.brand,
            plugin: record.plugin,
            event: record.event,
            accepted_ms: planned.accepted_ms,
            attempt: record.attempt,
            consumer,
            planned: Arc::new(planned),
        })
    }

    async fn deliver(self: &Arc<Self>, due: &DueDelivery, slot: Slot) -> Result<(), Refusal> {
        self.note_numbers(&due.consumer, &due.planned.numbers).await?;
        match self.decide_try(due)? {
            Decided::Unusable => self.put_off(due, self.clock.now_ms()).await,
            Decided::Stays(flow) => {
                self.store.drop_delivery(&due.id, flow.attempt, flow).await?;
                self.counters.flows(1);
                self.counters.failed(1);
                Ok(())
            }
            Decided::Goes(goes, flow) => {
                self.outbound.prepare(&goes.credentials, self.clock.now()).await;
                self.store.record_attempt(&due.id, flow.attempt, flow).await?;
                self.counters.flows(1);
                self.make_try(due, *goes, slot).await
            }
        }
    }

    /// Decides about a request's first try before it is in the store, so that one commit has its call, the request
    /// and the try's row. None where that is for a later commit: no slot is free, the request stays, or something must
    /// be waited for, a token or whether a number opted out. It waits for nothing itself: its caller holds locks.
    pub(super) fn first_try(self: &Arc<Self>, due: &DueDelivery) -> Option<(Begun, FlowRecord)> {
        let takes_a_token = matches!(due.planned.endpoint.auth, Auth::Oauth2ClientCredentials { .. });
        if takes_a_token || !due.planned.numbers.is_empty() {
            return None;
        }
        let (place, slot) = Place::at_once(self, due.id)?;
        match self.decide_try(due).ok()? {
            Decided::Goes(goes, flow) => Some((Begun { place, slot, goes }, flow)),
            Decided::Stays(_) | Decided::Unusable => None,
        }
    }

    /// Decides about the next try as things stand.
    fn decide_try(&self, due: &DueDelivery) -> Result<Decided, Refusal> {
        let planned = &due.planned;
        let registry = self.registry.load_full();
        if registry.unusable(&due.brand, &due.plugin) == Some(UNUSABLE) {
            return Ok(Decided::Unusable);
        }
        // What a blocked release planned is not sent.
        let live = registry
            .connection(&due.brand, &due.plugin)
            .filter(|_| !registry.is_blocked(&planned.release))
            .map(|live| live.of_release(&planned.release));
        let partner_name = &planned.partner;
        let partner: Arc<Partner> = match registry.partners.get(partner_name) {
            Some(partner) => Arc::clone(&partner.record),
            // Partners are never deleted; were one gone, nothing would cover the request.
            None => return Err(Refusal::Internal),
        };
        let moment = self.book.moment(due.accepted_ms, self.clock.now_ms());
        let choices = due.consumer.choices();
        let exposed = due.consumer.exposed(partner_name);
        let toward = toward_partner(
            &self.book,
            &partner,
            live.map(|live| &live.connection),
            |plugin, release| registry.returner(&due.brand, plugin, release),
            planned,
            &exposed,
            Subject {
                conditions: &planned.conditions,
                choices: Some(&choices),
                engaged: due.consumer.engaged(),
            },
            moment,
            webhook_id(due),
        );
        let row = self.row_of(due, moment);
        let flow = |outcome: &str| {
            let (recipient, verdicts) = (toward.recipient, toward.verdicts);
            let flow = row.record(Stage::Delivery, planned.flow, recipient, verdicts, toward.facts, outcome);
            due.in_row(due.attempt + 1, flow)
        };
        Ok(match ready(toward.request, live, &planned.endpoint) {
            Err(code) => Decided::Stays(flow(code)),
            Ok((request, credentials, live)) => {
                let mut flow = flow("attempt");
                flow.payload = Some(due.consumer.key.digest(&request.get().body));
                let (flow_id, live) = (flow.id, Arc::clone(live));
                let goes = Try { flow: flow_id, request, credentials, live, registry, choices };
                Decided::Goes(Box::new(goes), flow)
            }
        })
    }

    /// Makes a try whose row is committed, and records what came of it. Once the partner has answered, another request
    /// may be under way.
    async fn make_try(&self, due: &DueDelivery, goes: Try, slot: Slot) -> Result<(), Refusal> {
        let Try { flow, request, credentials, live, registry, choices } = goes;
        // While the row was written a switch or a choice may have changed, also by a keyword from the number: then this
        // decision is stale, and the next try decides anew; so it is where a number cannot be asked about.
        let is_asked = self.note_numbers(&due.consumer, &due.planned.numbers).await.is_ok();
        if !is_asked || self.is_superseded(&registry) || !Arc::ptr_eq(&choices, &due.consumer.choices()) {
            let at_ms = self.clock.now_ms();
            let result = FlowResult {
                at_ms,
                outcome: "not-sent".into(),
                status: None,
                code: Some("decision-stale".into()),
            };
            let (delivery, state) = (due.id, DeliveryState::Pending);
            self.store.record_result(AttemptResult { delivery, flow, result, state, due_ms: at_ms }).await?;
            self.deliveries.fall_behind();
            return Ok(());
        }
        // Nothing keeps the old snapshot while the partner is waited for.
        drop((registry, choices));
        let started = Instant::now();
        let (result, state, due_ms) = self.send(due, request, &credentials, &live).await;
        drop(slot);
        metrics::histogram!("gateway_delivery_seconds").record(started.elapsed().as_secs_f64());
        self.store.record_result(AttemptResult { delivery: due.id, flow, result, state, due_ms }).await?;
        match state {
            DeliveryState::Delivered => self.counters.delivered(1),
            DeliveryState::Dead | DeliveryState::Dropped => self.counters.failed(1),
            DeliveryState::Pending => {}
        }
        Ok(())
    }

    /// The plugin is on, and cannot be used now: nothing is decided about what waits, and nothing of it is lost.
    async fn put_off(&self, due: &DueDelivery, now_ms: i64) -> Result<(), Refusal> {
        let row = self.row_of(due, self.book.moment(due.accepted_ms, now_ms));
        let (recipient, facts) = (Recipient::ThirdParty, Facts::none());
        let flow = row.record(Stage::Delivery, due.planned.flow, recipient, vec![], facts, UNUSABLE);
        let flow = due.in_row(due.attempt, flow);
        let code = Some("unusable".into());
        let result = FlowResult { at_ms: now_ms, outcome: "not-sent".into(), status: None, code };
        let (delivery, flow_id, state) = (due.id, flow.id, DeliveryState::Pending);
        self.store.record_attempt(&due.id, due.attempt, flow).await?;
        self.counters.flows(1);
        let due_ms = now_ms + UNUSABLE_WAIT_MS;
        self.store.record_result(AttemptResult { delivery, flow: flow_id, result, state, due_ms }).await?;
        Ok(())
    }

    /// What all rows of a request say.
    fn row_of<'d>(&self, due: &'d DueDelivery, moment: Moment) -> Row<'d> {
        let planned = &due.planned;
        Row {
            brand: &due.brand,
            plugin: &due.plugin,
            partner: &planned.partner,
            release: planned.release,
            purpose: planned.purpose.as_str(),
            consumer: due.consumer.pseudonym,
            event: due.event,
            event_type: &planned.event_type,
            policy: self.book.digest(moment),
            at_ms: moment.now_ms,
        }
    }

    /// Sends, and says what the delivery becomes.
    async fn send(
        &self,
        due: &DueDelivery,
        request: Permitted<OutboundRequest>,
        credentials: &Credentials,
        live: &LiveConnection,
    ) -> (FlowResult, DeliveryState, i64) {
        let attempt = due.attempt + 1;
        let reply = self.outbound.send(request, credentials, self.clock.now()).await;
        let status = reply.as_ref().ok().map(|reply| reply.status);
        let at_ms = self.clock.now_ms();
        let result = |outcome: &str, code: Option<&str>| FlowResult {
            at_ms,
            outcome: outcome.to_owned(),
            status,
            code: code.map(str::to_owned),
        };
        let code = outcome_code(&reply);
        match classify(&reply) {
            Disposition::Delivered => (result("delivered", None), DeliveryState::Delivered, at_ms),
            Disposition::Retry { after } if attempt < self.tuning.max_attempts => {
                let seed = due.id.iter().fold(0_u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
                match RetrySchedule::next(attempt, after, seed) {
                    Some(wait) => {
                        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                        (result("retry", Some(code)), DeliveryState::Pending, at_ms.saturating_add(wait_ms))
                    }
                    None => (result("dead", Some(code)), DeliveryState::Dead, at_ms),
                }
            }
            Disposition::EndpointGone => {
                self.switch_endpoint_off(live, &due.planned.release, &due.planned.endpoint.name).await;
                (result("dead", Some(code)), DeliveryState::Dead, at_ms)
            }
            Disposition::Retry { .. } | Disposition::Failed(_) => {
                (result("dead", Some(code)), DeliveryState::Dead, at_ms)
            }
        }
    }

    /// 410: the partner wants nothing more there, until the brand writes the connection again.
    ///
    /// `release` is the one that the request was made by. Where the connection's own release has another endpoint under
    /// that name, that one said nothing. A release on trial that sends where nobody wants it has failed there.
    pub(super) async fn switch_endpoint_off(&self, live: &LiveConnection, release: &Digest, endpoint: &str) {
        if let Some(trial) = live.trial.as_ref().filter(|_| live.connection.release.digest == *release) {
            trial.note(true);
        }
        let _alone = self.changing.lock().await;
        let (brand, plugin) = (&*live.connection.brand, &*live.connection.plugin);
        let registry = self.registry.load_full();
        let Some(live) = registry.connection(brand, plugin).cloned() else { return };
        let declared = |release: &Digest| {
            let manifest = &registry.releases.get(release)?.release.manifest;
            manifest.endpoint.iter().find(|declared| declared.name == endpoint).cloned()
        };
        if declared(release).is_none_or(|gone| declared(&live.connection.release.digest) != Some(gone)) {
            return;
        }
        let mut document: ConnectionDocument = live.written.document.clone();
        if !document.endpoints_off.insert(endpoint.to_owned()) {
            return;
        }
        let change = Change {
            at_ms: self.clock.now_ms(),
            actor: "gateway".into(),
            what: format!("endpoint {endpoint} of {brand}/{plugin} answered 410 and is off"),
        };
        tracing::warn!(brand, plugin, endpoint, "an endpoint answered 410 and is off");
        let Ok(body) = serde_json::to_string(&document) else { return };
        let written = self
            .store
            .put_document(
                Document {
                    kind: DocumentKind::Connection,
                    scope: brand.to_owned(),
                    name: plugin.to_owned(),
                    body,
                    secret: live.written.sealed.clone(),
                    connection: Some(live.id),
                },
                change,
            )
            .await;
        let reloaded = match written {
            Ok(()) => self.reload().await,
            Err(error) => Err(error),
        };
        if let Err(error) = reloaded {
            tracing::error!(%error, "an endpoint that answered 410 could not be switched off");
        }
    }
}

/// A request with what it takes to send it, or the code of why it stays.
pub(super) fn ready<'l>(
    request: Result<Permitted<OutboundRequest>, Stays>,
    live: Option<&'l Arc<LiveConnection>>,
    endpoint: &Endpoint,
) -> Result<(Permitted<OutboundRequest>, Credentials, &'l Arc<LiveConnection>), &'static str> {
    match (request, live) {
        (Ok(_), Some(live)) if live.written.document.endpoints_off.contains(&endpoint.name) => {
            Err("endpoint-off")
        }
        (Ok(request), Some(live)) => {
            live.credentials(endpoint).map(|credentials| (request, credentials, live))
        }
        (Err(stays), _) => Err(stays.code()),
        (Ok(_), None) => Err(Stays::Withheld.code()),
    }
}

/// Standard Webhooks `webhook-id`: the delivery's id, which is the same through all tries, and by which the
/// ledger's rows name the request that a partner asks about.
fn webhook_id(due: &DueDelivery) -> String {
    format!("msg_{}", format_uid(&due.id))
}
