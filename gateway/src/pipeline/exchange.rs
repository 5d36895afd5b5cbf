//! Exchange: a running call asks its partner and waits. Each request is decided about as it is made, has its row
//! before it is sent, and is sent once.
//!
//! What is sent goes on by itself when the call that waits for it is cancelled, until the same deadline: so what
//! came of it is recorded whatever becomes of the call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use gateway_policy::{Choices, Facts, Flow, Recipient};
use tokio::sync::oneshot;

use super::accept::StoredEvent;
use super::consumers::Consumer;
use super::deliver::ready;
use super::error::Refusal;
use super::exposure::expose_requests;
use super::gateway::Gateway;
use super::ledger::Row;
use super::registry::{LiveConnection, Registry};
use crate::boundary::{
    Crossing, OutboundRequest, Permitted, PlannedExchange, PluginReply, PluginRequest, Subject, Violation,
    plan_exchange, reply, toward_partner,
};
use crate::outbound::{Credentials, Disposition, Reply, SendError, classify, outcome_code};
use crate::plugin_host::{Exchanger, NoReply};
use crate::store::crypto::format_uid;
use crate::store::{FlowRecord, FlowResult, Stage, Uid};

/// What one call can ask through.
pub(super) struct ExchangeSession {
    gateway: Arc<Gateway>,
    /// As the call found it; what may be sent is decided by the connection as it stands then.
    live: Arc<LiveConnection>,
    flow: Flow,
    consumer: Arc<Consumer>,
    event: Arc<StoredEvent>,
    crossing: Mutex<Crossing>,
    asked: AtomicU64,
}

/// A request that may be sent, its row committed.
struct Recorded {
    flow: Uid,
    request: Permitted<OutboundRequest>,
    credentials: Credentials,
    live: Arc<LiveConnection>,
    endpoint: String,
    choices: Arc<Choices>,
}

