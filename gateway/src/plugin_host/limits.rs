//! Every limit of the sandbox, each with its unit and its reason. Nothing here acts on them.
//!
//! Invariant: no limit of the sandbox is left to a default of wasmtime, and each number stands here
//! only. A manifest may ask for less time and fuel, through [`Budget`]; nothing can ask for more than
//! is here.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: u64 = 1024 * 1024 * 1024;

/// Fuel for each millisecond of deadline. A fast core retires about this much in half a millisecond,
/// so on an unloaded machine a runaway loop ends by fuel, which is deterministic, before it ends by
/// the clock, which is not.
const FUEL_PER_MILLISECOND: u64 = 500_000;

/// Time, and with it fuel, for each KiB of a call's input beyond the base: a Python plugin reads and walks a KiB of
/// JSON in less than a millisecond on a fast core, and a slow, loaded one may take several times that.
const MILLISECONDS_PER_KIB: u64 = 8;

/// Where growth ends: what the largest input, 1 MiB, would get. A runaway call on it frees its slot after that.
const GROWN_MILLISECONDS: u64 = 10_000;

/// Part of a budget from which on its use is worth a warning, in percent.
pub(super) const WARN_PERCENT: u64 = 80;

/// What of a budget grows with the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grows {
    Nothing,
    /// Somebody waits: the time stays what it is.
    Fuel,
    TimeAndFuel,
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Wall clock for the whole call, waiting for a free slot included.
    pub(super) deadline: Duration,
    /// Deterministic cost of the guest's instructions: about one unit each, and one for each byte
    /// logged, remembered or exchanged.
    pub(super) fuel: u64,
    pub(super) grows: Grows,
}

impl Default for Budget {
    /// For `share`, where nobody waits: 1 s is 300 times what an interpreted plugin needs (a Python
    /// one answers in 2.3 ms), and short enough that a stuck plugin frees its slot soon.
    fn default() -> Self {
        Self { grows: Grows::TimeAndFuel, ..Self::within(Duration::from_secs(1)) }
    }
}

impl Budget {
    /// A budget for someone who waits no longer than `deadline`, as under `decide`; its fuel is what
    /// a call can burn in that time, and grows with the input.
    pub fn within(deadline: Duration) -> Self {
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).max(1);
        let fuel = milliseconds.saturating_mul(FUEL_PER_MILLISECOND);
        Self { deadline, fuel, grows: Grows::Fuel }
    }

    /// The same fuel, with `deadline` for what is left of the time: a plugin that is told its fuel learns nothing of
    /// the clock.
    #[must_use]
    pub fn ending_in(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Exactly this, whatever the input.
    pub fn fixed(deadline: Duration, fuel: u64) -> Self {
        Self { deadline, fuel, grows: Grows::Nothing }
    }

    /// For an input of so many bytes: what a plugin may use that does something for each of them.
    pub(super) fn for_input(self, bytes: usize) -> Self {
        let kib = (bytes / KIB) as u64;
        let grown = |base: u64, each: u64, most: u64| base.max(base.saturating_add(kib * each).min(most));
        let fuel = |fuel| {
            let each = MILLISECONDS_PER_KIB * FUEL_PER_MILLISECOND;
            grown(fuel, each, GROWN_MILLISECONDS * FUEL_PER_MILLISECOND)
        };
        match self.grows {
            Grows::Nothing => self,
            Grows::Fuel => Self { fuel: fuel(self.fuel), ..self },
            Grows::TimeAndFuel => {
                let base = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
                let deadline = Duration::from_millis(grown(base, MILLISECONDS_PER_KIB, GROWN_MILLISECONDS));
                Self { deadline, fuel: fuel(self.fuel), ..self }
            }
        }
    }
}

