//! Keys, sealing, keyed digests and ids. Pure computation: it never touches the database, and no key or
//! plaintext leaves it through an error or a debug text.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, AeadInOut, Nonce, Payload, Tag};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::{Digest, Uid};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a nonce (NIST SP 800-38D: 96 bits, random; a key seals far fewer than 2^32 values).
const NONCE: usize = 12;
/// Bytes of an authentication tag.
const TAG: usize = 16;
/// Bytes that name the master key in a wrapped key, so that a wrong one is told from damage.
const FINGERPRINT: usize = 8;

/// What can go wrong with keys and ciphertexts.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The text or file is no key.
    #[error(
        "the master key is not 32 bytes in hex (64 digits) or base64 (44 characters); generate one with `openssl rand -hex 32`"
    )]
    NotAKey,
    /// The key's file cannot be used.
    #[error("the master key's file {}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Others may read the key.
    #[error("the master key's file {} may be read by others (mode {mode:03o}); set it to 600", path.display())]
    FileMode { path: PathBuf, mode: u32 },
    /// Wrapped under another master key.
    #[error(
        "this value was wrapped under another master key; start with the key that the store was made with"
    )]
    OtherMasterKey,
    /// Not what was sealed, or not for this place.
    #[error("a sealed value is damaged or stands in the wrong place")]
    Damaged,
}

/// The key that lives outside the database. From it come, each for its own use, the key of the index
/// digests and the key that wraps consumers' keys and connections' secrets.
pub struct MasterKey {
    secret: Zeroizing<[u8; KEY]>,
    fingerprint: [u8; FINGERPRINT],
    index: Hmac<Sha256>,
    wrapping: Aes256Gcm,
}

impl MasterKey {
    /// From 32 bytes.
    pub fn from_bytes(mut bytes: [u8; KEY]) -> Self {
        let secret = Zeroizing::new(bytes);
        bytes.zeroize();
        let wrapping = derive(&secret, b"wrapping");
        let index = derive(&secret, b"index");
        let name = derive(&secret, b"fingerprint");
        let mut fingerprint = [0; FINGERPRINT];
        fingerprint.iter_mut().zip(name.iter()).for_each(|(to, from)| *to = *from);
        Self { fingerprint, index: mac(&index), wrapping: cipher(&wrapping), secret }
    }

    /// A new random key.
    pub fn generate() -> Self {
        Self::from_bytes(*random::<KEY>())
    }

