//! Tokens by OAuth 2.0 client credentials (RFC 6749 §4.4): fetched when a request needs one, kept until shortly
//! before they expire, asked for by one request at a time. No value of a consumer is in what is sent here.
//!
//! The token endpoint is reached as every other: https on a public address, no redirects. That it is under the
//! partner's domains is for whoever makes a [`TokenSource`] to see to.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::{AGENT, Outbound, Reply, SendError};

/// How long before its end a token is no longer used: a request may be under way for as long.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a token is used whose life the partner does not tell. RFC 6749 §5.1 leaves it open; commonly it is
/// an hour.
const UNTOLD_LIFE: Duration = Duration::from_secs(300);
/// A token that is said to live longer is fetched again all the same.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// After a failure the token endpoint is left alone: what waits would otherwise ask it one after the other.
const REST: Duration = Duration::from_secs(5);

/// One connection's client at one token endpoint.
pub struct TokenSource {
    url: Url,
    client_id: SecretString,
    client_secret: SecretString,
    state: Mutex<State>,
    /// Held while a token is fetched: all that need one wait for the same.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    resting: Option<(OffsetDateTime, SendError)>,
}

struct Token {
    value: SecretString,
    until: OffsetDateTime,
}

/// The parts of RFC 6749 §5.1 that are of use.
#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

impl TokenSource {
    /// A client that has no token yet.
    pub fn new(url: Url, client_id: SecretString, client_secret: SecretString) -> Self {
        Self {
            url,
            client_id,
            client_secret,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Whether both are the same client at the same endpoint.
    pub fn is_of(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        self.url == other.url
            && same(&self.client_id, &other.client_id)
            && same(&self.client_secret, &other.client_secret)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that is there, or why there is none for some seconds.
    fn held(&self, now: OffsetDateTime) -> Option<Result<SecretString, SendError>> {
        let state = self.state();
        if let Some(token) = state.token.as_ref().filter(|token| now < token.until) {
            return Some(Ok(token.value.clone()));
        }
        state.resting.filter(|(until, _)| now < *until).map(|(_, error)| Err(error))
    }

    /// What [`Self::prepare`] came to. It fetches nothing: a request that may leave now must not wait.
    pub(super) fn token(&self) -> Result<SecretString, SendError> {
        let state = self.state();
        match (&state.token, state.resting) {
            (Some(token), _) => Ok(token.value.clone()),
            (None, Some((_, error))) => Err(error),
            (None, None) => Err(SendError::Token),
        }
    }

    /// Fetches a token where none is there.
    pub(super) async fn prepare(&self, outbound: &Outbound, now: OffsetDateTime) {
        if self.held(now).is_some() {
            return;
        }
        let _alone = self.fetching.lock().await;
        if self.held(now).is_some() {
            return;
        }
        let fetched = match self.fetch(outbound, now).await {
            Ok(token) => State { token: Some(token), resting: None },
            Err(error) => State { token: None, resting: Some((now + REST, error)) },
        };
        *self.state() = fetched;
    }

    /// Forgets a token that the partner does not take (401), unless another is there by now.
    pub(super) fn forget(&self, refused: &SecretString) {
        let mut state = self.state();
        let same = |token: &Token| token.value.expose_secret() == refused.expose_secret();
        if state.token.as_ref().is_some_and(same) {
            state.token = None;
        }
    }

    async fn fetch(&self, outbound: &Outbound, now: OffsetDateTime) -> Result<Token, SendError> {
        let (client, url) = outbound.route(&self.url)?;
        let sending = client
            .request(Method::POST, url)
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .header(AUTHORIZATION, self.basic()?)
            .body("grant_type=client_credentials");
        let response = sending.send().await.map_err(|error| SendError::from_client(&error))?;
        let reply = Reply::read(response, outbound.response_cap, now).await;
        let body = Zeroizing::new(reply.body);
        if reply.status != 200 || reply.truncated {
            return Err(SendError::Token);
        }
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| SendError::Token)?;
        if !granted.token_type.eq_ignore_ascii_case("bearer")
            || granted.access_token.expose_secret().is_empty()
        {
            return Err(SendError::Token);
        }
        let life = granted.expires_in.map_or(UNTOLD_LIFE, Duration::from_secs).min(LONGEST_LIFE);
        Ok(Token { value: granted.access_token, until: now + (life - MARGIN.min(life / 2)) })
    }

    /// The client's own authentication: each part form-encoded, then as RFC 7617 has it (RFC 6749 §2.3.1).
    fn basic(&self) -> Result<HeaderValue, SendError> {
        let encode = |text: &SecretString| -> Zeroizing<String> {
            Zeroizing::new(byte_serialize(text.expose_secret().as_bytes()).collect())
        };
        let (id, secret) = (encode(&self.client_id), encode(&self.client_secret));
        let pair = Zeroizing::new(format!("{}:{}", id.as_str(), secret.as_str()));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&text).map_err(|_| SendError::Header("authorization"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
