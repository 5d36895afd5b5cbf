//! Write a plugin for the integration gateway: a struct, a trait for each hook, one macro.
//!
//! A plugin is a WebAssembly component that runs inside the gateway, in a fresh instance for each
//! call, with no clock, no network and no files. It sees the fields that its manifest
//! (`plugin.toml`) declares, the brand has granted and the policy allows, and it answers with
//! requests for its partner ([`Share`]) or with a decision for the brand ([`Decide`]).
//!
//! # A whole plugin
//! ```
//! use plugin_sdk::{Event, Failure, Outcome, Request, Share, events::ChatEnded, json};
//! use serde::Deserialize;
//!
//! /// Tells the loyalty service that one of its members had a chat.
//! struct Loyalty;
//!
//! #[derive(Deserialize)]
//! struct Settings {
//!     program: String,
//! }
//!
//! impl Share for Loyalty {
//!     type Event = ChatEnded;
//!     type Settings = Settings;
//!
//!     fn on_event(event: Event<ChatEnded, Settings>) -> Result<Outcome, Failure> {
//!         // Readable fields are typed, and each may be absent.
//!         let turns = event.data.transcript.as_ref().map_or(0, Vec::len);
//!         // A sealed field can be placed and not read: the gateway fills it in, outside.
//!         let Some(email) = event.sealed("/contact/email") else { return Ok(Outcome::new()) };
//!
//!         let body = json::object().with("event", event.id.as_str()).with("turns", turns).with("email", email);
//!         Ok(Outcome::new().deliver(Request::to("chats").path("program", event.settings.program).body(body)))
//!     }
//! }
//!
//! plugin_sdk::export!(Loyalty: share);
//!
//! // The logic is plain Rust, tested without a gateway.
//! # fn main() -> Result<(), Failure> {
//! let event = Event::sample(ChatEnded::default(), Settings { program: "gold".into() });
//! let outcome = Loyalty::on_event(event.with_sealed(&["/contact/email"]))?;
//! assert_eq!(
//!     outcome.deliveries()[0].body_parts().to_string(),
//!     r#"{"event":"evt-sample","turns":0,"email":{/contact/email}}"#
//! );
//! # Ok(())
//! # }
//! ```
//! Its `plugin.toml`:
//! ```toml
//! [plugin]
//! name = "loyalty"
//! version = "1.0.0"
//! partner = "gold-club"
//! api = "0.1"
//! summary = "Tells the loyalty service that a member had a chat."
//! privacy-policy = "https://gold-club.example/privacy"
//! purpose = "essential.service.operations.support"
//!
//! [[share]]
//! event = "chat.ended"
//! receives = [
//!   { field = "/contact/email", access = "sealed", why = "finds the member" },
//!   { field = "/transcript/*/speaker", access = "read", why = "counts the turns" },
//! ]
//!
//! [[endpoint]]
//! name = "chats"
//! method = "POST"
//! url = "https://api.gold-club.example/v1/{program}/chats"
//! media-type = "application/json"
//! auth = { bearer = "api-key" }
//!
//! [settings]
//! schema = "schemas/settings.json"
//! secrets = ["api-key"]
//! ```
//! and its `Cargo.toml` has `crate-type = ["cdylib", "rlib"]` and depends on this crate and serde.
//! `gateway plugin build DIR` makes the component, `gateway plugin check FILE` says what is wrong
//! with it.
//!
//! # What to know
//! - **What a plugin can read counts as shared with its partner**, sent or not. Ask for `sealed`
//!   where the value is only passed on.
//! - **Everything readable in a call labels everything that comes out of it**: requests, returned
//!   fields, log lines and failure texts.
//! - **One undeclared field, endpoint or header refuses the whole outcome.** Build bodies with
//!   [`json`], [`xml`] and [`form`], which leave a value no way out of its place.
//! - **Nothing lasts from call to call** but what is put into [`memory`].
//! - **Two versions of the interface are served.** This crate builds for 0.1; its feature `api-0-2` builds for 0.2
//!   (`api = "0.2"` in the manifest), which has `budget` and `Failure::later`.
//! - **This crate is also the plugin's allocator**, made for instances that last for one call. A plugin that brings
//!   another one (`#[global_allocator]`) depends on it with `default-features = false`.
//! - A panic ends that call and nothing else; its place is in the [`log`].

pub mod aggregates;
#[cfg(all(feature = "allocator", any(target_family = "wasm", test)))]
mod allocator;
#[cfg(not(feature = "api-0-2"))]
#[doc(hidden)]
pub mod bindings;
#[cfg(feature = "api-0-2")]
#[doc(hidden)]
#[path = "bindings/v0_2.rs"]
pub mod bindings;
#[cfg(feature = "api-0-2")]
pub mod budget;
mod event;
pub mod events;
pub mod exchange;
mod field;
pub mod form;
mod hooks;
pub mod json;
pub mod log;
pub mod memory;
mod request;
pub mod xml;

pub use event::{Event, EventData, EventType, NoSettings};
pub use field::{Field, Parts, Sealed};
pub use hooks::{Decide, Failure, Message, Receive, Share};
pub use request::{Outcome, Request};
pub use serde_json;

#[doc(hidden)]
pub use event::not_handled as __not_handled;
#[doc(hidden)]
pub use hooks::{
    DecideAdapter as __DecideAdapter, ReceiveAdapter as __ReceiveAdapter, ShareAdapter as __ShareAdapter,
    serves_decide as __serves_decide, serves_receive as __serves_receive, serves_share as __serves_share,
};

/// The README's plugin, compiled with the documentation's examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