    /// From hex or base64.
    ///
    /// # Errors
    /// [`CryptoError::NotAKey`].
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY { from_hex(text) } else { STANDARD.decode(text).ok() };
        let bytes = Zeroizing::new(bytes.ok_or(CryptoError::NotAKey)?);
        bytes.as_slice().try_into().map(Self::from_bytes).map_err(|_| CryptoError::NotAKey)
    }

    /// From a file that holds hex or base64 and that nobody but its owner may read.
    ///
    /// # Errors
    /// The file cannot be read, may be read by others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, CryptoError> {
        let failed = |source| CryptoError::File { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CryptoError::FileMode { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        Self::parse(&text)
    }

    /// Writes the key into a new file with mode 600.
    ///
    /// # Errors
    /// The file exists already or cannot be written.
    pub fn write_file(&self, path: &Path) -> Result<(), CryptoError> {
        let failed = |source| CryptoError::File { path: path.to_owned(), source };
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let mut text = Zeroizing::new(to_hex(self.secret.as_slice()));
        text.push('\n');
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// A keyed digest for looking things up: HMAC-SHA-256 over the domain and the parts, each with its
    /// length before it, so that no two lists of parts read the same.
    pub fn index_digest(&self, domain: &str, parts: &[&[u8]]) -> Digest {
        let mut mac = self.index.clone();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The name by which a partner knows a consumer: the ledger's name under a permutation of the partner's
    /// own, so that names of two partners say nothing about each other and only this key leads back.
    pub fn handle(&self, partner: &str, pseudonym: &Uid) -> Uid {
        let mut block = (*pseudonym).into();
        self.permutation(partner).encrypt_block(&mut block);
        block.into()
    }

    /// The ledger's name behind [`MasterKey::handle`]; for any other 16 bytes, a name that nobody has.
    pub fn behind_handle(&self, partner: &str, handle: &Uid) -> Uid {
        let mut block = (*handle).into();
        self.permutation(partner).decrypt_block(&mut block);
        block.into()
    }

    fn permutation(&self, partner: &str) -> Aes256 {
        let key = Zeroizing::new(self.index_digest("handle", &[partner.as_bytes()]));
        Aes256::new(&(*key).into())
    }

    /// Seals a secret of the control plane; `place` is where it will stand.
    ///
    /// # Errors
    /// Only where the plaintext is beyond what AES-GCM takes (64 GiB).
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        seal(&self.wrapping, &format!("secret/{place}"), plaintext, &self.fingerprint)
    }

    /// Opens what [`MasterKey::seal`] sealed for this place.
    ///
    /// # Errors
    /// Damaged, of another place, or of another master key.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        open(&self.wrapping, &format!("secret/{place}"), self.own(sealed)?).map(Zeroizing::new)
    }

    /// What stands behind the fingerprint, where it is this key's.
    fn own<'a>(&self, sealed: &'a [u8]) -> Result<&'a [u8], CryptoError> {
        let (name, rest) = sealed.split_at_checked(FINGERPRINT).ok_or(CryptoError::Damaged)?;
        if name == self.fingerprint { Ok(rest) } else { Err(CryptoError::OtherMasterKey) }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// A consumer's own key. All that is stored about the consumer is sealed with it and dies with it.
#[derive(Clone)]
pub struct ConsumerKey {
    secret: Zeroizing<[u8; KEY]>,
    // The key schedules are kept, so that sealing costs about a microsecond.
    sealing: Aes256Gcm,
    digests: Hmac<Sha256>,
}

impl ConsumerKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self::from_secret(random::<KEY>())
    }

    fn from_secret(secret: Zeroizing<[u8; KEY]>) -> Self {
        let sealing = cipher(&derive(&secret, b"sealing"));
        let digests = mac(&derive(&secret, b"digests"));
        Self { secret, sealing, digests }
    }

    /// The key, sealed under the master key for its place.
    ///
    /// # Errors
    /// None in practice: a key is never too long for AES-GCM.
    pub fn wrap(&self, master: &MasterKey, place: &str) -> Result<Vec<u8>, CryptoError> {
        seal(&master.wrapping, &format!("key/{place}"), self.secret.as_slice(), &master.fingerprint)
    }

    /// The key that was wrapped for this place.
    ///
    /// # Errors
    /// Damaged, of another place, or wrapped under another master key.
    pub fn unwrap(master: &MasterKey, place: &str, wrapped: &[u8]) -> Result<Self, CryptoError> {
        let secret = Zeroizing::new(open(&master.wrapping, &format!("key/{place}"), master.own(wrapped)?)?);
        let secret: [u8; KEY] = secret.as_slice().try_into().map_err(|_| CryptoError::Damaged)?;
        Ok(Self::from_secret(Zeroizing::new(secret)))
    }

    /// Seals a value for its place in the database: nonce (12 bytes), ciphertext, tag (16 bytes).
    ///
    /// # Errors
    /// Only where the plaintext is beyond what AES-GCM takes (64 GiB).
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        seal(&self.sealing, place, plaintext, &[])
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// Damaged, or of another key or place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        open(&self.sealing, place, sealed)
    }

    /// HMAC-SHA-256 keyed with this consumer's key: tells nothing once the key is gone.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        self.digests.clone().chain_update(bytes).finalize().into_bytes().into()
    }
}

impl fmt::Debug for ConsumerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumerKey")
    }
}

