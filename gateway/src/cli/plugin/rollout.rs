//! `gateway plugin rollout`: gives a release to some of a brand's consumers first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::connection_view;
use crate::cli::CliError;
use crate::cli::client::{ClientArgs, segment};
use crate::cli::output::FormatArgs;
use crate::pipeline::{GrantEntry, RolloutInput};

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
    /// A file with the brand's consent to a release that gets more: JSON, as a connection's `grant`
    #[arg(long, value_name = "FILE", conflicts_with = "end")]
    grant: Option<PathBuf>,
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
        let grant = self.grant.as_deref().map(read_grant).transpose()?;
        let client = self.client.connect()?;
        let path =
            format!("/v1/brands/{}/connections/{}/rollout", segment(&self.brand), segment(&self.plugin));
        let answer = match self.release {
            Some(release) => {
                let input = RolloutInput { release, percent: self.percent, grant, settings: None };
                client.put(&path, &input).await?
            }
            None => client.delete(&path).await?,
        };
        connection_view(&answer, self.format)
    }
}

/// A grant as a connection's document has it.
fn read_grant(path: &Path) -> Result<BTreeMap<String, BTreeSet<GrantEntry>>, CliError> {
    let text = std::fs::read(path).map_err(CliError::file("reading", path))?;
    serde_json::from_slice(&text).map_err(|error| {
        let (path, line, column) = (path.display(), error.line(), error.column());
        CliError::FellShort(format!(
            "{path}: line {line}, column {column}: this is no grant; write an object of hooks with lists of fields, as {{\"share chat.ended\": [\"/contact/email\"]}}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_and_what_is_none_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grant.json");
        std::fs::write(&path, r#"{"share chat.ended":["/a",{"field":"/b","as":"day"}]}"#).unwrap();
        assert_eq!(read_grant(&path).unwrap()["share chat.ended"].len(), 2);
        for text in ["", "[]", r#"{"share chat.ended":"/contact/email"}"#] {
            std::fs::write(&path, text).unwrap();
            let told = read_grant(&path).unwrap_err().to_string();
            assert!(told.contains("grant.json: line 1, column"), "{told}");
        }
        assert!(matches!(read_grant(&dir.path().join("none")), Err(CliError::File { .. })));
    }
}
