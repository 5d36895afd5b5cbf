//! The operator's client of the gateway's own API: the only file outside `outbound` with reqwest. It
//! talks to the gateway that the operator names and to nobody else, and no flow goes through it.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use super::CliError;
use crate::manifest::{RELEASE_SIGNATURE, ReleaseSigningKey};

/// Where the API listens by default.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// Publishing compiles a component, which takes up to half a minute and more on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(180);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One event, or several in order.
pub(super) const CLOUDEVENT: &str = "application/cloudevents+json";
pub(super) const CLOUDEVENTS_BATCH: &str = "application/cloudevents-batch+json";
const WASM: &str = "application/wasm";

/// The `type` of a problem that another API key would mend.
const UNAUTHENTICATED: &str = "/problems/unauthenticated";

/// The options of every command that talks to a running gateway.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    /// Address of the gateway's API
    #[arg(long, env = "GATEWAY_URL", default_value = DEFAULT_URL, help_heading = "Gateway")]
    url: Url,
    /// API key; the environment keeps it out of the process list
    #[arg(long, env = "GATEWAY_KEY", hide_env_values = true, help_heading = "Gateway")]
    key: Option<SecretString>,
}

impl ClientArgs {
    pub(super) fn connect(&self) -> Result<Client, CliError> {
        // In a new terminal a variable of the last one is empty.
        let key = self.key.clone().filter(|key| !key.expose_secret().is_empty()).ok_or_else(|| {
            CliError::Usage("there is no API key; give one with GATEWAY_KEY, or with --key".to_owned())
        })?;
        Ok(Client::new(&self.url, key)?)
    }
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The key and the events would cross a network in clear.
    #[error(
        "{url} is plain HTTP to another machine (clause security.transmission); use its https:// address"
    )]
    NotEncrypted { url: Url },
    /// An address without `http://` reads as one of a scheme of its host's name.
    #[error("{url} is no address of HTTP; begin it with https://, or with http:// on this machine")]
    NoScheme { url: Url },
    /// No connection, or one that broke.
    #[error("no answer from {url}; does `gateway serve` run there?")]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// The client itself.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// The answer is none of this API's.
    #[error("{url} answers, but not as this gateway's API; check the address")]
    NotTheApi { url: Url },
    /// An error answer.
    #[error(transparent)]
    Refused(Box<Refused>),
}

impl ClientError {
    /// How long to wait before the same request may succeed; none where it never will.
    pub(super) fn retry_after(&self, otherwise: Duration) -> Option<Duration> {
        match self {
            Self::Unreachable { .. } => Some(otherwise),
            Self::Refused(refused)
                if matches!(
                    refused.status,
                    StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::REQUEST_TIMEOUT
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::GATEWAY_TIMEOUT
                ) =>
            {
                Some(refused.retry_after.map_or(otherwise, |asked| asked.max(otherwise)))
            }
            _ => None,
        }
    }
}

/// A problem document (RFC 9457) with its status.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// Seconds of `Retry-After`.
    retry_after: Option<Duration>,
    pub(super) problem: ProblemDocument,
}

/// What a problem document of this API says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ProblemDocument {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    /// JSON Pointer into the document that was sent.
    #[serde(default)]
    pub(super) pointer: Option<String>,
    /// All of it, where there is more than one problem.
    #[serde(default)]
    pub(super) problems: Vec<DocumentProblem>,
}

/// One of several problems.
#[derive(Debug, Deserialize)]
pub(super) struct DocumentProblem {
    #[serde(default)]
    pub(super) pointer: String,
    #[serde(default)]
    detail: String,
}

impl Refused {
    #[cfg(test)]
    pub(super) fn new(status: StatusCode, problem: ProblemDocument) -> Self {
        Self { status, retry_after: None, problem }
    }
}

impl std::error::Error for Refused {}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.explain(self.status))?;
        if self.problem.r#type == UNAUTHENTICATED {
            f.write_str("; give it with --key or GATEWAY_KEY")?;
        }
        Ok(())
    }
}

impl ProblemDocument {
    /// The whole of it in one line.
    fn explain(&self, status: StatusCode) -> String {
        let what = [&self.detail, &self.title].into_iter().find(|text| !text.is_empty());
        let mut text = match what {
            Some(what) => what.clone(),
            None => status.to_string(),
        };
        for DocumentProblem { pointer, detail } in &self.problems {
            let place = if pointer.is_empty() { detail.clone() } else { format!("{pointer}: {detail}") };
            if !text.contains(&place) {
                text.push_str("; ");
                text.push_str(&place);
            }
        }
        match &self.pointer {
            Some(pointer) if !pointer.is_empty() && !text.contains(pointer.as_str()) => {
                format!("{text} (at {pointer})")
            }
            _ => text,
        }
    }
}

/// A client of one gateway with one key. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
}

