//! One call: a slot, a fresh store and instance, the hook, and what came of it. Nothing of it is
//! kept or used again.

use std::fmt;
use std::time::{Duration, Instant};

use wasmtime::{Engine, Store, Trap, UpdateDeadline};

use crate::boundary::MemoryUse;

use super::bindings::Level;
use super::error::{CallError, Spent};
use super::exchange::OverLimit;
use super::instance::{Beside, InstanceState};
use super::limits::{Budget, Limits, WARN_PERCENT};

/// What a call came to, and what it cost. All of it carries the labels of the call's input.
#[derive(Debug)]
pub struct Call<T> {
    /// The answer, or why there is none.
    pub result: Result<T, CallError>,
    /// Fuel used: the same for the same release and input.
    pub fuel_used: u64,
    /// What the plugin logged, up to its limits; kept also where the call failed.
    pub logs: Vec<LogLine>,
    /// Lines beyond the limit.
    pub logs_dropped: u32,
    /// Kept lines that were longer than a line may be; each ends with a mark.
    pub logs_cut: u32,
    /// Linear memory of the instance at its end, in bytes.
    pub memory_bytes: u64,
    /// What it did with its memory of the consumer; of use also where the call failed.
    pub memory: MemoryUse,
    /// Budgets of which it used most, or all.
    pub spent: Vec<Spent>,
}

/// A line that a plugin logged: untrusted, and under the call's labels.
#[derive(Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The plugin's own judgement.
    pub level: LogLevel,
    /// Its text, cut to a limit and then marked.
    pub message: String,
}

/// Levels of the interface `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Ordinary.
    Info,
    /// Odd, but dealt with.
    Warn,
    /// Wrong.
    Error,
}

impl LogLevel {
    /// The interface's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl fmt::Debug for LogLine {
    /// Without the text, which may carry values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogLine({}, {} bytes)", self.level.as_str(), self.message.len())
    }
}

impl<T> Call<T> {
    /// A call that ended before it had an instance.
    pub(super) fn refused(error: CallError) -> Self {
        let error_spent = error.overrun().into_iter().collect();
        Self {
            result: Err(error),
            fuel_used: 0,
            logs: Vec::new(),
            logs_dropped: 0,
            logs_cut: 0,
            memory_bytes: 0,
            spent: error_spent,
            memory: MemoryUse::default(),
        }
    }
}

/// A store for one call, with every limit set.
pub(super) fn store(
    engine: &Engine,
    limits: &Limits,
    budget: Budget,
    deadline: Instant,
    beside: Beside,
) -> wasmtime::Result<Store<InstanceState>> {
    let mut store = Store::new(engine, InstanceState::new(limits, beside, deadline));
    store.limiter(|state| &mut state.quota);
    store.set_fuel(budget.fuel)?;
    store.set_hostcall_fuel(limits.crossing_bytes);
    store.set_max_component_handles(limits.component_handles);
    // At each tick the guest lets others run and its deadline is looked at. That needs no timer, so
    // a runaway guest is stopped even where the executor is too busy to run timers.
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        Ok(if Instant::now() >= deadline { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
    });
    Ok(store)
}

/// Takes the store apart.
pub(super) fn finish<T>(
    store: Store<InstanceState>,
    budget: Budget,
    ran: Duration,
    sizes: &[Spent],
    result: Result<T, CallError>,
) -> Call<T> {
    let left = store.get_fuel().unwrap_or(0);
    let state = store.into_data();
    let fuel_used = budget.fuel.saturating_sub(left);
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (exchanges, most_exchanges) = state.exchanges.spent();
    let lines = state.log.lines.len().saturating_add(state.log.dropped as usize);
    let of = |budget, used, allowed| Spent { budget, used, allowed };
    let overrun = result.as_ref().err().and_then(CallError::overrun);
    let spent = [
        of("fuel", fuel_used, budget.fuel),
        of("time", milliseconds(ran), milliseconds(budget.deadline)),
        of("memory", state.quota.memory as u64, state.quota.limit() as u64),
        of("log-lines", lines as u64, state.log.line_limit as u64),
        of("exchanges", exchanges as u64, most_exchanges as u64),
    ];
    let near = |spent: &&Spent| spent.used.saturating_mul(100) > spent.allowed.saturating_mul(WARN_PERCENT);
    let warned = spent.iter().chain(sizes).filter(near).copied();
    let warned = warned.filter(|spent| overrun.is_none_or(|overrun| overrun.budget != spent.budget));
    let spent = overrun.into_iter().chain(warned).collect();
    Call {
        result,
        spent,
        fuel_used,
        logs: state.log.lines,
        logs_dropped: state.log.dropped,
        logs_cut: state.log.cut,
        memory_bytes: state.quota.memory as u64,
        memory: state.memory.into_use(),
    }
}

/// Why the guest did not return: by kind only, never by the engine's text, which can quote the guest.
pub(super) fn classify(
    limits: &Limits,
    budget: Budget,
    ran: Duration,
    store: &Store<InstanceState>,
    error: &wasmtime::Error,
) -> CallError {
    let refused = store.data().quota.refused;
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            let used = budget.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
            CallError::OutOfFuel { used, allowed: budget.fuel }
        }
        Some(Trap::Interrupt) => CallError::Deadline { used: ran, allowed: budget.deadline },
        Some(Trap::StackOverflow) => CallError::StackOverflow { allowed: limits.wasm_stack },
        // A guest that cannot allocate gives up with whatever trap its language uses.
        _ if let Some(used) = refused => CallError::MemoryLimit { used, allowed: limits.memory },
        Some(trap) => CallError::Trap { kind: kind(*trap) },
        // Nothing that the guest did: the pool or the system had no room.
        None if error.is::<NotStarted>() => CallError::Internal,
        None if let Some(over) = error.downcast_ref::<OverLimit>() => over.error(),
        None if is_crossing_limit(error) => {
            let allowed = limits.crossing_bytes;
            CallError::OutputTooLarge { what: "answer", used: allowed, allowed }
        }
        None => CallError::InvalidOutput,
    }
}

/// Marks an error that came before the hook was called.
#[derive(Debug)]
struct NotStarted;

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the instance could not be made")
    }
}

/// For errors of instantiation, which [`classify`] must tell from errors of the hook.
pub(super) fn not_started(error: wasmtime::Error) -> wasmtime::Error {
    error.context(NotStarted)
}

/// wasmtime keeps the type of this error to itself; a test holds its text fast.
fn is_crossing_limit(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted")
}

fn kind(trap: Trap) -> &'static str {
    match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::MemoryOutOfBounds => "memory out of bounds",
        Trap::TableOutOfBounds => "table out of bounds",
        Trap::IndirectCallToNull => "indirect call to null",
        Trap::BadSignature => "indirect call with another signature",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::BadConversionToInteger => "conversion to integer out of range",
        Trap::CannotEnterComponent => "re-entered",
        _ => "other",
    }
}
