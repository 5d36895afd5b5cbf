//! What can go wrong in this room. An error names the thing, the rule and the remedy, and never
//! repeats a value that a plugin or a consumer could have put there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a release could not be compiled or loaded, or the host could not start.
#[derive(Debug, Error)]
pub enum HostError {
    /// The directory of compiled code is not safe to load code from.
    #[error("the cache directory {} {rule}: compiled code is loaded only from a directory that the gateway alone writes; name another one, or `chmod 700` it and give it to the gateway's user", path.display())]
    CacheDirectory {
        /// The directory.
        path: PathBuf,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Reading or writing in the cache failed.
    #[error("{doing} {} failed: check that the disk has space and that the gateway's user may write there", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The engine cannot work on this machine or with these limits.
    #[error(
        "the sandbox cannot start ({reason}): it reserves about 8 GiB of address space for each concurrent call; allow that, or lower `max_concurrent_calls`"
    )]
    Engine {
        /// The engine's answer.
        reason: String,
    },
    /// The bytes are not those that the digest names.
    #[error("the component's bytes do not have the SHA-256 that names the release: fetch it again")]
    DigestMismatch,
    /// The component is too large.
    #[error(
        "the component has {bytes} bytes, and at most {limit} are accepted: build it for size (`opt-level = \"s\"`, LTO, stripped)"
    )]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The compiling process could not be started.
    #[error("the compiling process {} could not be started: check that it is there and executable", program.display())]
    CompilerStart {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The compiling process took too long.
    #[error(
        "compiling took {used:?}, and may take {allowed:?}: it was stopped. Make the component smaller, or split its largest functions"
    )]
    CompileTime {
        /// How long it ran.
        used: Duration,
        /// The wall-clock limit.
        allowed: Duration,
    },
    /// The compiling process was stopped by the system.
    #[error(
        "the compiling process was stopped by signal {signal}, most likely because it needed more than {allowed} {budget}, which is what is allowed: make the component smaller, or split its largest functions"
    )]
    CompileLimit {
        /// The signal's number.
        signal: i32,
        /// What ran out, as far as the signal tells, with its unit.
        budget: &'static str,
        /// The limit. What was used is not known but for that it was more.
        allowed: u64,
    },
    /// The component is not valid, or uses what is not served.
    #[error(
        "the component was refused: {reason}. Build it for wasm32 without WASI, with `gateway plugin build`"
    )]
    Invalid {
        /// The compiler's answer: about the component's structure, which is its author's own.
        reason: String,
    },
    /// The component imports or exports something else than its hooks need.
    #[error(
        "the component does not fit the interface: {reason}. It may import only `log`, `memory`, `exchange`, `aggregates`, `budget` and `types` of `integration:plugin` and export the hooks with their exact signatures"
    )]
    Interface {
        /// The linker's answer: names of imports and exports.
        reason: String,
    },
    /// No hook that this gateway calls.
    #[error(
        "the component exports no hook that this gateway calls: export `share`, `decide` or `receive` of `integration:plugin` in a version that is served (0.1, 0.2)"
    )]
    NoHook,
    /// Something that should not happen.
    #[error("the plugin host failed while {doing}: this is a fault of the gateway, please report it")]
    Internal {
        /// What was being done.
        doing: &'static str,
    },
}

/// How much of a budget a call used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// `fuel`, `time` (milliseconds), `memory`, `stack`, `input`, `returns`, `request` (bytes), `log-lines`, `deliveries`,
    /// `exchanges` (numbers), or `answer` (all that crosses at once, in bytes).
    pub budget: &'static str,
    /// What it used; of what was cut off before it was counted, `allowed`.
    pub used: u64,
    /// What it might.
    pub allowed: u64,
}

