//! A gateway in this process: real store on a file, real sandbox, real server on port 0. Only the clock is
//! the tests' own, and the names of partners' hosts lead to the tests' endpoint.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway::boundary::PolicyBook;
use gateway::catalogue::Catalogue;
use gateway::clock::Clock;
use gateway::http::{self, HttpOptions};
use gateway::outbound::{Lookup, Outbound, OutboundConfig};
use gateway::pipeline::{Gateway, Parts, Role, Tuning};
use gateway::plugin_host::{Compiler, HostConfig, PluginHost};
use gateway::store::SqliteStore;
use gateway::store::crypto::MasterKey;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use crate::builds::gateway_binary;
use crate::client::{Client, Keyed, scoped};
use crate::partner::Partner;
use crate::paths::scratch;

/// Domains whose hosts lead to the tests' endpoint.
pub const DOMAINS: [&str; 8] = [
    "acme.example",
    "clerk.example",
    "front-desk.example",
    "gold-club.example",
    "ident.example",
    "mallory.example",
    "tally.example",
    "trent.example",
];

/// The master key of every gateway of the tests.
const MASTER: [u8; 32] = [7; 32];

/// What a test may want otherwise.
pub struct Options {
    pub tuning: Tuning,
    /// Texts of policies in place of the shipped one.
    pub policies: Option<Vec<String>>,
    /// A sandbox of the test's own in place of the one that all share.
    pub host: Option<HostConfig>,
    /// For a whole request to a partner.
    pub request_timeout: Duration,
    /// More names that lead to loopback addresses.
    pub bindings: HashMap<String, std::net::SocketAddr>,
    /// Whether [`DOMAINS`] lead to the tests' endpoint; else they are looked up like any other name.
    pub bind_domains: bool,
    /// Where other names are looked up.
    pub lookup: Lookup,
    pub max_body: usize,
    pub max_component: usize,
}

impl Default for Options {
    fn default() -> Self {
        let http = HttpOptions::default();
        Self {
            tuning: Tuning::default(),
            policies: None,
            host: None,
            request_timeout: OutboundConfig::default().request_timeout,
            bindings: HashMap::new(),
            bind_domains: true,
            lookup: Lookup::system(),
            max_body: http.max_body,
            max_component: http.max_component,
        }
    }
}

impl Options {
    /// The shipped policy, and a rule by which two kinds of data meet nowhere without the consumer's permission for
    /// integrations.
    pub fn apart(one: &str, other: &str) -> Self {
        let rule = format!(
            r#"
[[rule]]
effect = "forbid"
flow = ["combine"]
recipient = ["service-provider", "third-party", "brand"]
category = ["{one}"]
with = ["{other}"]
unless = ["permission.integration"]
clause = "integrations.combine"
"#
        );
        Self { policies: Some(vec![PolicyBook::SHIPPED.to_owned() + &rule]), ..Self::default() }
    }
}

/// The configuration of a sandbox whose compiled code all tests share on disk, and whose compiler is the
/// gateway's own child process.
pub fn host_config() -> HostConfig {
    let mut config = HostConfig::new(scratch("compiled"));
    config.compiler = Compiler::Program(gateway_binary().clone());
    config
}

/// The sandbox that the tests share.
pub fn shared_host() -> PluginHost {
    static HOST: OnceLock<PluginHost> = OnceLock::new();
    HOST.get_or_init(|| PluginHost::new(host_config()).expect("a sandbox")).clone()
}

/// The running gateway.
pub struct TestGateway {
    pub gateway: Arc<Gateway>,
    pub clock: Clock,
    pub partner: Partner,
    /// `http://ADDRESS`
    pub url: String,
    keys: Mutex<HashMap<(Role, Option<String>), String>>,
    client: Client,
    options: Options,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<std::io::Result<()>>>,
}

/// A gateway that has stopped, with what outlives it.
pub struct Stopped {
    clock: Clock,
    partner: Partner,
    keys: HashMap<(Role, Option<String>), String>,
    options: Options,
    dir: tempfile::TempDir,
}

