//! What the specification's tests share: real components, the real binary, a real server on port 0, a real
//! partner endpoint, a clock that can be moved. It asserts nothing about the product.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

pub mod builds;
pub mod child;
pub mod client;
pub mod events;
pub mod gateway;
pub mod pace;
pub mod partner;
pub mod paths;
pub mod remade;
pub mod wire;
pub mod world;

use std::future::Future;
use std::time::{Duration, Instant};

pub use builds::{Component, Components, built_at, components, gateway_binary, measured_binary};
pub use child::{ChildConfig, ChildGateway};
pub use client::{Answer, Client, Keyed, signing_key};
pub use gateway::{Options, TestGateway};
pub use partner::{Behaviour, Partner, Received};

/// Longer than anything here takes on a busy machine; only a failure waits for it.
pub const BOUND: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer; the tests measure no time.
///
/// # Panics
/// Where there is none within [`BOUND`].
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + BOUND;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
