//! A client of the gateway's API, with one key. It retries nothing and hides nothing.

use std::sync::OnceLock;

use gateway::manifest::{RELEASE_SIGNATURE, ReleaseSigningKey};
use gateway::pipeline::Role;
use reqwest::Method;
use serde_json::Value;
use sha2::Digest as _;

/// One event (CloudEvents JSON event format).
pub const EVENT: &str = "application/cloudevents+json";
/// A batch of events.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// As [`Answer::expect`], for any success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        self.json()
    }
}

/// A client with a key, or without.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    /// The partner whose key signs what is published.
    partner: Option<String>,
}

/// The key that a partner of the tests signs its releases with; the partners of [`crate::world`] have it in their record.
pub fn signing_key(partner: &str) -> ReleaseSigningKey {
    ReleaseSigningKey::from_seed(&sha2::Sha256::digest(partner)).expect("a seed of 32 bytes")
}

impl Client {
    /// `base` is `http://ADDRESS`.
    pub fn new(base: &str, key: Option<&str>) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .build()
            .expect("a client for loopback");
        Self { http, base: base.to_owned(), key: key.map(str::to_owned), partner: None }
    }

    /// The same with another key; connections are shared.
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), partner: None, ..self.clone() }
    }

    /// The same, which signs as this partner.
    pub fn signing_as(self, partner: &str) -> Self {
        Self { partner: Some(partner.to_owned()), ..self }
    }

    /// The secret of its key.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// One request. `None` where the gateway did not answer: it is gone, or closed the connection.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> Option<Answer> {
        let headers: Vec<_> =
            content_type.map(|kind| ("content-type", kind.to_owned())).into_iter().collect();
        self.exchange(method, path, &headers, body).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let text = String::from_utf8_lossy(&response.bytes().await.ok()?).into_owned();
        Some(Answer { status, headers, text })
    }

    /// One request that must be answered.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        self.try_send(method, path, content_type, body).await.expect("the gateway answers")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, Vec::new()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, Vec::new()).await
    }

    /// PUT with a JSON document.
    pub async fn put(&self, path: &str, document: &Value) -> Answer {
        let body = document.to_string().into_bytes();
        self.send(Method::PUT, path, Some("application/json"), body).await
    }

    /// POST with no body.
    pub async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, None, Vec::new()).await
    }

    /// POST with a body of any type.
    pub async fn post_body(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        self.send(Method::POST, path, Some(content_type), body).await
    }

    /// Publishes a component, signed as the client's partner signs.
    pub async fn publish(&self, component: &[u8]) -> Answer {
        let signature = self.partner.as_deref().map(|partner| signing_key(partner).sign(component));
        self.publish_signed(component, signature).await
    }

    /// Publishes a component with a signature as it is given, or without one.
    pub async fn publish_signed(&self, component: &[u8], signature: Option<String>) -> Answer {
        let headers = [
            Some(("content-type", "application/wasm".to_owned())),
            signature.map(|signature| (RELEASE_SIGNATURE, signature)),
        ];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let answer = self.exchange(Method::POST, "/v1/plugins", &headers, component.to_vec()).await;
        answer.expect("the gateway answers")
    }

    /// One event to the brand that it names.
    pub async fn post_event(&self, event: &Value) -> Answer {
        let path = format!("/v1/brands/{}/events", brand_of(event));
        self.post_body(&path, EVENT, event.to_string().into_bytes()).await
    }

    /// A batch for one brand.
    pub async fn post_batch(&self, brand: &str, events: &[Value]) -> Answer {
        let body = Value::from(events.to_vec()).to_string().into_bytes();
        self.post_body(&format!("/v1/brands/{brand}/events"), BATCH, body).await
    }

    /// Asks for a decision on an event, of the brand that it names.
    pub async fn decide(&self, slot: &str, event: &Value) -> Answer {
        let path = format!("/v1/brands/{}/decisions/{slot}", brand_of(event));
        self.post_body(&path, EVENT, event.to_string().into_bytes()).await
    }

    /// Every row of the ledger that this key may see under a query such as `brand=x&stage=call`, newest first.
    pub async fn flows(&self, query: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let next = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = self.get(&format!("/v1/flows?limit=1000&{query}{next}")).await.expect(200);
            rows.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return rows,
            }
        }
    }
}

/// A partner's client signs as that partner.
pub fn scoped(client: Client, role: Role, scope: Option<&str>) -> Client {
    match scope.filter(|_| role == Role::Partner) {
        Some(partner) => client.signing_as(partner),
        None => client,
    }
}

/// A gateway for which there are clients of every role.
#[allow(async_fn_in_trait)] // used with the two gateways of the tests alone
pub trait Keyed {
    /// A client with a key of this role: `scope` is the brand of a source or brand key, the partner of a
    /// partner key, `None` for others. One key for each role and scope.
    async fn client(&self, role: Role, scope: Option<&str>) -> Client;

    async fn operator(&self) -> Client {
        self.client(Role::Operator, None).await
    }

    async fn auditor(&self) -> Client {
        self.client(Role::Auditor, None).await
    }

    async fn source(&self, brand: &str) -> Client {
        self.client(Role::Source, Some(brand)).await
    }

    async fn brand(&self, brand: &str) -> Client {
        self.client(Role::Brand, Some(brand)).await
    }

    async fn partner_key(&self, partner: &str) -> Client {
        self.client(Role::Partner, Some(partner)).await
    }
}

/// The brand that an event names.
pub fn brand_of(event: &Value) -> &str {
    event["brand"].as_str().expect("the tests' events name their brand")
}
