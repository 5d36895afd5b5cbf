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
            return Err(over("the key has", key.len(), limits.key_bytes, "bytes"));
        }
        if value.len() > limits.value_bytes {
            return Err(over("the value has", value.len(), limits.value_bytes, "bytes"));
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(value).is_err() {
            return Err("the value is not JSON text; encode it".to_owned());
        }
        let before = self.entries.get(key).map(|known| key.len() + known.len());
        if before.is_none() && self.entries.len() >= limits.entries {
            return Err(over("with it there would be", self.entries.len() + 1, limits.entries, "entries"));
        }
        let bytes = self.bytes - before.unwrap_or(0) + key.len() + value.len();
        if bytes > limits.bytes {
            return Err(over("with it the memory would have", bytes, limits.bytes, "bytes"));
        }
        self.bytes = bytes;
        self.entries.insert(key.to_owned(), value.to_owned());
        self.written = true;
        Ok(())
    }
}

/// That a limit was passed: by what, how much, and how much is allowed.
fn over(what: &str, used: usize, allowed: usize, unit: &str) -> String {
    format!("{what} {used} {unit}, and {allowed} are allowed; keep less")
}

/// Gives guests the interface.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    for name in ["integration:plugin/memory@0.1.0", "integration:plugin/memory@0.2.0"] {
        let mut memory = linker.instance(name)?;
        memory.func_wrap("get", get)?;
        memory.func_wrap("set", set)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(given: &[(&str, &str)]) -> Remembered {
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Remembered::new(&Limits::default(), Some(given))
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_without_a_word_of_it() {
        let (long, full) = ("k".repeat(129), format!("\"{}\"", "x".repeat(8 * 1024 - 2)));
        let over = format!("{full} ");
        for (key, value, word) in [
            (long.as_str(), "1", "the key has 129 bytes, and 128 are allowed"),
            ("secret-key", over.as_str(), "the value has 8193 bytes, and 8192 are allowed"),
            ("secret-key", "", "not JSON"),
            ("secret-key", "{\"a\":", "not JSON"),
            ("secret-key", "1 2", "not JSON"),
        ] {
            let mut memory = remembered(&[]);
            let refusal = memory.set(key, value).unwrap_err();
            assert!(refusal.contains(word) && !refusal.contains("secret-key"), "{refusal}");
            assert_eq!(memory.into_use().written, None);
        }
    }

    #[test]
    fn sizes_are_those_of_what_is_there_now() {
        let large = format!("\"{}\"", "x".repeat(8 * 1024 - 10));
        let mut memory = remembered(&[("a", &large), ("b", &large), ("c", &large)]);
        assert_eq!(memory.set("d", &large), Ok(()));
        assert!(
            memory.set("e", &large).unwrap_err().contains("would have 40925 bytes, and 32768 are allowed")
        );
        assert_eq!(memory.set("a", "1"), Ok(()), "what it was is given back");
        assert_eq!(memory.set("e", &large), Ok(()));
        let mut many = remembered(&[]);
        (0..64).for_each(|n| many.set(&n.to_string(), "null").unwrap());
        assert!(many.set("64", "null").unwrap_err().contains("would be 65 entries, and 64 are allowed"));
        assert_eq!(many.set("63", "1"), Ok(()), "a key that is there is none more");
    }

    #[test]
    fn a_look_is_told_from_a_write() {
        let mut memory = remembered(&[("a", "1")]);
        memory.touched = true;
        let used = memory.into_use();
        assert_eq!(used, MemoryUse { touched: true, written: None });
    }
}