impl TestGateway {
    /// Starts with an empty store.
    pub async fn start(options: Options) -> Self {
        let stopped = Stopped {
            clock: Clock::movable(),
            partner: Partner::start().await,
            keys: HashMap::new(),
            options,
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        stopped.start().await
    }

    /// Starts with the brands, partners, contracts and switches of the demo: see [`crate::world`].
    pub async fn demo() -> Self {
        Self::demo_with(Options::default()).await
    }

    /// The same, with options.
    pub async fn demo_with(options: Options) -> Self {
        let gateway = Self::start(options).await;
        crate::world::demo(&gateway).await;
        gateway
    }

    /// The store's file.
    pub fn database(&self) -> PathBuf {
        database(self.dir.path())
    }

    /// A client with a key of this role: `scope` is the brand of a source or brand key, the partner of a
    /// partner key, `None` for others. One key for each role and scope.
    pub async fn client(&self, role: Role, scope: Option<&str>) -> Client {
        let mut keys = self.keys.lock().await;
        let name = (role, scope.map(str::to_owned));
        if let Some(key) = keys.get(&name) {
            return scoped(self.client.with_key(Some(key)), role, scope);
        }
        let (brand, partner) = if role == Role::Partner { (None, scope) } else { (scope, None) };
        let made = self.gateway.create_key(role, brand, partner, "tests").await;
        let (_, key) = made.expect("a key can be made");
        let client = self.client.with_key(Some(&key));
        keys.insert(name, key);
        scoped(client, role, scope)
    }

    /// A client without a key.
    pub fn anonymous(&self) -> Client {
        self.client.with_key(None)
    }

    pub async fn operator(&self) -> Client {
        self.client(Role::Operator, None).await
    }

    pub async fn auditor(&self) -> Client {
        self.client(Role::Auditor, None).await
    }

    pub async fn source(&self, brand: &str) -> Client {
        self.client(Role::Source, Some(brand)).await
    }

    pub async fn brand(&self, brand: &str) -> Client {
        self.client(Role::Brand, Some(brand)).await
    }

    pub async fn partner_key(&self, partner: &str) -> Client {
        self.client(Role::Partner, Some(partner)).await
    }

    /// Waits until nothing is due or under way.
    pub async fn settled(&self) {
        let settled = tokio::time::timeout(crate::BOUND, self.gateway.settled()).await;
        settled.expect("the gateway settles");
    }

    /// Another process on the same store, as far as memory goes: a gateway without a server.
    pub async fn beside(&self) -> Arc<Gateway> {
        let parts = parts(&self.clock, &self.partner, &self.options, self.dir.path()).await;
        Gateway::start(parts).await.expect("a second gateway starts")
    }

    /// Ends the server gracefully, then the gateway: what `serve` does at SIGTERM.
    pub async fn stop(mut self) -> Stopped {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(served) = self.served.take() {
            served.await.expect("the server does not panic").expect("the server ends well");
        }
        self.gateway.shutdown().await;
        Stopped {
            clock: self.clock,
            partner: self.partner,
            keys: self.keys.into_inner(),
            options: self.options,
            dir: self.dir,
        }
    }
}

impl Keyed for TestGateway {
    async fn client(&self, role: Role, scope: Option<&str>) -> Client {
        TestGateway::client(self, role, scope).await
    }
}

impl Stopped {
    /// The store's file.
    pub fn database(&self) -> PathBuf {
        database(self.dir.path())
    }

    /// The partner's endpoint, which goes on.
    pub fn partner(&self) -> &Partner {
        &self.partner
    }

    /// Starts again on the same store, with the same keys.
    pub async fn start(self) -> TestGateway {
        let Self { clock, partner, keys, options, dir } = self;
        let parts = parts(&clock, &partner, &options, dir.path()).await;
        let gateway = Gateway::start(parts).await.expect("the gateway starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let http_options = HttpOptions {
            max_body: options.max_body,
            max_component: options.max_component,
            metrics: Some(metrics()),
        };
        let served = tokio::spawn(http::serve(listener, Arc::clone(&gateway), http_options, async {
            // A dropped sender is a test that ended: its runtime ends the server.
            let _ = stopped.await;
        }));
        TestGateway {
            client: Client::new(&url, None),
            gateway,
            clock,
            partner,
            url,
            keys: Mutex::new(keys),
            options,
            dir,
            stop: Some(stop),
            served: Some(served),
        }
    }
}

/// What a gateway on the store in this directory is made of.
async fn parts(clock: &Clock, partner: &Partner, options: &Options, dir: &Path) -> Parts {
    let book = match &options.policies {
        Some(texts) => PolicyBook::new(texts),
        None => PolicyBook::shipped(),
    };
    let host = match &options.host {
        Some(config) => PluginHost::new(config.clone()).expect("a sandbox"),
        // The binary may have to be built first, which blocks.
        None => tokio::task::spawn_blocking(shared_host).await.expect("the shared sandbox"),
    };
    let mut bindings = options.bindings.clone();
    if options.bind_domains {
        bindings.extend(DOMAINS.map(|domain| (domain.to_owned(), partner.address)));
    }
    let store = SqliteStore::open(&database(dir)).await.expect("a store");
    let outbound = Outbound::new(OutboundConfig {
        bindings,
        request_timeout: options.request_timeout,
        lookup: options.lookup.clone(),
        ..OutboundConfig::default()
    });
    Parts {
        clock: clock.clone(),
        catalogue: Catalogue::embedded().expect("the shipped catalogue"),
        book: book.expect("a policy"),
        store: Arc::new(store),
        master: MasterKey::from_bytes(MASTER),
        host,
        outbound: outbound.expect("an outbound client"),
        tuning: options.tuning,
    }
}

/// The process's recorder: one for all gateways of the tests.
fn metrics() -> metrics_exporter_prometheus::PrometheusHandle {
    static METRICS: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| http::install_metrics().expect("the first recorder of the process")).clone()
}

fn database(dir: &Path) -> PathBuf {
    dir.join("gateway.db")
}
