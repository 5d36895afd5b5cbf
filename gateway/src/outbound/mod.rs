//! Sends permitted requests to partners' endpoints: the only room with reqwest. It takes nothing but
//! `Permitted<OutboundRequest>` and decides nothing about the consumer's data; it decides which
//! addresses the gateway may talk to, how a request is authenticated, and when to try again.
//!
//! https to a name on the default port; no redirects; no proxy, whatever the environment says; no
//! cookies; no decompression; no repeats of its own, because each try is a decision of its own.

mod addresses;
mod credentials;
mod reply;
mod resolver;
mod retry;
mod signature;
#[cfg(test)]
mod tests;
mod token;

pub use addresses::{Addresses, NotPublic};
pub use credentials::{Credentials, ResolvedAuth};
pub use reply::{Disposition, Refusal, Reply, SendError, classify, outcome_code};
pub use resolver::Lookup;
pub use retry::RetrySchedule;
pub use signature::{KeyError, PublicKey, Signed, SigningKey, verify};
pub use token::TokenSource;

use crate::boundary::{OutboundRequest, Permitted};
use credentials::bearer;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use resolver::{BoundResolver, PublicResolver};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use url::{Host, Url};

/// What partners see as the sender.
const AGENT: &str = concat!("integration-gateway/", env!("CARGO_PKG_VERSION"));
/// How long an idle connection is kept. Servers commonly close after 60 s or more; staying below spares
/// requests that meet a closing connection.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept for each host; a burst beyond opens new ones and drops them afterwards.
const POOL_IDLE_PER_HOST: usize = 64;

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct OutboundConfig {
    /// For resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// For the whole request, the reply's body included.
    pub request_timeout: Duration,
    /// Bytes of a reply's body that are kept; the rest is not read.
    pub response_cap: usize,
    /// Demo and tests only: host names (each with all names below it) that are reached over plain HTTP at
    /// a loopback address instead. The `Host` header keeps the name.
    pub bindings: HashMap<String, SocketAddr>,
    /// Addresses that the gateway itself listens on or is reached by, refused like private ones.
    pub own_addresses: Vec<IpAddr>,
    /// Where the names of partners' hosts are looked up.
    pub lookup: Lookup,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            response_cap: 64 * 1024,
            bindings: HashMap::new(),
            own_addresses: Vec::new(),
            lookup: Lookup::system(),
        }
    }
}

/// Why the room cannot open.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// A binding would send plain HTTP over a network.
    #[error(
        "outbound binding of `{host}` to {address} is not a loopback address; bind demo and test endpoints to 127.0.0.1 or ::1"
    )]
    BindingNotLoopback {
        /// The bound name.
        host: String,
        /// Its address.
        address: SocketAddr,
    },
    /// The HTTP client refuses its configuration.
    #[error("the HTTP client cannot be set up: {0}; correct the outbound configuration")]
    Client(#[source] reqwest::Error),
}

/// The clients, with their connection pools. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// `None` where the system has no trust roots: then nothing is reached but bindings.
    tls: Option<reqwest::Client>,
    /// Plain HTTP, to bindings only.
    bound: reqwest::Client,
    bindings: Arc<HashMap<String, SocketAddr>>,
    response_cap: usize,
}

impl Outbound {
    /// Sets up the clients. Fails where a binding leaves the machine; a machine without trust roots is
    /// reported in the log and by each send that would need them.
    pub fn new(config: OutboundConfig) -> Result<Self, OutboundError> {
        let not_loopback = config.bindings.iter().find(|(_, address)| !address.ip().is_loopback());
        if let Some((host, address)) = not_loopback {
            return Err(OutboundError::BindingNotLoopback { host: host.clone(), address: *address });
        }
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let addresses = Addresses::new(config.own_addresses.iter().copied());
        let tls = builder(&config)
            .https_only(true)
            .dns_resolver(Arc::new(PublicResolver::new(config.lookup.clone(), addresses)))
            .build()
            .inspect_err(|_| {
                tracing::warn!("no trust roots found: partners' endpoints cannot be reached over TLS");
            })
            .ok();
        let bindings: HashMap<String, SocketAddr> = config
            .bindings
            .iter()
            .map(|(host, address)| (host.trim_end_matches('.').to_ascii_lowercase(), *address))
            .collect();
        let bindings = Arc::new(bindings);
        let bound = builder(&config)
            // No roots: this client never speaks TLS, and must exist where the system has none.
            .tls_certs_only([])
            .dns_resolver(Arc::new(BoundResolver::new(bindings.clone())))
            .build()
            .map_err(OutboundError::Client)?;
        Ok(Self { tls, bound, bindings, response_cap: config.response_cap })
    }