impl ExchangeSession {
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        live: &Arc<LiveConnection>,
        flow: Flow,
        consumer: &Arc<Consumer>,
        event: &Arc<StoredEvent>,
        crossing: Crossing,
    ) -> Arc<Self> {
        Arc::new(Self {
            gateway: Arc::clone(gateway),
            live: Arc::clone(live),
            flow,
            consumer: Arc::clone(consumer),
            event: Arc::clone(event),
            crossing: Mutex::new(crossing),
            asked: AtomicU64::new(0),
        })
    }

    /// What crossed until now, the labels of all replies with it.
    pub(super) fn crossing(&self) -> Crossing {
        self.crossed().clone()
    }

    fn crossed(&self) -> MutexGuard<'_, Crossing> {
        self.crossing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a request: a keyed digest of (event, connection, release, hook, index), so that a call that is made
    /// again asks under the same idempotency keys, and another release, which may ask something else, under others.
    fn request_id(&self) -> Uid {
        let index = self.asked.fetch_add(1, Ordering::Relaxed);
        let connection = &self.live.connection;
        let hook = self.crossed().hook();
        let parts: [&[u8]; 6] = [
            &self.event.uid,
            connection.brand.as_bytes(),
            connection.plugin.as_bytes(),
            &connection.release.digest,
            &hook.to_be_bytes(),
            &index.to_be_bytes(),
        ];
        let digest = self.gateway.master.index_digest("exchange", &parts);
        let mut id = Uid::default();
        id.iter_mut().zip(digest).for_each(|(byte, derived)| *byte = derived);
        id
    }

    /// Decides and commits the row; `None` where the request stays. A token may be fetched `until` then.
    async fn record(&self, exchange: &PlannedExchange, until: Instant) -> Result<Option<Recorded>, Refusal> {
        let gateway = &self.gateway;
        let planned = &exchange.delivery;
        gateway.note_numbers(&self.consumer, &planned.numbers).await?;
        let now_ms = gateway.clock.now_ms();
        let registry = gateway.registry.load_full();
        let live = registry
            .connection(&self.consumer.brand, &planned.plugin)
            .filter(|_| !registry.is_blocked(&planned.release))
            .map(|live| live.of_release(&planned.release));
        let partner = registry.partners.get(&planned.partner).ok_or(Refusal::Internal)?;
        let moment = gateway.book.moment(self.event.accepted_ms, now_ms);
        let choices = self.consumer.choices();
        let id = self.request_id();
        let subject = Subject {
            conditions: &planned.conditions,
            choices: Some(&choices),
            engaged: self.consumer.engaged() || self.event.event.engages,
        };
        let toward = loop {
            let exposed = self.consumer.exposed(&planned.partner);
            let toward = toward_partner(
                &gateway.book,
                &partner.record,
                live.map(|live| &live.connection),
                |plugin, release| registry.returner(&self.consumer.brand, plugin, release),
                planned,
                &exposed,
                subject,
                moment,
                format!("msg_{}", format_uid(&id)),
            );
            let stays = toward.request.is_err();
            // What a partner receives only grows, so this ends.
            if stays || expose_requests(&self.consumer, std::slice::from_ref(planned), &exposed) {
                break toward;
            }
        };
        let row = Row::of_call(gateway, &self.live.connection, &self.consumer, &self.event, moment);
        let ready = ready(toward.request, live, &planned.endpoint);
        let outcome = ready.as_ref().map_or_else(|code| *code, |_| "attempt");
        let mut flow =
            row.record(Stage::Exchange, self.flow, toward.recipient, toward.verdicts, toward.facts, outcome);
        flow.endpoint = Some(planned.endpoint.name.clone());
        flow.delivery = Some(id);
        if let Ok((request, credentials, _)) = &ready {
            let token = gateway.outbound.prepare(credentials, gateway.clock.now());
            // Where it takes too long there is none, and the request does not leave.
            let _ = tokio::time::timeout_at(until.into(), token).await;
            flow.payload = Some(self.consumer.key.digest(&request.get().body));
        }
        let flow_id = flow.id;
        self.write(flow).await?;
        let Ok((request, credentials, live)) = ready else { return Ok(None) };
        let is_asked = gateway.note_numbers(&self.consumer, &planned.numbers).await.is_ok();
        if !is_asked || self.is_stale(&registry, &choices) {
            let result = self.result("not-sent", None, Some("decision-stale"));
            gateway.store.record_flow_result(&flow_id, result).await?;
            return Ok(None);
        }
        Ok(Some(Recorded {
            flow: flow_id,
            request,
            credentials,
            live: Arc::clone(live),
            endpoint: planned.endpoint.name.clone(),
            choices,
        }))
    }

    /// Whether a switch or a choice changed since the decision was made by these.
    fn is_stale(&self, registry: &Arc<Registry>, choices: &Arc<Choices>) -> bool {
        self.gateway.is_superseded(registry) || !Arc::ptr_eq(choices, &self.consumer.choices())
    }

    /// The row of a request that was refused before anything was decided. What the plugin wrote is not in it: an
    /// endpoint is named where it is declared.
    async fn record_refused(&self, endpoint: Option<String>, violation: &Violation) -> Result<(), Refusal> {
        let moment = self.gateway.book.moment(self.event.accepted_ms, self.gateway.clock.now_ms());
        let row = Row::of_call(&self.gateway, &self.live.connection, &self.consumer, &self.event, moment);
        let (recipient, facts) = (Recipient::ThirdParty, Facts::none());
        let mut flow = row.record(Stage::Exchange, self.flow, recipient, vec![], facts, violation.code());
        flow.endpoint = endpoint;
        self.write(flow).await
    }

    async fn write(&self, flow: FlowRecord) -> Result<(), Refusal> {
        let exposures = self.consumer.unwritten(&self.live.connection.partner.name);
        self.gateway.store.record_flow(flow, exposures.clone()).await?;
        self.consumer.exposures_written(&exposures);
        self.gateway.counters.flows(1);
        Ok(())
    }

    fn result(&self, outcome: &str, status: Option<u16>, code: Option<&str>) -> FlowResult {
        FlowResult {
            at_ms: self.gateway.clock.now_ms(),
            outcome: outcome.to_owned(),
            status,
            code: code.map(str::to_owned),
        }
    }

    /// Sends, hands the reply to whoever waits for it, and records what came of it.
    async fn send(
        self: Arc<Self>,
        recorded: Recorded,
        until: Instant,
        waiting: oneshot::Sender<Option<Permitted<PluginReply>>>,
    ) {
        let Recorded { flow, request, credentials, live, endpoint, choices } = recorded;
        let sending = self.gateway.outbound.send(request, &credentials, self.gateway.clock.now());
        // A token may have taken all of the time.
        let sent = match Instant::now() < until {
            true => tokio::time::timeout_at(until.into(), sending).await.ok(),
            false => None,
        };
        let is_gone = matches!(&sent, Some(sent) if classify(sent) == Disposition::EndpointGone);
        let (answer, result) = self.judge(sent, &choices);
        // A call that ended meanwhile waits for nothing.
        let _ = waiting.send(answer);
        if let Err(error) = self.gateway.store.record_flow_result(&flow, result).await {
            tracing::warn!(%error, "what came of an exchange could not be recorded");
        }
        if is_gone {
            self.gateway.switch_endpoint_off(&live, &live.connection.release.digest, &endpoint).await;
        }
    }

    /// What of an answer enters the call, and what is recorded. `sent` is none where the deadline came first.
    fn judge(
        &self,
        sent: Option<Result<Reply, SendError>>,
        choices: &Arc<Choices>,
    ) -> (Option<Permitted<PluginReply>>, FlowResult) {
        let Some(sent) = sent else { return (None, self.result("failed", None, Some("deadline"))) };
        let code = outcome_code(&sent);
        let Ok(Reply { status, body, truncated, .. }) = sent else {
            return (None, self.result("failed", None, Some(code)));
        };
        // Whoever opted out while the partner answered has opted out of the answer.
        if !Arc::ptr_eq(choices, &self.consumer.choices()) {
            return (None, self.result("failed", Some(status), Some("reply-withheld")));
        }
        match reply(status, body, truncated) {
            Ok(reply) => (Some(reply), self.result("answered", Some(status), None)),
            Err(fault) => (None, self.result("failed", Some(status), Some(fault.code()))),
        }
    }
}

