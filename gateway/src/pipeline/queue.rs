//! What is due and under way. The store is the truth; this is its memory, so that what was just
//! committed need not be read again. Whatever does not fit is read from the store later. It also says how many
//! of them are under way at once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// Items that wait in memory at most, each with its event, some 10 KB parsed. A burst beyond it stays in the
/// store and is read when there is room.
const WAITING: usize = 256;

/// Items that are taken at least between two reads of the store, where any wait here.
const BETWEEN_READS: usize = 64;

/// A queue of items with an identity, each under way at most once in this process.
pub(super) struct Queue<K, T> {
    send: mpsc::Sender<T>,
    receive: tokio::sync::Mutex<mpsc::Receiver<T>>,
    state: Mutex<State<K>>,
    /// Set where the store holds due items that are not in here.
    behind: AtomicBool,
    woken: Notify,
    /// Items taken since the store was last read.
    taken: AtomicUsize,
    slots: Arc<Semaphore>,
}

/// Counts as one under way, until it is dropped.
pub(super) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

struct State<K> {
    /// Waiting or under way.
    known: HashSet<K>,
    /// Ended while the store was being read: what the read still shows of them is stale.
    ended: Option<HashSet<K>>,
}

impl<K: Eq + Hash + Clone, T> Queue<K, T> {
    /// Of which so many are under way at once, at most.
    pub(super) fn new(at_once: usize) -> Self {
        let (send, receive) = mpsc::channel(WAITING);
        Self {
            send,
            receive: tokio::sync::Mutex::new(receive),
            state: Mutex::new(State { known: HashSet::new(), ended: None }),
            // At the start nothing of the store is known.
            behind: AtomicBool::new(true),
            woken: Notify::new(),
            taken: AtomicUsize::new(0),
            slots: Arc::new(Semaphore::new(at_once)),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item in, unless it is here already. Without room it is left to the store.
    pub(super) fn push(&self, key: K, item: T) {
        let mut state = self.state();
        if !state.known.insert(key.clone()) {
            return;
        }
        if self.send.try_send(item).is_err() {
            state.known.remove(&key);
            drop(state);
            self.fall_behind();
        }
    }

    /// The same, and waits for room until then.
    pub(super) async fn push_by(&self, deadline: Instant, key: K, item: T) {
        match timeout_at(deadline, self.send.reserve()).await {
            Ok(Ok(room)) => {
                if self.state().known.insert(key) {
                    room.send(item);
                }
            }
            _ => self.push(key, item),
        }
    }

    /// Waits until one more may be under way.
    pub(super) async fn slot(&self) -> Slot {
        // Nothing closes the semaphore, which is all that could fail.
        Slot { _permit: Arc::clone(&self.slots).acquire_owned().await.ok() }
    }

    /// Takes an item that never waits here, with its slot; none where it is under way already, or no slot is free.
    pub(super) fn begin(&self, key: &K) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        self.state().known.insert(key.clone()).then(|| Slot { _permit: Some(permit) })
    }

    /// The next item, or none where the store must be read first. What waits here goes before what waits in
    /// the store, but not for ever: a read shows first what is here already, and would be repeated in vain.
    pub(super) async fn next(&self) -> Option<T> {
        let mut receive = self.receive.lock().await;
        let woken = self.woken.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let read_now = self.wants_read() && self.taken.load(Ordering::Relaxed) >= BETWEEN_READS;
        if !read_now && let Ok(item) = receive.try_recv() {
            self.taken.fetch_add(1, Ordering::Relaxed);
            return Some(item);
        }
        if self.wants_read() {
            return None;
        }
        tokio::select! {
            biased;
            item = receive.recv() => {
                self.taken.fetch_add(1, Ordering::Relaxed);
                item
            }
            () = woken => None,
        }
    }

    /// An item has been dealt with, or put off.
    pub(super) fn done(&self, key: &K) {
        let mut state = self.state();
        state.known.remove(key);
        if let Some(ended) = &mut state.ended {
            ended.insert(key.clone());
        }
        let has_room = state.known.len() == WAITING / 2;
        drop(state);
        if has_room && self.is_behind() {
            self.woken.notify_waiters();
        }
    }

    /// How many are waiting or under way.
    pub(super) fn len(&self) -> usize {
        self.state().known.len()
    }

    /// Says that the store holds something due that is not in here.
    pub(super) fn fall_behind(&self) {
        self.behind.store(true, Ordering::Release);
        self.woken.notify_waiters();
    }

    /// Whether the store must be read.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// Whether a read of the store is due and there is room for what it may bring.
    fn wants_read(&self) -> bool {
        self.is_behind() && self.len() <= WAITING / 2
    }

    /// Begins a read of the store, where one is due and there is room.
    pub(super) fn begin_read(&self) -> bool {
        if !self.wants_read() {
            return false;
        }
        self.behind.store(false, Ordering::Release);
        self.taken.store(0, Ordering::Relaxed);
        self.state().ended = Some(HashSet::new());
        true
    }

    /// Ends a read: whether an item that it showed is news.
    pub(super) fn is_news(&self, key: &K) -> bool {
        let state = self.state();
        !state.known.contains(key) && !state.ended.as_ref().is_some_and(|ended| ended.contains(key))
    }

    /// Forgets what ended during the read.
    pub(super) fn end_read(&self) {
        self.state().ended = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_under_way_once() {
        let queue = Queue::new(1);
        queue.push(1, "first");
        queue.push(1, "again");
        assert_eq!(queue.len(), 1);
        queue.done(&1);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_begun_at_once_needs_a_free_slot_and_no_other_that_does_it() {
        let queue = Queue::new(1);
        queue.push(1, ());
        assert!(queue.begin(&1).is_none(), "it waits already");
        let slot = queue.begin(&2);
        assert!(slot.is_some());
        assert!(!queue.is_news(&2), "a read of the store leaves it alone");
        assert!(queue.begin(&3).is_none(), "as many are under way as may be");
        drop(slot);
        assert!(queue.begin(&2).is_none(), "its end is not recorded yet");
        queue.done(&2);
        assert!(queue.begin(&2).is_some());
    }

    #[tokio::test]
    async fn a_store_that_has_more_is_read_once_there_is_room() {
        let queue = Arc::new(Queue::<usize, ()>::new(WAITING));
        let begun: Vec<_> = (0..=WAITING / 2).map(|key| queue.begin(&key).unwrap()).collect();
        assert_eq!(begun.len(), WAITING / 2 + 1);
        let waits = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        queue.done(&0);
        assert_eq!(waits.await.unwrap(), None);
    }

    #[test]
    fn what_ended_while_the_store_was_read_is_no_news() {
        let queue = Queue::new(1);
        queue.push(1, ());
        assert!(queue.begin_read());
        queue.done(&1);
        assert!(!queue.is_news(&1));
        assert!(queue.is_news(&2));
        queue.end_read();
        assert!(queue.is_news(&1));
    }

    #[tokio::test]
    async fn what_waits_here_is_taken_although_the_store_has_more() {
        let queue = Queue::new(1);
        for key in 0..3 {
            queue.push(key, key);
        }
        for key in 0..3 {
            // A read that brings nothing new and says that there is more.
            queue.begin_read();
            queue.fall_behind();
            queue.end_read();
            assert_eq!(queue.next().await, Some(key));
        }
        assert_eq!(queue.next().await, None);
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_store() {
        let queue = Queue::new(1);
        assert!(queue.begin_read());
        for key in 0..=WAITING {
            queue.push(key, ());
        }
        assert_eq!(queue.len(), WAITING);
        assert!(queue.is_behind());
    }
}
