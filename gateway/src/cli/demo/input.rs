//! The demo's events: of a file, or the project's own sample. It reads; it sends nothing.

use std::path::Path;

use serde::Deserialize;

use super::setup;
use crate::cli::CliError;
use crate::cli::ingest::{self, Line};

/// Made-up events of made-up people: none is of a real conversation.
const SAMPLE: &str = include_str!("../../../sample/events.jsonl");

/// An event to be sent.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) line: Line,
    /// CloudEvents `type`; empty where there is none, which the gateway then refuses.
    pub(super) kind: String,
    /// Whose it is: events of one consumer keep their order.
    pub(super) subject: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    r#type: String,
    subject: String,
}

/// All events, in the order of the file.
///
/// # Errors
/// The first line that is not JSON or names no brand of the demo's.
pub(super) fn read(file: Option<&Path>) -> Result<Vec<Event>, CliError> {
    match file {
        Some(path) => ingest::lines(path)?
            .filter_map(|line| line.and_then(|(n, text)| event(n, &text)).transpose())
            .collect(),
        None => SAMPLE
            .lines()
            .enumerate()
            .filter_map(|(index, text)| event(index + 1, text).transpose())
            .collect(),
    }
}

fn event(number: usize, text: &str) -> Result<Option<Event>, CliError> {
    let Some(line) = ingest::parse_line(number, text, None)? else { return Ok(None) };
    if !setup::BRANDS.iter().any(|brand| brand.name == line.brand) {
        let known: Vec<&str> = setup::BRANDS.iter().map(|brand| brand.name).collect();
        return Err(CliError::FellShort(format!(
            "line {number}: `brand` is none of the demo's, which are {}",
            known.join(", ")
        )));
    }
    // What is wrong in other ways is for the gateway to say.
    let Head { r#type: kind, subject } = serde_json::from_str(&line.text).unwrap_or_default();
    Ok(Some(Event { line, kind, subject }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_sample_reads_and_shows_different_things() {
        let events = read(None).unwrap();
        let kinds: BTreeSet<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        let brands: BTreeSet<&str> = events.iter().map(|event| event.line.brand.as_str()).collect();
        assert!(events.len() >= 40, "{}", events.len());
        for kind in
            ["page.viewed", "contact.provided", "chat.ended", "survey.completed", "purchase.completed"]
        {
            assert!(kinds.contains(kind), "{kind}");
        }
        assert_eq!(brands.len(), setup::BRANDS.len());
    }

    #[test]
    fn the_sample_is_valid_against_the_catalogue() {
        let catalogue = crate::catalogue::Catalogue::embedded().unwrap();
        for event in read(None).unwrap() {
            let value: serde_json::Value = serde_json::from_str(&event.line.text).unwrap();
            let kind = catalogue.event_type(&event.kind).expect("a known type");
            assert!(kind.validate(&value["data"]).is_ok(), "line {}", event.line.number);
        }
    }

    #[test]
    fn a_line_of_another_brand_is_named_by_its_number() {
        for (text, told) in [
            ("{\"brand\":\"ada-bakery\"}", "line 3: `brand` is none of the demo's"),
            ("nonsense", "line 3, column"),
            ("{}", "line 3: the event has no `brand`"),
        ] {
            let message = event(3, text).unwrap_err().to_string();
            assert!(message.starts_with(told) && !message.contains("ada"), "{text}: {message}");
        }
    }
}
