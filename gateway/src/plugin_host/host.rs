//! The plugin host: loads releases and runs their hooks. It may not decide what a plugin gets, nor
//! believe what it answers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::Linker;
use wasmtime::{Engine, Module, Store};

use crate::boundary::{Permitted, PluginInput, PluginMessage, PluginOutcome};

use super::bindings::Failure;
use super::cache::{Cache, Cached, Code, Workspace};
use super::call::{self, Call};
use super::compile::{compile_file, compile_in_child, program_or_self};
use super::engine::{Allocation, compatibility, engine};
use super::error::{CallError, HostError, Spent};
use super::exchange::Exchanger;
use super::instance::{self, Beside, InstanceState};
use super::limits::{Budget, CACHE_BYTES, CALLS_PER_CORE, COMPILATIONS, Limits, cores};
use super::output;
use super::release::{self, LoadedRelease, Release};
use super::ticker::Ticker;

/// How components are compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// This program, as a child process with limits of its own: [`super::compile::COMPILE_SUBCOMMAND`].
    #[default]
    ThisProgram,
    /// Another program in its place.
    Program(PathBuf),
    /// In this process, without any limit. For tests only.
    InProcess,
}

/// What a host needs to know.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where compiled code is kept: made if it is not there, refused if others can write it.
    pub cache_dir: PathBuf,
    /// How components are compiled.
    pub compiler: Compiler,
    /// Bytes of compiled code to keep of releases that are not loaded, at most; what was loaded or compiled longest ago
    /// goes first, and is compiled again where it is needed after all.
    pub cache_bytes: u64,
    /// Limits of compiling and calling.
    pub limits: Limits,
    /// Calls that run at once; later ones wait. Each reserves about 8 GiB of address space.
    pub max_concurrent_calls: usize,
}

impl HostConfig {
    /// The defaults, with compiled code under `cache_dir`: four concurrent calls for each core.
    pub fn new(cache_dir: PathBuf) -> Self {
        Self {
            cache_dir,
            compiler: Compiler::default(),
            cache_bytes: CACHE_BYTES,
            limits: Limits::default(),
            max_concurrent_calls: cores().saturating_mul(CALLS_PER_CORE),
        }
    }
}

/// The sandbox. Cloning is cheap and gives the same sandbox.
#[derive(Clone)]
pub struct PluginHost {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<InstanceState>,
    limits: Limits,
    compiler: Compiler,
    cache: Cache,
    cache_bytes: u64,
    slots: Semaphore,
    compilations: Semaphore,
    loaded: Mutex<HashMap<[u8; 32], Weak<Release>>>,
    ticker: Ticker,
}

impl PluginHost {
    /// Reserves the pool, opens the cache, starts the clock.
    ///
    /// # Errors
    /// Where the cache's directory is not the gateway's alone, or the system refuses the address
    /// space that the pool reserves.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let HostConfig { cache_dir, compiler, cache_bytes, limits, max_concurrent_calls } = config;
        let max_concurrent_calls = max_concurrent_calls.clamp(1, 4096);
        let calls = u32::try_from(max_concurrent_calls).unwrap_or(1);

        let engine = engine(&limits, Allocation::Pool { calls })?;
        let cache = Cache::open(&cache_dir, &compatibility(&engine))?;
        let mut linker = Linker::new(&engine);
        instance::link(&mut linker).map_err(|_| HostError::Internal { doing: "defining the interface" })?;
        let ticker = Ticker::start(&engine, limits.tick, limits.tick_linger)
            .map_err(|_| HostError::Internal { doing: "starting the clock's thread" })?;

