//! SMS opt-outs by keyword (clause choice.sms): they hold for a brand and a telephone number, and so for
//! every consumer of that brand who is met with that number.

use std::sync::Arc;

use gateway_policy::{Category, Choices, OptOuts};
use serde_json::Value;

use super::consumers::{Consumer, read_choices};
use super::error::Refusal;
use super::event::Event;
use super::gateway::Gateway;
use crate::store::Digest;

/// Whole trimmed messages that opt out, in any case.
const STOP: [&str; 7] = ["STOP", "QUIT", "END", "REVOKE", "OPT OUT", "CANCEL", "UNSUBSCRIBE"];
/// The one that reverses an opt-out from SMS, and nothing else.
const START: &str = "START";
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
        let numbers = self.numbers(&consumer.brand, event);
        if keyword(event) == Some(Keyword::Stop) {
            for number in &numbers {
                self.put_number(&consumer.brand, number, true).await?;
            }
            return self.opt_out_of_sms(consumer, true).await;
        }
        if keyword(event) == Some(Keyword::Start) || consumer.choices().opt_out.sms {
            return Ok(());
        }
        for number in &numbers {
            if self.consumers.number_opted_out(&*self.store, &consumer.brand, number).await? {
                return self.opt_out_of_sms(consumer, true).await;
            }
        }
        Ok(())
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
        for number in self.numbers(&consumer.brand, event) {
            self.put_number(&consumer.brand, &number, false).await?;
        }
        self.opt_out_of_sms(consumer, false).await
    }

    /// Keyed digests of the telephone numbers of an event: digits alone, so that spelling does not matter.
    fn numbers(&self, brand: &str, event: &Event) -> Vec<Digest> {
        let (Some(kind), Ok(phone)) =
            (self.catalogue.event_type(&event.kind), Category::parse("user.contact.phone_number"))
        else {
            return Vec::new();
        };
        let fields = kind.fields.iter().filter(|field| field.category == phone.as_str());
        fields
            .flat_map(|field| field.path.select(&event.data))
            .filter_map(Value::as_str)
            .map(|number| number.bytes().filter(u8::is_ascii_digit).collect::<Vec<u8>>())
            .filter(|digits| !digits.is_empty())
            .map(|digits| self.master.index_digest("sms", &[brand.as_bytes(), &digits]))
            .collect()
    }

    async fn put_number(&self, brand: &str, number: &Digest, out: bool) -> Result<(), Refusal> {
        let change = self.change("sms-keyword", "sms opt-out of a number".to_owned());
        let opt_out = OptOuts { sms: out, ..OptOuts::default() };
        let text = serde_json::to_string(&Choices { opt_out, ..Choices::default() })
            .map_err(|_| Refusal::Internal)?;
        self.store.put_choices(brand, number, &text, change).await?;
        self.consumers.remember_number(*number, out);
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
        let out = read_choices(store, brand, number).await?.opt_out.sms;
        self.numbers.insert(*number, out);
        Ok(out)
    }

    fn remember_number(&self, number: Digest, out: bool) {
        self.numbers.insert(number, out);
    }
}
