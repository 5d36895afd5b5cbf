//! The hooks that a plugin can serve, and the way from the interface to them. Decides nothing about data.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::{decide, receive, share, types};
use crate::event::unreadable;
use crate::request::to_json;
use crate::{Event, EventData, Outcome, log};

/// Takes events of a brand and hands them on to the partner: `[[share]]` in the manifest.
pub trait Share {
    /// A type of [`events`](crate::events), one of the plugin's own, or several by
    /// [`one_of!`](crate::one_of).
    type Event: EventData;
    /// The connection's settings, or [`NoSettings`](crate::NoSettings).
    type Settings: DeserializeOwned;

    /// One event. Each runs in a fresh instance: what shall last goes into [`memory`](crate::memory).
    ///
    /// # Errors
    /// [`Failure::Rejected`] where it can never work, [`Failure::Unavailable`] where it may later.
    fn on_event(event: Event<Self::Event, Self::Settings>) -> Result<Outcome, Failure>;
}

/// Answers a question that the brand waits for: `[[decide]]` in the manifest.
pub trait Decide {
    /// As for [`Share`].
    type Event: EventData;
    /// As for [`Share`].
    type Settings: DeserializeOwned;
    /// The answer, in the shape of the manifest's `returns` schema.
    type Answer: Serialize;

    /// The answer for `slot` on this event.
    ///
    /// # Errors
    /// A [`Failure`]: the brand then uses the slot's ordinary default.
    fn decide(slot: &str, event: Event<Self::Event, Self::Settings>) -> Result<Self::Answer, Failure>;
}

/// Takes a message of the partner about a consumer: `[[receive]]` in the manifest.
pub trait Receive {
    /// The message, as the partner sends it: JSON of this shape.
    type Message: DeserializeOwned;
    /// As for [`Share`].
    type Settings: DeserializeOwned;

    /// One message. What it returns ([`Outcome::returning`]) is stored for that brand and consumer, and reaches
    /// the plugin's other hooks under `partner`, where the manifest asks for it.
    ///
    /// # Errors
    /// A [`Failure`]: nothing of the message is stored.
    fn on_message(message: Message<Self::Message, Self::Settings>) -> Result<Outcome, Failure>;
}

/// A message about one consumer of one brand.
#[derive(Clone, Debug)]
pub struct Message<B, S> {
    /// Keyed for this connection.
    pub id: String,
    /// When the gateway took it, RFC 3339.
    pub time: String,
    /// The pseudonym by which the message named its consumer.
    pub consumer: Option<String>,
    /// As the partner sent it.
    pub body: B,
    /// The connection's settings.
    pub settings: S,
}

impl<B, S> Message<B, S> {
    /// A message for a plugin's own tests.
    pub fn sample(body: B, settings: S) -> Self {
        let time = "2017-11-02T09:06:01Z".into();
        Self { id: "msg-sample".into(), time, consumer: None, body, settings }
    }
}

impl<B: DeserializeOwned, S: DeserializeOwned> Message<B, S> {
    fn from_wire(message: receive::exports::integration::plugin::receive::Message) -> Result<Self, Failure> {
        let receive::exports::integration::plugin::receive::Message { id, time, consumer, body, settings } =
            message;
        let body = serde_json::from_str(&body)
            .map_err(|error| unreadable("the message is not of the shape that the plugin expects", &error))?;
        let settings = serde_json::from_str(&settings).map_err(|error| {
            unreadable("the settings are not of the type that the plugin expects", &error)
        })?;
        Ok(Self { id, time, consumer, body, settings })
    }
}

/// Why a call did not work. Its text is for the partner's developers; as it may repeat what the
/// plugin read, it carries the call's labels and is kept as carefully as the fields were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Will never work; not tried again.
    Rejected(String),
    /// May work later; tried again, with growing pauses.
    Unavailable(String),
    /// May work after so many seconds; tried again then, within an hour.
    #[cfg(feature = "api-0-2")]
    Later(u32, String),
}

