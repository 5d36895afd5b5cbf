//! A version of the policy with its words: the shipped one, a file's, or those of a gateway's configuration.

use std::path::Path;

use gateway_policy::{Clause, Policy as Rules, PolicyError, Wording, Words};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::{CliError, assemble};
use crate::config::Config;
use crate::store::crypto::format_digest;

/// The words of the shipped policy.
const SHIPPED_WORDING: &str = include_str!("../../../policies/wording/platform-2017-03-01.toml");
/// The folder beside a policy's file in which its words stand, in the file `<name>-<effective date>.toml`.
const WORDING: &str = "wording";

/// A version, and what its clauses say.
pub(super) struct Version {
    pub(super) rules: Rules,
    wording: Wording,
    /// As rows of the ledger name it.
    digest: String,
}

impl Version {
    /// The policy of a file.
    pub(super) fn of_file(file: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(file).map_err(CliError::file("reading", file))?;
        let fault = |error: PolicyError| CliError::FellShort(format!("{}: {error}", file.display()));
        let rules = Rules::parse(&text).map_err(fault)?;
        let wording = wording_beside(&rules, file.parent().unwrap_or(Path::new("")))?;
        Ok(Self { rules, wording, digest: digest(&text) })
    }

    /// Those of a configuration, the oldest first.
    pub(super) fn of_config(file: Option<&Path>) -> Result<Vec<Self>, CliError> {
        Self::all(Config::load(file)?.policies_dir.as_deref())
    }

    /// The shipped one, and those of this folder.
    pub(super) fn all(dir: Option<&Path>) -> Result<Vec<Self>, CliError> {
        let mut versions = Vec::new();
        for text in assemble::policies(dir)? {
            let rules = Rules::parse(&text).map_err(|error| CliError::FellShort(error.to_string()))?;
            let wording = match dir {
                Some(dir) => wording_beside(&rules, dir)?,
                None => shipped()?,
            };
            versions.push(Self { rules, wording, digest: digest(&text) });
        }
        versions.sort_by(|a, b| a.rules.effective().cmp(b.rules.effective()));
        Ok(versions)
    }

    /// The one in force on a day, `YYYY-MM-DD`.
    pub(super) fn in_force<'v>(versions: &'v [Self], day: &str) -> Result<&'v Self, CliError> {
        versions.iter().rfind(|version| version.rules.effective() <= day).ok_or_else(|| {
            CliError::FellShort(format!(
                "no policy of the configuration is in force on {day}; name one with --policy"
            ))
        })
    }

    /// The one in whose days a row of the ledger was written.
    pub(super) fn of_row<'v>(versions: &'v [Self], policy: &str) -> Option<&'v Self> {
        versions.iter().find(|version| version.digest == policy)
    }

    /// What is to be read of a clause; none where nothing is known of its words.
    pub(super) fn words(&self, clause: Clause) -> Option<Words<'_>> {
        self.wording.of(clause)
    }

    /// Whose words they are.
    pub(super) fn text_of(&self) -> Value {
        json!({ "name": self.wording.name(), "effective": self.wording.effective() })
    }

    /// The policy's words for a clause, with whose they are.
    pub(super) fn quoted(&self, clause: Clause) -> Option<String> {
        self.words(clause).map(|words| match words {
            Words::Quoted(text) => {
                format!("\"{text}\" (policy {} of {})", self.wording.name(), self.wording.effective())
            }
            Words::Unsaid(why) => format!(
                "policy {} of {} has no words for it: {why}",
                self.wording.name(),
                self.wording.effective()
            ),
        })
    }
}

fn digest(text: &str) -> String {
    format_digest(&Sha256::digest(text.as_bytes()).into())
}

fn shipped() -> Result<Wording, CliError> {
    Wording::parse(SHIPPED_WORDING).map_err(|error| CliError::FellShort(error.to_string()))
}

/// The words of a policy in this folder; where there are none the shipped ones, which say whose they are.
fn wording_beside(rules: &Rules, folder: &Path) -> Result<Wording, CliError> {
    let file = folder.join(WORDING).join(format!("{}-{}.toml", rules.name(), rules.effective()));
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            Wording::parse(&text).map_err(|error| CliError::FellShort(format!("{}: {error}", file.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => shipped(),
        Err(error) => Err(CliError::file("reading", &file)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::PolicyBook;

    /// The shipped policy from a day on, in a folder, with words for one clause or without.
    fn folder(day: &str, words: Option<&str>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("platform-{day}.toml");
        let text = PolicyBook::SHIPPED.replace("2017-03-01", day);
        std::fs::write(dir.path().join(&name), text).unwrap();
        if let Some(words) = words {
            let text =
                format!("name = 'platform'\neffective = '{day}'\n[quoted]\n'share.content' = '{words}'\n");
            std::fs::create_dir(dir.path().join(WORDING)).unwrap();
            std::fs::write(dir.path().join(WORDING).join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn the_version_of_a_day_is_the_newest_that_is_in_force_and_the_one_of_a_row_that_of_its_digest() {
        let dir = folder("2020-01-01", None);
        let versions = Version::all(Some(dir.path())).unwrap();
        for (day, expected) in [
            ("2017-02-28", None),
            ("2017-03-01", Some("2017-03-01")),
            ("2019-12-31", Some("2017-03-01")),
            ("2020-01-01", Some("2020-01-01")),
        ] {
            let version = Version::in_force(&versions, day).ok().map(|version| version.rules.effective());
            assert_eq!(version, expected, "{day}");
        }
        let old = Version::of_row(&versions, &digest(PolicyBook::SHIPPED)).unwrap();
        assert_eq!(old.rules.effective(), "2017-03-01");
        assert!(Version::of_row(&versions, "00").is_none());
    }

    #[test]
    fn a_clause_is_quoted_from_the_file_beside_the_policy_and_else_from_the_shipped_words() {
        let clause = Clause::parse("share.content").unwrap();
        let shipped = "\"[the platform] does not disclose the contents of transcripts";
        for (words, starts, ends) in [
            (Some("We keep it."), "\"We keep it.\"", "(policy platform of 2020-01-01)"),
            (None, shipped, "(policy platform of 2017-03-01)"),
        ] {
            let dir = folder("2020-01-01", words);
            let of_file = Version::of_file(&dir.path().join("platform-2020-01-01.toml")).unwrap();
            let of_folder = Version::all(Some(dir.path())).unwrap().pop().unwrap();
            for version in [of_file, of_folder] {
                let quoted = version.quoted(clause).unwrap();
                assert!(quoted.starts_with(starts) && quoted.ends_with(ends), "{quoted}");
            }
        }
    }
}
