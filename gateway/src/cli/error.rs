//! Why a command fell short, and with which exit status. It repeats no value of a consumer.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::client::ClientError;
use crate::config::ConfigError;

/// The end of a command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// Asked in a way that cannot be served; the message says what would be right.
    #[error("{0}")]
    Usage(String),
    /// It fell short; the message says of what.
    #[error("{0}")]
    FellShort(String),
    /// The machine does not let it be done: no fault of what it was asked about.
    #[error("{0}")]
    OfThisMachine(String),
    /// Nothing was compared, which is another end than a difference.
    #[error(transparent)]
    NotCompared(Box<CliError>),
    /// Everything is told already; only the exit status is left.
    #[error("")]
    Told,
    /// Whoever reads standard output has gone.
    #[error("standard output is closed")]
    OutputClosed,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway's answer, or none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file or directory.
    #[error("{doing} {}", path.display())]
    File {
        /// `reading`, `writing`, …
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// An address that is taken, or none of this machine's.
    #[error("cannot listen on {address}; give a free one {how}")]
    Listen {
        address: SocketAddr,
        /// By which setting or option.
        how: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A part of the gateway does not start.
    #[error("{what} cannot start")]
    Start {
        /// Which part.
        what: &'static str,
        /// Its own words.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl CliError {
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }

    pub(super) fn listen(address: SocketAddr, how: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Listen { address, how, source }
    }

    pub(super) fn start<E: Into<Box<dyn Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Start { what, source: source.into() }
    }

    /// On standard error, with its causes.
    pub(super) fn print(&self) {
        if matches!(self, Self::Told) {
            return;
        }
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some errors repeat their cause in their own words.
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        eprintln!("error: {text}");
    }

    /// 2 for what is wrong in how the command was called or configured, and where it would compare and cannot; else 1.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::NotCompared(_) | Self::OfThisMachine(_) => {
                ExitCode::from(2)
            }
            _ => ExitCode::FAILURE,
        }
    }
}
