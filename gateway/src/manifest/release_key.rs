//! Keys that partners sign their releases with: Ed25519 (RFC 8032) over the digest of a component. It reads no file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// How the text of a private key begins.
const PRIVATE_PREFIX: &str = "rlsk_";
/// How the text of a public key begins.
const PUBLIC_PREFIX: &str = "rlpk_";
/// The scheme of a signature, before its Base64.
const SCHEME: &str = "v1a,";
/// What is signed begins with it, so that the signature of something else is none of a release.
const DOMAIN: &str = "integration-release\n";
/// Bytes of either key's text form before Base64.
const KEY_BYTES: usize = 32;

/// The header of a publication that holds the signature.
pub const RELEASE_SIGNATURE: &str = "release-signature";

/// A partner's private key; never printed.
pub struct ReleaseSigningKey(Ed25519KeyPair);

impl std::fmt::Debug for ReleaseSigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReleaseSigningKey").finish_non_exhaustive()
    }
}

impl ReleaseSigningKey {
    /// From the seed of RFC 8032.
    ///
    /// # Errors
    /// What would be right, in words.
    pub fn from_seed(seed: &[u8]) -> Result<Self, String> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| malformed(PRIVATE_PREFIX, "private"))
    }

    /// From the text form, `rlsk_` and Base64 of 32 bytes.
    ///
    /// # Errors
    /// What would be right, in words; the text is not repeated.
    pub fn from_text(text: &SecretString) -> Result<Self, String> {
        Self::from_seed(&decoded(text.expose_secret(), PRIVATE_PREFIX, "private")?)
    }

    /// The public key's text.
    pub fn public(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", STANDARD.encode(self.0.public_key().as_ref()))
    }

    /// The value of [`RELEASE_SIGNATURE`] for a component.
    pub fn sign(&self, component: &[u8]) -> String {
        let digest = Sha256::digest(component).into();
        format!("{SCHEME}{}", STANDARD.encode(self.0.sign(signed(&digest).as_bytes()).as_ref()))
    }
}

/// The text of a private key with this seed.
pub fn private_key_text(seed: &[u8; KEY_BYTES]) -> SecretString {
    format!("{PRIVATE_PREFIX}{}", STANDARD.encode(seed)).into()
}

/// One of a partner's public keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseKey(Vec<u8>);

impl ReleaseKey {
    /// From the text form, `rlpk_` and Base64 of 32 bytes.
    ///
    /// # Errors
    /// What would be right, in words.
    pub fn from_text(text: &str) -> Result<Self, String> {
        decoded(text, PUBLIC_PREFIX, "public").map(Self)
    }

    /// Its text form.
    pub fn text(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// Whether it made the signature, as [`read_signature`] gives it, of the component with this SHA-256.
    pub fn made(&self, signature: &[u8], digest: &[u8; 32]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(signed(digest).as_bytes(), signature).is_ok()
    }
}

/// The signature in a value of [`RELEASE_SIGNATURE`]; none where it is not in its form.
pub fn read_signature(value: &str) -> Option<Vec<u8>> {
    let signature = STANDARD.decode(value.trim().strip_prefix(SCHEME)?).ok()?;
    (signature.len() == 2 * KEY_BYTES).then_some(signature)
}

fn signed(digest: &[u8; 32]) -> String {
    let mut text = DOMAIN.to_owned();
    for byte in digest {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    text
}

fn decoded(text: &str, prefix: &str, which: &str) -> Result<Vec<u8>, String> {
    let bytes = text.trim().strip_prefix(prefix).and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes.filter(|bytes| bytes.len() == KEY_BYTES).ok_or_else(|| malformed(prefix, which))
}

fn malformed(prefix: &str, which: &str) -> String {
    format!(
        "is not a {which} key for releases: write `{prefix}` and the Base64 of its 32 bytes, as `gateway plugin keygen` does"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_signed_these_bytes_verifies_them() {
        let (own, other) = (
            ReleaseSigningKey::from_seed(&[1; 32]).unwrap(),
            ReleaseSigningKey::from_seed(&[2; 32]).unwrap(),
        );
        let public = ReleaseKey::from_text(&own.public()).unwrap();
        assert_eq!(public.text(), own.public());
        let digest = |bytes: &[u8]| Sha256::digest(bytes).into();
        for (name, value, bytes, expected) in [
            ("its own", own.sign(b"component"), &b"component"[..], true),
            ("another key's", other.sign(b"component"), b"component", false),
            ("of other bytes", own.sign(b"component"), b"Component", false),
        ] {
            let signature = read_signature(&value).unwrap();
            assert_eq!(public.made(&signature, &digest(bytes)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_key_and_no_signature_is_told_apart_from_a_wrong_one() {
        for text in ["", "rlpk_", "rlpk_AAAA", "whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "rlpk_ä"]
        {
            let told = ReleaseKey::from_text(text).unwrap_err();
            assert!(told.contains("`rlpk_`"), "{told}");
        }
        let seed = [7; 32];
        let private = ReleaseSigningKey::from_text(&private_key_text(&seed)).unwrap();
        assert_eq!(private.public(), ReleaseSigningKey::from_seed(&seed).unwrap().public());
        for value in ["", "v1a,", "v1a,AAAA", "v1,AAAA", "AAAA"] {
            assert_eq!(read_signature(value), None, "{value}");
        }
    }
}
