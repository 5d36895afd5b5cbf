//! The names under which a connection knows an event and its consumer. None of them leads to anyone elsewhere.

use super::accept::StoredEvent;
use super::consumers::Consumer;
use super::gateway::Gateway;
use crate::boundary::{Connection, EventView, Exposed, Onward, Received};
use crate::store::crypto::{format_digest, format_uid};

impl Gateway {
    /// The names under which a connection knows an event and its consumer: of no use to anyone else.
    pub(super) fn identity(
        &self,
        connection: &Connection,
        consumer: &Consumer,
        event: &StoredEvent,
    ) -> Identity {
        let short = |domain, parts: &[&[u8]]| {
            let mut text = format_digest(&self.master.index_digest(domain, parts));
            text.truncate(32);
            text
        };
        Identity {
            event: short(
                "event-id",
                &[connection.brand.as_bytes(), connection.plugin.as_bytes(), &event.key],
            ),
            consumer: self.handle_of(connection, consumer),
        }
    }

    /// The pseudonym by which a partner knows a consumer.
    pub(super) fn handle_of(&self, connection: &Connection, consumer: &Consumer) -> String {
        format_uid(&self.master.handle(&connection.partner.name, &consumer.pseudonym))
    }
}

/// See [`Gateway::identity`]; empty for a preview, which shows nobody anything.
#[derive(Default)]
pub(super) struct Identity {
    pub(super) event: String,
    pub(super) consumer: String,
}

impl Identity {
    pub(super) fn view<'a>(
        &'a self,
        stored: &'a StoredEvent,
        received: Option<&'a Received>,
        onward: &'a [Onward<'a>],
        exposed: &'a Exposed,
    ) -> EventView<'a> {
        EventView {
            id: &self.event,
            kind: &stored.event.kind,
            time: &stored.event.time,
            consumer: &self.consumer,
            accepted_ms: stored.accepted_ms,
            data: &stored.data,
            received,
            onward,
            exposed,
            memory: None,
        }
    }
}