        let inner = Inner {
            engine,
            linker,
            limits,
            compiler,
            cache,
            cache_bytes,
            slots: Semaphore::new(max_concurrent_calls),
            compilations: Semaphore::new(COMPILATIONS),
            loaded: Mutex::new(HashMap::new()),
            ticker,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Bytes of keys and values that a plugin remembers of one consumer, at most.
    pub fn memory_bytes(&self) -> usize {
        self.inner.limits.memory_total_bytes
    }

    /// Makes a release ready to be called. Compiles it in a child process, with limits of memory and
    /// time, unless the cache has it; then links it. A release that is loaded already is shared.
    ///
    /// Compiling takes seconds and happens one at a time; it does not hold up calls.
    ///
    /// # Errors
    /// Where `component` is not what `digest` names, is not a component, imports or exports what it
    /// may not, or takes too much to compile.
    pub async fn load(&self, digest: [u8; 32], component: &[u8]) -> Result<LoadedRelease, HostError> {
        let limit = self.inner.limits.component_bytes;
        if component.len() > limit {
            return Err(HostError::TooLarge { bytes: component.len(), limit });
        }
        if sha256_in_turns(component).await != digest {
            return Err(HostError::DigestMismatch);
        }
        if let Some(loaded) = self.load_compiled(digest).await? {
            return Ok(loaded);
        }

        let closed = |_| HostError::Internal { doing: "waiting to compile" };
        let _turn = self.inner.compilations.acquire().await.map_err(closed)?;
        // Someone else may have compiled it while this one waited.
        if let Cached::Whole(code) = self.cached(digest).await? {
            return self.link(digest, code).await;
        }
        self.compile(digest, component).await?;
        let mut cached = self.cached(digest).await?;
        // A module that it has in common with others was there and damaged, and is gone now.
        if let Cached::WithoutModule = cached {
            self.compile(digest, component).await?;
            cached = self.cached(digest).await?;
        }
        let Cached::Whole(code) = cached else {
            return Err(HostError::Internal { doing: "loading what was just compiled" });
        };
        let loaded = self.link(digest, code).await?;
        let inner = Arc::clone(&self.inner);
        let trim = move || {
            inner.cache.trim(&inner.loaded_digests(), inner.cache_bytes);
            Ok(())
        };
        blocking("removing compiled code", trim).await?;
        Ok(loaded)
    }

    /// As [`PluginHost::load`] for a release whose code is loaded already or in the cache; `None` where it has to be
    /// compiled. The cache names code by the component that it was made from, so the component need not be read.
    ///
    /// # Errors
    /// Where the cache does not read, or what is in it does not link.
    pub async fn load_compiled(&self, digest: [u8; 32]) -> Result<Option<LoadedRelease>, HostError> {
        if let Some(inner) = self.inner.already_loaded(&digest) {
            return Ok(Some(LoadedRelease { inner }));
        }
        match self.cached(digest).await? {
            Cached::Whole(code) => Ok(Some(self.link(digest, code).await?)),
            Cached::WithoutModule | Cached::Nothing => Ok(None),
        }
    }

    /// Calls the hook `share`. Without an exchanger, what the plugin asks its partner has no reply.
    pub async fn share(
        &self,
        release: &LoadedRelease,
        input: Permitted<PluginInput>,
        budget: Budget,
        exchanger: Option<Arc<dyn Exchanger>>,
    ) -> Call<PluginOutcome> {
        self.share_released(release, input.release(), budget, exchanger).await
    }

    /// Invariant: outside this room's tests, only called with what was permitted.
    pub(super) async fn share_released(
        &self,
        release: &LoadedRelease,
        input: PluginInput,
        budget: Budget,
        exchanger: Option<Arc<dyn Exchanger>>,
    ) -> Call<PluginOutcome> {
        let Some(hook) = &release.inner.share else {
            return Call::refused(CallError::HookMissing { hook: "share" });
        };
        let limits = &self.inner.limits;
        let bytes = match output::check_input(limits, &input, "") {
            Ok(bytes) => bytes,
            Err(refusal) => return Call::refused(refusal),
        };
        let (event, memory, asking) = output::event(input);
        let run = async |store: &mut Store<InstanceState>| {
            store.data_mut().asking = asking;
            hook.call(store, &event).await
        };
        self.inner
            .run((budget, bytes), Beside { memory, exchanger }, run, output::outcome_sizes, |outcome| {
                output::outcome(limits, outcome)
            })
            .await
    }

    /// Calls the hook `decide` for `slot`, as [`PluginHost::share`]. The answer is JSON text, not yet checked.
    pub async fn decide(
        &self,
        release: &LoadedRelease,
        slot: &str,
        input: Permitted<PluginInput>,
        budget: Budget,
        exchanger: Option<Arc<dyn Exchanger>>,
    ) -> Call<String> {
        self.decide_released(release, slot, input.release(), budget, exchanger).await
    }

    /// Invariant: outside this room's tests, only called with what was permitted.
    pub(super) async fn decide_released(
        &self,
        release: &LoadedRelease,
        slot: &str,
        input: PluginInput,
        budget: Budget,
        exchanger: Option<Arc<dyn Exchanger>>,
    ) -> Call<String> {
        let Some(hook) = &release.inner.decide else {
            return Call::refused(CallError::HookMissing { hook: "decide" });
        };
        let limits = &self.inner.limits;
        let bytes = match output::check_input(limits, &input, slot) {
            Ok(bytes) => bytes,
            Err(refusal) => return Call::refused(refusal),
        };
        let (event, memory, asking) = output::event(input);
        let run = async |store: &mut Store<InstanceState>| {
            store.data_mut().asking = asking;
            hook.call(store, slot, &event).await
        };
        self.inner
            .run(
                (budget, bytes),
                Beside { memory, exchanger },
                run,
                |limits, json: &String| output::answer_sizes(limits, json),
                |json| output::answer(limits, json),
            )
            .await
    }

    /// Calls the hook `receive`.
    pub async fn receive(
        &self,
        release: &LoadedRelease,
        message: Permitted<PluginMessage>,
        budget: Budget,
    ) -> Call<PluginOutcome> {
        self.receive_released(release, message.release(), budget).await
    }

    /// Invariant: outside this room's tests, only called with what was permitted.
    pub(super) async fn receive_released(
        &self,
        release: &LoadedRelease,
        message: PluginMessage,
        budget: Budget,
    ) -> Call<PluginOutcome> {
        let Some(hook) = &release.inner.receive else {
            return Call::refused(CallError::HookMissing { hook: "receive" });
        };
        let limits = &self.inner.limits;
        let bytes = match output::check_message(limits, &message) {
            Ok(bytes) => bytes,
            Err(refusal) => return Call::refused(refusal),
        };
        let (message, memory, asking) = output::message(message);
        let run = async |store: &mut Store<InstanceState>| {
            store.data_mut().asking = asking;
            hook.call(store, message).await
        };
        // No way to ask the partner: whether it was asked would tell it what its message came to.
        let beside = Beside { memory, exchanger: None };
        self.inner
            .run((budget, bytes), beside, run, output::outcome_sizes, |outcome| {
                output::outcome(limits, outcome)
            })
            .await
    }

    async fn cached(&self, digest: [u8; 32]) -> Result<Cached, HostError> {
        let inner = Arc::clone(&self.inner);
        let load = move || Ok(inner.cache.load(&inner.engine, &digest, |module| inner.module(module)));
        blocking("reading the cache", load).await
    }

    async fn link(&self, digest: [u8; 32], code: Code) -> Result<LoadedRelease, HostError> {
        let inner = Arc::clone(&self.inner);
        let link = move || release::link(&inner.linker, digest, code);
        let release = Arc::new(blocking("linking a release", link).await?);
        Ok(LoadedRelease { inner: self.inner.remember(digest, release) })
    }

    async fn compile(&self, digest: [u8; 32], component: &[u8]) -> Result<(), HostError> {
        let (inner, bytes) = (Arc::clone(&self.inner), component.to_vec());
        let prepare = move || -> Result<Workspace, HostError> {
            let workspace = inner.cache.workspace()?;
            let path = workspace.input();
            std::fs::write(&path, bytes).map_err(|source| HostError::Io {
                doing: "writing",
                path,
                source,
            })?;
            Ok(workspace)
        };
        let workspace = blocking("preparing a compilation", prepare).await?;

        let program = match &self.inner.compiler {
            Compiler::ThisProgram => Some(program_or_self(None)?),
            Compiler::Program(program) => Some(program_or_self(Some(program))?),
            Compiler::InProcess => None,
        };
        if let Some(program) = &program {
            compile_in_child(program, &self.inner.limits, &workspace).await?;
        }
        let inner = Arc::clone(&self.inner);
        let keep = move || {
            if program.is_none() {
                compile_file(&inner.limits, &workspace.input(), &workspace.output(), workspace.compiled())?;
            }
            inner.cache.keep(&digest, &workspace)
        };
        blocking("keeping compiled code", keep).await
    }
}

impl Inner {
    /// Runs a hook in a fresh store, within its budget. `Ok(Err(_))` of `hook` is the plugin's own
    /// failure; `Err(_)` is the engine's word that it did not return.
    async fn run<A, T>(
        &self,
        (budget, input): (Budget, usize),
        beside: Beside,
        hook: impl AsyncFnOnce(&mut Store<InstanceState>) -> wasmtime::Result<Result<A, Failure>>,
        sizes: impl FnOnce(&Limits, &A) -> Vec<Spent>,
        check: impl FnOnce(A) -> Result<T, CallError>,
    ) -> Call<T> {
        let budget = budget.for_input(input);
        let budget = Budget { deadline: budget.deadline.min(self.limits.longest_call), ..budget };
        let started = Instant::now();
        let deadline = started + budget.deadline;
        // Invariant: the slot outlives the store, so that a slot's share of the pool is free when
        // the next call gets it.
        let _slot = match self.slot(budget, deadline).await {
            Ok(slot) => slot,
            Err(refusal) => return Call::refused(refusal),
        };
        let _clock = self.ticker.running();
        let Ok(mut store) = call::store(&self.engine, &self.limits, budget, deadline, beside) else {
            return Call::refused(CallError::Internal);
        };

        // Two watches for one deadline: the epoch stops a guest that computes, this one a guest that
        // waits in the host. Where the guest returns at the first poll, no timer is set.
        let returned = tokio::time::timeout_at(deadline.into(), hook(&mut store)).await;
        let ran = started.elapsed();
        let mut spent =
            vec![Spent { budget: "input", used: input as u64, allowed: self.limits.input_bytes as u64 }];
        let result = match returned {
            Ok(Ok(Ok(answer))) => {
                spent.extend(sizes(&self.limits, &answer));
                check(answer)
            }
            Ok(Ok(Err(failure))) => Err(output::failure(&self.limits, failure)),
            Ok(Err(error)) => Err(call::classify(&self.limits, budget, ran, &store, &error)),
            Err(_) => Err(CallError::Deadline { used: ran, allowed: budget.deadline }),
        };
        call::finish(store, budget, ran, &spent, result)
    }

