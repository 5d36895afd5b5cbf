//! The sandbox: compiles, loads and calls plugins. The only room with wasmtime; it may not know the
//! store, the pipeline, HTTP, or what a policy is.
//!
//! A call is a function of its input: a fresh instance, no clock, no randomness, no network, no
//! file system. What goes in is [`Permitted`](crate::boundary::Permitted), so nothing reaches a
//! plugin that the boundary has not allowed; what comes out is untrusted until the boundary has
//! checked it.
//!
//! Invariant: a trap, a limit or a refusal ends that call and nothing else, and no call fails open:
//! every way out of [`PluginHost::share`] and [`PluginHost::decide`] but a complete answer is a
//! [`CallError`].
//!
//! Invariant: nothing that a plugin wrote (failure texts, log lines, traps) is in a `Display` or
//! `Debug` of this room's types: it can carry a consumer's values.

mod aggregates;
mod apart;
mod bindings;
mod budget;
mod cache;
mod call;
mod compile;
mod engine;
mod error;
mod exchange;
mod hooks;
mod host;
mod instance;
mod limits;
mod memory;
mod output;
mod release;
mod ticker;

#[cfg(test)]
mod guests;
#[cfg(test)]
mod tests;

pub use call::{Call, LogLevel, LogLine};
pub use compile::{COMPILE_SUBCOMMAND, compile_component_child};
pub use error::{CallError, HostError, Spent};
pub use exchange::{Exchanger, NoReply};
pub use host::{Compiler, HostConfig, PluginHost};
pub use limits::{Budget, COMPILE_THREADS, Limits, cores};
pub use release::LoadedRelease;
