//! Why the pipeline refuses something. Messages name the thing, the rule and the remedy, and repeat no
//! value of a consumer.

use crate::store::StoreError;

/// What callers of the pipeline get instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was named.
        what: String,
    },
    /// A document that says something it may not. `problems` are all of it.
    #[error("{what} is not valid: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid {
        /// Which document.
        what: String,
        /// Everything wrong with it.
        problems: Vec<Problem>,
    },
    /// It stands against something that is there.
    #[error("{message}")]
    Conflict {
        /// What stands against what, and the remedy.
        message: String,
    },
    /// It was there, and what is needed of it is not kept any more.
    #[error("{message}")]
    Gone {
        /// What is missing, and why.
        message: String,
    },
    /// The caller may not do that.
    #[error("{message}")]
    Forbidden {
        /// Which rule, and the remedy.
        message: String,
    },
    /// A message that is not verifiably the partner's. It does not say why.
    #[error(
        "the message is not signed by the partner of a connection that takes messages, or not just now; sign `id.timestamp.body` with the connection's inbound secret (`v1`) or the partner's key (`v1a`)"
    )]
    Unsigned,
    /// A release that no key of its partner signed.
    #[error("{message}")]
    UnsignedRelease {
        /// What is wrong with its signature, and the remedy.
        message: String,
    },
    /// Too big.
    #[error("{what} has more than {limit} bytes; the limit is {limit}")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Bytes.
        limit: usize,
    },
    /// The store or the host cannot take it now; nothing was written.
    #[error("the gateway cannot take this now; nothing was written; try again")]
    Unavailable,
    /// A fault of ours. It reveals nothing; the log has it.
    #[error("an internal error; nothing was released")]
    Internal,
}

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// JSON Pointer into the document.
    pub pointer: String,
    /// The rule, and the remedy.
    pub detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.detail)
        } else {
            write!(f, "{}: {}", self.pointer, self.detail)
        }
    }
}

impl Refusal {
    /// A single problem.
    pub fn invalid(what: impl Into<String>, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            problems: vec![Problem { pointer: pointer.into(), detail: detail.into() }],
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => Self::Unavailable,
            StoreError::Exists(what) => Self::Conflict { message: format!("{what} exists already") },
            StoreError::Contradiction(what) => Self::Conflict {
                message: format!("the {what} contradicts what is stored; nothing was written"),
            },
            StoreError::Damaged(what) => {
                tracing::error!(what, "stored data is damaged");
                Self::Internal
            }
            StoreError::Unusable(why) => {
                tracing::error!(why, "the store cannot be used");
                Self::Internal
            }
        }
    }
}