/// Why a call has no answer. Each is the end of that call only.
///
/// `Display` and `Debug` never show what the plugin wrote: take it from the variant, treat it as
/// untrusted, and store it only under the call's labels.
#[derive(Error)]
pub enum CallError {
    /// The plugin says that this will never work.
    #[error("the plugin rejected the event: see its failure text; it is not tried again")]
    Rejected(String),
    /// The plugin says that this may work later.
    #[error("the plugin cannot do it now: see its failure text; it is tried again later")]
    Unavailable(String),
    /// The plugin says that this may work after a while.
    #[error("the plugin cannot do it for {seconds} s: see its failure text; it is tried again after that")]
    Later {
        /// Seconds to wait, within the gateway's limit.
        seconds: u32,
        /// The plugin's text.
        text: String,
    },
    /// The plugin's code trapped.
    #[error("the plugin trapped ({kind}): run it on this event with `gateway plugin run` and fix the fault")]
    Trap {
        /// The kind of trap.
        kind: &'static str,
    },
    /// The plugin used its fuel up.
    #[error("the plugin used {used} of {allowed} units of fuel: it may loop, or must do less in one call")]
    OutOfFuel {
        /// Fuel used.
        used: u64,
        /// Fuel allowed.
        allowed: u64,
    },
    /// The call did not end in time.
    #[error(
        "the plugin did not answer within {allowed:?} (it ran for {used:?}): it may loop or wait, or must do less in one call"
    )]
    Deadline {
        /// How long it ran, its wait for a slot included.
        used: Duration,
        /// The call's deadline, from its start.
        allowed: Duration,
    },
    /// The plugin asked for more memory than it may have, and then failed.
    #[error(
        "the plugin asked for {used} bytes of memory, and may have {allowed}: it may leak, or must hold less at a time"
    )]
    MemoryLimit {
        /// Bytes that it would have had.
        used: usize,
        /// The limit in bytes.
        allowed: usize,
    },
    /// The plugin recursed too deeply.
    #[error(
        "the plugin needed more than {allowed} bytes of stack, which is what is allowed: it may recurse without end, or must keep less on the stack"
    )]
    StackOverflow {
        /// The limit in bytes.
        allowed: usize,
    },
    /// The event is larger than a plugin is given.
    #[error(
        "the input has {bytes} bytes, and at most {allowed} are given to a plugin: grant it fewer fields"
    )]
    InputTooLarge {
        /// The size in bytes.
        bytes: usize,
        /// The limit in bytes.
        allowed: usize,
    },
    /// The plugin's answer, or one log line, is too large.
    #[error("the plugin's {what} came to {used}, and may be {allowed}: give back less")]
    OutputTooLarge {
        /// How large it is, in what `allowed` counts; where it was cut off before it was counted, `allowed`.
        used: usize,
        /// What is too large.
        what: &'static str,
        /// The limit: bytes, or a count for `deliveries`.
        allowed: usize,
    },
    /// The plugin's answer is not a value of the hook's type.
    #[error(
        "the plugin's answer breaks the canonical ABI (a bad pointer, tag or UTF-8): rebuild it with the SDK"
    )]
    InvalidOutput,
    /// All slots stayed taken until the deadline.
    #[error("no slot became free within {allowed:?}: try again later, or allow more concurrent calls")]
    Busy {
        /// The call's deadline, from its start.
        allowed: Duration,
    },
    /// The release does not export this hook.
    #[error("the release does not export the hook `{hook}`: switch on a release that does")]
    HookMissing {
        /// The hook.
        hook: &'static str,
    },
    /// A fault of the host.
    #[error("the plugin host failed: this is a fault of the gateway, please report it")]
    Internal,
}

impl CallError {
    /// The budget that the call overran, what it used and what it might.
    pub fn overrun(&self) -> Option<Spent> {
        let milliseconds = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (budget, used, allowed) = match self {
            Self::OutOfFuel { used, allowed } => ("fuel", *used, *allowed),
            Self::Deadline { used, allowed } => ("time", milliseconds(used), milliseconds(allowed)),
            Self::MemoryLimit { used, allowed } => ("memory", *used as u64, *allowed as u64),
            Self::StackOverflow { allowed } => ("stack", *allowed as u64, *allowed as u64),
            Self::InputTooLarge { bytes, allowed } => ("input", *bytes as u64, *allowed as u64),
            Self::OutputTooLarge { used, what, allowed } => (*what, *used as u64, *allowed as u64),
            _ => return None,
        };
        Some(Spent { budget, used, allowed })
    }

    /// A stable word for ledgers, metrics and the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Unavailable(_) => "unavailable",
            Self::Later { .. } => "later",
            Self::Trap { .. } => "trap",
            Self::OutOfFuel { .. } => "out-of-fuel",
            Self::Deadline { .. } => "deadline",
            Self::MemoryLimit { .. } => "memory-limit",
            Self::StackOverflow { .. } => "stack-overflow",
            Self::InputTooLarge { .. } => "input-too-large",
            Self::OutputTooLarge { .. } => "output-too-large",
            Self::InvalidOutput => "invalid-output",
            Self::Busy { .. } => "busy",
            Self::HookMissing { .. } => "hook-missing",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallError[{}]: {self}", self.code())
    }
}

/// An engine's error with its causes, on one short line. Only for errors about a component or the
/// machine: an error of a call can quote what the guest wrote.
pub(super) fn describe(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"))
}

/// At most 600 characters without control characters: what is shown of a message whose parts (names
/// of imports, say) a plugin's author chose.
pub(super) fn one_line(text: &str) -> String {
    const CHARACTERS: usize = 600;
    let clean = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(CHARACTERS).collect::<String>().trim_end_matches('.').to_owned()
}
