//! What happens when: accept, dispatch, deliver. It asks the boundary before anything crosses, and
//! commits to the ledger before anything is released. It may not know axum, sqlx or wasmtime.

mod accept;
mod aggregates;
mod breaker;
mod connections;
mod consumers;
mod control;
mod counts;
mod decide;
mod deliver;
mod disclosures;
mod dispatch;
mod documents;
mod error;
mod event;
mod exchange;
mod exposure;
mod failed;
mod flows;
mod gateway;
mod grant;
mod identity;
mod inbound;
mod keys;
mod ledger;
mod links;
mod memories;
mod messages;
mod model;
mod onward;
mod partner_calls;
mod partner_model;
mod partner_status;
mod preview;
mod publish;
mod queue;
mod reading;
mod recording;
mod registry;
mod rehearsal;
mod releases;
mod sms;
mod switch_model;
mod switching;
mod trial;
mod views;
mod worker;

/// The signature of a partner's message, as it came.
pub use crate::outbound::Signed;
pub use aggregates::{AggregateGroup, AggregateQuery, AggregateView};
pub use counts::Counts;
pub use disclosures::{
    ApprovalInput, DisclosureExport, DisclosureInput, DisclosureReason, DisclosureStep, DisclosureView,
    ExportedEvent, ExportedKept,
};
pub use error::{Problem, Refusal};
pub use gateway::{Gateway, Parts, StartError, Tuning};
pub use grant::{FormedField, GrantEntry, GrantMap, carried};
pub use keys::{new_key, store_new_key};
// What the API says of releases, as the manifest's room puts it.
pub use crate::manifest::{Declaration, Difference, RELEASE_SIGNATURE};
pub use model::*;
pub use partner_model::*;
pub use reading::{Unreadable, read_document};
pub use recording::{Comparison, MAY_DIFFER, NotRepeated, RecordedInput, RecordedRelease, RecordingView};
pub use registry::rfc3339;
pub use rehearsal::{
    Case, CaseProblem, Rehearsal, RehearsalError, RehearsedCall, RehearsedPlugin, differences, read_case,
};
pub use switch_model::*;
