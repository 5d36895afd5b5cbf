//! What a demo keeps where it is asked to: the partner's side and the ledger's, for holding one against
//! the other. The files hold consumers' values and are for their owner alone.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::cli::CliError;
use crate::cli::endpoint::Received;

/// Two files of JSON lines, made anew at each start.
pub(super) struct Record {
    received: Mutex<File>,
    flows: PathBuf,
}

impl Record {
    /// Makes the directory where it is not there, and both files empty.
    pub(super) fn open(dir: &Path) -> Result<Self, CliError> {
        std::fs::create_dir_all(dir).map_err(CliError::file("making", dir))?;
        let flows = dir.join("flows.jsonl");
        create(&flows)?;
        Ok(Self { received: Mutex::new(create(&dir.join("received.jsonl"))?), flows })
    }

    /// Adds a request.
    pub(super) fn received(&self, request: &Received) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.received.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }

    /// Writes the ledger, the oldest row first.
    pub(super) fn flows(&self, newest_first: &[Value]) -> Result<(), CliError> {
        let mut text = String::new();
        for row in newest_first.iter().rev() {
            text.push_str(&row.to_string());
            text.push('\n');
        }
        create(&self.flows)?.write_all(text.as_bytes()).map_err(CliError::file("writing", &self.flows))
    }
}

fn create(path: &Path) -> Result<File, CliError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(CliError::file("writing", path))
}
