//! `gateway demo`: a whole gateway on this machine, with three brands, three partners and events that go
//! through. It is a client of its own API: nothing in it has more rights than its keys.

mod feed;
mod input;
mod members;
mod partner;
mod record;
mod report;
mod setup;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::client::Client;
use super::plugin::ToolchainArgs;
use super::plugin::{BuildOptions, BuiltPlugin};
use super::progress::Progress;
use super::serve::{http_options, stop_signal};
use super::{CliError, assemble, logging, output, plugin};
use crate::config::{Config, LogFormat};
use crate::http::{self, HttpOptions};
use crate::pipeline::{Gateway, Refusal, Role};

/// The domain of the partner that gets leads.
const PARTNER_DOMAIN: &str = "acme.example";
/// Where it listens when it keeps running and nobody else does; else on a free port.
const PORT: u16 = 8080;
/// The demo's own faults are told by its errors; of the rest, what an operator should see.
const LOG_LEVEL: &str = "warn,gateway::cli=error";

/// Run a whole gateway on this machine, with brands, partners and events
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It builds sample plugins, starts on a temporary database with three brands and a partner
endpoint on loopback, sends events through, and prints what flowed. It then shows a combined
offer, a combination that is refused, and an opt-out that takes effect, on a purchase among the
events; where none fits, it says what is left out. Without --input the events are the project's
own sample: made up, and no real consumer's. It then keeps running and says what to try next;
with --once it ends instead, with one JSON object as the last line. With --once --input and
without --all the three are shown on a gateway of their own, so that connections, counts and
record are those of the events alone. The last line:
  {\"events\":N,\"calls\":N,\"fields\":{\"allow\":N,\"transform\":N,\"withhold\":N},
   \"deliveries\":{\"delivered\":N,\"failed\":N},\"violations\":N,\"flows\":N}

Examples:
  gateway demo
  gateway demo --once --input events.jsonl --record out
  gateway demo --once --all")]
pub(super) struct Demo {
    /// End when every event is worked off; one attempt for each delivery
    #[arg(long)]
    once: bool,
    /// CloudEvents to send, JSON lines; `brand` names one of the demo's brands. Left out: a sample that is made up
    #[arg(long)]
    input: Option<PathBuf>,
    /// Switch on every sample plugin, also with --input; those in JavaScript and Python need npm and Python, and are left
    /// out where these are missing
    #[arg(long)]
    all: bool,
    /// Write what the partner's endpoint received to DIR/received.jsonl, and the ledger to
    /// DIR/flows.jsonl: one JSON object a line
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Where the sample plugins are; left out: `plugins` of the checkout, or of this directory
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    #[command(flatten)]
    toolchain: ToolchainArgs,
}

/// The sample plugins, built.
struct Built {
    /// Where they are built from.
    dir: PathBuf,
    /// What is published and switched on.
    on: Vec<BuiltPlugin>,
    /// What the scenes need where they are played on a gateway of their own.
    aside: Vec<BuiltPlugin>,
}

/// The running demo.
struct Running {
    gateway: Arc<Gateway>,
    address: SocketAddr,
    keys: Keys,
    client: Client,
    partner: partner::Partner,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    stop: CancellationToken,
    /// Holds the database; deleted at the end.
    _dir: tempfile::TempDir,
}

impl Demo {
    pub(super) async fn run(self) -> Result<(), CliError> {
        // First, so that a bad line does not wait for a compiler.
        let events = input::read(self.input.as_deref())?;
        let plugins_dir = plugins_dir(self.plugins.as_deref(), self.built())?;
        logging::start(LogFormat::Text, LOG_LEVEL)?;
        let record = self.record.as_deref().map(record::Record::open).transpose()?.map(Arc::new);

        let progress = Progress::spinner("building the sample plugins");
        let built = self.build(plugins_dir, &progress).await?;
        progress.keep("starting the gateway");
        // From here on there is data to be deleted at the end, whichever way it ends.
        let mut stop = std::pin::pin!(stop_signal()?);
        let running = self.start(&built.dir, record.clone(), http_options).await?;
        let outcome = tokio::select! {
            outcome = self.flow(&running, &built, events, record.as_deref(), &progress) => outcome,
            () = &mut stop => Err(CliError::FellShort("interrupted before all was worked off".to_owned())),
        };
        drop(progress);

        let outcome = match outcome {
            Ok(_) if !self.once => self.stay(&running, record.as_deref(), stop).await.map(Ok),
            other => other,
        };
        let counts = running.gateway.counts();
        running.end().await?;
        let aside = outcome?;
        if self.once {
            output::line(&report::last_line(&counts))?;
        }
        // What happens beside the events takes nothing from what is told of them.
        aside
    }

    /// Without --all the counts of somebody's events are those of the main job.
    fn scope(&self) -> setup::Scope {
        match (self.all, self.once && self.input.is_some()) {
            (true, _) => setup::Scope::All,
            (false, false) => setup::Scope::Members,
            (false, true) => setup::Scope::Base,
        }
    }

    /// What is built: the scenes are shown in every demo.
    fn built(&self) -> setup::Scope {
        self.scope().max(setup::Scope::Members)
    }

    async fn build(&self, dir: PathBuf, progress: &Progress) -> Result<Built, CliError> {
        let mut built = Vec::new();
        for name in setup::plugins(self.built()) {
            // With --all only: the others are in Rust.
            if let Some(missing) = plugin::missing_tool(&dir.join(name)) {
                if std::env::var_os("CI").is_some_and(|value| value == "true") {
                    return Err(CliError::FellShort(missing.to_string()));
                }
                progress.keep(&format!("{name} is left out: {missing}"));
                continue;
            }
            let options = BuildOptions {
                dir: dir.join(name),
                out: None,
                install_toolchain: self.toolchain.install_toolchain,
                version: None,
            };
            built.push(plugin::build(options, progress).await?);
        }
        let (on, aside) = built
            .into_iter()
            .partition(|plugin: &BuiltPlugin| setup::plugins(self.scope()).any(|name| name == plugin.name));
        Ok(Built { dir, on, aside })
    }

    async fn start(
        &self,
        plugins_dir: &Path,
        record: Option<Arc<record::Record>>,
        options: impl FnOnce(&Config) -> Result<HttpOptions, CliError>,
    ) -> Result<Running, CliError> {
        let stop = CancellationToken::new();
        let partner = partner::Partner::start(record, stop.clone()).await?;
        let listener = self.listen().await.map_err(CliError::start("the API's listener"))?;
        let address = listener.local_addr().map_err(CliError::start("the API's listener"))?;

        let dir = tempfile::tempdir().map_err(CliError::start("the temporary directory"))?;
        let mut config = Config {
            listen: address,
            database: dir.path().join("demo.db").display().to_string(),
            cache_dir: Some(compiled_dir(plugins_dir, dir.path())),
            endpoint_bindings: setup::PARTNERS
                .iter()
                .map(|of| (of.domain.to_owned(), partner.address))
                .collect(),
            ..Config::default()
        };
        if self.once {
            config.max_attempts = 1;
        }
        let options = options(&config)?;
        let gateway =
            Gateway::start(assemble::parts(&config).await?).await.map_err(CliError::start("the gateway"))?;
        let keys = Keys::make(&gateway).await.map_err(|error| CliError::FellShort(error.to_string()))?;
        let url = Url::parse(&format!("http://{address}")).map_err(CliError::start("the API's client"))?;
        let client = Client::new(&url, keys.operator.clone())?;
        let served = tokio::spawn(http::serve(
            listener,
            Arc::clone(&gateway),
            options,
            stop.clone().cancelled_owned(),
        ));
        Ok(Running { gateway, address, keys, client, partner, served, stop, _dir: dir })
    }

    async fn listen(&self) -> std::io::Result<TcpListener> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if self.once {
            return TcpListener::bind(any).await;
        }
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(any).await,
        }
    }

    /// Sets the world up, sends the events through, prints what flowed; within that, what came of the scenes where
    /// they are played aside.
    async fn flow(
        &self,
        running: &Running,
        built: &Built,
        events: Vec<input::Event>,
        record: Option<&record::Record>,
        progress: &Progress,
    ) -> Result<Result<(), CliError>, CliError> {
        progress.keep("publishing and switching on");
        let world = setup::world(&running.client, &running.keys, &built.on).await?;
        let purchase = members::purchase(&events);
        progress.keep(&format!("sending {} events", events.len()));
        feed::send(&running.client, &running.keys, events).await?;
        progress.say("waiting until all is worked off");
        running.gateway.settled().await;
        let scenes = if self.scope() >= setup::Scope::Members {
            progress.say("telling the loyalty programme of a purchase");
            Some(members::play(running, world, purchase.as_ref()).await?)
        } else {
            None
        };

        let flows = report::flows(&running.client, &running.keys).await?;
        if let Some(record) = record {
            record.flows(&flows)?;
        }
        output::line(&report::summary(&flows, &running.gateway.counts(), running.partner.received()))?;
        let scenes = match scenes {
            Some(scenes) => Ok(scenes),
            None => self.aside(built, purchase.as_ref()).await,
        };
        Ok(scenes.and_then(|scenes| output::line(&format!("\n{scenes}"))))
    }

    /// The scenes on a gateway of their own, which ends with them.
    async fn aside(&self, built: &Built, purchase: Option<&Value>) -> Result<String, CliError> {
        let running = self.start(&built.dir, None, unmeasured).await?;
        let played = async {
            let world = setup::world(&running.client, &running.keys, &built.aside).await?;
            members::play(&running, world, purchase).await
        }
        .await;
        running.end().await?;
        Ok(format!(
            "{}\n\n(On a gateway of its own: the connections and counts above are those of the events.)",
            played?.trim_end()
        ))
    }

    /// Says what to try next, and waits for the end.
    async fn stay(
        &self,
        running: &Running,
        record: Option<&record::Record>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), CliError> {
        output::line(&report::what_next(running.address, &running.keys))?;
        stop.await;
        if let Some(record) = record {
            record.flows(&report::flows(&running.client, &running.keys).await?)?;
        }
        Ok(())
    }
}