/// Limits of compiling, of one instance, and of what crosses the boundary in one call.
///
/// Sizes are in bytes unless the name says otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    // Compiling.
    /// A component's size. A Python plugin is 18 MB, nearly all of it the interpreter.
    pub component_bytes: usize,
    /// Wall clock of one compilation. A Python plugin takes 10 s of one core, which calls may leave it a part of.
    pub compile_time: Duration,
    /// Processor time of the compiling process, all its threads together, in seconds.
    pub compile_cpu_seconds: u64,
    /// Writable memory of the compiling process. Compiling is where a crafted component can ask
    /// for memory out of proportion to its size.
    pub compile_memory: u64,
    /// Address space of the compiling process: twice its memory, since allocators reserve ahead.
    pub compile_address_space: u64,
    /// A compiled artifact's size; a Python plugin's is about 60 MB.
    pub artifact_bytes: u64,
    /// Threads of the compiling process: half of the cores, so that it does not take every one from the calls.
    pub compile_threads: usize,
    /// How far the compiling process stands back behind calls (`nice`, from 0 to 19). At 5 it gets a quarter of a core
    /// that a call wants all of, so that it ends under any load.
    pub compile_niceness: i32,

    // One instance.
    /// All linear memories of one call together. A Rust plugin needs 1 to 2 MiB; an interpreter has
    /// 9 (JavaScript) to 13 MB (Python) before it does anything.
    pub memory: usize,
    /// Linear memories of one component: one for a compiled plugin; a second for a composed one.
    pub memories: u32,
    /// Elements of one table. An interpreter's function table has some 15,000.
    pub table_elements: usize,
    /// Tables of one component: its function table, and one that the encoder adds for imports.
    pub tables: u32,
    /// Core instances of one component. Python's is linked from some 25 shared libraries.
    pub core_instances: u32,
    /// Host memory for one core instance's own bookkeeping (functions, globals, tables).
    pub core_instance_size: usize,
    /// The same for a component with all its core instances.
    pub component_instance_size: usize,
    /// Stack that guest code may use. Interpreters recurse deeply.
    pub wasm_stack: usize,
    /// Stack of the fiber a call runs on: `wasm_stack`, and room for the host's own frames.
    pub fiber_stack: usize,
    /// Live component-model handles. The interface has no resources, so no guest needs one; there
    /// is no resource table in the host either, whose capacity is thereby zero.
    pub component_handles: usize,

    // Speed against resident memory.
    /// Bytes of each linear memory that stay resident between calls and are wiped by copying
    /// instead of by a system call: more than a Rust plugin touches.
    pub memory_keep_resident: usize,
    /// The same for each table.
    pub table_keep_resident: usize,
    /// The same for each fiber stack; the rest of a stack is given back to the system.
    pub stack_keep_resident: usize,
    /// Memories kept mapped for releases that are not running, so that their next call finds its
    /// image in place. Bounds resident memory: this many times `memory_keep_resident`.
    pub warm_memories: u32,

    // What crosses the boundary in one call.
    /// Everything passed to a hook. An event is capped well below at acceptance.
    pub input_bytes: usize,
    /// Everything that a guest passes to the host at one crossing, an answer or one log line, list
    /// structure included: cut off before the host copies it.
    pub crossing_bytes: usize,
    /// JSON text that a hook returns.
    pub returns_bytes: usize,
    /// Requests in one outcome. A plugin that reports to its partner needs one or two.
    pub deliveries: usize,
    /// One request, all its pieces together: a long transcript fits.
    pub request_bytes: usize,
    /// Requests that one call makes and waits for: each is a round trip within the call's deadline, during which
    /// the call holds its slot. One asks, and another asks again by what was answered.
    pub exchanges: usize,
    /// A plugin's failure text; the rest is cut off.
    pub failure_bytes: usize,
    /// One log line; the rest is cut off, which the line then says and a count.
    pub log_line_bytes: usize,
    /// Log lines kept of one call; the rest is counted.
    pub log_lines: usize,

    // What a plugin remembers of one consumer.
    /// Entries. What a plugin keeps of one person fits into a few.
    pub memory_entries: usize,
    /// A key: a name that the plugin's author chose.
    pub memory_key_bytes: usize,
    /// A value, JSON text: a summary of a conversation fits, the conversation does not.
    pub memory_value_bytes: usize,
    /// Keys and values together. All of it is read, decrypted and written again with a call.
    pub memory_total_bytes: usize,

    // Time.
    /// The longest deadline that a budget can ask for; a longer one is cut to this.
    pub longest_call: Duration,
    /// How often the clock looks at running guests: the granularity of deadlines, and the longest
    /// that a busy guest keeps a worker thread from other work.
    pub tick: Duration,
    /// How long the clock goes on after the last call, so that a steady trickle of calls does not
    /// pay for waking it.
    pub tick_linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 32 * MIB,
            compile_time: Duration::from_secs(120),
            compile_cpu_seconds: 120,
            compile_memory: 2 * GIB,
            compile_address_space: 4 * GIB,
            artifact_bytes: GIB / 4,
            compile_threads: (cores() / 2).clamp(1, COMPILE_THREADS),
            compile_niceness: 5,

            memory: 64 * MIB,
            memories: 2,
            table_elements: 65_536,
            tables: 4,
            core_instances: 40,
            core_instance_size: MIB,
            component_instance_size: 4 * MIB,
            wasm_stack: MIB,
            fiber_stack: MIB + MIB / 2,
            component_handles: 0,

            memory_keep_resident: MIB,
            table_keep_resident: 128 * KIB,
            stack_keep_resident: 64 * KIB,
            warm_memories: 16,

            input_bytes: MIB,
            crossing_bytes: MIB,
            returns_bytes: 256 * KIB,
            deliveries: 16,
            request_bytes: 512 * KIB,
            exchanges: 4,
            failure_bytes: KIB,
            log_line_bytes: 2 * KIB,
            log_lines: 100,

            memory_entries: 64,
            memory_key_bytes: 128,
            memory_value_bytes: 8 * KIB,
            memory_total_bytes: 32 * KIB,

            longest_call: Duration::from_secs(60),
            tick: Duration::from_millis(2),
            tick_linger: Duration::from_secs(1),
        }
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls that may run at once on each core: enough to cover those that wait for the host, few
/// enough that the pool stays small.
pub(super) const CALLS_PER_CORE: usize = 4;

