//! What is left of the call's limits: for a plugin that would rather give a part of the answer than be cut off.
//!
//! It depends on the input and on what the plugin has done until now, and so a call on the same input always finds the
//! same. Fuel is about one unit an instruction; each look costs some two hundred.
//!
//! ```
//! use plugin_sdk::budget;
//!
//! fn longest(texts: &[String]) -> usize {
//!     let mut longest = 0;
//!     for (index, text) in texts.iter().enumerate() {
//!         // Some of them, rather than none.
//!         if index % 64 == 0 && budget::left().fuel < 1_000_000 {
//!             break;
//!         }
//!         longest = longest.max(text.chars().count());
//!     }
//!     longest
//! }
//! # assert_eq!(longest(&["four".into()]), 4);
//! # budget::sample(budget::Left { fuel: 10, ..budget::left() });
//! # assert_eq!(longest(&["four".into()]), 0);
//! ```

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Units of the engine's fuel.
    pub fuel: u64,
    /// Bytes by which the plugin's memory may still grow.
    pub memory: u64,
    /// Bytes of log lines that will still be kept.
    pub log_bytes: u32,
    /// Bytes of JSON that the hook may answer with.
    pub output_bytes: u32,
    /// Requests that the outcome may hold.
    pub deliveries: u32,
}

/// What is left now.
pub fn left() -> Left {
    host::left()
}

#[cfg(target_arch = "wasm32")]
mod host {
    use super::Left;
    use crate::bindings::budget;

    pub(super) fn left() -> Left {
        let budget::Remaining { fuel, memory, log_bytes, output_bytes, deliveries } = budget::left();
        Left { fuel, memory, log_bytes, output_bytes, deliveries }
    }
}

/// Has this thread's native tests find so much left; without, as at the beginning of a call on a small event.
#[cfg(not(target_arch = "wasm32"))]
pub fn sample(left: Left) {
    host::LEFT.set(left);
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    use std::cell::Cell;

    use super::Left;

    thread_local! {
        pub(super) static LEFT: Cell<Left> = const {
            Cell::new(Left {
                fuel: 500_000_000,
                memory: 60 << 20,
                log_bytes: 200 << 10,
                output_bytes: 256 << 10,
                deliveries: 16,
            })
        };
    }

    pub(super) fn left() -> Left {
        LEFT.get()
    }
}
