//! Cases about aggregates, disclosures, and rows of the ledger that no call made.

use gateway_policy::{Flow, Recipient};

use super::given::*;
use crate::store::crypto::uid_floor;
use crate::store::*;

pub(super) async fn events_are_read_by_the_moment_of_acceptance(store: &dyn Store) {
    let (north, south) = (consumer(store, "north", 1).await, consumer(store, "south", 2).await);
    let of_kind = |seed, kind: &str| NewEvent { kind: kind.into(), ..event(&north, seed) };
    let events = vec![
        of_kind(10, "page.viewed"),
        of_kind(20, "page.viewed"),
        of_kind(30, "chat.ended"),
        NewEvent { kind: "page.viewed".into(), ..event(&south, 40) },
        of_kind(50, "page.viewed"),
    ];
    let uids: Vec<Uid> = events.iter().map(|event| event.uid).collect();
    store.accept(events).await.unwrap();
    let (from, until) = (uid_floor(NOW + 10).unwrap(), uid_floor(NOW + 50).unwrap());
    for (from, limit, expected) in [
        (from, 9, vec![uids[0], uids[1]]),
        (from, 1, vec![uids[0]]),
        (uids[1], 9, vec![uids[1]]),
        (until, 9, vec![]),
    ] {
        let found = store.events_between("north", "page.viewed", from, until, limit).await.unwrap();
        assert_eq!(found.iter().map(|event| event.uid).collect::<Vec<_>>(), expected);
    }
}

pub(super) async fn an_aggregate_is_kept_as_it_was_counted_first(store: &dyn Store) {
    let day = "2026-03-02";
    assert_eq!(store.aggregate("north", "page.viewed", day).await.unwrap(), None);
    for answers in [vec![1], vec![2]] {
        let kept = store.keep_aggregate("north", "page.viewed", day, NOW, answers).await.unwrap();
        assert_eq!(kept, [1]);
    }
    assert_eq!(store.aggregate("north", "page.viewed", day).await.unwrap(), Some(vec![1]));
    for (brand, event, day) in
        [("south", "page.viewed", day), ("north", "chat.ended", day), ("north", "page.viewed", "2026-03-03")]
    {
        assert_eq!(store.aggregate(brand, event, day).await.unwrap(), None);
    }
}

pub(super) async fn questions_are_counted_by_asker_brand_and_day(store: &dyn Store) {
    for (asker, brand, day, limit, expected) in [
        ("a", "north", "1", 2, true),
        ("a", "north", "1", 2, true),
        ("a", "north", "1", 2, false),
        ("a", "north", "1", 3, true),
        ("b", "north", "1", 1, true),
        ("a", "south", "1", 1, true),
        ("a", "north", "2", 1, true),
        ("c", "north", "1", 0, false),
    ] {
        let counted = store.count_question(asker, brand, day, limit).await.unwrap();
        assert_eq!(counted, expected, "{asker} {brand} {day} {limit}");
    }
}

pub(super) async fn a_disclosure_is_approved_once_and_by_another_key(store: &dyn Store) {
    let id = crate::store::crypto::new_uid(NOW);
    let asked = DisclosureRecord {
        id,
        brand: "north".into(),
        subject: digest(1),
        requested_ms: NOW,
        requester: "key_a".into(),
        body: vec![1, 2, 3],
        approval: None,
    };
    store.put_disclosure(asked.clone(), change("request")).await.unwrap();
    assert_eq!(store.disclosure("north", &id).await.unwrap(), Some(asked.clone()));
    assert_eq!(store.disclosure("south", &id).await.unwrap(), None);
    assert!(store.put_disclosure(asked.clone(), change("again")).await.is_err());
    let by = |approver: &str| Approval { at_ms: NOW + 1, approver: approver.into(), body: vec![4] };
    let approve =
        async |brand, approver| store.approve_disclosure(brand, &id, by(approver), change("approve")).await;
    assert!(matches!(approve("north", "key_a").await, Err(StoreError::Contradiction(_))));
    assert!(!approve("south", "key_b").await.unwrap());
    assert!(approve("north", "key_b").await.unwrap());
    assert!(!approve("north", "key_c").await.unwrap());
    let approved = DisclosureRecord { approval: Some(by("key_b")), ..asked };
    assert_eq!(store.disclosure("north", &id).await.unwrap(), Some(approved));
}

pub(super) async fn rows_that_no_call_made_are_rows_like_others(store: &dyn Store) {
    let north = consumer(store, "north", 1).await;
    let row =
        |stage, kind, recipient| FlowRecord { stage, flow: kind, recipient, ..flow(&north, &[9; 16], NOW) };
    let exported = row(Stage::Disclose, Flow::Disclose, Recipient::Authority);
    let told = row(Stage::Aggregate, Flow::Aggregate, Recipient::Brand);
    store.record_flows(vec![exported.clone()], Some(change("export"))).await.unwrap();
    store.record_flows(vec![told.clone()], None).await.unwrap();
    for (stage, expected) in [(Stage::Disclose, &exported), (Stage::Aggregate, &told)] {
        let query = FlowQuery { stage: Some(stage), limit: 9, ..FlowQuery::default() };
        let found = store.flows(&query).await.unwrap();
        assert_eq!(found.iter().map(|flow| flow.id).collect::<Vec<_>>(), [expected.id]);
        assert_eq!((found[0].stage, found[0].recipient), (expected.stage, expected.recipient));
    }
}
