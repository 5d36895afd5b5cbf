//! Why what a plugin gave back, or asked for, is refused.

use std::sync::Arc;

use gateway_policy::KeptApart;

use super::from_plugin::{MAX_DELIVERIES, MAX_RETURNS_BYTES};
use super::placing::PlacingError;

/// Why an outcome is refused as a whole. Messages name declared things and counts, never what a plugin wrote.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// The text that the plugin returned is not JSON, or not an object.
    #[error("what the plugin returned is not a JSON object")]
    NotJson,
    /// Too much.
    #[error("the plugin returned {used} bytes; {MAX_RETURNS_BYTES} are allowed")]
    TooLarge {
        /// Bytes returned.
        used: usize,
    },
    /// The hook declares no returned fields.
    #[error("the plugin returned fields and its manifest declares none for this hook")]
    NothingDeclared,
    /// Against the schema, undeclared fields included.
    #[error("{count} returned fields are not as declared; the nearest declared path is {nearest:?}")]
    Undeclared {
        /// The nearest declared path.
        nearest: String,
        /// How many.
        count: usize,
    },
    /// A request would bring together what may not meet.
    #[error("a request would bring together fields that no granted combination lets meet there")]
    Combination(Arc<KeptApart>),
    /// What the partner received since the call was decided about, through another, may not meet what a request
    /// would bring: the same call again is decided with that.
    #[error("a request would bring what may not meet what the partner has received meanwhile")]
    Meanwhile(Arc<KeptApart>),
    /// More requests than a call may make.
    #[error("the plugin asked for {used} requests; {MAX_DELIVERIES} are allowed")]
    TooManyDeliveries {
        /// Requests asked for.
        used: usize,
    },
    /// An endpoint that the manifest does not declare.
    #[error(
        "the plugin asked for an endpoint that its manifest does not declare; it declares {declared} endpoints"
    )]
    UndeclaredEndpoint {
        /// Endpoints declared.
        declared: usize,
    },
    /// An endpoint whose answer has no category, and so no label.
    #[error("endpoint {endpoint} declares no reply; add `reply = \"CATEGORY\"` to it")]
    NoReplyDeclared {
        /// The endpoint.
        endpoint: String,
    },
    /// A request that cannot be put together as it was asked for.
    #[error(transparent)]
    Placing(#[from] PlacingError),
}

impl Violation {
    /// Whether the plugin is at fault.
    pub fn is_plugins_fault(&self) -> bool {
        match self {
            // Were what a sealed value does counted, the breaker would tell of it.
            Self::Placing(error) => !error.is_set_up_wrong() && !error.may_tell_of_values(),
            // Whether it met something else is a matter of the policy and of what the consumer chose; were it counted, the
            // breaker would tell.
            Self::Combination(_) | Self::Meanwhile(_) => false,
            _ => true,
        }
    }

    /// The labels that it would have brought together and may not.
    pub fn kept_apart(&self) -> Option<&Arc<KeptApart>> {
        match self {
            Self::Combination(pair) | Self::Meanwhile(pair) => Some(pair),
            _ => None,
        }
    }

    /// The ledger's code.
    pub fn code(&self) -> String {
        match self {
            Self::NotJson => "refused:returns-not-json".into(),
            Self::TooLarge { .. } => "refused:returns-too-large".into(),
            Self::NothingDeclared => "refused:returns-undeclared".into(),
            Self::Undeclared { .. } => "refused:undeclared-field".into(),
            Self::Combination(_) => "refused:combination".into(),
            Self::Meanwhile(_) => "failed:received-meanwhile".into(),
            Self::TooManyDeliveries { .. } => "refused:too-many-deliveries".into(),
            Self::UndeclaredEndpoint { .. } => "refused:undeclared-endpoint".into(),
            Self::NoReplyDeclared { .. } => "refused:no-reply-declared".into(),
            // Nothing that the plugin did wrong: not an outcome refused, but one that cannot be carried out.
            Self::Placing(error) if error.is_set_up_wrong() => format!("failed:{}", error.code()),
            Self::Placing(error) => format!("refused:{}", error.code()),
        }
    }
}
