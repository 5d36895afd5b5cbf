//! What plugins returned of a consumer, for other plugins of the brand: read from the store once for a consumer in
//! memory, when a connection first asks for it, and taken in with each commit after that.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::consumers::Consumer;
use super::dispatch::return_place;
use super::error::Refusal;
use super::gateway::Gateway;
use super::registry::LiveConnection;
use crate::boundary::{Hook, Onward, Received, Release, Returned, TooLarge};
use crate::store::Digest;

/// Calls of one plugin about one consumer that are looked through for what it returned last: a field that none of
/// so many returned is not there.
const NEWEST: u32 = 50;

/// What plugins returned last of one consumer, by plugin: those that were asked for.
#[derive(Default)]
pub(super) struct LastReturned {
    by_plugin: Mutex<HashMap<String, Arc<Received>>>,
    /// Commits of returned fields.
    commits: AtomicU64,
}

impl LastReturned {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Received>>> {
        self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was read of a plugin. Not so where something was committed since, which may not be in it.
    fn keep(&self, plugin: &str, read: Received, commits: u64) -> bool {
        let mut known = self.known();
        let current = self.commits.load(Ordering::SeqCst) == commits;
        if current {
            known.insert(plugin.to_owned(), Arc::new(read));
        }
        current
    }

    fn take_in(&self, plugin: &str, newer: impl FnOnce() -> Received) {
        let mut known = self.known();
        self.commits.fetch_add(1, Ordering::SeqCst);
        if let Some(stands) = known.get_mut(plugin) {
            *stands = Arc::new(updated((**stands).clone(), newer()));
        }
    }
}

/// Each leaf as it was returned last. What held for older ones holds as long as one of them stays. Where all of it
/// would be too large, the newest alone counts: the others are not there for other plugins.
fn updated(mut stands: Received, newer: Received) -> Received {
    if stands.labels.keys().all(|leaf| newer.labels.contains_key(leaf)) {
        return newer;
    }
    match stands.update(newer.clone()) {
        Ok(()) => stands,
        Err(TooLarge) => newer,
    }
}

/// Returned fields whose row is about to be committed.
pub(super) struct Fresh {
    pub(super) consumer: Arc<Consumer>,
    pub(super) plugin: String,
    pub(super) release: Digest,
    pub(super) returned: Returned,
}

impl Fresh {
    /// They are: from now on other plugins get them.
    pub(super) fn committed(self) {
        let Self { consumer, plugin, release, returned } = self;
        consumer.returned.take_in(&plugin, || Received::from_returned(returned, release));
    }
}

/// What a call is given of other plugins, with their connections as they stand.
#[derive(Default)]
pub(super) struct Given {
    by_plugin: Vec<(Arc<LiveConnection>, Arc<Received>)>,
    /// The releases that returned it.
    releases: BTreeMap<Digest, Arc<Release>>,
}

impl Given {
    pub(super) fn view(&self) -> Vec<Onward<'_>> {
        let Self { by_plugin, releases } = self;
        let given = by_plugin.iter();
        given.map(|(live, returned)| Onward { from: &live.connection, returned, releases }).collect()
    }
}

impl Gateway {
    /// Brings what a hook reads of other plugins into memory. A hook that reads no such thing, and a consumer in
    /// memory of whom it was read, cost no question. What its plugin received is known then too.
    pub(super) async fn look_up_returned(&self, consumer: &Consumer, hook: &Hook) -> Result<(), Refusal> {
        consumer.know_received(&*self.store).await?;
        for plugin in &hook.reads_returned_by {
            while !consumer.returned.known().contains_key(&**plugin) {
                let commits = consumer.returned.commits.load(Ordering::SeqCst);
                let mut found = Received::default();
                for record in self.store.last_returns(consumer.id, plugin, NEWEST).await?.into_iter().rev() {
                    let place = return_place(&record.flow);
                    let text = consumer.key.open(&place, &record.payload).map_err(|_| Refusal::Internal)?;
                    let returned: Returned = serde_json::from_slice(&text).map_err(|_| Refusal::Internal)?;
                    found = updated(found, Received::from_returned(returned, record.release));
                }
                if consumer.returned.keep(plugin, found, commits) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What a hook is given of other plugins that are on at the brand, but for what a release returned that is blocked.
    pub(super) fn given(&self, consumer: &Consumer, hook: &Hook) -> Given {
        if hook.reads_returned_by.is_empty() {
            return Given::default();
        }
        let registry = self.registry.load();
        let known = consumer.returned.known();
        let given = hook.reads_returned_by.iter().filter_map(|plugin| {
            let returned = known.get(&**plugin)?;
            let is_blocked = |release: &Digest| registry.is_blocked(release);
            let returned = match returned.releases.values().any(is_blocked) {
                true => Arc::new(returned.without(is_blocked)),
                false => Arc::clone(returned),
            };
            let live = registry.connection(&consumer.brand, plugin)?;
            (!returned.labels.is_empty()).then(|| (Arc::clone(live), returned))
        });
        let by_plugin: Vec<_> = given.collect();
        let digests = by_plugin.iter().flat_map(|(_, returned)| returned.releases.values());
        let known = |digest: &Digest| Some((*digest, Arc::clone(&registry.releases.get(digest)?.release)));
        Given { releases: digests.filter_map(known).collect(), by_plugin }
    }
}

#[cfg(test)]
mod tests {
    use gateway_policy::{Conditions, LabelSet, Region};
    use serde_json::{Value, json};

    use super::*;
    use crate::boundary::MAX_MERGED_BYTES;

    fn received(value: Value, leaf: &str, dnt: bool) -> Received {
        let labels = LabelSet::from_iter(["first-party:user.telemetry".parse().unwrap()]);
        let conditions = Conditions { region: Region::Us, dnt, ..Conditions::default() };
        let taken_ms = Default::default();
        Received {
            value,
            labels: [(leaf.to_owned(), labels)].into(),
            taken_ms,
            conditions,
            ..Received::default()
        }
    }

    #[test]
    fn each_leaf_is_the_last_one_and_what_held_for_one_holds_while_it_stays() {
        let stands = received(json!({ "a": 1 }), "/a", true);
        let newer = updated(stands, received(json!({ "b": 2 }), "/b", false));
        assert_eq!(newer.value, json!({ "a": 1, "b": 2 }));
        assert!(newer.conditions.dnt);
        let replaced =
            updated(received(json!({ "a": 1 }), "/a", true), received(json!({ "a": 3 }), "/a", false));
        assert_eq!((&replaced.value, replaced.conditions.dnt), (&json!({ "a": 3 }), false));
    }

    #[test]
    fn where_all_of_it_would_be_too_large_the_newest_alone_counts() {
        let large = || Value::String("x".repeat(MAX_MERGED_BYTES / 2));
        let newer = json!({ "b": large() });
        let stands = received(json!({ "a": large() }), "/a", true);
        let after = updated(stands, received(newer.clone(), "/b", false));
        assert_eq!((&after.value, after.conditions.dnt), (&newer, false));
        assert!(after.labels.keys().eq(["/b"]));
    }

    #[test]
    fn what_was_read_before_a_commit_is_read_again() {
        let last = LastReturned::default();
        let read = || received(json!({ "a": 1 }), "/a", false);
        last.take_in("p", || panic!("nobody asked for it"));
        assert!(!last.keep("p", read(), 0));
        assert!(last.keep("p", read(), 1));
        last.take_in("p", || received(json!({ "a": 2 }), "/a", false));
        assert_eq!(last.known()["p"].value, json!({ "a": 2 }));
    }
}