/// Address space reserved for each linear memory: all that a 32-bit pointer reaches, so that guest
/// code needs no bounds checks. Reserved is not resident.
pub(super) const MEMORY_RESERVATION: u64 = 4 * GIB;

/// Inaccessible space after each linear memory, which catches what a constant offset reaches past it.
pub(super) const MEMORY_GUARD: u64 = 32 * MIB as u64;

/// Fixed fuel for one call of the log: what a host call costs beside its bytes.
pub(super) const LOG_CALL_FUEL: u64 = 200;

/// The same for one call of any other interface.
pub(super) const HOST_CALL_FUEL: u64 = LOG_CALL_FUEL;

/// Seconds that a plugin may have its work put off by, once: what a partner that is down for maintenance needs.
pub(super) const LONGEST_WAIT_SECONDS: u32 = 3_600;

/// Fixed fuel for one question about aggregates: a row of the ledger and more.
pub(super) const AGGREGATE_CALL_FUEL: u64 = 10_000;

/// Questions of one call: a report asks a few.
pub(super) const AGGREGATE_CALLS: u32 = 16;

/// Bytes of each part of a question; no name of the catalogue is longer.
pub(super) const AGGREGATE_TEXT_BYTES: usize = 256;

/// How much is kept of what the compiling process says when it fails.
pub(super) const COMPILER_MESSAGE_BYTES: usize = 2 * KIB;

/// Threads of one compilation, at most: its limits of memory are for so many.
pub const COMPILE_THREADS: usize = 4;

/// Bytes of compiled code that a gateway keeps of releases that nothing runs: some fifty builds of an interpreted plugin,
/// as `plugin dev` publishes them all day, or all that brands may want to return to.
pub(super) const CACHE_BYTES: u64 = 2 * GIB;

/// Compilations at once: they take seconds of every core, and publishing can wait.
pub(super) const COMPILATIONS: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_grows_with_the_input_up_to_a_ceiling_and_a_decisions_time_does_not() {
        let (small, large) = (Budget::default().for_input(100), Budget::default().for_input(100 * KIB));
        assert_eq!(small, Budget::default());
        assert_eq!((large.deadline.as_millis(), large.fuel), (1_800, 900_000_000));
        let largest = Budget::default().for_input(64 * MIB);
        assert_eq!((largest.deadline.as_millis(), largest.fuel), (10_000, 5_000_000_000));
        let decision = Budget::within(Duration::from_millis(50)).for_input(100 * KIB);
        assert_eq!((decision.deadline.as_millis(), decision.fuel), (50, 425_000_000));
    }

    #[test]
    fn the_page_says_what_stands_here() {
        let page = include_str!("../../../plugin-sdk/docs/limits.md").replace(',', "");
        let limits = Limits::default();
        for (name, value) in [
            ("`memory`", limits.memory),
            ("`stack`", limits.wasm_stack),
            ("`input`", limits.input_bytes),
            ("`returns`", limits.returns_bytes),
            ("`answer`", limits.crossing_bytes),
            ("`deliveries`", limits.deliveries),
            ("`request`", limits.request_bytes),
            ("`exchanges`", limits.exchanges),
            ("`log-lines`", limits.log_lines),
        ] {
            let row = format!("| {name} | {value}");
            assert!(page.contains(&row), "limits.md has no row that begins with {row}");
        }
        let compiling = format!(
            "{} seconds and {} seconds of processor time {} bytes of memory and {} bytes of compiled code",
            limits.compile_time.as_secs(),
            limits.compile_cpu_seconds,
            limits.compile_memory,
            limits.artifact_bytes,
        );
        assert!(page.contains(&compiling), "limits.md does not say: {compiling}");
    }
}
