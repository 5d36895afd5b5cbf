//! What the host keeps of one running instance: its limits, its log, its memory, its
//! requests. It may not outlive the call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{ResourceLimiter, StoreContextMut, Trap};

use super::aggregates::{self, Asking};
use super::bindings::Level;
use super::budget;
use super::call::{LogLevel, LogLine};
use super::exchange::{self, Exchanger, Exchanges};
use super::limits::{LOG_CALL_FUEL, Limits};
use super::memory::{self, Remembered};
use super::output::cut;

/// The data of one call's store.
pub(super) struct InstanceState {
    pub(super) quota: Quota,
    pub(super) log: Log,
    pub(super) memory: Remembered,
    pub(super) exchanges: Exchanges,
    pub(super) asking: Asking,
    pub(super) answer: budget::Answer,
}

/// What a call has beside its argument.
#[derive(Default)]
pub(super) struct Beside {
    /// What the plugin remembers; none: it does not ask for it.
    pub(super) memory: Option<BTreeMap<String, String>>,
    /// Through which it asks its partner.
    pub(super) exchanger: Option<Arc<dyn Exchanger>>,
}

impl InstanceState {
    pub(super) fn new(limits: &Limits, beside: Beside, deadline: Instant) -> Self {
        Self {
            quota: Quota {
                memory_limit: limits.memory,
                memory: 0,
                refused: None,
                table_elements: limits.table_elements,
                instances: limits.core_instances as usize,
                tables: limits.tables as usize,
                memories: limits.memories as usize,
            },
            log: Log {
                line_limit: limits.log_lines,
                line_bytes: limits.log_line_bytes,
                lines: Vec::new(),
                dropped: 0,
                cut: 0,
            },
            memory: Remembered::new(limits, beside.memory),
            exchanges: Exchanges::new(limits, beside.exchanger, deadline),
            asking: Asking::new(None),
            answer: budget::Answer { returns_bytes: limits.returns_bytes, deliveries: limits.deliveries },
        }
    }
}

/// Counts what an instance holds. Growth beyond a limit is refused the way WebAssembly refuses it,
/// so that a guest that can do with less goes on.
pub(super) struct Quota {
    memory_limit: usize,
    /// Bytes of all linear memories together. Memories never shrink, so this is the peak too.
    pub(super) memory: usize,
    /// What all memories would have come to where one was refused: then a trap after it is laid to that.
    pub(super) refused: Option<usize>,
    table_elements: usize,
    instances: usize,
    tables: usize,
    memories: usize,
}

impl ResourceLimiter for Quota {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        let granted = total <= self.memory_limit && maximum.is_none_or(|maximum| desired <= maximum);
        if granted {
            self.memory = total;
        } else {
            self.refused = Some(total);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

/// The lines that a call wrote. A flood, and a long line, is cut and counted; it does not fail the call.
pub(super) struct Log {
    pub(super) line_limit: usize,
    line_bytes: usize,
    pub(super) lines: Vec<LogLine>,
    /// Lines that were not kept.
    pub(super) dropped: u32,
    /// Lines of which only the beginning was kept.
    pub(super) cut: u32,
}

impl Quota {
    /// Bytes that all memories together may have.
    pub(super) fn limit(&self) -> usize {
        self.memory_limit
    }

    /// Bytes by which memories may still grow.
    pub(super) fn left(&self) -> usize {
        self.memory_limit.saturating_sub(self.memory)
    }
}

impl Log {
    /// Bytes of lines that would still be kept.
    pub(super) fn left(&self) -> usize {
        self.line_limit.saturating_sub(self.lines.len()).saturating_mul(self.line_bytes)
    }
}

/// Gives guests what they may import: `log`, `memory`, `exchange`, `aggregates`, `budget`, and `types`, which holds
/// no functions. Nothing else.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance("integration:plugin/types@0.1.0")?;
    linker.instance("integration:plugin/types@0.2.0")?;
    // By hand and not through `bindgen!`, whose log would copy each message before it can be cut.
    linker.instance("integration:plugin/log@0.1.0")?.func_wrap("write", write)?;
    linker.instance("integration:plugin/log@0.2.0")?.func_wrap("write", write)?;
    budget::link(linker)?;
    memory::link(linker)?;
    exchange::link(linker)?;
    aggregates::link(linker)
}

fn write(
    mut store: StoreContextMut<'_, InstanceState>,
    (level, message): (Level, WasmStr),
) -> wasmtime::Result<()> {
    let log = &mut store.data_mut().log;
    if log.lines.len() >= log.line_limit {
        log.dropped = log.dropped.saturating_add(1);
        return charge(&mut store, LOG_CALL_FUEL);
    }
    let line_bytes = log.line_bytes;

    let (message, bytes) = {
        let message = message.to_str(&store)?;
        (cut(&message, line_bytes), message.len())
    };
    charge(&mut store, LOG_CALL_FUEL.saturating_add(bytes as u64))?;
    let log = &mut store.data_mut().log;
    log.cut = log.cut.saturating_add(u32::from(bytes > line_bytes));
    log.lines.push(LogLine { level: LogLevel::from(level), message });
    Ok(())
}

/// Takes fuel for work that the host does for the guest, so that it cannot be had for nothing.
pub(super) fn charge(store: &mut StoreContextMut<'_, InstanceState>, fuel: u64) -> wasmtime::Result<()> {
    match store.get_fuel()?.checked_sub(fuel) {
        Some(left) => store.set_fuel(left),
        None => {
            store.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}
