//! The gateway: its parts, its start and its end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::consumers::Consumers;
use super::counts::{Counters, Counts};
use super::deliver::DueDelivery;
use super::dispatch::DueWork;
use super::error::Refusal;
use super::inbound::Moments;
use super::messages::DueMessage;
use super::queue::Queue;
use super::registry::{LiveRelease, Registry, Source};
use crate::boundary::{PolicyBook, Release};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::manifest::Manifest;
use crate::outbound::Outbound;
use crate::plugin_host::PluginHost;
use crate::store::crypto::{MasterKey, parse_digest};
use crate::store::{Digest, ReleaseMeta, Store, StoreError, Uid};

/// How often the store is asked whether another process changed the control plane, or something is due.
const POLL: Duration = Duration::from_millis(250);

/// Changes of choices that are read at once.
const CHANGED: u32 = 256;

/// Polls between two tries to put a connection together that could not be: about half a minute.
const POLLS_BETWEEN_TRIES: u32 = 120;

/// What a gateway is made of.
pub struct Parts {
    pub clock: Clock,
    pub catalogue: Catalogue,
    pub book: PolicyBook,
    pub store: Arc<dyn Store>,
    pub master: MasterKey,
    pub host: PluginHost,
    pub outbound: Outbound,
    pub tuning: Tuning,
}

/// Numbers that an operator may change.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Delivery attempts before a request is a dead letter; 10 is the whole schedule.
    pub max_attempts: u32,
    /// Consumers whose keys and choices stay in memory, about 1 KB each, and what plugins
    /// remember of them.
    pub consumer_cache: u64,
    /// Pieces of work under way at once; most of the time each waits for the disk.
    pub concurrent_work: usize,
    /// Requests under way at once.
    pub concurrent_deliveries: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            max_attempts: crate::outbound::RetrySchedule::TRIES,
            consumer_cache: 10_000,
            concurrent_work: 64,
            concurrent_deliveries: 64,
        }
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// The running gateway.
pub struct Gateway {
    pub(super) clock: Clock,
    pub(super) catalogue: Catalogue,
    pub(super) book: Arc<PolicyBook>,
    pub(super) store: Arc<dyn Store>,
    pub(super) master: MasterKey,
    pub(super) host: PluginHost,
    pub(super) outbound: Outbound,
    pub(super) tuning: Tuning,
    pub(super) registry: ArcSwap<Registry>,
    /// Held by whoever changes the control plane: one change at a time, each against the newest state.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Held for reading from the look whether a call's release is blocked to the call's commit. Whoever blocks one waits
    /// for those under way: once that is answered, nothing more of the release is stored.
    pub(super) blocking: tokio::sync::RwLock<()>,
    /// Held by whoever counts an aggregate.
    pub(super) counting: tokio::sync::Mutex<()>,
    /// Held by whoever rehearses a call for a partner: calls have the machine.
    pub(super) rehearsing: tokio::sync::Mutex<()>,
    pub(super) consumers: Consumers,
    pub(super) counters: Counters,
    pub(super) work: Queue<i64, DueWork>,
    pub(super) deliveries: Queue<Uid, DueDelivery>,
    pub(super) messages: Queue<Uid, DueMessage>,
    pub(super) moments: Moments,
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
}

