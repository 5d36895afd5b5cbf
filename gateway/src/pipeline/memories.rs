//! What plugins remember of a consumer, in memory over the store: the calls of one plugin that use it take
//! turns, from the reading to the commit, so that none writes over what another has just remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::consumers::Consumer;
use super::dispatch::DueWork;
use super::error::Refusal;
use super::gateway::Gateway;
use super::registry::{LiveConnection, Registry};
use crate::boundary::{Memory, MemoryAfter, Moment, Recalled, Subject, recall};
use crate::store::crypto::format_uid;
use crate::store::{NewMemory, Store, Uid};

/// Bytes of a memory that stays here between calls. Consumers stay by the thousands; what is larger is read
/// again.
const KEPT_BYTES: usize = 4 * 1024;

/// How long work waits for its turn while it holds a place among the work under way. What then has had none stays
/// due and is read again: many events of one consumer whose partner is slow must not keep all others waiting.
pub(super) const TURN_WAIT: Duration = Duration::from_millis(100);

/// A consumer's memories, by connection.
#[derive(Default)]
pub(super) struct Memories(Mutex<HashMap<Uid, Arc<tokio::sync::Mutex<Known>>>>);

/// What is known of one memory.
#[derive(Default)]
enum Known {
    /// Nothing, or not whether what was written is stored.
    #[default]
    Unread,
    Read(Option<Arc<Memory>>),
}

/// One call's turn with a memory.
pub(super) struct Turn {
    connection: Uid,
    known: OwnedMutexGuard<Known>,
    memory: Option<Arc<Memory>>,
    /// What the call leaves, once it is committed.
    next: Option<Option<Arc<Memory>>>,
}

/// The place of a memory: associated data of its encryption.
fn memory_place(consumer: i64, connection: &Uid) -> String {
    format!("memory/{consumer}/{}", format_uid(connection))
}

impl Consumer {
    /// Waits for the turn of a call of this connection's plugin, and reads what it remembers where that is not known.
    pub(super) async fn memory_turn(&self, store: &dyn Store, connection: &Uid) -> Result<Turn, Refusal> {
        let slot = {
            let mut slots = self.memories.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(*connection).or_default())
        };
        let mut known = slot.lock_owned().await;
        let memory = match &*known {
            Known::Read(memory) => memory.clone(),
            Known::Unread => {
                let memory = self.read_memory(store, connection).await?.map(Arc::new);
                *known = Known::of(memory.clone());
                memory
            }
        };
        Ok(Turn { connection: *connection, known, memory, next: None })
    }

    /// What is stored, without a turn: to be looked at, and not written over.
    pub(super) async fn read_memory(
        &self,
        store: &dyn Store,
        connection: &Uid,
    ) -> Result<Option<Memory>, Refusal> {
        let Some(sealed) = store.memory(self.id, connection).await? else { return Ok(None) };
        let text =
            self.key.open(&memory_place(self.id, connection), &sealed).map_err(|_| Refusal::Internal)?;
        serde_json::from_slice(&text).map(Some).map_err(|_| Refusal::Internal)
    }
}

impl Known {
    fn of(memory: Option<Arc<Memory>>) -> Self {
        match memory {
            Some(large) if large.bytes() > KEPT_BYTES => Self::Unread,
            memory => Self::Read(memory),
        }
    }
}

impl Turn {
    /// What is remembered.
    pub(super) fn memory(&self) -> Option<Arc<Memory>> {
        self.memory.clone()
    }

    /// What is to be committed with the call.
    pub(super) fn leave(
        &mut self,
        consumer: &Consumer,
        after: MemoryAfter,
    ) -> Result<Option<NewMemory>, Refusal> {
        let next = match after {
            MemoryAfter::Unchanged => return Ok(None),
            MemoryAfter::Replaced(memory) => Some(memory),
            MemoryAfter::Forgotten => None,
        };
        let payload = match &next {
            None => None,
            Some(memory) => {
                let text = serde_json::to_vec(&**memory).map_err(|_| Refusal::Internal)?;
                let place = memory_place(consumer.id, &self.connection);
                Some(consumer.key.seal(&place, &text).map_err(|_| Refusal::Internal)?)
            }
        };
        // Until the commit is known to be there, the next turn reads the store.
        *self.known = Known::Unread;
        self.next = Some(next);
        Ok(Some(NewMemory { consumer: consumer.id, connection: self.connection, payload }))
    }

    /// Ends the turn of a call that is committed.
    pub(super) fn committed(mut self) {
        if let Some(next) = self.next.take() {
            *self.known = Known::of(next);
        }
    }
}

impl Gateway {
    /// The newest snapshot, and the turn of a call whose plugin remembers; `None` where it is not its turn yet.
    pub(super) async fn memory_turn(
        &self,
        due: &DueWork,
    ) -> Result<Option<(Arc<Registry>, Option<Turn>)>, Refusal> {
        let registry = self.registry.load_full();
        let live = registry.connection(&due.consumer.brand, &due.plugin);
        let Some(id) = live.filter(|live| live.remembers()).map(|live| live.id) else {
            return Ok(Some((registry, None)));
        };
        let turn = due.consumer.memory_turn(&*self.store, &id);
        let Ok(turn) = tokio::time::timeout(TURN_WAIT, turn).await else { return Ok(None) };
        // While it waited, the connection may have changed: one that was made again has another memory.
        let registry = self.registry.load_full();
        let again = registry.connection(&due.consumer.brand, &due.plugin).is_some_and(|live| live.id != id);
        Ok(if again { None } else { Some((registry, Some(turn?))) })
    }

    /// What a call of the hook may have of its plugin's memory; none where the plugin does not ask for it.
    pub(super) fn recalled(
        &self,
        live: &LiveConnection,
        hook: usize,
        turn: Option<&Turn>,
        subject: Subject<'_>,
        moment: Moment,
    ) -> Option<Recalled> {
        let turn = turn.filter(|_| live.loaded.imports_memory())?;
        Some(recall(&self.book, &live.connection, hook, turn.memory(), subject, moment))
    }
}
