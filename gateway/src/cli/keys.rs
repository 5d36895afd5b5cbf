//! `gateway keys`: API keys, written into the store itself, because the first one cannot come through
//! the API. A running gateway notices by itself.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use super::CliError;
use super::assemble;
use super::output::{self, FormatArgs, Table};
use crate::clock::Clock;
use crate::config::Config;
use crate::pipeline::{Refusal, Role, new_key};
use crate::store::{ApiKeyRecord, Change, Store as _};

/// The name of this program in the record of changes.
const ACTOR: &str = "command-line";

/// API keys: who may call
#[derive(Debug, clap::Subcommand)]
pub(super) enum Keys {
    /// Make a key and print it, this once
    #[command(after_help = "\
Examples:
  gateway keys create --role operator
  gateway keys create --role source --brand northside-motors")]
    Create(Create),
    /// Take a key back; calls with it are refused from then on
    #[command(after_help = "\
Example:
  gateway keys revoke KEY-ID")]
    Revoke(Revoke),
    /// List the keys that are not revoked, by id
    #[command(after_help = "\
Example:
  gateway keys list --format json")]
    List(List),
}

#[derive(Debug, clap::Args)]
struct StoreArgs {
    /// The configuration of the gateway whose keys these are
    #[arg(long, env = "GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// What the key may do
    #[arg(long, value_enum)]
    role: RoleArg,
    /// The only brand it may touch; for roles source and brand
    #[arg(long)]
    brand: Option<String>,
    /// The only partner it may act for; for role partner
    #[arg(long)]
    partner: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The key's id, as `create` and `list` print it
    id: String,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    store: StoreArgs,
}

/// The roles, for the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// Writes brands, partners and contracts
    Operator,
    /// Sends one brand's events and asks for decisions
    Source,
    /// Switches integrations on and off for one brand
    Brand,
    /// Publishes one partner's plugins
    Partner,
    /// Reads the ledger
    Auditor,
}

impl RoleArg {
    fn role(self) -> Role {
        match self {
            Self::Operator => Role::Operator,
            Self::Source => Role::Source,
            Self::Brand => Role::Brand,
            Self::Partner => Role::Partner,
            Self::Auditor => Role::Auditor,
        }
    }
}

impl Keys {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run().await,
            Self::Revoke(revoke) => revoke.run().await,
            Self::List(list) => list.run().await,
        }
    }
}

fn change(what: String) -> Change {
    Change { at_ms: Clock::system().now_ms(), actor: ACTOR.to_owned(), what }
}

fn failed(error: crate::store::StoreError) -> CliError {
    CliError::FellShort(error.to_string())
}

impl Create {
    /// The key, before the store is touched: a scope that does not fit the role is a wrong usage.
    fn make(&self) -> Result<(ApiKeyRecord, String), CliError> {
        let now_ms = Clock::system().now_ms();
        new_key(self.role.role(), self.brand.as_deref(), self.partner.as_deref(), now_ms).map_err(|refusal| {
            match refusal {
                Refusal::Invalid { problems, .. } => {
                    let details: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    CliError::Usage(format!(
                        "{}; give or leave out --brand and --partner",
                        details.join("; ")
                    ))
                }
                other => CliError::FellShort(other.to_string()),
            }
        })
    }

    async fn run(self) -> Result<(), CliError> {
        let role = self.role.role();
        let (record, secret) = self.make()?;
        let store = assemble::open_store(&Config::load(self.store.config.as_deref())?).await?;
        let id = record.id.clone();
        let written = store.put_key(record, change(format!("create key {id} ({})", role.as_str()))).await;
        store.close().await;
        written.map_err(failed)?;
        if self.store.format.json() {
            return output::json(&json!({
                "id": id,
                "role": role.as_str(),
                "brand": self.brand,
                "partner": self.partner,
                "key": secret,
            }));
        }
        let mut table = Table::new(&["id", "role", "scope", "key (shown this once)"]);
        let scope = self.brand.or(self.partner).unwrap_or_else(|| "-".to_owned());
        table.row([id, role.as_str().to_owned(), scope, secret]);
        output::line(&table.render())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let store = assemble::open_store(&Config::load(self.store.config.as_deref())?).await?;
        let revoked = store.revoke_key(&self.id, change(format!("revoke key {}", self.id))).await;
        store.close().await;
        if !revoked.map_err(failed)? {
            let hint = "`gateway keys list` shows the keys that are not revoked";
            return Err(CliError::FellShort(format!("there is no key {} to revoke; {hint}", self.id)));
        }
        if self.store.format.json() {
            return output::json(&json!({ "id": self.id, "revoked": true }));
        }
        output::line(&format!("revoked {}", self.id))
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let store = assemble::open_store(&Config::load(self.store.config.as_deref())?).await?;
        let keys = store.keys().await;
        store.close().await;
        let keys = keys.map_err(failed)?;
        if self.store.format.json() {
            let rows: Vec<_> = keys
                .iter()
                .map(|key| {
                    json!({
                        "id": key.id,
                        "role": key.role,
                        "brand": key.brand,
                        "partner": key.partner,
                        "created": created(key.created_ms),
                    })
                })
                .collect();
            return output::json(&rows);
        }
        let mut table = Table::new(&["id", "role", "scope", "created"]);
        for key in keys {
            let scope = key.brand.or(key.partner).unwrap_or_else(|| "-".to_owned());
            table.row([key.id, key.role, scope, created(key.created_ms)]);
        }
        output::line(&table.render())
    }
}

/// RFC 3339, to the second.
fn created(ms: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_exactly_the_scope_that_it_needs() {
        let some = || Some("x".to_owned());
        for (role, brand, partner, fine) in [
            (RoleArg::Operator, None, None, true),
            (RoleArg::Operator, some(), None, false),
            (RoleArg::Source, some(), None, true),
            (RoleArg::Source, None, None, false),
            (RoleArg::Brand, some(), None, true),
            (RoleArg::Brand, some(), some(), false),
            (RoleArg::Partner, None, some(), true),
            (RoleArg::Partner, some(), None, false),
            (RoleArg::Auditor, None, None, true),
            (RoleArg::Auditor, None, some(), false),
        ] {
            let store = StoreArgs { config: None, format: FormatArgs::default() };
            let create = Create { role, brand, partner, store };
            let made = create.make();
            assert_eq!(made.is_ok(), fine, "{create:?}");
            assert!(fine || matches!(made, Err(CliError::Usage(_))));
        }
    }
}
