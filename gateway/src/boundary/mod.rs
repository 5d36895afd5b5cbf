//! The boundary: the only maker of `Permitted<T>`. It knows the policy, the manifest and the
//! catalogue; it may not know wasmtime, sqlx, reqwest or axum.

mod permitted;
pub mod placing;
mod types;

pub use permitted::Permitted;
pub use types::{OutboundRequest, Part, PluginInput, PluginOutcome, PluginRequest};
