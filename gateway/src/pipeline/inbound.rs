//! Messages from partners (clause integrations.receive) as they come in: verified, taken once, answered. What becomes
//! of one is worked out afterwards, see `messages`.
//!
//! Invariant: nothing before the answer depends on whom a message is about, or is done with the consumer: what the
//! answer says, and when it comes, is the same for all. So the message lies under the master key until it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use super::error::Refusal;
use super::gateway::Gateway;
use super::messages::{DueMessage, message_place};
use crate::outbound::{Signed, verify};
use crate::store::crypto::new_uid;
use crate::store::{MessageRecord, NewMessage};

/// Moments of messages, each later than the one before: so of two messages it is known which is the newer.
#[derive(Default)]
pub(super) struct Moments(AtomicI64);

impl Moments {
    /// Now, in milliseconds since the Unix epoch, or just after the last moment.
    fn next(&self, now_ms: i64) -> i64 {
        let next = |last: i64| Some(now_ms.max(last.saturating_add(1)));
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).map_or(now_ms, |last| {
            // What was stored: `fetch_update` gives what stood before.
            now_ms.max(last.saturating_add(1))
        })
    }
}

impl Gateway {
    /// Takes a partner's message for one of its plugins at a brand; durable when this returns.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`] where no such connection takes messages, or the signature is not the partner's, or
    /// its time is not now: all alike. [`Refusal::Invalid`] for a body that is no JSON object.
    /// [`Refusal::Unavailable`] where nothing could be stored: send it again.
    pub async fn inbound(
        self: &Arc<Self>,
        brand: &str,
        plugin: &str,
        signed: Signed<'_>,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        let registry = self.registry.load_full();
        let live = registry.connection(brand, plugin).ok_or(Refusal::Unsigned)?;
        live.connection.receive_hook().ok_or(Refusal::Unsigned)?;
        let partner = registry.partners.get(&live.connection.partner.name).ok_or(Refusal::Unsigned)?;
        let secrets = live.inbound_keys(now_ms);
        if !verify(signed, body, &secrets, &partner.webhook_keys, now_ms.div_euclid(1000)) {
            return Err(Refusal::Unsigned);
        }
        let no_object = || Refusal::invalid("the body", "", "must be a JSON object in UTF-8");
        let text = std::str::from_utf8(body).map_err(|_| no_object())?;
        let value: Value = serde_json::from_str(text).map_err(|_| no_object())?;
        if !value.is_object() {
            return Err(no_object());
        }
        let parts: [&[u8]; 3] = [brand.as_bytes(), plugin.as_bytes(), signed.id.as_bytes()];
        let key = self.master.index_digest("message", &parts);
        let at_ms = self.moments.next(now_ms);
        let uid = new_uid(at_ms);
        let payload = self.master.seal(&message_place(&uid), body).map_err(|_| Refusal::Internal)?;
        let message = MessageRecord {
            uid,
            brand: brand.to_owned(),
            plugin: plugin.to_owned(),
            connection: live.id,
            at_ms,
            attempt: 0,
            payload,
        };
        let due = DueMessage::new(&message, text.to_owned(), value);
        if self.store.take_message(NewMessage { key, message }).await? {
            self.messages.push(uid, due);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_messages_one_is_the_newer() {
        let moments = Moments::default();
        let taken = [5, 5, 4, 9].map(|now_ms| moments.next(now_ms));
        assert_eq!(taken, [5, 6, 7, 9]);
    }
}
