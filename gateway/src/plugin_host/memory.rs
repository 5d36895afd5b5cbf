//! The interface `memory`: entries that the boundary gave to the call, and what the call makes of them. It
//! stores nothing, and does not know why a memory is empty.
//!
//! Keys are as much data as values are: neither is in an error or a log.

use std::collections::BTreeMap;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::boundary::MemoryUse;

use super::instance::{InstanceState, charge};
use super::limits::{HOST_CALL_FUEL, Limits};

/// A call's memory.
pub(super) struct Remembered {
    limits: MemoryLimits,
    entries: BTreeMap<String, String>,
    /// Of keys and values.
    bytes: usize,
    touched: bool,
    written: bool,
}

#[derive(Clone, Copy)]
struct MemoryLimits {
    entries: usize,
    key_bytes: usize,
    value_bytes: usize,
    bytes: usize,
}

impl Remembered {
    /// What was given; nothing, where the plugin does not ask for it.
    pub(super) fn new(limits: &Limits, given: Option<BTreeMap<String, String>>) -> Self {
        let entries = given.unwrap_or_default();
        Self {
            limits: MemoryLimits {
                entries: limits.memory_entries,
                key_bytes: limits.memory_key_bytes,
                value_bytes: limits.memory_value_bytes,
                bytes: limits.memory_total_bytes,
            },
            bytes: entries.iter().map(|(key, value)| key.len() + value.len()).sum(),
            entries,
            touched: false,
            written: false,
        }
    }

    pub(super) fn is_touched(&self) -> bool {
        self.touched
    }

    /// What the call did with it.
    pub(super) fn into_use(self) -> MemoryUse {
        MemoryUse { touched: self.touched, written: self.written.then_some(self.entries) }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let limits = self.limits;
        if key.len() > limits.key_bytes {
            return Err(format!("the key is longer than {} bytes; shorten it", limits.key_bytes));
        }
        if value.len() > limits.value_bytes {
            return Err(format!("the value is longer than {} bytes; keep less", limits.value_bytes));
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(value).is_err() {
            return Err("the value is not JSON text; encode it".to_owned());
        }
        let before = self.entries.get(key).map(|known| key.len() + known.len());
        if before.is_none() && self.entries.len() >= limits.entries {
            return Err(format!("there are {} entries, which is the most; use fewer keys", limits.entries));
        }
        let bytes = self.bytes - before.unwrap_or(0) + key.len() + value.len();
        if bytes > limits.bytes {
            return Err(format!("the memory would be larger than {} bytes; keep less", limits.bytes));
        }
        self.bytes = bytes;
        self.entries.insert(key.to_owned(), value.to_owned());
        self.written = true;
        Ok(())
    }
}

/// Gives guests the interface.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut memory = linker.instance("integration:plugin/memory@0.1.0")?;
    memory.func_wrap("get", get)?;
    memory.func_wrap("set", set)
}

fn get(
    mut store: StoreContextMut<'_, InstanceState>,
    (key,): (WasmStr,),
) -> wasmtime::Result<(Option<String>,)> {
    let key = key.to_str(&store)?.into_owned();
    // A miss is an answer too.
    store.data_mut().memory.touched = true;
    let found = store.data().memory.entries.get(&key).cloned();
    let bytes = key.len() + found.as_ref().map_or(0, String::len);
    charge(&mut store, HOST_CALL_FUEL.saturating_add(bytes as u64))?;
    Ok((found,))
}

fn set(
    mut store: StoreContextMut<'_, InstanceState>,
    (key, value): (WasmStr, WasmStr),
) -> wasmtime::Result<(Result<(), String>,)> {
    let (key, value) = (key.to_str(&store)?.into_owned(), value.to_str(&store)?.into_owned());
    charge(&mut store, HOST_CALL_FUEL.saturating_add((key.len() + value.len()) as u64))?;
    let memory = &mut store.data_mut().memory;
    memory.touched = true;
    Ok((memory.set(&key, &value),))
}
