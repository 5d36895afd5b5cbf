//! Where log lines go: standard error, as text or JSON. Standard output is for what was asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::CliError;
use crate::config::LogFormat;

/// Never logged, whatever the level.
const SILENCED: [&str; 3] = ["h2=off", "hyper=off", "hyper_util=off"];

/// A panic is logged with its place alone: its message can carry a value.
fn log_panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map_or(("", 0), |place| (place.file(), place.line()));
        tracing::error!(file, line, "a task panicked; the request or call that it served is refused");
    }));
}

/// What is logged at `level`.
fn filter(level: &str) -> Result<EnvFilter, CliError> {
    let no_filter = || {
        let rule = "give off, error, warn, info, debug or trace, or one for a module: `info,gateway=debug`";
        CliError::Usage(format!("log-level `{level}` is no filter; {rule}"))
    };
    // A bare word would be taken for a module's name, and all but its lines silenced; so would a level beside a blank.
    let parts: Vec<&str> = level.split(',').map(str::trim).collect();
    let is_filter = |part: &&str| {
        let is_level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        is_level || (part.contains('=') && !part.contains(char::is_whitespace))
    };
    if !parts.iter().all(is_filter) {
        return Err(no_filter());
    }
    EnvFilter::try_new(parts.join(",")).map_err(|_| no_filter())
}

/// Starts logging for this process.
///
/// # Errors
/// Where `level` is no filter, or logging is started already.
pub(super) fn start(format: LogFormat, level: &str) -> Result<(), CliError> {
    let mut filter = filter(level)?;
    // These can log headers and paths, and with them keys and consumers' ids.
    for library in SILENCED {
        filter = filter.add_directive(library.parse().map_err(CliError::start("logging"))?);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(CliError::start("logging"))?;
    log_panics_by_place();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_silences_nothing_but_is_refused() {
        for (level, is_one) in [
            ("info", true),
            ("WARN", true),
            ("off", true),
            ("info,gateway=debug", true),
            ("gateway=trace", true),
            (" gateway=debug, info ", true),
            ("gateway = debug", false),
            ("inof", false),
            ("warning", false),
            ("", false),
            ("info,loud", false),
            ("gateway=loud", false),
        ] {
            let filter = filter(level);
            assert_eq!(filter.is_ok(), is_one, "{level:?}");
            // None of them speaks of a module that is called like a level.
            let text = filter.map_or(String::new(), |filter| filter.to_string());
            assert!(!text.contains(' ') && !text.contains("info=trace"), "{level:?}: {text}");
        }
    }
}
