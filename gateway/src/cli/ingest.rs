//! `gateway ingest FILE`: sends a file of events to a running gateway, in batches of one brand each, in
//! the file's order. It repeats until an answer is there, so nothing is lost; the gateway knows what it
//! has already, so nothing is doubled.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::CliError;
use super::client::{CLOUDEVENTS_BATCH, Client, ClientArgs, ClientError, Refused, segment};
use super::output::{self, FormatArgs};
use super::progress::Progress;

/// Events a batch.
const BATCH: usize = 100;
/// Octets a batch, well below what a gateway takes by default; a single event may have more.
const BATCH_BYTES: usize = 256 * 1024;
/// The first wait after an answer that says "not now", and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Send a file of events to a running gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE has one CloudEvent a line (JSON); its `brand` names the brand. A key of role source is for one
brand: for a file with several, give --brand-key for each. Sending a file again does no harm: what the
gateway has already counts as a duplicate.

Examples:
  gateway ingest events.jsonl
  gateway ingest events.jsonl --brand-key northside-motors=gwk_… --brand-key city-dental=gwk_…")]
pub(super) struct Ingest {
    /// JSON lines of CloudEvents; `-` is standard input
    file: PathBuf,
    /// The key for one brand, as BRAND=KEY; repeat for more. Others use --key
    #[arg(long = "brand-key", value_parser = brand_key, help_heading = "Gateway")]
    brand_keys: Vec<(String, SecretString)>,
    /// The brand of events that name none
    #[arg(long)]
    brand: Option<String>,
    /// Seconds to go on trying while the gateway does not answer or cannot take more
    #[arg(long, default_value_t = 600)]
    patience: u64,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    format: FormatArgs,
}

fn brand_key(text: &str) -> Result<(String, SecretString), String> {
    match text.split_once('=') {
        Some((brand, key)) if !brand.is_empty() && !key.is_empty() => Ok((brand.to_owned(), key.into())),
        _ => Err("give BRAND=KEY".to_owned()),
    }
}

/// One line of the file.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    pub(super) brand: String,
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Head {
    brand: Option<String>,
}

/// Reads one line; none where it is blank. The text itself is sent as it stands, for the gateway to judge.
pub(super) fn parse_line(
    number: usize,
    text: &str,
    default_brand: Option<&str>,
) -> Result<Option<Line>, CliError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // A parser's own message could repeat a value; its place is enough.
    let head: Head = serde_json::from_str(text).map_err(|error| {
        let problem = match error.classify() {
            serde_json::error::Category::Data => "`brand` is not text, or the line is not an object",
            _ => "it is not JSON",
        };
        CliError::FellShort(format!("line {number}, column {}: {problem}", error.column()))
    })?;
    match head.brand.or_else(|| default_brand.map(str::to_owned)) {
        Some(brand) => Ok(Some(Line { number, brand, text: text.to_owned() })),
        None => Err(CliError::FellShort(format!(
            "line {number}: the event has no `brand`, which says whose it is"
        ))),
    }
}

/// The lines of a file or of standard input, one after the other.
pub(super) fn lines(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(usize, String), CliError>>, CliError> {
    let named = path.to_owned();
    let reader: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(CliError::file("reading", path))?)
    };
    Ok(BufReader::new(reader).lines().enumerate().map(move |(index, line)| match line {
        Ok(text) => Ok((index + 1, text)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(CliError::FellShort(format!("line {}: it is not UTF-8", index + 1)))
        }
        Err(error) => Err(CliError::file("reading", &named)(error)),
    }))
}

