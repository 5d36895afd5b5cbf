//! cli

pub mod plugin_build;
pub mod toolchain;