impl Running {
    /// Takes nothing new, finishes what was accepted.
    async fn end(self) -> Result<(), CliError> {
        self.stop.cancel();
        let served = self.served.await.map_err(CliError::start("the API"))?;
        self.gateway.shutdown().await;
        self.partner.end().await;
        served.map_err(CliError::start("the API"))
    }
}

/// The keys of the demo, which live as long as it does.
struct Keys {
    operator: SecretString,
    auditor: SecretString,
    /// By brand: source, brand.
    brands: Vec<(&'static str, SecretString, SecretString)>,
    partners: Vec<(&'static str, SecretString)>,
}

impl Keys {
    async fn make(gateway: &Gateway) -> Result<Self, Refusal> {
        let key = async |role, brand, partner| {
            gateway
                .create_key(role, brand, partner, "demo")
                .await
                .map(|(_, secret)| SecretString::from(secret))
        };
        let mut brands = Vec::new();
        for brand in setup::BRANDS {
            let name = brand.name;
            brands.push((
                name,
                key(Role::Source, Some(name), None).await?,
                key(Role::Brand, Some(name), None).await?,
            ));
        }
        let mut partners = Vec::new();
        for partner in setup::PARTNERS {
            partners.push((partner.name, key(Role::Partner, None, Some(partner.name)).await?));
        }
        Ok(Self {
            operator: key(Role::Operator, None, None).await?,
            auditor: key(Role::Auditor, None, None).await?,
            brands,
            partners,
        })
    }

    fn source(&self, brand: &str) -> Option<&SecretString> {
        self.brands.iter().find(|(name, ..)| *name == brand).map(|(_, source, _)| source)
    }

    fn brand(&self, brand: &str) -> Option<&SecretString> {
        self.brands.iter().find(|(name, ..)| *name == brand).map(|(_, _, key)| key)
    }

    fn partner(&self, partner: &str) -> Option<&SecretString> {
        self.partners.iter().find(|(name, _)| *name == partner).map(|(_, key)| key)
    }
}

/// Of a second gateway: the metrics are the process's, and the first has them.
fn unmeasured(config: &Config) -> Result<HttpOptions, CliError> {
    Ok(HttpOptions { max_body: config.max_event_body, ..HttpOptions::default() })
}

/// The folder of the sample plugins.
fn plugins_dir(named: Option<&Path>, scope: setup::Scope) -> Result<PathBuf, CliError> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let candidates: Vec<PathBuf> = match named {
        Some(dir) => vec![dir.to_owned()],
        None => vec![checkout, PathBuf::from("plugins")],
    };
    let has_all =
        |dir: &PathBuf| setup::plugins(scope).all(|name| dir.join(name).join("plugin.toml").is_file());
    match candidates.iter().find(|dir| has_all(dir)) {
        Some(dir) => dir.canonicalize().map_err(CliError::file("reading", dir)),
        None => {
            let looked: Vec<String> = candidates.iter().map(|dir| dir.display().to_string()).collect();
            Err(CliError::Usage(format!(
                "the sample plugins {} are not in {}; run the demo in a checkout of the project, or name their folder with --plugins",
                setup::plugins(scope).collect::<Vec<_>>().join(", "),
                looked.join(" or ")
            )))
        }
    }
}

/// Where compiled plugins stay, so that the next start is quick: below the plugins' target directory, or
/// for this run only where that cannot be written.
fn compiled_dir(plugins_dir: &Path, temporary: &Path) -> PathBuf {
    let kept = plugins_dir.join("target").join("gateway-cache");
    let writable = std::fs::create_dir_all(plugins_dir.join("target")).is_ok()
        && tempfile::tempfile_in(plugins_dir.join("target")).is_ok();
    if writable { kept } else { temporary.join("cache") }
}