impl Gateway {
    /// Through what a call asks its partner; nothing where the plugin does not ask.
    pub(super) fn asking(
        self: &Arc<Self>,
        live: &Arc<LiveConnection>,
        flow: Flow,
        consumer: &Arc<Consumer>,
        event: &Arc<StoredEvent>,
        crossing: &Crossing,
    ) -> (Option<Arc<ExchangeSession>>, Option<Arc<dyn Exchanger>>) {
        let session = live
            .loaded
            .imports_exchange()
            .then(|| ExchangeSession::new(self, live, flow, consumer, event, crossing.clone()));
        let exchanger = session.clone().map(|session| Arc::new(Asking(session)) as Arc<dyn Exchanger>);
        (session, exchanger)
    }
}

/// An exchanger for the sandbox, which holds it no longer than the call.
struct Asking(Arc<ExchangeSession>);

#[async_trait]
impl Exchanger for Asking {
    async fn exchange(
        &self,
        request: PluginRequest,
        memory_touched: bool,
        until: Instant,
    ) -> Result<Permitted<PluginReply>, NoReply> {
        let session = &self.0;
        let connection = &session.live.connection;
        let endpoint = connection.release.endpoint(&request.endpoint).map(|endpoint| endpoint.name.clone());
        let planned = {
            let mut crossing = session.crossed();
            if memory_touched {
                crossing.touch_memory();
            }
            let gateway = &session.gateway;
            let moment = gateway.book.moment(session.event.accepted_ms, gateway.clock.now_ms());
            let choices = session.consumer.choices();
            let subject = Subject {
                conditions: &session.event.event.conditions,
                choices: Some(&choices),
                engaged: session.consumer.engaged() || session.event.event.engages,
            };
            plan_exchange(&gateway.book, connection, &mut crossing, subject, moment, request)
        };
        let exchange = match planned {
            Ok(exchange) => exchange,
            Err(violation) => {
                let failure = match violation {
                    Violation::UndeclaredEndpoint { .. } | Violation::NoReplyDeclared { .. } => {
                        NoReply::Rejected
                    }
                    // Whether it can be put together may depend on a sealed value.
                    _ => NoReply::Unavailable,
                };
                let written = session.record_refused(endpoint, &violation).await;
                return Err(if written.is_ok() { failure } else { NoReply::Unavailable });
            }
        };
        // Not written down, not sent.
        let recorded = session.record(&exchange, until).await.ok().flatten().ok_or(NoReply::Unavailable)?;
        session.crossed().join_exchange(&exchange);
        let (waiting, answer) = oneshot::channel();
        session.gateway.tasks.spawn(Arc::clone(session).send(recorded, until, waiting));
        let answer = answer.await.ok().flatten().ok_or(NoReply::Unavailable)?;
        session.crossed().join_numbers(&exchange, answer.get());
        Ok(answer)
    }
}
