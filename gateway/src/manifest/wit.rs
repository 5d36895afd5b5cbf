//! The interface's own text, for tools that build against it.

use super::interface::WIT;

/// One released version of the package `integration:plugin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Of the package, such as `0.1.0`.
    pub version: &'static str,
    /// Its WIT.
    pub text: &'static str,
}

/// The versions that a manifest may name as its `api`.
pub const SERVED: &str = "0.1";

/// The version of the package that a manifest's `api` stands for.
pub fn text(api: &str) -> Option<Text> {
    (api == SERVED).then_some(Text { version: "0.1.0", text: WIT })
}
