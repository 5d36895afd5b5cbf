//! `gateway brand`: the brands, through the API of a running gateway.

use super::CliError;
use super::client::{ClientArgs, segment};
use super::output::{self, FormatArgs, Table};
use crate::pipeline::BrandInput;

/// Brands: who has consumers
#[derive(Debug, clap::Subcommand)]
pub(super) enum Brand {
    /// Write a brand: make it, or replace what is there
    #[command(after_help = "\
Example:
  gateway brand put northside-motors --display-name 'Northside Motors'")]
    Put(Put),
}

#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The brand's name in paths and events: lower case, digits, hyphens
    name: String,
    /// The brand's name for people
    #[arg(long)]
    display_name: String,
    /// The platform's own brand, the only one that takes `forum.posted` and the like
    #[arg(long)]
    platform: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Brand {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::Put(put) = self;
        let input = BrandInput { display_name: put.display_name, platform: put.platform };
        let client = put.client.connect()?;
        let answer = client.put(&format!("/v1/brands/{}", segment(&put.name)), &input).await?;
        if put.format.json() {
            return output::json(&answer);
        }
        let mut table = Table::new(&["brand", "display name", "platform"]);
        table.row([put.name, input.display_name, input.platform.to_string()]);
        output::line(&table.render())
    }
}