    /// Fetches the token that a request with these credentials takes, where it takes one and none is there. It comes
    /// before the request's row, so that between the last look at what may leave and the request nobody is waited for.
    pub async fn prepare(&self, credentials: &Credentials, now: OffsetDateTime) {
        if let ResolvedAuth::ClientCredentials(source) = &credentials.auth {
            source.prepare(self, now).await;
        }
    }

    /// Sends one request once. `now` is the time that the signature states. Redirects and error
    /// statuses are replies, not errors: see [`classify`].
    pub async fn send(
        &self,
        request: Permitted<OutboundRequest>,
        credentials: &Credentials,
        now: OffsetDateTime,
    ) -> Result<Reply, SendError> {
        self.transmit(request.release(), credentials, now).await
    }

    async fn transmit(
        &self,
        request: OutboundRequest,
        credentials: &Credentials,
        now: OffsetDateTime,
    ) -> Result<Reply, SendError> {
        let (client, url) = self.route(&request.url)?;
        let token = match &credentials.auth {
            ResolvedAuth::ClientCredentials(source) => Some((source, source.token()?)),
            _ => None,
        };
        let mut headers = headers(&request, credentials, now)?;
        if let Some((_, token)) = &token {
            headers.insert(AUTHORIZATION, bearer(token)?);
        }
        let mut sending = client.request(request.method, url).headers(headers);
        if !request.body.is_empty() {
            sending = sending.body(request.body);
        }
        let response = sending.send().await.map_err(|error| SendError::from_client(&error))?;
        let reply = Reply::read(response, self.response_cap, now).await;
        if reply.status == StatusCode::UNAUTHORIZED
            && let Some((source, token)) = &token
        {
            // The next try fetches another.
            source.forget(token);
        }
        Ok(reply)
    }

    /// The client for a URL, and the URL as that client takes it.
    fn route(&self, url: &Url) -> Result<(&reqwest::Client, Url), SendError> {
        let host = permitted_host(url)?;
        if resolver::binding(&self.bindings, host).is_none() {
            return Ok((self.tls.as_ref().ok_or(SendError::NoTrustRoots)?, url.clone()));
        }
        let mut url = url.clone();
        url.set_scheme("http").map_err(|()| SendError::Refused(Refusal::NotHttps))?;
        Ok((&self.bound, url))
    }
}

fn builder(config: &OutboundConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .retry(reqwest::retry::never())
        .connect_timeout(config.connect_timeout)
        .timeout(config.request_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .tcp_nodelay(true)
}

/// The host of a URL that may be sent to at all. Literal addresses are refused here, because the client
/// does not take them to the resolver, where names are checked.
fn permitted_host(url: &Url) -> Result<&str, SendError> {
    let refuse = |refusal| Err(SendError::Refused(refusal));
    if url.scheme() != "https" {
        return refuse(Refusal::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(Refusal::UserInfo);
    }
    if url.port().is_some() {
        return refuse(Refusal::Port);
    }
    match url.host() {
        Some(Host::Domain(host)) => Ok(host),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => refuse(Refusal::IpLiteral),
        None => refuse(Refusal::NotHttps),
    }
}

/// The request's own headers, then the host's, which win.
fn headers(
    request: &OutboundRequest,
    credentials: &Credentials,
    now: OffsetDateTime,
) -> Result<HeaderMap, SendError> {
    let mut headers = HeaderMap::with_capacity(request.headers.len().saturating_add(6));
    for (name, value) in &request.headers {
        headers.insert(name, value.clone());
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.remove(CONTENT_TYPE);
    if let Some(media_type) = request.media_type.as_deref().filter(|_| !request.body.is_empty()) {
        headers.insert(CONTENT_TYPE, header_value(media_type, "content-type")?);
    }
    headers.remove(AUTHORIZATION);
    if let Some((name, value)) = credentials.auth.header()? {
        headers.insert(name, value);
    }
    let timestamp = now.unix_timestamp();
    let signature = credentials.key().sign(&request.webhook_id, timestamp, &request.body);
    headers.insert(HeaderName::from_static("webhook-id"), header_value(&request.webhook_id, "webhook-id")?);
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(timestamp));
    headers
        .insert(HeaderName::from_static("webhook-signature"), header_value(&signature, "webhook-signature")?);
    Ok(headers)
}

fn header_value(text: &str, name: &'static str) -> Result<HeaderValue, SendError> {
    HeaderValue::from_str(text).map_err(|_| SendError::Header(name))
}
