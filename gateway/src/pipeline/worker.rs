//! The loop that works off what is due: events' work, deliveries, partners' messages.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::error::Refusal;
use super::gateway::Gateway;
use super::queue::{Queue, Slot};

/// Items that one read of the store brings at most.
pub(super) const READ: u32 = 256;
/// Rest after a failure of the store, so that it is not asked again and again.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Something that the store holds until it is done.
pub(super) trait Due: Sized + Send + 'static {
    type Id: Eq + Hash + Clone + Send + 'static;
    /// What the log calls it.
    const NAME: &'static str;

    fn id(&self) -> Self::Id;
    fn queue(gateway: &Gateway) -> &Queue<Self::Id, Self>;
    /// Puts what the store holds that is due into the queue.
    fn read(gateway: &Gateway) -> impl Future<Output = ()> + Send;
    /// Does it, or puts it off. Another may be under way once `slot` is dropped.
    ///
    /// # Errors
    /// Nothing was written and nothing released: it is still due.
    fn work(self, gateway: &Arc<Gateway>, slot: Slot) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// An item under way, until it is dropped: no other task of this process begins it.
pub(super) struct Place<T: Due> {
    gateway: Arc<Gateway>,
    id: T::Id,
}

impl<T: Due> Place<T> {
    /// For an item that is begun without having waited; none where another must end first.
    pub(super) fn at_once(gateway: &Arc<Gateway>, id: T::Id) -> Option<(Self, Slot)> {
        let slot = T::queue(gateway).begin(&id)?;
        Some((Self { gateway: Arc::clone(gateway), id }, slot))
    }

    /// Does the item beside what else is under way.
    pub(super) fn spawn(self, work: impl Future<Output = Result<(), Refusal>> + Send + 'static) {
        let tasks = self.gateway.tasks.clone();
        // Boxed: a task's future is moved several times, and these have some KB.
        let work = Box::pin(work);
        tasks.spawn(async move {
            if work.await.is_err() {
                // The next poll reads it.
                tracing::warn!("{} could not be recorded; it stays due", T::NAME);
                self.gateway.counters.unrecorded(1);
                let _slot = T::queue(&self.gateway).slot().await;
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            drop(self);
        });
    }
}

impl<T: Due> Drop for Place<T> {
    fn drop(&mut self) {
        T::queue(&self.gateway).done(&self.id);
    }
}

impl Gateway {
    /// Works until the gateway stops; what is under way then is finished by its own task.
    pub(super) async fn work_off<T: Due>(self: Arc<Self>) {
        loop {
            let due = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                due = T::queue(&self).next() => due,
            };
            let Some(due) = due else {
                if T::queue(&self).begin_read() {
                    T::read(&self).await;
                    T::queue(&self).end_read();
                }
                continue;
            };
            let slot = T::queue(&self).slot().await;
            let place = Place::<T> { gateway: Arc::clone(&self), id: due.id() };
            let gateway = Arc::clone(&self);
            place.spawn(async move { due.work(&gateway, slot).await });
        }
    }
}
