//! The clock of running guests: advances the engine's epoch while calls run, and sleeps while none
//! does. It may not know what a call is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Drives one engine's epoch from a thread of its own, which ends soon after this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: Mutex<bool>,
    wake: Condvar,
}

/// Held while a call runs; the epoch advances as long as one of these is alive.
pub(super) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread. Fails where the system refuses one.
    pub(super) fn start(engine: &Engine, tick: Duration, linger: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
        });
        let thread = Arc::clone(&shared);
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || thread.run(&engine, tick, linger))?;
        Ok(Self { shared })
    }

    /// Keeps the clock going until the result is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        // Invariant: a caller counts itself, then looks whether the thread is parked; the thread
        // says that it is parked, then looks at the count. In this total order one sees the other.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            // With the lock, so that the thread is not between its look and its sleep.
            let _lock = self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_one();
        }
        Running(&self.shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn run(&self, engine: &EngineWeak, tick: Duration, linger: Duration) {
        let mut idle = Duration::ZERO;
        loop {
            std::thread::sleep(tick);
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = Duration::ZERO;
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            } else {
                idle += tick;
            }
            if *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            if idle >= linger {
                if self.park() {
                    return;
                }
                idle = Duration::ZERO;
            }
        }
    }

    /// Sleeps until a call runs or the ticker is dropped; says whether it was dropped.
    fn park(&self) -> bool {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.store(true, Ordering::SeqCst);
        while !*stopped && self.running.load(Ordering::SeqCst) == 0 {
            stopped = self.wake.wait(stopped).unwrap_or_else(PoisonError::into_inner);
        }
        self.parked.store(false, Ordering::SeqCst);
        *stopped
    }
}
