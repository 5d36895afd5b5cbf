//! `gateway plugin withdraw`: takes a release back; nothing switches to it any more.

use super::release_view;
use crate::cli::CliError;
use crate::cli::client::{ClientArgs, segment};
use crate::cli::output::FormatArgs;
use crate::pipeline::ReasonInput;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Withdraw {
    /// The plugin
    plugin: String,
    /// The release: its version, or the SHA-256 of its component
    release: String,
    /// Why; brands and the partner read it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Withdraw {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.client.connect()?;
        let (plugin, release) = (segment(&self.plugin), segment(&self.release));
        let path = format!("/v1/plugins/{plugin}/releases/{release}/withdraw");
        let answer = client.post_document(&path, &ReasonInput { reason: self.reason }).await?;
        release_view(&answer, self.format)
    }
}
