//! What a partner has of a consumer by now: read before a decision, and taken in before what was decided happens,
//! so that no two calls are each decided as if the other were not (clause integrations.combine, across calls).

use super::accept::StoredEvent;
use super::consumers::Consumer;
use super::gateway::Gateway;
use super::registry::LiveConnection;
use crate::boundary::{
    EventView, Hook, Moment, PlannedDelivery, Recalled, Subject, TowardPlugin, toward_plugin,
};

impl Gateway {
    /// Decides toward a plugin, on what its partner has received by now, and takes in what it is about to.
    #[allow(clippy::too_many_arguments)] // one call's whole context, used once
    pub(super) fn toward(
        &self,
        live: &LiveConnection,
        hook_index: usize,
        hook: &Hook,
        consumer: &Consumer,
        event: &StoredEvent,
        recalled: Option<&Recalled>,
        subject: Subject<'_>,
        moment: Moment,
    ) -> TowardPlugin {
        let identity = self.identity(live, consumer, event);
        let connection = &live.connection;
        let partner = &*connection.partner.name;
        let received = consumer.received(&live.id);
        loop {
            let exposed = consumer.exposed(partner);
            let view = EventView { memory: recalled, ..identity.view(event, received.as_deref(), &exposed) };
            let toward = toward_plugin(&self.book, connection, hook_index, hook, &view, subject, moment);
            if toward.input.is_err() {
                return toward;
            }
            let crossing = &toward.crossing;
            let labels = crossing.readable(hook).collect::<Vec<_>>();
            // What a partner receives only grows, so this ends.
            if consumer.expose(partner, &exposed, labels.iter(), crossing.conditions()) {
                return toward;
            }
        }
    }
}

/// Takes in that the partner is about to receive what a request carries, whether or not it is sent in the end.
pub(super) fn expose_request(consumer: &Consumer, planned: &PlannedDelivery) {
    let labels = || planned.carried.iter().flat_map(|carried| carried.labels.iter());
    loop {
        let seen = consumer.exposed(&planned.partner);
        if consumer.expose(&planned.partner, &seen, labels(), &planned.conditions) {
            return;
        }
    }
}
