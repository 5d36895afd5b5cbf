//! `gateway plugin publish`: a release, through the API of a running gateway.

use std::path::PathBuf;

use serde_json::Value;

use super::keygen::SigningArgs;
use super::read_component;
use crate::cli::CliError;
use crate::cli::client::ClientArgs;
use crate::cli::output::{self, FormatArgs, Table};
use crate::cli::progress::Progress;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Publish {
    /// The component
    file: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let component = read_component(&self.file)?;
        let signing_key = self.signing.read()?;
        let client = self.client.connect()?;
        let progress = Progress::spinner("publishing; the gateway checks and compiles it");
        let answer = client.publish(component, &signing_key).await;
        drop(progress);
        let answer = answer?;
        if self.format.json() {
            return output::json(&answer);
        }
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut table = Table::new(&["plugin", "version", "partner", "release"]);
        table.row([text("plugin"), text("version"), text("partner"), text("release")]);
        output::line(&table.render())
    }
}
