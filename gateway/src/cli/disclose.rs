//! `gateway disclose`: exports to an authority, through the API of a running gateway. The two persons' keys
//! are two keys: whoever approves gives another one than whoever asked.

use std::path::PathBuf;

use serde_json::Value;

use super::CliError;
use super::client::{ClientArgs, segment};
use super::output::{self, FormatArgs, Table};
use crate::pipeline::{ApprovalInput, DisclosureInput, DisclosureReason};

const JSON: &str = "application/json";

/// Exports to an authority: one person asks, another approves
#[derive(Debug, clap::Subcommand)]
pub(super) enum Disclose {
    /// Ask for an export of a consumer's data
    #[command(after_help = "\
Example:
  gateway disclose request northside-motors --consumer consumer-17 --reason i \\
    --scope user.contact --scope purchase.completed --authority 'District Court of Springfield' \\
    --reference 'order 2026-118' --person 'Ada Bell'")]
    Request(Request),
    /// Show a request as it stands, before approving it
    #[command(after_help = "\
Example:
  gateway disclose show northside-motors 019af0c2d1e07a5d3f6b8c9d0e1f2a3b")]
    Show(Which),
    /// Approve a request, as a second person with another key
    #[command(after_help = "\
Example:
  gateway disclose approve northside-motors 019af0c2d1e07a5d3f6b8c9d0e1f2a3b --person 'Carl Dow'")]
    Approve(Approve),
    /// Export what was approved, as JSON
    #[command(after_help = "\
Example:
  gateway disclose export northside-motors 019af0c2d1e07a5d3f6b8c9d0e1f2a3b --out order-118.json")]
    Export(Export),
}

#[derive(Debug, clap::Args)]
pub(super) struct Request {
    /// The brand's name
    brand: String,
    /// The brand's id for the consumer, as in an event's `subject`
    #[arg(long)]
    consumer: String,
    /// The policy's reason: (i) legal process, (ii) a lawsuit, (iii) enforcing the policy or an agreement, (iv)
    /// unauthorised or illegal activity, (v) rights or property
    #[arg(long, value_parser = reason)]
    reason: DisclosureReason,
    /// A data category with all below it, or an event type; repeat for more
    #[arg(long = "scope", required = true)]
    scope: Vec<String>,
    /// The authority that gets it
    #[arg(long)]
    authority: String,
    /// The authority's reference
    #[arg(long)]
    reference: String,
    /// Who asks
    #[arg(long)]
    person: String,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The brand's name
    brand: String,
    /// The disclosure's id
    id: String,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Approve {
    #[command(flatten)]
    which: Which,
    /// Who approves: not the person who asked
    #[arg(long)]
    person: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The brand's name
    brand: String,
    /// The disclosure's id
    id: String,
    /// A new file for the export; left out: standard output
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

fn reason(text: &str) -> Result<DisclosureReason, String> {
    serde_json::from_value(Value::from(text)).map_err(|_| "one of i, ii, iii, iv, v".to_owned())
}

impl Disclose {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Request(request) => request.run().await,
            Self::Show(which) => {
                let answer = which.client.connect()?.get(&which.path(), &[]).await?;
                show(which.format, &answer)
            }
            Self::Approve(Approve { which, person }) => {
                let path = format!("{}/approve", which.path());
                let body = body(&ApprovalInput { person })?;
                let answer = which.client.connect()?.post(&path, JSON, body).await?;
                show(which.format, &answer)
            }
            Self::Export(export) => export.run().await,
        }
    }
}

impl Request {
    async fn run(self) -> Result<(), CliError> {
        let Self { brand, consumer, reason, scope, authority, reference, person, client, format } = self;
        let scope = scope.into_iter().collect();
        let input = DisclosureInput { consumer, reason, scope, authority, reference, person };
        let path = format!("/v1/brands/{}/disclosures", segment(&brand));
        show(format, &client.connect()?.post(&path, JSON, body(&input)?).await?)
    }
}

impl Export {
    async fn run(self) -> Result<(), CliError> {
        let path = format!("{}/export", path(&self.brand, &self.id));
        let client = self.client.connect()?;
        let Some(file) = self.out else { return output::json(&client.get(&path, &[]).await?) };
        // Before it is asked for, because each export has a row of the ledger. Never over another file, and for its owner
        // alone: it is a consumer's data.
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let mut written = options.open(&file).map_err(CliError::file("writing", &file))?;
        let answer = client.get(&path, &[]).await.inspect_err(|_| {
            // Nothing is in it.
            let _ = std::fs::remove_file(&file);
        })?;
        let text = serde_json::to_string_pretty(&answer)
            .map_err(|_| CliError::FellShort("the answer is no JSON".into()))?;
        std::io::Write::write_all(&mut written, text.as_bytes()).map_err(CliError::file("writing", &file))?;
        output::line(&format!("written to {}", file.display()))
    }
}

impl Which {
    fn path(&self) -> String {
        path(&self.brand, &self.id)
    }
}

fn path(brand: &str, id: &str) -> String {
    format!("/v1/brands/{}/disclosures/{}", segment(brand), segment(id))
}

fn body<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, CliError> {
    serde_json::to_vec(value).map_err(|_| CliError::FellShort("the request is no JSON".into()))
}

fn show(format: FormatArgs, answer: &Value) -> Result<(), CliError> {
    if format.json() {
        return output::json(answer);
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("-").to_owned();
    let at = |pointer: &str| text(answer.pointer(pointer));
    let scope = answer.get("scope").and_then(Value::as_array).into_iter().flatten();
    let scope: Vec<String> = scope.map(|name| text(Some(name))).collect();
    let mut table = Table::new(&[
        "disclosure",
        "state",
        "reason",
        "consumer",
        "scope",
        "authority",
        "reference",
        "asked by",
        "approved by",
        "expires",
    ]);
    table.row([
        at("/id"),
        at("/state"),
        at("/clause"),
        at("/consumer"),
        scope.join(" "),
        at("/authority"),
        at("/reference"),
        at("/requested/person"),
        at("/approved/person"),
        at("/expires"),
    ]);
    output::line(&table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_of_the_policys_five() {
        for (text, clause) in [
            ("i", Some("share.legal.i")),
            ("ii", Some("share.legal.ii")),
            ("iii", Some("share.legal.iii")),
            ("iv", Some("share.legal.iv")),
            ("v", Some("share.legal.v")),
            ("vi", None),
            ("I", None),
            ("", None),
        ] {
            assert_eq!(reason(text).ok().map(DisclosureReason::clause), clause, "{text:?}");
        }
    }
}
