//! Every flow that flips, or of which something is open, in a file of JSON lines. The rows that were counted are read a
//! second time, one by one, so that a long list takes no memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use gateway_policy::{Again, Why};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::super::super::CliError;
use super::super::super::progress::Progress;
use super::super::words;
use super::{Findings, PAGE, REFUSED, Shapes, Versions};
use crate::pipeline::rfc3339;
use crate::store::crypto::format_uid;
use crate::store::{FlowShape, Store, StoreError};

const WRITING: &str = "writing";
/// Lines that are remembered for the rows alike.
const LINES: usize = 10_000;

/// Where the list goes; beside it until it is whole.
pub(super) struct Listing {
    path: PathBuf,
    beside: BufWriter<NamedTempFile>,
}

impl Listing {
    /// # Errors
    /// [`CliError`] where no file can be made there, or something else than a file is there.
    pub(super) fn at(path: &Path) -> Result<Self, CliError> {
        if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
            return Err(CliError::Usage(format!(
                "{} is there, and is no file; name another",
                path.display()
            )));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let beside = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let beside = BufWriter::new(beside.map_err(CliError::file(WRITING, path))?);
        Ok(Self { path: path.to_owned(), beside })
    }

    /// Lists what `found` counted, and says how many flows that were.
    ///
    /// # Errors
    /// [`CliError`] of the store or the file; then there is no list.
    pub(super) async fn write(
        mut self,
        store: &dyn Store,
        found: &mut Findings,
        versions: &Versions<'_>,
    ) -> Result<u64, CliError> {
        let failed = |error: StoreError| CliError::FellShort(error.to_string());
        let mut shapes = Shapes::default();
        // What is said of all rows of a shape with the same facts; none: nothing.
        let mut said: HashMap<(i64, u64), Option<Value>> = HashMap::new();
        let progress = Progress::bar(found.rows, "listing what flips");
        let (mut after, mut listed) = (0, 0);
        loop {
            let mut rows = store.ledger_rows_after(after, PAGE).await.map_err(failed)?;
            rows.retain(|row| row.position <= found.last);
            let Some(last) = rows.last() else { break };
            after = last.position;
            for row in &rows {
                if said.len() > LINES {
                    said.clear();
                }
                let alike = (row.shape, row.facts);
                let line = match said.entry(alike) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        let shape = shapes.get(store, row.shape).await.map_err(failed)?;
                        let (again, refused) = found.again(&shape, row.facts, versions).map_err(failed)?;
                        unknown.insert(line(&shape, &again, refused))
                    }
                };
                if let Some(line) = line {
                    line["id"] = json!(format_uid(&row.id));
                    line["at"] = json!(rfc3339(row.at_ms));
                    writeln!(self.beside, "{line}").map_err(CliError::file(WRITING, &self.path))?;
                    listed += 1;
                }
            }
            progress.advance(rows.len() as u64);
        }
        self.close()?;
        Ok(listed)
    }

    fn close(self) -> Result<(), CliError> {
        let whole = self.beside.into_inner().map_err(std::io::IntoInnerError::into_error);
        let whole = whole.map_err(CliError::file(WRITING, &self.path))?;
        let there = whole.persist(&self.path);
        there.map(drop).map_err(|error| CliError::file(WRITING, &self.path)(error.error))
    }
}

/// A row's line, but for its id and time; none where nothing of it flips or is open.
fn line(shape: &FlowShape, again: &[Again], refused: bool) -> Option<Value> {
    let fields = shape.verdicts.iter().zip(again).filter_map(|(field, again)| {
        let (new, open) = again.otherwise_than(field.verdict)?;
        Some(json!({
            "field": field.field,
            "access": field.access,
            "from": words::verdict(field.verdict),
            "to": words::verdict(new),
            "open": open.map(Why::as_str),
        }))
    });
    let fields: Vec<Value> = fields.collect();
    (refused || !fields.is_empty()).then(|| {
        json!({
            "id": null,
            "at": null,
            "flow": shape.flow,
            "recipient": shape.recipient,
            "partner": shape.partner,
            "fields": fields,
            "open": refused.then_some(REFUSED.1),
        })
    })
}
