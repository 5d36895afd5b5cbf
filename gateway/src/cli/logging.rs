//! Where log lines go: standard error, as text or JSON. Standard output is for what was asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::CliError;
use crate::config::LogFormat;

/// Starts logging for this process.
///
/// # Errors
/// Where `level` is no filter, or logging is started already.
pub(super) fn start(format: LogFormat, level: &str) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(level)
        .map_err(|_| CliError::Usage(format!("log level `{level}` is no filter; give for example `info`")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(CliError::start("logging"))
}