/// What a refusal of a batch says about its lines.
pub(super) fn explain_refusal(refused: &Refused, batch: &[Line]) -> String {
    let pointers = refused.problem.problems.iter().map(|problem| problem.pointer.as_str());
    let first = refused
        .problem
        .pointer
        .as_deref()
        .into_iter()
        .chain(pointers)
        .filter_map(|pointer| pointer.strip_prefix('/')?.split('/').next()?.parse::<usize>().ok())
        .filter_map(|index| batch.get(index))
        .map(|line| line.number)
        .min();
    // What is wrong with the key or the path is not wrong with a line.
    let about_lines =
        !matches!(refused.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
    match (first, batch) {
        (_, [first, ..]) if !about_lines => format!("events of brand {}: {refused}", first.brand),
        (Some(number), _) => format!("line {number}: {refused}"),
        (None, [only]) => format!("line {}: {refused}", only.number),
        (None, [first, .., last]) => format!("lines {} to {}: {refused}", first.number, last.number),
        (None, []) => refused.to_string(),
    }
}

/// What has been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    accepted: u64,
    duplicates: u64,
}

struct Sender {
    client: Client,
    keys: BTreeMap<String, SecretString>,
    patience: Duration,
    progress: Progress,
    taken: Taken,
}

impl Ingest {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let total = std::fs::metadata(&self.file).map(|file| file.len()).unwrap_or_default();
        let progress = Progress::bar(total, "sending events");
        let mut sender = Sender {
            client: self.client.connect()?,
            keys: self.brand_keys.iter().cloned().collect(),
            patience: Duration::from_secs(self.patience),
            progress,
            taken: Taken::default(),
        };
        let sent = self.send_all(&mut sender).await;
        let Sender { taken, progress, .. } = sender;
        drop(progress);
        if self.format.json() {
            output::json(&json!({ "accepted": taken.accepted, "duplicates": taken.duplicates }))?;
        } else {
            output::line(&format!("accepted {}, duplicates {}", taken.accepted, taken.duplicates))?;
        }
        sent
    }

    async fn send_all(&self, sender: &mut Sender) -> Result<(), CliError> {
        if self.file.as_os_str() == "-" && std::io::stdin().is_terminal() {
            sender.progress.keep("reading events from standard input");
        }
        let mut waiting: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        let mut unreadable = None;
        for line in lines(&self.file)? {
            let parsed = line.and_then(|(number, text)| parse_line(number, &text, self.brand.as_deref()));
            let line = match parsed {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                // What stands before it is sent first.
                Err(error) => {
                    unreadable = Some(error);
                    break;
                }
            };
            let batch = waiting.entry(line.brand.clone()).or_default();
            let bytes: usize = batch.iter().map(|line| line.text.len()).sum();
            if batch.len() >= BATCH || (!batch.is_empty() && bytes + line.text.len() > BATCH_BYTES) {
                let full = std::mem::take(batch);
                batch.push(line);
                sender.send(full).await?;
            } else {
                batch.push(line);
            }
        }
        // The brand whose oldest line comes first goes first, so that the first bad line is met first.
        let mut rest: Vec<Vec<Line>> = waiting.into_values().collect();
        rest.sort_by_key(|batch| batch.first().map(|line| line.number));
        for batch in rest {
            sender.send(batch).await?;
        }
        unreadable.map_or(Ok(()), Err)
    }
}

