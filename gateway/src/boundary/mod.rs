//! The boundary: the only maker of `Permitted<T>`. It knows the policy, the manifest and the
//! catalogue; it may not know wasmtime, sqlx, reqwest or axum.

mod across;
mod aggregate;
mod book;
mod combine;
mod connection;
mod declared;
mod exchange;
mod forms;
mod from_plugin;
mod memory;
mod numbers;
mod onward;
mod permitted;
pub mod placing;
mod prepared;
mod received;
mod subject;
mod text;
mod toward_authority;
mod toward_partner;
mod toward_plugin;
mod toward_receive;
mod transform;
mod types;
mod violation;

pub use aggregate::{AggregateQuestion, Aggregates, Countable, MayAsk, Told, let_ask, tell};
pub use book::{Moment, PolicyBook, Question};
pub use combine::{Combination, Path, answers_kept_apart, refused_meetings};
pub use connection::{
    Connection, Grant, Hook, HookField, MESSAGE, Release, ReleaseError, Source, Trigger, combine_key,
    grant_key,
};
pub use exchange::{NotAReply, PlannedExchange, plan_exchange, reply};
pub use from_plugin::{Carried, Checked, PlannedDelivery, Returned, ReturnedField, from_decide, from_share};
pub use memory::{Memory, MemoryAfter, Recalled, recall};
pub use numbers::{as_number, is_by_sms, is_number, numbers_within};
pub use onward::{Onward, Partners, Returner, labels_of_returned, returned_category};
pub use permitted::Permitted;
pub use received::{Exposed, MAX_MERGED_BYTES, Received, TooLarge};
pub use subject::{Integration, Subject, base_facts};
pub use text::may_see_text;
pub use toward_authority::{Kept, TowardAuthority, kept_toward_authority, toward_authority};
pub use toward_partner::{Stays, TowardPartner, toward_partner};
pub use toward_plugin::{Crossing, Decided, EventView, NotRun, TowardPlugin, toward_plugin, verdicts};
pub use toward_receive::{MessageView, TowardReceive, toward_receive};
pub use transform::{PseudonymKey, fits_form};
pub use types::{
    MemoryUse, OutboundRequest, Part, PluginInput, PluginMessage, PluginOutcome, PluginReply, PluginRequest,
};
pub use violation::Violation;
