//! `gateway plugin block`: stops a release at every brand, or lets it run again.

use super::release_view;
use crate::cli::CliError;
use crate::cli::client::{ClientArgs, segment};
use crate::cli::output::FormatArgs;
use crate::pipeline::ReasonInput;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Block {
    /// The plugin
    plugin: String,
    /// The release: its version, or the SHA-256 of its component
    release: String,
    /// Why; brands and the partner read it
    #[arg(long, required_unless_present = "lift")]
    reason: Option<String>,
    /// Let it run again
    #[arg(long, conflicts_with = "reason")]
    lift: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Block {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.client.connect()?;
        let (plugin, release) = (segment(&self.plugin), segment(&self.release));
        let path = format!("/v1/plugins/{plugin}/releases/{release}/block");
        let answer = match self.reason {
            Some(reason) => client.put(&path, &ReasonInput { reason }).await?,
            None => client.delete(&path).await?,
        };
        release_view(&answer, self.format)
    }
}
