//! The integration gateway. Rooms and their arrows are described in `ARCHITECTURE.md`;
//! a test reads the imports of each room and fails when an arrow turns.

pub mod boundary;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod manifest;
pub mod outbound;
pub mod pipeline;
pub mod plugin_host;
pub mod store;
