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
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, timestamp, body).finalize().into_bytes()))
    }

    /// Whether it made this signature; in constant time.
    fn made(&self, id: &str, timestamp: i64, body: &[u8], signature: &[u8]) -> bool {
        self.mac(id, timestamp, body).verify_slice(signature).is_ok()
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
        // HMAC takes keys of every length (RFC 2104 §2), so the default is never used.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret())
            .unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

/// The specification's form of a public key.
const PUBLIC_PREFIX: &str = "whpk_";
/// Seconds by which a message's time may differ from the gateway's (the specification's advice): an older one
/// may be a replay whose id is forgotten.
const WINDOW_SECONDS: i64 = 5 * 60;
/// Characters of an id that are taken.
const MAX_ID: usize = 128;
/// Signatures that are looked at: a partner that rotates its keys sends a few.
const MAX_SIGNATURES: usize = 8;

/// An Ed25519 public key of a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From the text form, `whpk_` (which may be missing) and Base64 of 32 bytes.
    ///
    /// # Errors
    /// What would be right, in words.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let encoded = text.trim().strip_prefix(PUBLIC_PREFIX).unwrap_or(text.trim());
        match STANDARD.decode(encoded) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(bytes)),
            _ => Err("is not an Ed25519 public key: write `whpk_` and the Base64 of its 32 bytes".into()),
        }
    }

    fn made(&self, id: &str, timestamp: i64, body: &[u8], signature: &[u8]) -> bool {
        let signed = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &self.0)
            .verify(&signed, signature)
            .is_ok()
    }
}

/// The headers of a partner's message (Standard Webhooks).
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`: signatures with their versions, apart by spaces.
    pub signature: &'a str,
}

/// Whether one of the keys made one of the signatures (versions `v1` and `v1a`), and the time is near `now`, in
/// seconds since 1970.
pub fn verify(signed: Signed<'_>, body: &[u8], secrets: &[SigningKey], keys: &[PublicKey], now: i64) -> bool {
    let Signed { id, timestamp, signature } = signed;
    let plain = !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_graphic());
    // As it would be written, so that what is signed is what is read.
    let Some(at) = timestamp.parse::<i64>().ok().filter(|at| at.to_string() == timestamp) else {
        return false;
    };
    if !plain || at.abs_diff(now) > WINDOW_SECONDS.unsigned_abs() {
        return false;
    }
    signature.split(' ').take(MAX_SIGNATURES).any(|one| {
        let Some((version, encoded)) = one.split_once(',') else { return false };
        let Ok(signature) = STANDARD.decode(encoded) else { return false };
        match version {
            "v1" => secrets.iter().any(|secret| secret.made(id, at, body, &signature)),
            "v1a" => keys.iter().any(|key| key.made(id, at, body, &signature)),
            _ => false,
        }
    })
}

#[cfg(test)]
mod verification {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(pair: &Ed25519KeyPair) -> PublicKey {
        let text = format!("whpk_{}", STANDARD.encode(pair.public_key().as_ref()));
        PublicKey::from_text(&text).unwrap()
    }

    #[test]
    fn a_message_is_the_partners_where_a_known_key_signed_all_of_it_just_now() {
        let (old, new) = (SigningKey::from_bytes(vec![1; 32]), SigningKey::from_bytes(vec![2; 32]));
        let secrets = [old.unwrap(), new.unwrap()];
        let stranger = SigningKey::from_bytes(vec![3; 32]).unwrap();
        let (own, other) = (pair(1), pair(2));
        let keys = [public(&own)];
        let signed_by = |pair: &Ed25519KeyPair, text: &str| {
            format!("v1a,{}", STANDARD.encode(pair.sign(text.as_bytes())))
        };
        let good = format!("msg_1.{NOW}.body");
        let cases = [
            ("symmetric", "msg_1", NOW.to_string(), secrets[0].sign("msg_1", NOW, b"body"), true),
            ("rotated", "msg_1", NOW.to_string(), secrets[1].sign("msg_1", NOW, b"body"), true),
            ("unknown secret", "msg_1", NOW.to_string(), stranger.sign("msg_1", NOW, b"body"), false),
            ("another body", "msg_1", NOW.to_string(), secrets[0].sign("msg_1", NOW, b"bodY"), false),
            ("another id", "msg_2", NOW.to_string(), secrets[0].sign("msg_1", NOW, b"body"), false),
            ("another time", "msg_1", (NOW + 1).to_string(), secrets[0].sign("msg_1", NOW, b"body"), false),
            ("no id", "", NOW.to_string(), secrets[0].sign("", NOW, b"body"), false),
            ("a time with a sign", "msg_1", format!("+{NOW}"), secrets[0].sign("msg_1", NOW, b"body"), false),
            ("no signature", "msg_1", NOW.to_string(), String::new(), false),
            ("another version", "msg_1", NOW.to_string(), "v2,AAAA".into(), false),
            ("asymmetric", "msg_1", NOW.to_string(), signed_by(&own, &good), true),
            ("asymmetric, unknown key", "msg_1", NOW.to_string(), signed_by(&other, &good), false),
            ("asymmetric, another body", "msg_1", NOW.to_string(), signed_by(&own, "msg_1.1.b"), false),
        ];
        for (name, id, timestamp, signature, expected) in cases {
            let signed = Signed { id, timestamp: &timestamp, signature: &signature };
            assert_eq!(verify(signed, b"body", &secrets, &keys, NOW), expected, "{name}");
        }
        let both = format!("{} {}", stranger.sign("msg_1", NOW, b"body"), signed_by(&own, &good));
        let signed = Signed { id: "msg_1", timestamp: &NOW.to_string(), signature: &both };
        assert!(verify(signed, b"body", &secrets, &keys, NOW), "one good signature is enough");
    }

    #[test]
    fn a_message_outside_the_window_is_refused() {
        let secret = [SigningKey::from_bytes(vec![1; 32]).unwrap()];
        for (at, expected) in [(NOW - 300, true), (NOW - 301, false), (NOW + 300, true), (NOW + 301, false)] {
            let signature = secret[0].sign("msg_1", at, b"{}");
            let signed = Signed { id: "msg_1", timestamp: &at.to_string(), signature: &signature };
            assert_eq!(verify(signed, b"{}", &secret, &[], NOW), expected, "{at}");
        }
    }
}
