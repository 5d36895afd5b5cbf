//! How a request is authenticated, once its secrets have been unsealed. Nothing in here can be printed.

use super::SendError;
use super::signature::SigningKey;
use super::token::TokenSource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A connection's credentials toward its partner.
#[derive(Debug)]
pub struct Credentials {
    /// The endpoint's `auth`, its secrets looked up.
    pub auth: ResolvedAuth,
    /// The connection's own Standard Webhooks key; every request is signed.
    pub signing_key: SigningKey,
}

/// The manifest's `auth` with secrets in place of their names.
#[derive(Debug, Default)]
pub enum ResolvedAuth {
    /// The signature with the connection's key alone.
    #[default]
    None,
    /// RFC 6750.
    Bearer(SecretString),
    /// RFC 7617.
    Basic {
        /// Without a colon.
        username: SecretString,
        /// Any text.
        password: SecretString,
    },
    /// A header of the partner's choice.
    Header {
        /// As the manifest declares it.
        name: HeaderName,
        /// The secret.
        value: SecretString,
    },
    /// RFC 6749 §4.4: a bearer token that the partner gives for the client's credentials.
    ClientCredentials(Arc<TokenSource>),
    /// The signature, with this key instead of the connection's.
    Hmac(SigningKey),
}

impl Credentials {
    /// The key that signs.
    pub(super) fn key(&self) -> &SigningKey {
        match &self.auth {
            ResolvedAuth::Hmac(key) => key,
            _ => &self.signing_key,
        }
    }
}

impl ResolvedAuth {
    pub(super) fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, SendError> {
        match self {
            // A token is not known before it is asked for.
            Self::None | Self::Hmac(_) | Self::ClientCredentials(_) => Ok(None),
            Self::Bearer(token) => Ok(Some((AUTHORIZATION, bearer(token)?))),
            Self::Basic { username, password } => {
                // A colon would move the border between the two (RFC 7617 §2).
                if username.expose_secret().contains(':') {
                    return Err(SendError::Header("authorization"));
                }
                let pair =
                    Zeroizing::new(format!("{}:{}", username.expose_secret(), password.expose_secret()));
                let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
                secret_header(AUTHORIZATION, &Zeroizing::new(format!("Basic {}", encoded.as_str())))
            }
            Self::Header { name, value } => secret_header(name.clone(), value.expose_secret()),
        }
    }
}

/// RFC 6750 §2.1.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, SendError> {
    secret_value(&Zeroizing::new(format!("Bearer {}", token.expose_secret())))
}

fn secret_header(name: HeaderName, text: &str) -> Result<Option<(HeaderName, HeaderValue)>, SendError> {
    secret_value(text).map(|value| Some((name, value)))
}

fn secret_value(text: &str) -> Result<HeaderValue, SendError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SendError::Header("authorization"))?;
    value.set_sensitive(true);
    Ok(value)
}
