//! `gateway contract`: what makes a partner a service provider, through the API of a running gateway.

use super::CliError;
use super::client::{ClientArgs, segment};
use super::output::{self, FormatArgs, Table};
use crate::pipeline::ContractInput;

/// Contracts: what makes a partner a service provider
#[derive(Debug, clap::Subcommand)]
pub(super) enum Contract {
    /// Write a contract: make it, or replace what is there
    #[command(after_help = "\
Example:
  gateway contract put engage dpa-2026 --purpose personalize.content.limited \\
    --category user --onward-transfer --expires 2027-01-01T00:00:00Z")]
    Put(Put),
}

#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The partner's name
    partner: String,
    /// The contract's name
    name: String,
    /// A fideslang data use that it covers, with all below it; repeat for more
    #[arg(long = "purpose", required = true)]
    purposes: Vec<String>,
    /// A fideslang data category that it covers, with all below it; repeat for more
    #[arg(long = "category", required = true)]
    categories: Vec<String>,
    /// It binds the partner for transfers out of the EU, the UK and Switzerland
    #[arg(long)]
    onward_transfer: bool,
    /// Something of value is given for the data
    #[arg(long)]
    consideration: bool,
    /// When it ends, RFC 3339; left out: until it is changed
    #[arg(long)]
    expires: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Contract {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::Put(put) = self;
        let input = ContractInput {
            purposes: put.purposes,
            categories: put.categories,
            onward_transfer: put.onward_transfer,
            consideration: put.consideration,
            expires: put.expires,
        };
        let client = put.client.connect()?;
        let path = format!("/v1/partners/{}/contracts/{}", segment(&put.partner), segment(&put.name));
        let answer = client.put(&path, &input).await?;
        if put.format.json() {
            return output::json(&answer);
        }
        let mut table = Table::new(&["partner", "contract", "purposes", "categories", "onward", "expires"]);
        table.row([
            put.partner,
            put.name,
            input.purposes.join(" "),
            input.categories.join(" "),
            input.onward_transfer.to_string(),
            input.expires.unwrap_or_else(|| "-".to_owned()),
        ]);
        output::line(&table.render())
    }
}
