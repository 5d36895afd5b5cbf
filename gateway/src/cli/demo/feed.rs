//! Sends the demo's events through the API. Several at a time, those of one consumer in the order of the
//! file: whether a consumer has engaged with a brand depends on what came before.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Keys;
use super::input::Event;
use super::setup;
use crate::cli::CliError;
use crate::cli::client::{CLOUDEVENT, Client, ClientError, segment};
use crate::cli::ingest::explain_refusal;

/// Events under way at once: enough to let the store commit several together, few enough to leave a
/// decision's deadline to the decision on two cores.
const LANES: usize = 4;
/// How often "not now" is answered by waiting, and how long at first.
const TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Sends all of them.
///
/// # Errors
/// The first line, by number, among those that the gateway refused before all lanes had stopped.
pub(super) async fn send(client: &Client, keys: &Keys, events: Vec<Event>) -> Result<(), CliError> {
    let mut lanes: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
    for event in events {
        lanes.entry(lane(&event)).or_default().push(event);
    }
    let failed = CancellationToken::new();
    let mut running = JoinSet::new();
    for events in lanes.into_values() {
        let clients: BTreeMap<String, Client> = keys
            .brands
            .iter()
            .map(|(brand, source, _)| ((*brand).to_owned(), client.with_key(source.clone())))
            .collect();
        running.spawn(one_lane(clients, events, failed.clone()));
    }
    let mut first: Option<(usize, CliError)> = None;
    while let Some(ended) = running.join_next().await {
        let Err((line, error)) = ended.map_err(CliError::start("sending events"))? else { continue };
        if first.as_ref().is_none_or(|(known, _)| line < *known) {
            first = Some((line, error));
        }
    }
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// One consumer, one lane.
fn lane(event: &Event) -> usize {
    let mut hasher = DefaultHasher::new();
    (&event.line.brand, &event.subject).hash(&mut hasher);
    usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default()
}

async fn one_lane(
    clients: BTreeMap<String, Client>,
    events: Vec<Event>,
    failed: CancellationToken,
) -> Result<(), (usize, CliError)> {
    for event in events {
        if failed.is_cancelled() {
            return Ok(());
        }
        let number = event.line.number;
        let Some(client) = clients.get(&event.line.brand) else { continue };
        if let Err(error) = one(client, event).await {
            failed.cancel();
            return Err((number, error));
        }
    }
    Ok(())
}

async fn one(client: &Client, event: Event) -> Result<(), CliError> {
    let brand = segment(&event.line.brand);
    let path = if event.kind == setup::SLOT_EVENT && setup::has_slot(&event.line.brand) {
        format!("/v1/brands/{brand}/decisions/{}", segment(setup::SLOT))
    } else {
        format!("/v1/brands/{brand}/events")
    };
    let mut wait = FIRST_WAIT;
    let mut tries = 0;
    loop {
        tries += 1;
        let Err(error) = client.post(&path, CLOUDEVENT, event.line.text.clone().into_bytes()).await else {
            return Ok(());
        };
        match (error.retry_after(wait), error) {
            (Some(pause), _) if tries < TRIES => {
                tokio::time::sleep(pause).await;
                wait *= 2;
            }
            (_, ClientError::Refused(refused)) => {
                return Err(CliError::FellShort(explain_refusal(
                    &refused,
                    std::slice::from_ref(&event.line),
                )));
            }
            (_, error) => return Err(error.into()),
        }
    }
}
