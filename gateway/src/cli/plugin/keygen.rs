//! `gateway plugin keygen`: a partner's key for releases; and reading it again where a release is signed.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::CliError;
use crate::cli::output::{self, FormatArgs};
use crate::manifest::{ReleaseSigningKey, private_key_text};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Keygen {
    /// The file to write; one that is there is never overwritten
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

/// The key that signs a release.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SigningArgs {
    /// The file of the partner's private key, as `gateway plugin keygen` makes it
    #[arg(long, env = "GATEWAY_SIGNING_KEY", value_name = "FILE")]
    signing_key: PathBuf,
}

impl SigningArgs {
    pub(in crate::cli) fn read(&self) -> Result<ReleaseSigningKey, CliError> {
        let path = &self.signing_key;
        let text = std::fs::read_to_string(path).map_err(CliError::file("reading", path))?;
        ReleaseSigningKey::from_text(&SecretString::from(text))
            .map_err(|told| CliError::FellShort(format!("what is in {} {told}", path.display())))
    }
}

impl Keygen {
    pub(super) fn run(self) -> Result<(), CliError> {
        let (text, key) = new_key()?;
        write(&self.file, &text)?;
        let (public, file) = (key.public(), self.file.display());
        if self.format.json() {
            return output::json(&json!({ "file": file.to_string(), "public_key": public }));
        }
        output::line(&format!(
            "{public}\nThe private key is in {file}; keep it there. Have the operator write this public one into your \
             record (`gateway partner put … --release-key`)."
        ))
    }
}

/// A new private key, as text and ready to sign.
pub(in crate::cli) fn new_key() -> Result<(SecretString, ReleaseSigningKey), CliError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *seed)
        .map_err(|error| CliError::FellShort(format!("no random numbers: {error}")))?;
    let key = ReleaseSigningKey::from_seed(&*seed).map_err(CliError::FellShort)?;
    Ok((private_key_text(&seed), key))
}

fn write(path: &Path, text: &SecretString) -> Result<(), CliError> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => CliError::FellShort(format!(
                "{} is there already, and no key is overwritten; name another file, or go on signing with this one",
                path.display()
            )),
            _ => CliError::file("writing", path)(error),
        })?;
    file.write_all(text.expose_secret().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .map_err(CliError::file("writing", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_is_never_overwritten_and_signs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("release.key");
        let (text, key) = new_key().unwrap();
        write(&path, &text).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (other, _) = new_key().unwrap();
        let told = write(&path, &other).unwrap_err().to_string();
        assert!(told.contains("name another file"), "{told}");
        let read = SigningArgs { signing_key: path.clone() }.read().unwrap();
        assert_eq!(read.public(), key.public());

        std::fs::write(&path, "rlsk_nothing").unwrap();
        let told = SigningArgs { signing_key: path }.read().unwrap_err().to_string();
        assert!(told.contains("`rlsk_`") && !told.contains("nothing"), "{told}");
    }
}
