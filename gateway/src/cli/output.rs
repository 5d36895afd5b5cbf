//! Standard output: lines, tables, JSON. A reader that has gone away is an end, not a fault.

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use super::CliError;

/// How a command prints what it has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// The option of every command that prints a table.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct FormatArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

impl FormatArgs {
    pub(super) fn json(self) -> bool {
        self.format == Format::Json
    }
}

/// Writes one line, or several where the text has several.
pub(super) fn line(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(|_| CliError::OutputClosed)
}

/// Writes a value as indented JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    line(&pretty(value)?)
}

/// A value as indented JSON.
pub(super) fn pretty<T: Serialize>(value: &T) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map_err(|_| CliError::FellShort("the answer is no JSON".into()))
}

/// Rows under headings, each column as wide as its widest cell.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are headings.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let render = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head = render(self.headings.clone());
        let rows = self.rows.iter().map(|row| render(row.iter().map(String::as_str).collect()));
        std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&["id", "what"]);
        table.row(["a-long-one".to_owned(), "x".to_owned()]);
        table.row(["ü".to_owned(), String::new()]);
        assert_eq!(table.render(), "id          what\na-long-one  x\nü");
    }
}