impl Client {
    /// # Errors
    /// Where the address is not of HTTP, is plain HTTP and not of this machine, or there are no trust roots for TLS.
    pub(super) fn new(base: &Url, key: SecretString) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .tcp_nodelay(true);
        if base.scheme() != "https" {
            if base.scheme() != "http" {
                return Err(ClientError::NoScheme { url: base.clone() });
            }
            if !is_loopback(base) {
                return Err(ClientError::NotEncrypted { url: base.clone() });
            }
            // A proxy for the outside has no business here, and a machine without trust roots can do without.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        Ok(Self { http: builder.build().map_err(ClientError::Setup)?, base: base.clone(), key })
    }

    /// The same connections with another key.
    pub(super) fn with_key(&self, key: SecretString) -> Self {
        Self { key, ..self.clone() }
    }

    /// `path` begins with `/` and its segments are encoded by [`segment`].
    pub(super) async fn put<T: Serialize>(&self, path: &str, body: &T) -> Result<Value, ClientError> {
        self.answer(self.request(Method::PUT, path).json(body)).await
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, ClientError> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.http.get(url).bearer_auth(self.key.expose_secret())).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.answer(self.request(Method::DELETE, path)).await
    }

    /// POST with a JSON document.
    pub(super) async fn post_document<T: Serialize>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<Value, ClientError> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Value, ClientError> {
        self.answer(self.request(Method::POST, path).header(CONTENT_TYPE, media_type).body(body)).await
    }

    /// A component with its signature.
    pub(super) async fn publish(
        &self,
        component: Vec<u8>,
        signing_key: &ReleaseSigningKey,
    ) -> Result<Value, ClientError> {
        let signature = signing_key.sign(&component);
        let request = self.request(Method::POST, "/v1/plugins").header(CONTENT_TYPE, WASM);
        self.answer(request.header(RELEASE_SIGNATURE, signature).body(component)).await
    }

    /// A partner's message, signed in its headers.
    pub(super) async fn post_message(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Value, ClientError> {
        let request = self.http.post(self.url(path)).header(CONTENT_TYPE, "application/json").body(body);
        let signed = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.answer(signed).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(self.key.expose_secret())
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let unreachable = |source: reqwest::Error| ClientError::Unreachable {
            url: self.base.clone(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            if body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&body)
                .map_err(|_| ClientError::NotTheApi { url: self.base.clone() });
        }
        if status.is_redirection() {
            return Err(ClientError::NotTheApi { url: self.base.clone() });
        }
        // A proxy in front answers errors of its own: the status is enough then.
        let problem = serde_json::from_slice(&body).unwrap_or_default();
        Err(ClientError::Refused(Box::new(Refused { status, retry_after, problem })))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Everything but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An answer as what it is to be.
///
/// # Errors
/// [`CliError::FellShort`] where it is something else.
pub(super) fn read<T: DeserializeOwned>(answer: Value) -> Result<T, CliError> {
    serde_json::from_value(answer).map_err(|_| otherwise())
}

/// Of an answer in a form that this program does not know.
pub(super) fn otherwise() -> CliError {
    CliError::FellShort(
        "the gateway answers otherwise than this program expects; is it of the same version?".into(),
    )
}

/// One encoded segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_leave_the_machine_in_clear() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (url, fine) in [
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost", true),
            ("http://gateway.example", false),
            ("http://192.0.2.1", false),
            ("http://localhost.example", false),
        ] {
            let client = Client::new(&url.parse().unwrap(), "k".into());
            assert_eq!(client.is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn without_a_key_it_says_where_one_is_given() {
        for key in [None, Some("")] {
            let url = DEFAULT_URL.parse().unwrap();
            let Err(told) = (ClientArgs { url, key: key.map(SecretString::from) }).connect() else {
                panic!("{key:?} is a key")
            };
            assert!(told.to_string().contains("GATEWAY_KEY"), "{told}");
            assert_eq!(format!("{:?}", told.exit_code()), format!("{:?}", std::process::ExitCode::from(2)));
        }
    }

    #[test]
    fn paths_stand_below_the_base_and_their_names_cannot_leave_it() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(&"http://127.0.0.1:1/api/".parse().unwrap(), "k".into()).unwrap();
        let path = format!("/v1/brands/{}/events", segment("a/../b?c#d"));
        assert_eq!(client.url(&path).as_str(), "http://127.0.0.1:1/api/v1/brands/a%2F..%2Fb%3Fc%23d/events");
    }

    #[test]
    fn a_problem_is_told_with_its_place_once() {
        for (document, told) in [
            (r#"{"title":"T","detail":"it is not so","pointer":"/3/id"}"#, "it is not so (at /3/id)"),
            (r#"{"title":"T"}"#, "T"),
            ("{}", "422 Unprocessable Entity"),
            (
                r#"{"detail":"the event is not valid","problems":[{"pointer":"/a","detail":"no"},{"pointer":"/b","detail":"nor"}]}"#,
                "the event is not valid; /a: no; /b: nor",
            ),
        ] {
            let problem: ProblemDocument = serde_json::from_str(document).unwrap();
            assert_eq!(problem.explain(StatusCode::UNPROCESSABLE_ENTITY), told);
        }
    }
}
