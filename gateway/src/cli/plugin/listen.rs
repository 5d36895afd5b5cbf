//! `gateway plugin listen`: a partner's server for a first try, which shows each request that it gets.

use std::net::{Ipv4Addr, SocketAddr};

use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::cli::CliError;
use crate::cli::endpoint::{Endpoint, Received};
use crate::cli::output::{self, FormatArgs};
use crate::cli::serve::stop_signal;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Listen {
    /// The port on this machine; 0 takes a free one
    #[arg(long, default_value_t = 9900)]
    port: u16,
    #[command(flatten)]
    format: FormatArgs,
}

impl Listen {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let signal = stop_signal()?;
        let stop = CancellationToken::new();
        let json = self.format.json();
        // Who no longer reads what is shown ends it.
        let unread = stop.clone();
        let show = move |request: Received| {
            let shown = if json { one_line(&request) } else { Ok(lines(&request)) };
            if shown.and_then(|text| output::line(&text)).is_err() {
                unread.cancel();
            }
            (StatusCode::OK, "{\"received\":true}")
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let endpoint = Endpoint::start(address, show, stop.clone()).await?;
        if !json {
            let address = endpoint.address;
            output::line(&format!(
                "listening on {address}; each request is answered with 200; ctrl-c ends it"
            ))?;
        }
        tokio::select! {
            () = signal => stop.cancel(),
            () = stop.cancelled() => {}
        }
        endpoint.end().await;
        Ok(())
    }
}

fn one_line(request: &Received) -> Result<String, CliError> {
    serde_json::to_string(request).map_err(|_| CliError::FellShort("the request is no JSON".to_owned()))
}

/// The request as it came: a line for what is asked, one for each header, the body.
fn lines(request: &Received) -> String {
    let mut text = format!("\n{} {}", request.method, request.path);
    for (name, value) in &request.headers {
        text.push_str(&format!("\n{name}: {value}"));
    }
    if !request.body.is_empty() {
        text.push_str(&format!("\n\n{}", request.body));
    }
    // A terminal obeys control characters.
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}
