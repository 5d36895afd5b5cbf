//! Exchanges: a request that a running call waits for is planned like a delivery, and the reply enters the call
//! as data that the partner gave. It sends nothing.
//!
//! A partner may echo what it was sent. So the reply carries the labels of its request, those of sealed fields
//! included, beside its own; and so does everything that the call gives back after it has asked: whether there
//! was a reply, and how long it was, are answers too.

use std::sync::Arc;

use gateway_policy::{Access, Category, Label, LabelSet, Origin};

use super::book::{Moment, PolicyBook};
use super::combine::{Meeting, Met, Pairs};
use super::connection::{Connection, Hook};
use super::from_plugin::{Carried, PlannedDelivery, given, pairs, plan, taint};
use super::memory::Part;
use super::numbers::{is_number, numbers_within};
use super::permitted::Permitted;
use super::placing;
use super::subject::Subject;
use super::toward_plugin::Crossing;
use super::types::{PluginReply, PluginRequest};
use super::violation::Violation;
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

impl PlannedExchange {
    /// The label of the reply itself, beside those of its request.
    fn own_label(&self) -> Label {
        let origin = Origin::Partner(Arc::from(self.delivery.partner.as_str()));
        Label { category: self.reply, origin }
    }

    /// Of the reply: its own, and those of its request.
    fn labels(&self) -> LabelSet {
        let of_request = self.delivery.carried.iter().flat_map(|carried| carried.labels.iter().cloned());
        of_request.chain([self.own_label()]).collect()
    }
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

/// Plans a request of a running call.
///
/// # Errors
/// [`Violation`]: it cannot be made, or not be waited for.
pub fn plan_exchange(
    book: &PolicyBook,
    connection: &Connection,
    crossing: &mut Crossing,
    subject: Subject<'_>,
    moment: Moment,
    request: PluginRequest,
) -> Result<PlannedExchange, Violation> {
    let release = &connection.release;
    let Some(hook) = release.hooks.get(crossing.hook) else { return Err(Violation::NothingDeclared) };
    let endpoint = release
        .endpoint(&request.endpoint)
        .ok_or(Violation::UndeclaredEndpoint { declared: release.manifest.endpoint.len() })?;
    let reply = category(endpoint)?;
    let pairs = pairs(book, connection, hook, crossing, subject, moment);
    let planned = plan(&pairs, connection, hook, crossing, &request).and_then(|delivery| {
        let exchange = PlannedExchange { delivery, reply };
        // The plugin may look at what it remembers, or write over it, once it has the answer.
        let subject = Subject { conditions: &crossing.conditions, ..subject };
        let pairs = match &crossing.memory {
            Some(memory) => memory.meeting(&pairs, subject, connection.integration(hook)),
            None => pairs,
        };
        keep_reply_apart(&pairs, hook, crossing, &exchange).map(|()| exchange)
    });
    if let Err(violation) = &planned {
        // That it may not ask hangs on what is remembered, too.
        crossing.touch_memory();
        if let Some(pair) = violation.kept_apart() {
            crossing.refused_meeting = Some(Arc::clone(pair));
        }
        // Whether a request can be put together depends on the values that it would hold.
        let sealed: LabelSet = given(hook, crossing, Access::Sealed)
            .flat_map(|carried| carried.labels.iter().cloned().collect::<Vec<_>>())
            .collect();
        if !sealed.is_empty() {
            let mut conditions = crossing.conditions.clone();
            conditions.declassified.extend(crossing.gave_way(book, hook, Access::Sealed, |_| true));
            crossing.join(answer(endpoint, &sealed), &conditions);
        }
    }
    planned
}

/// What the call has read meets the reply, and what it remembers that of which the reply is made: so that must be granted
/// before there is one.
fn keep_reply_apart(
    pairs: &Pairs<'_>,
    hook: &Hook,
    crossing: &Crossing,
    exchange: &PlannedExchange,
) -> Result<(), Violation> {
    let own = [exchange.own_label()];
    let read = taint(hook, crossing).filter(|carried| carried.access != Access::Memory);
    let read: Vec<Label> = read.flat_map(|carried| carried.labels.to_vec()).collect();
    let matter = pairs.matter(read.iter().chain(&own));
    let of_read = matter.then(|| pairs.strictest(read.iter(), own.iter(), Meeting::Instance)).flatten();
    let placed = exchange.delivery.placed().flat_map(|carried| carried.labels.to_vec());
    let answer = Part::reply(placed.chain(own.clone()).collect());
    let met = of_read.into_iter().chain(crossing.memory_met_by(&answer, pairs)).reduce(Met::strictest);
    met.and_then(|met| met.kept_apart()).map_or(Ok(()), |pair| Err(Violation::Combination(Arc::new(pair))))
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
        form: None,
        declassified: None,
        returned: None,
    }
}

impl Crossing {
    /// Joins what an exchange tells to the call's labels: before it is sent, so that no answer comes without
    /// them.
    pub fn join_exchange(&mut self, exchange: &PlannedExchange) {
        let delivery = &exchange.delivery;
        let answer = answer(&delivery.endpoint, &exchange.labels());
        // The same question again brings no new labels; what gave way in it may be another.
        if !self.joined.iter().any(|known| known.field == answer.field && known.labels == answer.labels) {
            self.joined.push(answer);
        }
        self.conditions.join(&delivery.conditions);
    }

    /// Joins the telephone numbers that an answer brought.
    pub fn join_numbers(&mut self, exchange: &PlannedExchange, reply: &PluginReply) {
        if is_number(exchange.labels().iter())
            && let Ok(body) = serde_json::from_str(&reply.body)
        {
            self.numbers.extend(numbers_within(&body));
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
