//! What a plugin remembers about the event's consumer, for this brand. It is the only thing that lasts from
//! call to call.
//!
//! All of it has one set of labels: those of every call that could have written. Looking at it, also for a key
//! that is not there, makes the call carry them; what is written carries the call's. So a plugin that keeps
//! little of what it reads can do more with what it remembers.
//!
//! What is written is kept once the call's outcome has passed the gateway's checks. A memory may be empty at
//! any call, whatever was written before: a plugin works without, and starts again.
//!
//! ```
//! use plugin_sdk::{Failure, memory};
//!
//! fn visits() -> Result<u32, Failure> {
//!     let visits = memory::get("visits").unwrap_or(0) + 1;
//!     memory::set("visits", &visits)?;
//!     Ok(visits)
//! }
//! # assert_eq!((visits(), visits()), (Ok(1), Ok(2)));
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::request::to_json;

/// What is remembered under `key`; `None` where nothing is, or something of another type.
pub fn get<T: DeserializeOwned>(key: &str) -> Option<T> {
    serde_json::from_str(&host::get(key)?).ok()
}

/// Remembers `value` under `key`, in place of what was there.
///
/// # Errors
/// [`Failure::Rejected`] where the value cannot be written as JSON, or there would be too much: 64 entries,
/// 128 bytes of a key, 8 KiB of a value and 32 KiB in all.
pub fn set(key: &str, value: &impl Serialize) -> Result<(), Failure> {
    host::set(key, &to_json(value)?).map_err(Failure::Rejected)
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::memory as host;

/// In native tests, a memory for each thread: for each test.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static ENTRIES: RefCell<BTreeMap<String, String>> = RefCell::default();
    }

    pub(super) fn get(key: &str) -> Option<String> {
        ENTRIES.with_borrow(|entries| entries.get(key).cloned())
    }

    pub(super) fn set(key: &str, value: &str) -> Result<(), String> {
        ENTRIES.with_borrow_mut(|entries| entries.insert(key.to_owned(), value.to_owned()));
        Ok(())
    }
}
