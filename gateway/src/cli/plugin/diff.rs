//! `gateway plugin diff`: what a release changes, in plain words.

use std::path::Path;

use secrecy::SecretString;
use url::Url;

use super::read_component;
use crate::cli::CliError;
use crate::cli::client::{Client, DEFAULT_URL, read, segment};
use crate::cli::output::{self, FormatArgs, Table};
use crate::manifest::{self, Declaration, difference, imported_interfaces};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Diff {
    /// A component's file, or a published release as PLUGIN@VERSION
    old: String,
    /// The one to compare with it, likewise
    new: String,
    /// Address of the gateway's API, for published releases
    #[arg(long, env = "GATEWAY_URL", default_value = DEFAULT_URL, help_heading = "Gateway")]
    url: Url,
    /// API key, for published releases; the environment keeps it out of the process list
    #[arg(long, env = "GATEWAY_KEY", hide_env_values = true, help_heading = "Gateway")]
    key: Option<SecretString>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Diff {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let (old, new) = (self.declaration(&self.old).await?, self.declaration(&self.new).await?);
        let found = difference(&old, &new);
        if self.format.json() {
            return output::json(&found);
        }
        let mut table = Table::new(&["reach", "at", "change"]);
        for change in &found.changes {
            table.row([change.reach.as_str().to_owned(), change.at.clone(), change.what.clone()]);
        }
        if !table.is_empty() {
            output::line(&table.render())?;
        }
        output::line(&format!("the whole is {}", found.reach.as_str()))
    }

    async fn declaration(&self, named: &str) -> Result<Declaration, CliError> {
        let path = Path::new(named);
        if let Some((plugin, version)) = named.split_once('@').filter(|_| !path.exists()) {
            let key = self.key.clone().ok_or_else(|| {
                CliError::Usage(format!(
                    "{named} is a published release: give an API key with --key or GATEWAY_KEY"
                ))
            })?;
            let client = Client::new(&self.url, key)?;
            let path = format!("/v1/plugins/{}/releases/{}/declaration", segment(plugin), segment(version));
            return read(client.get(&path, &[]).await?);
        }
        let component = read_component(path)?;
        let inspected = manifest::inspect(&component).map_err(|problems| {
            let told: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
            CliError::FellShort(format!("{named} is no plugin that can be compared\n{}", told.join("\n")))
        })?;
        Ok(Declaration { manifest: inspected.manifest, interfaces: imported_interfaces(&component) })
    }
}
