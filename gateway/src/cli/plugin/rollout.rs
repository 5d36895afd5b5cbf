//! `gateway plugin rollout`: gives a release to some of a brand's consumers first.

use super::connection_view;
use crate::cli::CliError;
use crate::cli::client::{ClientArgs, segment};
use crate::cli::output::FormatArgs;
use crate::pipeline::RolloutInput;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RolloutArgs {
    /// The brand
    brand: String,
    /// The plugin
    plugin: String,
    /// The release: its version, or the SHA-256 of its component
    #[arg(required_unless_present = "end")]
    release: Option<String>,
    /// Of a hundred consumers; 100 switches the connection over
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100), default_value_t = 10)]
    percent: u8,
    /// End the rollout: every consumer gets the release that stands
    #[arg(long, conflicts_with_all = ["release", "percent"])]
    end: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl RolloutArgs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.client.connect()?;
        let path =
            format!("/v1/brands/{}/connections/{}/rollout", segment(&self.brand), segment(&self.plugin));
        let answer = match self.release {
            Some(release) => {
                let input = RolloutInput { release, percent: self.percent, grant: None, settings: None };
                client.put(&path, &input).await?
            }
            None => client.delete(&path).await?,
        };
        connection_view(&answer, self.format)
    }
}
