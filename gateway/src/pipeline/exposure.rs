//! What a partner has of a consumer by now: read before a decision, and taken in before what was decided happens,
//! so that no two calls are each decided as if the other were not (clause integrations.combine, across calls).

use std::borrow::Cow;
use std::sync::Arc;

use super::accept::StoredEvent;
use super::consumers::Consumer;
use super::gateway::Gateway;
use super::registry::LiveConnection;
use crate::boundary::{
    Checked, Connection, Crossing, EventView, Exposed, Hook, Moment, PlannedDelivery, PluginOutcome,
    Recalled, Subject, TowardPlugin, Violation, from_share, toward_plugin,
};

impl Gateway {
    /// Decides toward a plugin, on what its partner has received by now, and takes in what it is about to: where
    /// `runs`, which is whether the call will take place if it is allowed.
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
        runs: bool,
    ) -> TowardPlugin {
        let connection = &live.connection;
        let identity = self.identity(connection, consumer, event);
        let partner = &*connection.partner.name;
        let received = consumer.received(&live.id);
        let given = self.given(consumer, hook);
        let onward = given.view();
        loop {
            let exposed = consumer.exposed(partner);
            let view = EventView {
                memory: recalled,
                ..identity.view(event, received.as_deref(), &onward, &exposed)
            };
            let toward = toward_plugin(&self.book, connection, hook_index, hook, &view, subject, moment);
            if !runs || toward.input.is_err() {
                return toward;
            }
            let crossing = &toward.crossing;
            let labels = crossing.readable(hook).collect::<Vec<_>>();
            let purpose = connection.release.purpose;
            // What a partner receives only grows, so this ends.
            if consumer.expose(partner, purpose, &exposed, labels.iter(), crossing.conditions()) {
                return toward;
            }
        }
    }

    /// Checks what a call gave back, by what its partner has received by now, and takes in what its requests would
    /// bring, whether or not they are sent in the end.
    ///
    /// # Errors
    /// [`Violation`], as [`from_share`].
    pub(super) fn check_share(
        &self,
        connection: &Connection,
        consumer: &Consumer,
        crossing: &Crossing,
        subject: Subject<'_>,
        moment: Moment,
        outcome: &PluginOutcome,
    ) -> Result<Checked, Violation> {
        loop {
            let exposed = consumer.exposed(&connection.partner.name);
            let checked = from_share(&self.book, connection, crossing, &exposed, subject, moment, outcome)?;
            if expose_requests(consumer, &checked.deliveries, &exposed) {
                return Ok(checked);
            }
        }
    }
}

/// Takes in that a partner is about to receive what requests of one call carry. Not so where it received something
/// since `seen`.
pub(super) fn expose_requests(
    consumer: &Consumer,
    requests: &[PlannedDelivery],
    seen: &Arc<Exposed>,
) -> bool {
    let Some(first) = requests.first() else { return true };
    let carried = requests.iter().flat_map(|planned| &planned.carried);
    let labels = carried.flat_map(|carried| carried.labels.iter());
    // They differ in which labels gave way in what they hold.
    let mut conditions = Cow::Borrowed(&first.conditions);
    for other in requests.iter().filter(|other| !first.conditions.includes(&other.conditions)) {
        conditions.to_mut().join(&other.conditions);
    }
    consumer.expose(&first.partner, first.purpose, seen, labels, &conditions)
}
