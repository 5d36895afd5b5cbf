//! `gateway compile-component`: the process in which the sandbox compiles. It starts nothing else.

use std::path::PathBuf;

use super::CliError;
use crate::plugin_host::{self, HostError, Limits};

/// Compile one component; started by the gateway, with limits on itself
#[derive(Debug, clap::Args)]
#[command(name = plugin_host::COMPILE_SUBCOMMAND, hide = true)]
pub(super) struct CompileComponent {
    /// The component
    input: PathBuf,
    /// Where its machine code goes
    output: PathBuf,
    /// The directory of modules that were compiled before
    compiled: PathBuf,
    /// How far it stands back behind other processes
    #[arg(long)]
    niceness: i32,
    /// Seconds of processor time
    #[arg(long)]
    cpu_seconds: u64,
    /// Bytes of writable memory
    #[arg(long)]
    memory: u64,
    /// Bytes of address space
    #[arg(long)]
    address_space: u64,
    /// Bytes of machine code
    #[arg(long)]
    artifact_bytes: u64,
}

impl CompileComponent {
    pub(super) fn run(self) -> Result<(), CliError> {
        let limits = Limits {
            compile_niceness: self.niceness,
            compile_cpu_seconds: self.cpu_seconds,
            compile_memory: self.memory,
            compile_address_space: self.address_space,
            artifact_bytes: self.artifact_bytes,
            ..Limits::default()
        };
        plugin_host::compile_component_child(&self.input, &self.output, &self.compiled, &limits).map_err(
            |error| match error {
                HostError::Invalid { .. } => CliError::FellShort(error.to_string()),
                error => CliError::OfThisMachine(error.to_string()),
            },
        )
    }
}
