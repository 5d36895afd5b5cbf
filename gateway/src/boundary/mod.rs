//! The boundary: the only maker of `Permitted<T>`. It knows the policy, the manifest and the
//! catalogue; it may not know wasmtime, sqlx, reqwest or axum.

mod aggregate;
mod book;
mod connection;
mod from_plugin;
mod permitted;
pub mod placing;
mod prepared;
mod subject;
mod toward_authority;
mod toward_partner;
mod toward_plugin;
mod types;

pub use aggregate::{AggregateQuestion, Aggregates, Countable, MayAsk, Told, let_ask, tell};
pub use book::{Moment, PolicyBook, Question};
pub use connection::{Connection, Grant, Hook, HookField, Release, ReleaseError, Trigger, grant_key};
pub use from_plugin::{
    Carried, Checked, PlannedDelivery, Returned, ReturnedField, Violation, from_decide, from_share,
};
pub use permitted::Permitted;
pub use subject::{Integration, Subject, base_facts};
pub use toward_authority::{TowardAuthority, toward_authority};
pub use toward_partner::{Stays, TowardPartner, toward_partner};
pub use toward_plugin::{Crossing, Decided, EventView, NotRun, TowardPlugin, toward_plugin, verdicts};
pub use types::{OutboundRequest, Part, PluginInput, PluginOutcome, PluginRequest};
