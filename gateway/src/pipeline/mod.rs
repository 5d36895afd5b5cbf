//! What happens when: accept, dispatch, deliver. It asks the boundary before anything crosses, and
//! commits to the ledger before anything is released. It may not know axum, sqlx or wasmtime.

mod error;
mod model;

pub use error::{Problem, Refusal};
pub use model::*;