impl Sender {
    /// Sends lines of one brand, in order.
    async fn send(&mut self, batch: Vec<Line>) -> Result<(), CliError> {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let Err(error) = self.send_once(&part).await? else { continue };
            // Nothing of a refused batch is stored, so its halves can be tried: to fit, or to find the line.
            let searchable = match error.status {
                StatusCode::PAYLOAD_TOO_LARGE => true,
                StatusCode::CONFLICT => error.problem.pointer.is_none(),
                _ => false,
            };
            if searchable && part.len() > 1 {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
            } else {
                return Err(CliError::FellShort(explain_refusal(&error, &part)));
            }
        }
        Ok(())
    }

    /// Sends until there is an answer; the inner error is a refusal that repeating would not change.
    async fn send_once(&mut self, batch: &[Line]) -> Result<Result<(), Box<Refused>>, CliError> {
        let Some(first) = batch.first() else { return Ok(Ok(())) };
        let client = match self.keys.get(&first.brand) {
            Some(key) => self.client.with_key(key.clone()),
            None => self.client.clone(),
        };
        let path = format!("/v1/brands/{}/events", segment(&first.brand));
        let texts: Vec<&str> = batch.iter().map(|line| line.text.as_str()).collect();
        let body = format!("[{}]", texts.join(","));
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            match client.post(&path, CLOUDEVENTS_BATCH, body.clone().into_bytes()).await {
                Ok(answer) => {
                    let count = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
                    self.taken.accepted += count("accepted");
                    self.taken.duplicates += count("duplicates");
                    self.progress.advance(body.len() as u64);
                    return Ok(Ok(()));
                }
                Err(error) => match error.retry_after(wait) {
                    Some(pause) if started.elapsed() + pause <= self.patience => {
                        self.progress.keep(&format!("{error}; trying again in {} ms", pause.as_millis()));
                        tokio::time::sleep(pause).await;
                        wait = (wait * 2).min(LONGEST_WAIT);
                    }
                    Some(_) => {
                        return Err(CliError::FellShort(format!(
                            "line {}: {error}; gave up after {} s, and this line and what follows is not sent; \
                             running the command again does no harm",
                            first.number,
                            self.patience.as_secs()
                        )));
                    }
                    None => match error {
                        ClientError::Refused(refused) => return Ok(Err(refused)),
                        other => return Err(other.into()),
                    },
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_sent_is_named_without_its_content() {
        for (text, told) in [
            ("{\"subject\":\"ada@example.com\"", "line 7, column 28: it is not JSON"),
            ("{\"subject\":\"ada@example.com\"}", "line 7: the event has no `brand`"),
            ("{\"brand\":[\"ada@example.com\"]}", "line 7, column 9: `brand` is not text"),
        ] {
            let message = parse_line(7, text, None).unwrap_err().to_string();
            assert!(message.starts_with(told) && !message.contains("ada@"), "{text}: {message}");
        }
    }

    #[test]
    fn blank_lines_are_passed_over_and_a_default_brand_fills_in() {
        assert!(parse_line(1, "  ", None).unwrap().is_none());
        assert_eq!(parse_line(1, "{}", Some("b")).unwrap().unwrap().brand, "b");
        assert_eq!(parse_line(1, "{\"brand\":\"c\"}", Some("b")).unwrap().unwrap().brand, "c");
    }

    #[test]
    fn a_refused_batch_names_the_first_bad_line() {
        let batch: Vec<Line> = [3, 8, 9]
            .into_iter()
            .map(|number| Line { number, brand: "b".into(), text: "{}".into() })
            .collect();
        for (problem, told) in [
            (r#"{"detail":"no","pointer":"/1/data/x"}"#, "line 8: no"),
            (
                r#"{"detail":"no","problems":[{"pointer":"/2/id","detail":"a"},{"pointer":"/1/id","detail":"b"}]}"#,
                "line 8: no",
            ),
            (r#"{"detail":"no"}"#, "lines 3 to 9: no"),
        ] {
            let refused =
                Refused::new(StatusCode::UNPROCESSABLE_ENTITY, serde_json::from_str(problem).unwrap());
            assert!(explain_refusal(&refused, &batch).starts_with(told), "{problem}");
        }
    }

    #[test]
    fn a_key_that_may_not_is_no_fault_of_a_line() {
        let batch = [Line { number: 3, brand: "b".into(), text: "{}".into() }];
        let problem = serde_json::from_str(r#"{"detail":"no"}"#).unwrap();
        let told = explain_refusal(&Refused::new(StatusCode::FORBIDDEN, problem), &batch);
        assert_eq!(told, "events of brand b: no");
    }

    #[test]
    fn a_key_for_a_brand_is_written_with_an_equals_sign() {
        assert_eq!(brand_key("b=gwk_x=").unwrap().0, "b");
        for text in ["b", "=k", "b="] {
            assert!(brand_key(text).is_err(), "{text}");
        }
    }
}