/// HKDF-Expand of RFC 5869 for one block: the secret is uniformly random, so no extraction is needed.
fn derive(secret: &[u8; KEY], purpose: &[u8]) -> Zeroizing<[u8; KEY]> {
    let block = mac(secret).chain_update(b"gateway/v1/").chain_update(purpose).chain_update([1]).finalize();
    Zeroizing::new(block.into_bytes().into())
}

fn mac(key: &[u8; KEY]) -> Hmac<Sha256> {
    // A whole block, zero-padded: the same as the 32 bytes (RFC 2104), and of a type that cannot fail.
    let mut block = Zeroizing::new([0u8; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    <Hmac<Sha256> as KeyInit>::new((&*block).into())
}

fn cipher(key: &[u8; KEY]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

/// `prefix`, nonce, ciphertext, tag; in one allocation.
fn seal(cipher: &Aes256Gcm, place: &str, plaintext: &[u8], prefix: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut nonce = Nonce::<Aes256Gcm>::default();
    rand::rng().fill_bytes(&mut nonce);
    let mut out = Vec::with_capacity(prefix.len() + NONCE + plaintext.len() + TAG);
    out.extend_from_slice(prefix);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plaintext);
    let (_, body) = out.split_at_mut(start);
    let tag: Tag<Aes256Gcm> = cipher
        .encrypt_inout_detached(&nonce, place.as_bytes(), body.into())
        .map_err(|_| CryptoError::Damaged)?;
    out.extend_from_slice(&tag);
    Ok(out)
}

fn open(cipher: &Aes256Gcm, place: &str, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (nonce, body) = sealed.split_at_checked(NONCE).ok_or(CryptoError::Damaged)?;
    let nonce = Nonce::<Aes256Gcm>::try_from(nonce).map_err(|_| CryptoError::Damaged)?;
    cipher.decrypt(&nonce, Payload { msg: body, aad: place.as_bytes() }).map_err(|_| CryptoError::Damaged)
}

fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::rng().fill_bytes(bytes.as_mut_slice());
    bytes
}

/// A new id: 48 bits of `now_ms` (milliseconds since the Unix epoch), then 80 random bits.
pub fn new_uid(now_ms: i64) -> Uid {
    let random = u128::from_be_bytes(*random::<16>()) & ((1 << 80) - 1);
    uid_floor(now_ms).map_or(random, |floor| u128::from_be_bytes(floor) | random).to_be_bytes()
}

/// The smallest id of a moment; none before 1970 or after the year 10889.
pub fn uid_floor(now_ms: i64) -> Option<Uid> {
    let ms = u128::try_from(now_ms).ok().filter(|ms| *ms < 1 << 48)?;
    Some((ms << 80).to_be_bytes())
}

/// A random pseudonym: unlike an id, it says nothing about when it was made.
pub fn new_pseudonym() -> Uid {
    *random::<16>()
}

/// 32 hex digits.
pub fn format_uid(uid: &Uid) -> String {
    to_hex(uid)
}

/// Reads 32 hex digits.
pub fn parse_uid(text: &str) -> Option<Uid> {
    from_hex(text)?.try_into().ok()
}

/// 64 hex digits.
pub fn format_digest(digest: &Digest) -> String {
    to_hex(digest)
}

/// Reads 64 hex digits.
pub fn parse_digest(text: &str) -> Option<Digest> {
    from_hex(text)?.try_into().ok()
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_with_its_key_and_in_its_place() {
        let (key, other) = (ConsumerKey::generate(), ConsumerKey::generate());
        let sealed = key.seal("event/1", b"value").unwrap();
        assert_eq!(sealed.len(), NONCE + 5 + TAG);
        assert_eq!(key.open("event/1", &sealed).unwrap(), b"value");
        assert!(key.open("event/2", &sealed).is_err());
        assert!(other.open("event/1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open("event/1", &damaged).is_err(), "byte {at}");
        }
        assert!(key.open("event/1", &sealed[..NONCE - 1]).is_err());
    }

    #[test]
    fn two_seals_of_one_value_differ() {
        let key = ConsumerKey::generate();
        assert_ne!(key.seal("p", b"value").unwrap(), key.seal("p", b"value").unwrap());
    }

    #[test]
    fn a_wrapped_key_unwraps_with_its_master_and_in_its_place() {
        let (master, other) = (MasterKey::generate(), MasterKey::generate());
        let key = ConsumerKey::generate();
        let wrapped = key.wrap(&master, "consumer/1").unwrap();
        let again = ConsumerKey::unwrap(&master, "consumer/1", &wrapped).unwrap();
        assert_eq!(again.open("p", &key.seal("p", b"value").unwrap()).unwrap(), b"value");
        assert_eq!(again.digest(b"x"), key.digest(b"x"));
        assert!(matches!(ConsumerKey::unwrap(&master, "consumer/2", &wrapped), Err(CryptoError::Damaged)));
        assert!(matches!(
            ConsumerKey::unwrap(&other, "consumer/1", &wrapped),
            Err(CryptoError::OtherMasterKey)
        ));
    }

    #[test]
    fn a_secret_does_not_open_as_a_key() {
        let master = MasterKey::generate();
        let sealed = master.seal("x", &[7; KEY]).unwrap();
        assert_eq!(master.open("x", &sealed).unwrap().as_slice(), &[7; KEY]);
        assert!(ConsumerKey::unwrap(&master, "x", &sealed).is_err());
    }

    #[test]
    fn index_digests_depend_on_key_domain_and_the_borders_of_parts() {
        let (master, other) = (MasterKey::generate(), MasterKey::generate());
        let digest = master.index_digest("event", &[b"ab", b"c"]);
        assert_eq!(digest, master.index_digest("event", &[b"ab", b"c"]));
        assert_ne!(digest, master.index_digest("event", &[b"a", b"bc"]));
        assert_ne!(digest, master.index_digest("subject", &[b"ab", b"c"]));
        assert_ne!(digest, other.index_digest("event", &[b"ab", b"c"]));
    }

    #[test]
    fn a_master_key_reads_from_hex_base64_and_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let bytes = [0xa5; KEY];
        let master = MasterKey::from_bytes(bytes);
        master.write_file(&path).unwrap();
        let digest = master.index_digest("d", &[]);
        for same in [
            MasterKey::parse(&to_hex(&bytes)).unwrap(),
            MasterKey::parse(&format!("{}\n", STANDARD.encode(bytes))).unwrap(),
            MasterKey::from_file(&path).unwrap(),
        ] {
            assert_eq!(same.index_digest("d", &[]), digest);
        }
        assert!(master.write_file(&path).is_err(), "never overwritten");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(MasterKey::from_file(&path), Err(CryptoError::FileMode { mode: 0o640, .. })));
        for bad in ["", "abc", &"g".repeat(64), &"a".repeat(62), &STANDARD.encode([1; 31])] {
            assert!(matches!(MasterKey::parse(bad), Err(CryptoError::NotAKey)), "{bad}");
        }
    }

    #[test]
    fn keys_follow_rfc_2104() {
        // The padded key must give the same as the key itself.
        let plain = <Hmac<Sha256> as KeyInit>::new_from_slice(&[9; KEY]).unwrap();
        assert_eq!(
            mac(&[9; KEY]).chain_update(b"x").finalize().into_bytes(),
            plain.chain_update(b"x").finalize().into_bytes()
        );
    }

    #[test]
    fn ids_sort_by_time_and_read_as_written() {
        let (early, late) = (new_uid(1_700_000_000_000), new_uid(1_700_000_000_001));
        assert!(early < late);
        assert!(
            uid_floor(1_700_000_000_001).unwrap() <= late && early < uid_floor(1_700_000_000_001).unwrap()
        );
        assert_eq!(parse_uid(&format_uid(&early)), Some(early));
        for bad in ["", "0", "zz", &"0".repeat(31), &"0".repeat(34)] {
            assert_eq!(parse_uid(bad), None, "{bad}");
        }
    }
}
