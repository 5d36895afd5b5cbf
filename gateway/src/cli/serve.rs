//! `gateway serve`: runs the gateway until it is told to stop, and then finishes what it accepted.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, assemble, logging, output};
use crate::config::Config;
use crate::http::{self, HttpOptions};
use crate::pipeline::Gateway;

/// Connections that may wait to be taken; `TcpListener::bind` has the same.
const BACKLOG: u32 = 1024;

/// Run the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line on standard output is the address. SIGTERM and ctrl-c end it: it takes nothing new, and
finishes what it accepted. A database is served by one process at a time. The first key:
`gateway keys create --role operator`.

Example:
  gateway serve --config gateway.toml")]
pub(super) struct Serve {
    /// Configuration file; `gateway.toml` of this directory where it is there
    #[arg(long, env = "GATEWAY_CONFIG")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let config = Config::load(self.config.as_deref())?;
        logging::start(config.log_format, &config.log_level)?;
        let stop = stop_signal()?;
        let options = http_options(&config)?;

        // First: where the address is taken, nothing is made. Connections are refused until there is a gateway.
        let taken = || CliError::listen(config.listen, "with the setting `listen`");
        let socket = bound(config.listen).map_err(taken())?;
        let _alone = assemble::served_alone(&config)?;
        let gateway =
            Gateway::start(assemble::parts(&config).await?).await.map_err(CliError::start("the gateway"))?;
        let listener = socket.listen(BACKLOG).map_err(taken())?;
        let address = listener.local_addr().map_err(CliError::start("the API's listener"))?;
        output::line(&format!("listening on http://{address}"))?;

        let served = http::serve(listener, gateway.clone(), options, stop).await;
        gateway.shutdown().await;
        tracing::info!("stopped");
        served.map_err(CliError::start("the API"))
    }
}

/// A socket that has the address, and takes no connection yet.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does: a restart need not wait for the connections of the one before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What the API may be told. Installs the process's metrics, so it comes before the gateway starts.
pub(super) fn http_options(config: &Config) -> Result<HttpOptions, CliError> {
    let metrics = http::install_metrics().map_err(CliError::start("the metrics"))?;
    Ok(HttpOptions { max_body: config.max_event_body, metrics: Some(metrics), ..HttpOptions::default() })
}

/// Ends at the first SIGTERM or ctrl-c. The signals are taken from now on, not only once it is awaited.
pub(in crate::cli) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::start("listening for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::start("listening for signals"))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