    async fn slot(&self, budget: Budget, deadline: Instant) -> Result<SemaphorePermit<'_>, CallError> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        match tokio::time::timeout_at(deadline.into(), self.slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(CallError::Internal),
            Err(_) => Err(CallError::Busy { allowed: budget.deadline }),
        }
    }

    fn already_loaded(&self, digest: &[u8; 32]) -> Option<Arc<Release>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get(digest).and_then(Weak::upgrade)
    }

    fn loaded_releases(&self) -> Vec<Arc<Release>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.values().filter_map(Weak::upgrade).collect()
    }

    /// A module that a loaded release runs.
    fn module(&self, digest: &[u8; 32]) -> Option<Module> {
        self.loaded_releases().iter().find_map(|release| release.modules.get(digest).cloned())
    }

    fn loaded_digests(&self) -> Vec<[u8; 32]> {
        let releases = self.loaded_releases();
        releases.iter().flat_map(|release| release.digests()).collect()
    }

    /// Keeps track of a release as long as someone holds it; of two loaded at once, one stays.
    fn remember(&self, digest: [u8; 32], release: Arc<Release>) -> Arc<Release> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, release| release.strong_count() > 0);
        if let Some(first) = loaded.get(&digest).and_then(Weak::upgrade) {
            return first;
        }
        loaded.insert(digest, Arc::downgrade(&release));
        release
    }
}

/// Hashes a component that may be large, and lets others on between its parts.
async fn sha256_in_turns(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in bytes.chunks(256 * 1024) {
        hasher.update(part);
        tokio::task::yield_now().await;
    }
    hasher.finalize().into()
}

/// Files and code are read outside the executor's threads.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    // A panic or a stopped executor: either way there is no result.
    let result: Result<Result<T, HostError>, _> = tokio::task::spawn_blocking(work).await;
    result.map_err(|_| HostError::Internal { doing })?
}
