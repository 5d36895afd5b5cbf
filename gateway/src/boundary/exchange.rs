//! Exchanges: a request that a running call waits for is planned like a delivery, and the reply enters the call
//! as data that the partner gave. It sends nothing.
//!
//! A partner may echo what it was sent. So the reply carries the labels of its request, those of sealed fields
//! included, beside its own; and so does everything that the call gives back after it has asked: whether there
//! was a reply, and how long it was, are answers too.

use std::sync::Arc;

use gateway_policy::{Access, Category, Conditions, Label, LabelSet, Origin};

use super::connection::Connection;
use super::from_plugin::{Carried, PlannedDelivery, Violation, given, plan};
use super::permitted::Permitted;
use super::placing;
use super::toward_plugin::Crossing;
use super::types::{PluginReply, PluginRequest};
use crate::manifest::Endpoint;

/// Bytes of a reply: an answer to a question about one consumer, and no download.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// A request that a call waits for.
pub struct PlannedExchange {
    /// As a delivery: every decision about it is the same.
    pub delivery: PlannedDelivery,
    /// What kind of data the reply is.
    reply: Category,
}

/// Why a reply does not enter the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAReply {
    /// Longer than a reply may be, or it broke off.
    TooLarge,
    /// Not one JSON document.
    NotJson,
}

impl NotAReply {
    /// The ledger's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "reply-too-large",
            Self::NotJson => "reply-not-json",
        }
    }
}

/// Plans a request of a running call. `event` is what held when the event was collected.
///
/// # Errors
/// [`Violation`]: it cannot be made, or not be waited for.
pub fn plan_exchange(
    connection: &Connection,
    crossing: &mut Crossing,
    event: &Conditions,
    request: PluginRequest,
) -> Result<PlannedExchange, Violation> {
    let release = &connection.release;
    let Some(hook) = release.hooks.get(crossing.hook) else { return Err(Violation::NothingDeclared) };
    let endpoint = release
        .endpoint(&request.endpoint)
        .ok_or(Violation::UndeclaredEndpoint { declared: release.manifest.endpoint.len() })?;
    let reply = category(endpoint)?;
    let conditions = crossing.conditions(event).into_owned();
    match plan(connection, hook, crossing, &conditions, request) {
        Ok(delivery) => Ok(PlannedExchange { delivery, reply }),
        Err(violation) => {
            // Whether a request can be put together depends on the values that it would hold.
            let sealed: LabelSet = given(hook, crossing, Access::Sealed)
                .flat_map(|carried| carried.labels.iter().cloned().collect::<Vec<_>>())
                .collect();
            if !sealed.is_empty() {
                crossing.join(answer(endpoint, &sealed), &conditions);
            }
            Err(violation)
        }
    }
}

fn category(endpoint: &Endpoint) -> Result<Category, Violation> {
    let declared = endpoint.reply.as_deref().and_then(|key| Category::parse(key).ok());
    declared.ok_or_else(|| Violation::NoReplyDeclared { endpoint: endpoint.name.clone() })
}

fn answer(endpoint: &Endpoint, labels: &LabelSet) -> Carried {
    Carried {
        field: endpoint.name.as_str().into(),
        access: Access::Reply,
        labels: labels.iter().cloned().collect(),
    }
}

impl Crossing {
    /// Joins what an exchange tells to the call's labels: before it is sent, so that no answer comes without
    /// them.
    pub fn join_exchange(&mut self, exchange: &PlannedExchange) {
        let delivery = &exchange.delivery;
        let mut labels: LabelSet =
            delivery.carried.iter().flat_map(|carried| carried.labels.iter().cloned()).collect();
        let origin = Origin::Partner(Arc::from(delivery.partner.as_str()));
        labels.insert(Label { category: exchange.reply, origin });
        let answer = answer(&delivery.endpoint, &labels);
        // The same question again joins nothing new.
        if !self.joined.iter().any(|known| known.field == answer.field && known.labels == answer.labels) {
            self.join(answer, &delivery.conditions);
        }
    }
}

/// What of a partner's answer may enter the call that asked: all of it, if it is JSON. An empty body is `null`.
///
/// # Errors
/// [`NotAReply`].
pub fn reply(status: u16, body: Vec<u8>, truncated: bool) -> Result<Permitted<PluginReply>, NotAReply> {
    if truncated || body.len() > MAX_REPLY_BYTES {
        return Err(NotAReply::TooLarge);
    }
    let text = String::from_utf8(body).map_err(|_| NotAReply::NotJson)?;
    let body = if text.trim().is_empty() { "null".to_owned() } else { text };
    if !placing::is_strict_json(&body) {
        return Err(NotAReply::NotJson);
    }
    Ok(Permitted::grant(PluginReply { status, body }))
}
