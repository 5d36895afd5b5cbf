//! Asking the partner during a call, and waiting for the answer.
//!
//! The call's deadline runs on while the partner answers, and each call may ask four times. An answer carries
//! the labels of its request, those of sealed fields included, and the category that the manifest declares for
//! the endpoint (`reply = "CATEGORY"`); so does everything that the call gives back afterwards.
//!
//! A plugin with the hook `receive` may not ask at all: the partner could tell from it whose messages run nothing.
//!
//! ```
//! use plugin_sdk::{Failure, Request, exchange, json};
//!
//! fn tier(member: &str) -> Result<Option<String>, Failure> {
//!     let reply = exchange::ask(Request::to("members").body(json::object().with("member", member)))?;
//!     Ok(reply.body.get("tier").and_then(|tier| tier.as_str()).map(str::to_owned))
//! }
//! # exchange::sample(200, plugin_sdk::serde_json::json!({ "tier": "gold" }));
//! # assert_eq!(tier("m-17"), Ok(Some("gold".to_owned())));
//! # assert!(matches!(tier("m-17"), Err(Failure::Unavailable(_))));
//! ```

use serde_json::Value;

use crate::{Failure, Request};

/// What the partner answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// HTTP status; a partner that refuses answers, too.
    pub status: u16,
    /// Null where there was no body.
    pub body: Value,
}

/// Sends the request to an endpoint of the manifest, once, and waits.
///
/// # Errors
/// [`Failure::Rejected`] where the manifest does not allow it; [`Failure::Unavailable`] where there is no
/// answer, for whatever reason. A hook that cannot do without may give the failure back as it is.
pub fn ask(request: Request) -> Result<Reply, Failure> {
    host::ask(request)
}

#[cfg(target_arch = "wasm32")]
mod host {
    use super::{Reply, Value};
    use crate::bindings::{exchange, types};
    use crate::{Failure, Request};

    pub(super) fn ask(request: Request) -> Result<Reply, Failure> {
        match exchange::send(&request.into_wire()) {
            Ok(types::Response { status, body }) => {
                Ok(Reply { status, body: crate::serde_json::from_str(&body).unwrap_or(Value::Null) })
            }
            Err(types::Failure::Rejected(reason)) => Err(Failure::Rejected(reason)),
            Err(types::Failure::Unavailable(reason)) => Err(Failure::Unavailable(reason)),
            #[cfg(feature = "api-0-2")]
            Err(types::Failure::Later((seconds, reason))) => Err(Failure::Later(seconds, reason)),
        }
    }
}

/// Has the next request of this thread's native tests answered so; without, there is no answer.
#[cfg(not(target_arch = "wasm32"))]
pub fn sample(status: u16, body: Value) {
    host::REPLIES.with_borrow_mut(|replies| replies.push_back(Reply { status, body }));
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::Reply;
    use crate::{Failure, Request};

    thread_local! {
        pub(super) static REPLIES: RefCell<VecDeque<Reply>> = RefCell::default();
    }

    pub(super) fn ask(_request: Request) -> Result<Reply, Failure> {
        let reply = REPLIES.with_borrow_mut(VecDeque::pop_front);
        reply.ok_or_else(|| Failure::unavailable("no answer was given to this test"))
    }
}