impl Failure {
    /// Will never work.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected(reason.into())
    }

    /// May work later.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable(reason.into())
    }

    /// May work after so many seconds, at most an hour: as where the partner said when it will be back.
    #[cfg(feature = "api-0-2")]
    pub fn later(seconds: u32, reason: impl Into<String>) -> Self {
        Self::Later(seconds, reason.into())
    }

    fn into_wire(self) -> types::Failure {
        match self {
            Self::Rejected(reason) => types::Failure::Rejected(reason),
            Self::Unavailable(reason) => types::Failure::Unavailable(reason),
            #[cfg(feature = "api-0-2")]
            Self::Later(seconds, reason) => types::Failure::Later((seconds, reason)),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(reason) | Self::Unavailable(reason) => f.write_str(reason),
            #[cfg(feature = "api-0-2")]
            Self::Later(_, reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

/// Serves the interface's `share` with a plugin's [`Share`].
#[doc(hidden)]
pub struct ShareAdapter<P>(PhantomData<P>);

impl<P: Share> share::exports::integration::plugin::share::Guest for ShareAdapter<P> {
    fn on_event(event: types::Event) -> Result<types::Outcome, types::Failure> {
        log::report_panics();
        Event::from_wire(event).and_then(P::on_event).map(Outcome::into_wire).map_err(Failure::into_wire)
    }
}

/// Serves the interface's `decide` with a plugin's [`Decide`].
#[doc(hidden)]
pub struct DecideAdapter<P>(PhantomData<P>);

impl<P: Decide> decide::exports::integration::plugin::decide::Guest for DecideAdapter<P> {
    fn decide(slot: String, event: types::Event) -> Result<String, types::Failure> {
        log::report_panics();
        Event::from_wire(event)
            .and_then(|event| P::decide(&slot, event))
            .and_then(|answer| to_json(&answer))
            .map_err(Failure::into_wire)
    }
}

/// Serves the interface's `receive` with a plugin's [`Receive`].
#[doc(hidden)]
pub struct ReceiveAdapter<P>(PhantomData<P>);

impl<P: Receive> receive::exports::integration::plugin::receive::Guest for ReceiveAdapter<P> {
    fn on_message(
        message: receive::exports::integration::plugin::receive::Message,
    ) -> Result<types::Outcome, types::Failure> {
        log::report_panics();
        Message::from_wire(message)
            .and_then(P::on_message)
            .map(Outcome::into_wire)
            .map_err(Failure::into_wire)
    }
}

/// Says which hooks a plugin serves. Once per plugin, naming the hooks that its manifest declares:
/// the gateway refuses a plugin that exports more or less.
///
/// ```ignore
/// plugin_sdk::export!(MyPlugin: share);
/// plugin_sdk::export!(MyPlugin: share, decide);
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ident: $($hook:ident),+ $(,)?) => { $($crate::__export_hook!($plugin: $hook);)+ };
}

/// The type is named on every platform, so that a missing `impl` is found by a native build too.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($plugin:ident: share) => {
        const _: () = {
            #[allow(dead_code)]
            type Adapter = $crate::__ShareAdapter<$plugin>;
            const _: fn() = $crate::__serves_share::<$plugin>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::share::export_share!(Adapter with_types_in $crate::bindings::share);
        };
    };
    ($plugin:ident: decide) => {
        const _: () = {
            #[allow(dead_code)]
            type Adapter = $crate::__DecideAdapter<$plugin>;
            const _: fn() = $crate::__serves_decide::<$plugin>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::decide::export_decide!(Adapter with_types_in $crate::bindings::decide);
        };
    };
    ($plugin:ident: receive) => {
        const _: () = {
            #[allow(dead_code)]
            type Adapter = $crate::__ReceiveAdapter<$plugin>;
            const _: fn() = $crate::__serves_receive::<$plugin>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::receive::export_receive!(Adapter with_types_in $crate::bindings::receive);
        };
    };
    ($plugin:ident: $hook:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($hook),
            "` is not a hook that this version serves; there are `share`, `decide` and `receive`"
        ));
    };
}

#[doc(hidden)]
pub fn serves_share<P: Share>() {}

#[doc(hidden)]
pub fn serves_decide<P: Decide>() {}

#[doc(hidden)]
pub fn serves_receive<P: Receive>() {}