impl Gateway {
    /// Reads the control plane, loads what is switched on, and starts working.
    ///
    /// # Errors
    /// [`StartError`] where the store cannot be read.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { clock, catalogue, book, store, master, host, outbound, tuning } = parts;
        Counters::describe();
        let gateway = Arc::new(Self {
            clock,
            catalogue,
            book: Arc::new(book),
            store,
            master,
            host,
            outbound,
            registry: ArcSwap::default(),
            changing: tokio::sync::Mutex::default(),
            blocking: tokio::sync::RwLock::default(),
            counting: tokio::sync::Mutex::default(),
            rehearsing: tokio::sync::Mutex::default(),
            consumers: Consumers::new(tuning.consumer_cache),
            counters: Counters::default(),
            work: Queue::new(tuning.concurrent_work),
            deliveries: Queue::new(tuning.concurrent_deliveries),
            messages: Queue::new(tuning.concurrent_work),
            moments: Moments::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            tuning,
        });
        // Before anything of a consumer is read.
        let choices_seen = gateway.store.choices_version().await?;
        let started = Instant::now();
        gateway.reload().await?;
        gateway.tell_loaded(started.elapsed());
        gateway.spawn(Self::work_off::<DueWork>);
        gateway.spawn(Self::work_off::<DueDelivery>);
        gateway.spawn(Self::work_off::<DueMessage>);
        gateway.spawn(|gateway| gateway.poll_loop(choices_seen));
        Ok(gateway)
    }

    fn tell_loaded(&self, taken: Duration) {
        let registry = self.registry.load();
        let loaded = registry.releases.values().filter(|live| live.loaded.is_some()).count();
        let taken_ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(releases = registry.releases.len(), loaded, taken_ms, "the control plane is read");
    }

    fn spawn<F>(self: &Arc<Self>, run: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(run(Arc::clone(self)));
    }

    /// Notices what other processes changed, and what has become due.
    async fn poll_loop(self: Arc<Self>, mut choices_seen: i64) {
        let mut polls: u32 = 0;
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            match self.store.control_version().await {
                Ok(version) if version != self.registry.load().version || self.try_unusable_again(polls) => {
                    let _alone = self.changing.lock().await;
                    if let Err(error) = self.reload().await {
                        tracing::error!(%error, "the control plane cannot be read again; the last state stays");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the store does not answer"),
            }
            if self.see_choices(&mut choices_seen).await.is_err() {
                tracing::warn!("what consumers chose elsewhere cannot be read; it is asked for again");
            }
            self.end_failed_rollouts().await;
            polls = polls.wrapping_add(1);
            // Retries and deferred work become due by the clock alone.
            self.work.fall_behind();
            self.deliveries.fall_behind();
            self.messages.fall_behind();
        }
    }

    /// Takes in what consumers chose through other processes, and how they are linked, up to the last change; `seen`
    /// is the version up to which it is done. What of one consumer does not read keeps nobody else's waiting: that
    /// consumer's data stays here.
    async fn see_choices(&self, seen: &mut i64) -> Result<(), Refusal> {
        while !self.stopping.is_cancelled() {
            let changed = self.store.changed_choices(*seen, CHANGED).await?;
            for of_one in &changed {
                let _alone = self.consumers.changing.write().await;
                match self.consumers.catch_up(&*self.store, &of_one.brand, &of_one.subject).await {
                    Ok(()) => {}
                    Err(Refusal::Unavailable) => return Err(Refusal::Unavailable),
                    Err(_) => self.consumers.withhold_all(&of_one.subject),
                }
                *seen = of_one.version;
            }
            if changed.len() < CHANGED as usize {
                break;
            }
        }
        Ok(())
    }

    /// Whether it is time to try again what could not be put together.
    fn try_unusable_again(&self, polls: u32) -> bool {
        polls % POLLS_BETWEEN_TRIES == POLLS_BETWEEN_TRIES - 1 && self.registry.load().has_unusable()
    }

    /// Whether connections, contracts or blocks changed since a decision was made by this snapshot.
    pub(super) fn is_superseded(&self, snapshot: &Arc<Registry>) -> bool {
        let newest = self.registry.load();
        !Arc::ptr_eq(snapshot, &newest) && !newest.decides_like(snapshot)
    }

    /// Reads the control plane and puts the next snapshot in place.
    pub(super) async fn reload(&self) -> Result<(), StoreError> {
        let previous = self.registry.load_full();
        let version = self.store.control_version().await?;
        let documents = self.store.documents().await?;
        let keys = self.store.keys().await?;
        let written = previous.read(&documents);
        let needed: HashSet<Digest> = written
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(|written| {
                let candidate = written.document.rollout.as_ref().map(|rollout| &rollout.agreed.release);
                [Some(&written.document.release), candidate].into_iter().flatten()
            })
            .filter_map(|release| parse_digest(release))
            .collect();
        // What is compiled already is loaded first: where another one has to be compiled, the cache of compiled code
        // removes what nobody runs.
        let mut held = Vec::with_capacity(needed.len());
        for digest in &needed {
            held.extend(self.host.load_compiled(*digest).await.ok().flatten());
        }
        let mut releases = HashMap::new();
        for meta in self.store.releases().await? {
            let digest = meta.digest;
            if let Some(live) = self.live_release(meta, &previous, needed.contains(&digest)).await {
                releases.insert(digest, live);
            }
        }
        let next = Registry::build(
            Source { version, documents, written, keys, releases },
            &previous,
            &self.master,
            &self.book,
        );
        let loaded = next.releases.values().filter(|live| live.loaded.is_some()).count();
        metrics::gauge!("gateway_releases_loaded").set(u32::try_from(loaded).unwrap_or(u32::MAX));
        self.registry.store(Arc::new(next));
        Ok(())
    }

    /// A release of the store, loaded where a connection needs it, and only there: the code of one that nothing needs
    /// any more goes with the last call that runs it. One that does not read or load is left out, which switches its
    /// connections off; the log says so.
    async fn live_release(
        &self,
        meta: ReleaseMeta,
        previous: &Registry,
        needed: bool,
    ) -> Option<Arc<LiveRelease>> {
        let known = previous.releases.get(&meta.digest);
        if let Some(known) = known
            && known.loaded.is_some() == needed
        {
            return Some(Arc::clone(known));
        }
        let release = match known {
            Some(known) => Arc::clone(&known.release),
            None => {
                let manifest: Manifest = serde_json::from_str(&meta.manifest)
                    .inspect_err(|_| tracing::error!(plugin = meta.plugin, "a release's manifest is damaged"))
                    .ok()?;
                let release = Release::new(meta.digest, manifest, &self.catalogue)
                    .inspect_err(|error| tracing::error!(%error, "a release does not fit this gateway"))
                    .ok()?;
                Arc::new(release)
            }
        };
        let loaded = if needed { self.load_release(&meta.digest).await } else { None };
        Some(Arc::new(LiveRelease { meta, release, loaded }))
    }

    /// From the cache where it is there, so that neither a start nor a switch reads megabytes from the store.
    pub(super) async fn load_release(&self, digest: &Digest) -> Option<crate::plugin_host::LoadedRelease> {
        match self.host.load_compiled(*digest).await {
            Ok(Some(loaded)) => return Some(loaded),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "a release cannot be loaded");
                return None;
            }
        }
        let bytes = match self.store.release_bytes(digest).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return None,
            Err(error) => {
                tracing::error!(%error, "a release cannot be read");
                return None;
            }
        };
        self.host
            .load(*digest, &bytes)
            .await
            .inspect_err(|error| tracing::error!(%error, "a release cannot be loaded"))
            .ok()
    }

    /// What has happened since the start.
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Whether it can take events: the store answers and nothing is stopping.
    pub async fn ready(&self) -> bool {
        !self.stopping.is_cancelled() && self.store.ping().await.is_ok()
    }

    /// Waits until no work, no message and no delivery is due or under way.
    pub async fn settled(&self) {
        let is_idle = || self.work.len() == 0 && self.deliveries.len() == 0 && self.messages.len() == 0;
        let is_behind = || self.work.is_behind() || self.deliveries.is_behind() || self.messages.is_behind();
        loop {
            if is_idle() && !is_behind() {
                let now_ms = self.clock.now_ms();
                let nothing_due = matches!(self.store.due_work(now_ms, 1).await, Ok(due) if due.is_empty())
                    && matches!(self.store.due_messages(now_ms, 1).await, Ok(due) if due.is_empty())
                    && matches!(self.store.due_deliveries(now_ms, 1).await, Ok(due) if due.is_empty());
                if nothing_due && is_idle() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops taking work, finishes what runs, closes the store. What is not finished stays in the store.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}
