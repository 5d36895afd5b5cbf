//! SMS opt-outs by keyword (clause choice.sms): they hold for a brand and a telephone number, and so for
//! every consumer of that brand who is met with that number: in an event, in what a partner sent or another plugin
//! returned, in what a plugin remembers or is answered, in a request that waits. A number is looked up before each
//! decision about what goes by SMS.

use std::sync::Arc;

use gateway_policy::{Choices, OptOuts};
use serde_json::Value;

use super::accept::StoredEvent;
use super::consumers::{Consumer, read_choices};
use super::error::Refusal;
use super::event::Event;
use super::gateway::Gateway;
use super::registry::LiveConnection;
use crate::boundary::{Hook, Memory, Received, as_number, is_by_sms, is_number, numbers_within};
use crate::catalogue::FieldPath;
use crate::store::Digest;

/// Whole trimmed messages that opt out, in any case.
const STOP: [&str; 7] = ["STOP", "QUIT", "END", "REVOKE", "OPT OUT", "CANCEL", "UNSUBSCRIBE"];
/// The one that reverses an opt-out from SMS, and nothing else.
const START: &str = "START";
/// The category of telephone numbers in the catalogue.
const NUMBER: &str = "user.contact.phone_number";
/// The event type whose `text` is what the consumer wrote.
const EVENT: &str = "sms.received";

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyword {
    Stop,
    Start,
}

fn keyword(event: &Event) -> Option<Keyword> {
    if event.kind != EVENT {
        return None;
    }
    let text = event.data.get("text").and_then(Value::as_str)?.trim().to_uppercase();
    if text == START {
        return Some(Keyword::Start);
    }
    STOP.contains(&text.as_str()).then_some(Keyword::Stop)
}

impl Gateway {
    /// Before an event is stored, and so before any plugin sees it: a keyword that opts out takes effect, and
    /// a consumer met with a number that opted out is opted out too.
    pub(super) async fn note_sms(&self, consumer: &Arc<Consumer>, event: &Event) -> Result<(), Refusal> {
        let numbers = self.numbers(&event.kind, &event.data);
        if keyword(event) == Some(Keyword::Stop) {
            for number in &numbers {
                self.put_number(&consumer.brand, number, true).await?;
            }
            return self.opt_out_of_sms(consumer, true).await;
        }
        if keyword(event) == Some(Keyword::Start) {
            return Ok(());
        }
        self.note_numbers(consumer, &numbers).await
    }

    /// A consumer who is met with a number that opted out is opted out too.
    pub(super) async fn note_numbers(
        &self,
        consumer: &Arc<Consumer>,
        numbers: &[String],
    ) -> Result<(), Refusal> {
        if consumer.choices().opt_out.sms {
            return Ok(());
        }
        for digest in numbers.iter().filter_map(|number| self.digest_of(&consumer.brand, number)) {
            if self.consumers.number_opted_out(&*self.store, &consumer.brand, &digest).await? {
                return self.opt_out_of_sms(consumer, true).await;
            }
        }
        Ok(())
    }

    /// The same before a call whose purpose is SMS is decided about, with all that the call may read.
    pub(super) async fn note_numbers_of_call(
        &self,
        live: &LiveConnection,
        hook: &Hook,
        consumer: &Arc<Consumer>,
        event: &StoredEvent,
        memory: Option<&Memory>,
    ) -> Result<(), Refusal> {
        if !is_by_sms(live.connection.release.purpose, None) {
            return Ok(());
        }
        let mut numbers = self.numbers(&event.event.kind, &event.data);
        numbers.extend(memory.map(Memory::numbers).unwrap_or_default());
        numbers.extend(consumer.received(&live.id).iter().flat_map(|received| numbers_in(received)));
        let given = self.given(consumer, hook);
        numbers.extend(given.view().iter().flat_map(|onward| numbers_in(onward.returned)));
        self.note_numbers(consumer, &numbers).await
    }

