//! `gateway plugin rollback`: returns a connection to an earlier release.

use super::connection_view;
use crate::cli::CliError;
use crate::cli::client::{ClientArgs, segment};
use crate::cli::output::FormatArgs;
use crate::pipeline::RollbackInput;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rollback {
    /// The brand
    brand: String,
    /// The plugin
    plugin: String,
    /// The release: its version, or the SHA-256 of its component; where not given, the one before, which after a
    /// rollback is the one that was left
    release: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Rollback {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.client.connect()?;
        let path =
            format!("/v1/brands/{}/connections/{}/rollback", segment(&self.brand), segment(&self.plugin));
        let answer = client.post_document(&path, &RollbackInput { release: self.release }).await?;
        connection_view(&answer, self.format)
    }
}
