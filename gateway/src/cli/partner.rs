//! `gateway partner`: the partners, through the API of a running gateway.

use super::CliError;
use super::client::{ClientArgs, segment};
use super::output::{self, FormatArgs, Table};
use crate::pipeline::PartnerInput;

/// Partners: who runs plugins
#[derive(Debug, clap::Subcommand)]
pub(super) enum Partner {
    /// Write a partner's record: make it, or replace what is there; its contracts stay
    #[command(after_help = "\
Example:
  gateway partner put acme-crm --display-name 'Acme CRM' --region US --domain acme.example")]
    Put(Put),
}

#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The partner's name, as manifests give it
    name: String,
    /// The company's name, for people
    #[arg(long)]
    display_name: String,
    /// US, CH, GB, EU, or an ISO 3166-1 country; another counts as unknown, and so as outside the EU
    #[arg(long)]
    region: String,
    /// A domain under which the partner's endpoints may be; repeat for more
    #[arg(long = "domain")]
    domains: Vec<String>,
    /// The platform or a brand gets something of value for data shared with this partner
    #[arg(long)]
    consideration: bool,
    /// An Ed25519 key that the partner signs messages with, `whpk_…`; repeat for more
    #[arg(long = "webhook-key")]
    webhook_keys: Vec<String>,
    /// An Ed25519 key that the partner signs its releases with, `rlpk_…`; repeat for more
    #[arg(long = "release-key")]
    release_keys: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Partner {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::Put(put) = self;
        let input = PartnerInput {
            display_name: put.display_name,
            region: put.region,
            domains: put.domains,
            consideration: put.consideration,
            webhook_keys: put.webhook_keys,
            release_keys: put.release_keys,
        };
        let client = put.client.connect()?;
        let answer = client.put(&format!("/v1/partners/{}", segment(&put.name)), &input).await?;
        if put.format.json() {
            return output::json(&answer);
        }
        let mut table = Table::new(&["partner", "display name", "region", "domains", "consideration"]);
        let consideration = input.consideration.to_string();
        table.row([put.name, input.display_name, input.region, input.domains.join(" "), consideration]);
        output::line(&table.render())
    }
}
