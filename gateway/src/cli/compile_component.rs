//! `gateway compile-component`: the process in which the sandbox compiles. It starts nothing else.

use std::path::PathBuf;

use super::CliError;
use crate::plugin_host;

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
    niceness: i32,
}

impl CompileComponent {
    pub(super) fn run(self) -> Result<(), CliError> {
        let Self { input, output, compiled, niceness } = self;
        plugin_host::compile_component_child(&input, &output, &compiled, niceness)
            .map_err(|error| CliError::FellShort(error.to_string()))
    }
}
