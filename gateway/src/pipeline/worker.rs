//! The loop that works off what is due: events' work, deliveries, partners' messages.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::Refusal;
use super::gateway::{Gateway, Tuning};
use super::queue::Queue;

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
    /// How many are under way at once, at most.
    fn at_once(tuning: &Tuning) -> usize;
    /// Puts what the store holds that is due into the queue.
    fn read(gateway: &Gateway) -> impl Future<Output = ()> + Send;
    /// Does it, or puts it off.
    ///
    /// # Errors
    /// Nothing was written and nothing released: it is still due.
    fn work(self, gateway: &Arc<Gateway>) -> impl Future<Output = Result<(), Refusal>> + Send;
}

impl Gateway {
    /// Works until the gateway stops; what is under way then is finished by its own task.
    pub(super) async fn work_off<T: Due>(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(T::at_once(&self.tuning)));
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
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let gateway = Arc::clone(&self);
            self.tasks.spawn(async move {
                let id = due.id();
                if due.work(&gateway).await.is_err() {
                    // The next poll reads it.
                    tracing::warn!("{} could not be recorded; it stays due", T::NAME);
                    gateway.counters.unrecorded(1);
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
                T::queue(&gateway).done(&id);
                drop(slot);
            });
        }
    }
}
