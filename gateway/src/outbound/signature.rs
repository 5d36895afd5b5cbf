//! The Standard Webhooks signature, version `v1`: HMAC-SHA256 over `id.timestamp.body`. It reads no clock.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

/// The specification's form of a symmetric secret.
const PREFIX: &str = "whsec_";
/// The shortest key the specification allows, in bytes.
const MIN_KEY_BYTES: usize = 24;

/// A symmetric key; never printed, wiped when dropped.
#[derive(Clone, Debug)]
pub struct SigningKey(SecretSlice<u8>);

/// Why a secret is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not Base64.
    #[error("the webhook secret is not Base64; give it as `whsec_` and the Base64 of the key")]
    Encoding,
    /// Too short to be safe.
    #[error("the webhook secret is shorter than {MIN_KEY_BYTES} bytes; have the partner issue a longer one")]
    Short,
}

impl SigningKey {
    /// From raw bytes, at least 24.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyError> {
        let key = Self(SecretSlice::from(bytes));
        if key.0.expose_secret().len() < MIN_KEY_BYTES { Err(KeyError::Short) } else { Ok(key) }
    }

    /// From the text form, `whsec_` (which may be missing) and Base64.
    pub fn from_text(text: &SecretString) -> Result<Self, KeyError> {
        let text = text.expose_secret().trim();
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        Self::from_bytes(STANDARD.decode(encoded).map_err(|_| KeyError::Encoding)?)
    }

    /// The value of `webhook-signature`. `timestamp` is in seconds since 1970.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        // HMAC takes keys of every length (RFC 2104 §2), so the default is never used.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret())
            .unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}