    /// The same before a message is, where its plugin may make a number of it.
    pub(super) async fn note_numbers_of_message(
        &self,
        live: &LiveConnection,
        hook: &Hook,
        consumer: &Arc<Consumer>,
        message: &Value,
        memory: Option<&Memory>,
    ) -> Result<(), Refusal> {
        if !is_by_sms(live.connection.release.purpose, None) {
            return Ok(());
        }
        let mut numbers = memory.map(Memory::numbers).unwrap_or_default();
        // A message derives from all that its partner has.
        let exposed = consumer.exposed(&live.connection.partner.name);
        if is_number(hook.return_labels.iter().chain(exposed.labels.iter())) {
            numbers.extend(numbers_within(message));
        }
        self.note_numbers(consumer, &numbers).await
    }

    /// After an event is stored for the first time: only then, so that one sent again loosens nothing.
    pub(super) async fn note_sms_start(
        &self,
        consumer: &Arc<Consumer>,
        event: &Event,
    ) -> Result<(), Refusal> {
        if keyword(event) != Some(Keyword::Start) {
            return Ok(());
        }
        for number in self.numbers(&event.kind, &event.data) {
            self.put_number(&consumer.brand, &number, false).await?;
        }
        self.opt_out_of_sms(consumer, false).await
    }

    /// The telephone numbers of an event, as they are written.
    fn numbers(&self, kind: &str, data: &Value) -> Vec<String> {
        let fields = self.catalogue.event_type(kind).into_iter().flat_map(|kind| &kind.fields);
        let fields = fields.filter(|field| field.category == NUMBER);
        fields.flat_map(|field| field.path.select(data)).filter_map(as_number).collect()
    }

    /// The keyed digest of a number of a brand's consumer: of its digits alone, so that spelling does not matter; none
    /// where there are none.
    fn digest_of(&self, brand: &str, number: &str) -> Option<Digest> {
        let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| self.master.index_digest("sms", &[brand.as_bytes(), &digits]))
    }

    async fn put_number(&self, brand: &str, number: &str, out: bool) -> Result<(), Refusal> {
        let Some(digest) = self.digest_of(brand, number) else { return Ok(()) };
        let change = self.change("sms-keyword", "sms opt-out of a number".to_owned());
        let opt_out = OptOuts { sms: out, ..OptOuts::default() };
        let text = serde_json::to_string(&Choices { opt_out, ..Choices::default() })
            .map_err(|_| Refusal::Internal)?;
        let _alone = self.consumers.changing.write().await;
        self.store.put_choices(brand, &digest, &text, change).await?;
        self.consumers.remember_number(digest, out);
        Ok(())
    }

    async fn opt_out_of_sms(&self, consumer: &Arc<Consumer>, out: bool) -> Result<(), Refusal> {
        if consumer.choices().opt_out.sms == out {
            return Ok(());
        }
        let what =
            format!("sms keyword of consumer {}", crate::store::crypto::format_uid(&consumer.pseudonym));
        let change = self.change("sms-keyword", what);
        let next = |before: &Choices| {
            let opt_out = OptOuts { sms: out, ..before.opt_out.clone() };
            Choices { opt_out, ..before.clone() }
        };
        self.consumers
            .change_choices(&*self.store, consumer, change, |own| Ok(next(own)), |other, _| next(other))
            .await
            .map(drop)
    }
}

/// The telephone numbers in what came from a partner or another plugin, by the labels of its leaves.
fn numbers_in(received: &Received) -> Vec<String> {
    let leaves = received.labels.iter().filter(|(_, labels)| is_number(labels.iter()));
    let paths: Vec<FieldPath> = leaves.filter_map(|(leaf, _)| FieldPath::parse(leaf).ok()).collect();
    paths.iter().flat_map(|path| path.select(&received.value)).filter_map(as_number).collect()
}

impl super::consumers::Consumers {
    /// Whether a number opted out of SMS at a brand.
    async fn number_opted_out(
        &self,
        store: &dyn crate::store::Store,
        brand: &str,
        number: &Digest,
    ) -> Result<bool, Refusal> {
        if let Some(known) = self.numbers.get(number) {
            return Ok(known);
        }
        // What was read before a change is not put into the memo after it.
        let _unchanged = self.changing.read().await;
        let out = read_choices(store, brand, number).await?.opt_out.sms;
        self.numbers.insert(*number, out);
        Ok(out)
    }

    fn remember_number(&self, number: Digest, out: bool) {
        self.numbers.insert(number, out);
    }
}
