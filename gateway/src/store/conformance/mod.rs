//! What every store must do, as functions over `&dyn Store`: each database runs the same cases, each on a
//! new, empty store. It knows no database.

mod counted;
mod given;
mod kept;
mod ledger;

use gateway_policy::{Access, Flow};

use self::counted::*;
pub(crate) use self::given::*;
use self::ledger::{rows_that_met_other_labels_are_of_another_shape, the_ledger_is_read_by_shape_and_facts};
use super::crypto::new_uid;
use super::*;

/// Runs every case; `open` gives a new store and what keeps it alive.
pub(crate) async fn all<S: Store, K, F: Future<Output = (S, K)>>(open: impl Fn() -> F) {
    macro_rules! cases {
        ($($case:path),* $(,)?) => {$(
            let (store, _kept) = open().await;
            println!(stringify!($case));
            $case(&store).await;
            store.close().await;
        )*};
    }
    cases![
        documents_are_replaced_and_deleted_and_each_change_moves_the_version,
        a_release_is_stored_once_and_never_with_other_bytes,
        a_revoked_key_is_no_longer_listed,
        a_consumer_is_found_or_stored_once_by_many_at_once,
        choices_are_replaced_and_do_not_move_the_control_version,
        linked_consumers_are_one_person_whose_choices_are_written_at_once,
        an_event_is_new_then_a_duplicate_then_a_conflict,
        a_conflict_keeps_the_whole_batch_out,
        one_key_twice_in_a_batch_is_judged_against_the_first,
        a_thousand_concurrent_accepts_store_each_event_once,
        an_event_engages_its_consumer,
        work_is_due_oldest_first_and_goes_when_it_is_recorded,
        kept::work_put_off_is_due_later_and_what_was_received_stays,
        a_call_is_recorded_once,
        a_decision_is_recorded_once,
        kept::what_partners_received_and_sent_is_kept,
        a_call_leaves_everything_or_nothing,
        kept::a_memory_is_kept_replaced_and_forgotten_with_its_call,
        kept::what_a_plugin_keeps_goes_with_its_connection,
        kept::a_message_is_taken_once_and_worked_on_once,
        an_operation_that_fails_harms_no_other,
        a_delivery_goes_from_attempt_to_attempt_to_its_end,
        kept::a_first_attempt_is_recorded_with_its_call_or_not_at_all,
        a_delivery_that_is_not_pending_may_not_be_attempted,
        a_dead_letter_is_listed_and_sent_again,
        a_flow_is_recorded_by_itself_and_its_result_once,
        kept::returns_are_a_feed,
        events_are_listed_newest_first,
        a_flow_reads_as_it_was_written,
        flows_are_found_by_each_filter,
        flows_page_by_cursor,
        the_ledger_is_read_by_shape_and_facts,
        rows_that_met_other_labels_are_of_another_shape,
        events_are_read_by_the_moment_of_acceptance,
        an_aggregate_is_kept_as_it_was_counted_first,
        questions_are_counted_by_asker_brand_and_day,
        a_disclosure_is_approved_once_and_by_another_key,
        rows_that_no_call_made_are_rows_like_others,
        a_closed_store_takes_nothing,
    ];
}

// ---- the control plane ----

async fn documents_are_replaced_and_deleted_and_each_change_moves_the_version(store: &dyn Store) {
    let document = |body: &str, secret: Option<&[u8]>| Document {
        kind: DocumentKind::Connection,
        scope: "north".into(),
        name: "adf-lead".into(),
        body: body.into(),
        secret: secret.map(<[u8]>::to_vec),
        connection: Some(new_uid(NOW)),
    };
    assert_eq!(store.control_version().await.unwrap(), 0);
    store.put_document(document("{}", Some(b"sealed")), change("put")).await.unwrap();
    let first = store.control_version().await.unwrap();
    let known = store.documents().await.unwrap()[0].connection;
    assert!(known.is_some());
    store.put_document(document("[]", None), change("put")).await.unwrap();
    let stored = store.documents().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].body.as_str(), &stored[0].secret), ("[]", &None));
    assert_eq!(stored[0].kind, DocumentKind::Connection);
    assert_eq!(stored[0].connection, known, "the same from the switching on until the deletion");
    let second = store.control_version().await.unwrap();
    assert!(0 < first && first < second);
    let delete = || store.delete_document(DocumentKind::Connection, "north", "adf-lead", change("delete"));
    assert!(delete().await.unwrap());
    let third = store.control_version().await.unwrap();
    assert!(second < third);
    assert!(!delete().await.unwrap(), "there is none any more");
    assert_eq!(store.control_version().await.unwrap(), third, "nothing changed");
    assert!(store.documents().await.unwrap().is_empty());
}

async fn a_release_is_stored_once_and_never_with_other_bytes(store: &dyn Store) {
    let release = |seed: u64, version: &str| ReleaseRecord {
        meta: ReleaseMeta {
            digest: digest(seed),
            plugin: "adf-lead".into(),
            version: version.into(),
            partner: "acme-crm".into(),
            manifest: "{}".into(),
            provenance: (seed == 1).then(|| "{}".into()),
            size: 100_000,
            published_ms: NOW,
            signed_by: "rlpk_".into(),
            signature: "v1a,".into(),
            interfaces: "[]".into(),
        },
        component: vec![seed as u8; 100_000],
    };
    store.put_release(release(1, "1.0.0"), change("publish")).await.unwrap();
    store.put_release(release(1, "1.0.0"), change("publish")).await.unwrap();
    assert!(matches!(
        store.put_release(release(2, "1.0.0"), change("publish")).await,
        Err(StoreError::Exists(_))
    ));
    store.put_release(release(3, "1.1.0"), change("publish")).await.unwrap();
    let releases = store.releases().await.unwrap();
    assert_eq!(releases.iter().map(|meta| meta.provenance.is_some()).collect::<Vec<_>>(), [true, false]);
    let versions: Vec<_> = releases.into_iter().map(|meta| meta.version).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    assert_eq!(store.release_bytes(&digest(3)).await.unwrap(), Some(vec![3; 100_000]));
    assert_eq!(store.release_bytes(&digest(2)).await.unwrap(), None);
}

async fn a_revoked_key_is_no_longer_listed(store: &dyn Store) {
    let key = ApiKeyRecord {
        id: "key-1".into(),
        secret_digest: digest(1),
        role: "brand".into(),
        brand: Some("north".into()),
        partner: None,
        created_ms: NOW,
    };
    store.put_key(key.clone(), change("create key")).await.unwrap();
    assert!(matches!(store.put_key(key.clone(), change("create key")).await, Err(StoreError::Exists(_))));
    assert_eq!(store.keys().await.unwrap(), [key]);
    assert!(store.revoke_key("key-1", change("revoke key")).await.unwrap());
    assert!(!store.revoke_key("key-1", change("revoke key")).await.unwrap());
    assert!(!store.revoke_key("key-2", change("revoke key")).await.unwrap());
    assert!(store.keys().await.unwrap().is_empty());
}

// ---- consumers ----

async fn a_consumer_is_found_or_stored_once_by_many_at_once(store: &dyn Store) {
    let found = futures::future::join_all((0..50).map(|_| consumer(store, "north", 1))).await;
    assert!(found.iter().all(|each| *each == found[0] && each.id > 0));
    let elsewhere = consumer(store, "south", 1).await;
    assert_ne!(elsewhere.id, found[0].id);
    assert_eq!(store.consumer("north", &digest(1)).await.unwrap().as_ref(), Some(&found[0]));
    assert_eq!(store.consumer_by_id(elsewhere.id).await.unwrap(), Some(elsewhere));
    assert_eq!(store.consumer("north", &digest(2)).await.unwrap(), None);
}

async fn choices_are_replaced_and_do_not_move_the_control_version(store: &dyn Store) {
    assert_eq!(store.choices("north", &digest(1)).await.unwrap(), None);
    for choices in ["{\"a\":1}", "{\"a\":2}"] {
        store.put_choices("north", &digest(1), choices, change("choose")).await.unwrap();
        assert_eq!(store.choices("north", &digest(1)).await.unwrap().as_deref(), Some(choices));
    }
    assert_eq!(store.choices("south", &digest(1)).await.unwrap(), None);
    let seen = store.choices_version().await.unwrap();
    assert!(seen > 0 && store.changed_choices(seen, 9).await.unwrap().is_empty());
    for subject in [2, 1, 2] {
        store.put_choices("north", &digest(subject), "{}", change("choose")).await.unwrap();
    }
    let changed = store.changed_choices(seen, 9).await.unwrap();
    let subjects: Vec<Digest> = changed.iter().map(|changed| changed.subject).collect();
    assert_eq!(subjects, [digest(1), digest(2)], "each once, by the last change");
    assert_eq!(changed[1].version, store.choices_version().await.unwrap());
    assert_eq!(store.changed_choices(seen, 1).await.unwrap(), changed[..1]);
    assert_eq!(store.control_version().await.unwrap(), 0);
}

async fn linked_consumers_are_one_person_whose_choices_are_written_at_once(store: &dyn Store) {
    let linked = |brand: &str, person: u64, of: &[(u64, &str)]| LinkedChoices {
        brand: brand.into(),
        person: digest(person),
        choices: of.iter().map(|(subject, choices)| (digest(*subject), (*choices).into())).collect(),
        change: change("link"),
    };
    let found = |brand: &'static str, subject: u64| async move {
        store.choices_and_person(brand, &digest(subject)).await.unwrap()
    };
    let members =
        |brand: &'static str, person: u64| async move { store.linked(brand, &digest(person)).await.unwrap() };
    assert_eq!(found("north", 1).await, None);
    store.put_choices("north", &digest(1), "a", change("choose")).await.unwrap();
    assert_eq!(found("north", 1).await, Some(("a".into(), None)));
    store.put_linked_choices(linked("north", 1, &[(1, "b"), (2, "c")])).await.unwrap();
    store.put_linked_choices(linked("north", 3, &[(3, "d"), (4, "e")])).await.unwrap();
    store.put_linked_choices(linked("south", 1, &[(1, "f"), (5, "g")])).await.unwrap();
    assert_eq!(found("north", 2).await, Some(("c".into(), Some(digest(1)))));
    assert_eq!(store.choices("north", &digest(1)).await.unwrap().as_deref(), Some("b"));
    assert_eq!(members("north", 1).await, [digest(1), digest(2)]);
    // Two persons become one; the digest of the other stands for nobody any more.
    store.put_linked_choices(linked("north", 3, &[(1, "h"), (2, "h"), (3, "h"), (4, "h")])).await.unwrap();
    assert_eq!(members("north", 3).await, [1, 2, 3, 4].map(digest));
    assert_eq!(members("north", 1).await, Vec::<Digest>::new());
    assert_eq!(members("south", 1).await, [digest(1), digest(5)]);
    assert_eq!(found("north", 1).await, Some(("h".into(), Some(digest(3)))));
    assert_eq!(store.control_version().await.unwrap(), 0);
}

// ---- events and work ----

async fn an_event_is_new_then_a_duplicate_then_a_conflict(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (event, work) = accepted(store, &consumer, 1).await;
    assert!(work > 0);
    let again = NewEvent { uid: new_uid(NOW), ..event.clone() };
    assert_eq!(store.accept(vec![again.clone()]).await.unwrap(), [Acceptance::Duplicate]);
    let other = NewEvent { body: digest(2), ..again };
    assert_eq!(store.accept(vec![other]).await.unwrap(), [Acceptance::Conflict]);
    let stored = store.event(&event.uid).await.unwrap().unwrap();
    assert_eq!((stored.key, stored.payload, stored.kind), (event.key, event.payload, event.kind));
    assert_eq!(store.due_work(i64::MAX, 9).await.unwrap().len(), 1);
}

async fn a_conflict_keeps_the_whole_batch_out(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    accepted(store, &consumer, 1).await;
    let conflict = NewEvent { body: digest(2), uid: new_uid(NOW), ..event(&consumer, 1) };
    let new = event(&consumer, 2);
    let answer = store.accept(vec![new.clone(), conflict]).await.unwrap();
    assert_eq!(answer, [Acceptance::New { work: vec![] }, Acceptance::Conflict]);
    assert!(store.event(&new.uid).await.unwrap().is_none());
    assert_eq!(store.due_work(i64::MAX, 9).await.unwrap().len(), 1);
}

async fn one_key_twice_in_a_batch_is_judged_against_the_first(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let first = event(&consumer, 1);
    let same = NewEvent { uid: new_uid(NOW), ..first.clone() };
    let other = NewEvent { uid: new_uid(NOW), body: digest(2), ..first.clone() };
    let answer = store.accept(vec![first.clone(), other]).await.unwrap();
    assert_eq!(answer[1], Acceptance::Conflict);
    assert!(store.event(&first.uid).await.unwrap().is_none());
    let answer = store.accept(vec![first.clone(), same]).await.unwrap();
    assert!(matches!(answer[0], Acceptance::New { .. }));
    assert_eq!(answer[1], Acceptance::Duplicate);
}

async fn a_thousand_concurrent_accepts_store_each_event_once(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    // Each of 500 events twice, with one body; every tenth a third time, with another.
    let offers = (0..1_000_u64).map(|at| NewEvent { uid: new_uid(NOW), ..event(&consumer, at % 500) });
    let other = (0..500).step_by(10).map(|at| NewEvent { body: digest(2), ..event(&consumer, at) });
    let offers: Vec<_> = offers.chain(other).map(|event| store.accept(vec![event])).collect();
    let answers: Vec<_> =
        futures::future::join_all(offers).await.into_iter().flat_map(Result::unwrap).collect();
    let count = |of: fn(&Acceptance) -> bool| answers.iter().filter(|answer| of(answer)).count();
    assert_eq!(count(|answer| matches!(answer, Acceptance::New { .. })), 500);
    assert_eq!(count(|answer| *answer == Acceptance::Duplicate), 500);
    assert_eq!(count(|answer| *answer == Acceptance::Conflict), 50);
    let work = store.due_work(i64::MAX, 2_000).await.unwrap();
    assert_eq!(work.len(), 500);
}

async fn an_event_engages_its_consumer(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    accepted(store, &consumer, 1).await;
    assert!(!store.consumer_by_id(consumer.id).await.unwrap().unwrap().engaged);
    store.accept(vec![NewEvent { engages: true, ..event(&consumer, 2) }]).await.unwrap();
    assert!(store.consumer_by_id(consumer.id).await.unwrap().unwrap().engaged);
}

async fn work_is_due_oldest_first_and_goes_when_it_is_recorded(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (late, late_work) = accepted(store, &consumer, 9).await;
    let two = NewEvent { work: vec!["adf-lead".into(), "chat-button".into()], ..event(&consumer, 3) };
    let answer = store.accept(vec![two.clone()]).await.unwrap();
    let Acceptance::New { work: early } = &answer[0] else { panic!("{answer:?}") };
    let due = |until| async move {
        let due = store.due_work(until, 9).await.unwrap();
        due.into_iter().map(|work| (work.id, work.plugin, work.event.uid, work.attempt)).collect::<Vec<_>>()
    };
    let expected = [
        (early[0], "adf-lead".to_owned(), two.uid, 0),
        (early[1], "chat-button".to_owned(), two.uid, 0),
        (late_work, "adf-lead".to_owned(), late.uid, 0),
    ];
    assert_eq!(due(NOW + 9).await, expected);
    assert_eq!(due(NOW + 8).await, expected[..2]);
    assert_eq!(store.due_work(NOW + 9, 1).await.unwrap().len(), 1);
    assert_eq!(store.next_due_ms(NOW).await.unwrap(), Some(NOW + 3));
    assert_eq!(store.next_due_ms(NOW + 3).await.unwrap(), Some(NOW + 9));
    assert_eq!(store.next_due_ms(NOW + 9).await.unwrap(), None);
    assert!(store.record_call(call(&consumer, &two.uid, Some(early[0]))).await.unwrap());
    assert_eq!(due(NOW + 9).await, expected[1..]);
}

// ---- outcomes ----

async fn a_call_is_recorded_once(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (event, work) = accepted(store, &consumer, 1).await;
    let calls = (0..20).map(|_| store.record_call(call(&consumer, &event.uid, Some(work))));
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| *answer.as_ref().unwrap()).count(), 1);
    assert!(!store.record_call(call(&consumer, &event.uid, Some(work))).await.unwrap());
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 1);
    assert_eq!(store.due_deliveries(NOW, 9).await.unwrap().len(), 1);
    assert_eq!(store.returns("north", 0, 9).await.unwrap().len(), 1);
}

async fn a_decision_is_recorded_once(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (event, _) = accepted(store, &consumer, 1).await;
    let decision = |slot: &str, payload: u8| CallRecord {
        decision: Some(DecisionRecord {
            event_key: event.key,
            slot: slot.into(),
            consumer: consumer.id,
            event: event.uid,
            payload: vec![payload; 10],
        }),
        ..call(&consumer, &event.uid, None)
    };
    assert!(store.record_call(decision("banner", 1)).await.unwrap());
    assert!(!store.record_call(decision("banner", 2)).await.unwrap());
    assert!(store.record_call(decision("button", 3)).await.unwrap());
    let stored = store.decision(&event.key, "banner").await.unwrap().unwrap();
    assert_eq!((stored.payload, stored.event), (vec![1; 10], event.uid));
    assert!(store.decision(&event.key, "other").await.unwrap().is_none());
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 2, "the second left nothing");
}

async fn a_call_leaves_everything_or_nothing(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (event, work) = accepted(store, &consumer, 1).await;
    let whole = call(&consumer, &event.uid, Some(work));
    let unknown = CallRecord {
        deliveries: vec![NewDelivery { consumer: 999_999, ..whole.deliveries[0].clone() }],
        ..whole.clone()
    };
    assert!(matches!(store.record_call(unknown).await, Err(StoreError::Contradiction("call"))));
    assert!(is_empty(store).await);
    assert_eq!(store.due_work(i64::MAX, 9).await.unwrap().len(), 1, "the work is still to be done");
    assert!(store.record_call(whole).await.unwrap());
}

async fn an_operation_that_fails_harms_no_other(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let mut work = Vec::new();
    for seed in 0..40 {
        work.push(accepted(store, &consumer, seed).await);
    }
    let good = work.iter().map(|(event, row)| store.record_call(call(&consumer, &event.uid, Some(*row))));
    let stranger = NewEvent { consumer: 999_999, ..event(&consumer, 50) };
    let (calls, stranger, late, gone) = futures::join!(
        futures::future::join_all(good),
        store.accept(vec![stranger.clone()]),
        store.accept(vec![event(&consumer, 51)]),
        store.record_call(call(&consumer, &[1; 16], Some(999_999))),
    );
    assert!(calls.into_iter().all(|answer| answer.unwrap()));
    assert!(matches!(stranger, Err(StoreError::Contradiction("event"))));
    assert!(matches!(late.unwrap()[0], Acceptance::New { .. }));
    assert!(!gone.unwrap(), "there is no such work");
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 40);
    assert_eq!(store.due_deliveries(NOW, 99).await.unwrap().len(), 40);
    assert_eq!(store.due_work(i64::MAX, 99).await.unwrap().len(), 1);
}

// ---- deliveries ----

async fn a_delivery_goes_from_attempt_to_attempt_to_its_end(store: &dyn Store) {
    let (id, consumer) = pending(store).await;
    let due = store.due_deliveries(NOW, 9).await.unwrap();
    assert_eq!((due.len(), due[0].id, due[0].attempt, due[0].payload.len()), (1, id, 0, 100));
    let result = |flow: &FlowRecord, outcome: &str, status, code: Option<&str>, state| AttemptResult {
        delivery: id,
        flow: flow.id,
        result: FlowResult { at_ms: NOW, outcome: outcome.into(), status, code: code.map(str::to_owned) },
        state,
        due_ms: NOW + 5_000,
    };
    let first = attempt_flow(&consumer, &id, 1);
    store.record_attempt(&id, 1, first.clone()).await.unwrap();
    assert_eq!(store.delivery(&id).await.unwrap().unwrap().attempt, 1);
    let retry = result(&first, "retry", None, Some("timeout"), DeliveryState::Pending);
    store.record_result(retry.clone()).await.unwrap();
    assert!(store.due_deliveries(NOW, 9).await.unwrap().is_empty());
    assert_eq!(store.next_due_ms(NOW).await.unwrap(), Some(NOW + 5_000));
    assert_eq!(store.due_deliveries(NOW + 5_000, 9).await.unwrap()[0].last.as_deref(), Some("timeout"));

    let second = attempt_flow(&consumer, &id, 2);
    store.record_attempt(&id, 2, second.clone()).await.unwrap();
    let delivered = result(&second, "delivered", Some(204), None, DeliveryState::Delivered);
    store.record_result(delivered.clone()).await.unwrap();
    let stored = store.delivery(&id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.attempt), (DeliveryState::Delivered, 2));
    assert_eq!(stored.last.as_deref(), Some("204"));
    assert!(store.due_deliveries(i64::MAX, 9).await.unwrap().is_empty());
    assert_eq!(store.flow(&first.id).await.unwrap().unwrap().result, Some(retry.result));
    assert_eq!(store.flow(&second.id).await.unwrap().unwrap().result, Some(delivered.result.clone()));
    let again = store.record_result(AttemptResult { state: DeliveryState::Dead, ..delivered }).await;
    assert!(matches!(again, Err(StoreError::Contradiction(_))), "a result is recorded once");
    assert_eq!(store.delivery(&id).await.unwrap().unwrap().state, DeliveryState::Delivered);
}

async fn a_delivery_that_is_not_pending_may_not_be_attempted(store: &dyn Store) {
    let (id, consumer) = pending(store).await;
    let drop = FlowRecord { outcome: "withheld".into(), ..attempt_flow(&consumer, &id, 1) };
    store.drop_delivery(&id, 1, drop.clone()).await.unwrap();
    let stored = store.delivery(&id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.last.as_deref()), (DeliveryState::Dropped, Some("withheld")));
    for delivery in [id, [9; 16]] {
        let flow = attempt_flow(&consumer, &delivery, 2);
        let (attempt, dropped) = (flow.clone(), flow.clone());
        let attempt = store.record_attempt(&delivery, 2, attempt).await;
        assert!(matches!(attempt, Err(StoreError::Contradiction("delivery"))));
        let dropped = store.drop_delivery(&delivery, 2, dropped).await;
        assert!(matches!(dropped, Err(StoreError::Contradiction("delivery"))));
        assert!(store.flow(&flow.id).await.unwrap().is_none(), "no row says that it was sent");
    }
}

async fn a_dead_letter_is_listed_and_sent_again(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let mut ids = Vec::new();
    for seed in 0..3 {
        let (event, work) = accepted(store, &consumer, seed).await;
        let call = call(&consumer, &event.uid, Some(work));
        ids.push(call.deliveries[0].id);
        store.record_call(call).await.unwrap();
    }
    ids.sort_unstable();
    for id in &ids {
        let dropped = attempt_flow(&consumer, id, 1);
        store.drop_delivery(id, 1, dropped).await.unwrap();
    }
    let list = |before, limit| async move {
        let letters = store.dead_letters("north", before, limit).await.unwrap();
        letters.into_iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, [ids[2], ids[1]]);
    assert_eq!(list(Some(ids[1]), 2).await, [ids[0]]);
    assert!(store.dead_letters("south", None, 9).await.unwrap().is_empty());

    assert!(!store.resend("south", &ids[1], NOW, change("resend")).await.unwrap(), "another brand's");
    assert!(store.resend("north", &ids[1], NOW + 7, change("resend")).await.unwrap());
    assert!(!store.resend("north", &ids[1], NOW, change("resend")).await.unwrap(), "it is pending");
    assert_eq!(list(None, 9).await, [ids[2], ids[0]]);
    let due = store.due_deliveries(NOW + 7, 9).await.unwrap();
    assert_eq!((due.len(), due[0].id, due[0].state), (1, ids[1], DeliveryState::Pending));
    store.record_attempt(&ids[1], 2, attempt_flow(&consumer, &ids[1], 2)).await.unwrap();
}

// ---- reading ----

async fn a_flow_is_recorded_by_itself_and_its_result_once(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    // Of an event that is not stored yet, as under a decision.
    let row = FlowRecord { stage: Stage::Exchange, ..flow(&consumer, &new_uid(NOW), NOW) };
    let result =
        |status| FlowResult { at_ms: NOW, outcome: "answered".into(), status: Some(status), code: None };
    let early = store.record_flow_result(&row.id, result(200)).await;
    assert!(matches!(early, Err(StoreError::Contradiction(_))), "{early:?}");
    store.record_flow(row.clone(), vec![]).await.unwrap();
    assert_eq!(store.flow(&row.id).await.unwrap().unwrap().result, None);
    store.record_flow_result(&row.id, result(200)).await.unwrap();
    assert!(store.record_flow_result(&row.id, result(500)).await.is_err());
    let stored = store.flow(&row.id).await.unwrap().unwrap();
    assert_eq!((stored.stage, stored.result), (Stage::Exchange, Some(result(200))));
}

async fn events_are_listed_newest_first(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let other = self::consumer(store, "south", 1).await;
    for (seed, kind) in (0..9).zip(["page.viewed", "chat.ended", "survey.completed"].into_iter().cycle()) {
        store.accept(vec![NewEvent { kind: kind.into(), ..event(&consumer, seed) }]).await.unwrap();
        store.accept(vec![NewEvent { kind: kind.into(), ..event(&other, 100 + seed) }]).await.unwrap();
    }
    let seeds = |events: Vec<EventRecord>| -> Vec<u8> { events.iter().map(|each| each.payload[0]).collect() };
    let kinds = ["page.viewed".to_owned(), "chat.ended".to_owned()];
    assert_eq!(seeds(store.recent_events("north", &kinds, 3).await.unwrap()), [7, 6, 4]);
    assert_eq!(seeds(store.recent_events("north", &kinds[..1], 9).await.unwrap()), [6, 3, 0]);
    assert!(store.recent_events("north", &[], 9).await.unwrap().is_empty());
    assert_eq!(seeds(store.consumer_events(consumer.id, 4).await.unwrap()), [8, 7, 6, 5]);
}

async fn a_flow_reads_as_it_was_written(store: &dyn Store) {
    let (id, consumer) = pending(store).await;
    let written = attempt_flow(&consumer, &id, 1);
    store.record_attempt(&id, 1, written.clone()).await.unwrap();
    let read = store.flow(&written.id).await.unwrap().unwrap();
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    assert!(store.flow(&[1; 16]).await.unwrap().is_none());
}

async fn flows_are_found_by_each_filter(store: &dyn Store) {
    let north = consumer(store, "north", 1).await;
    let south = consumer(store, "south", 2).await;
    let base = |consumer: &ConsumerRecord, at| flow(consumer, &[1; 16], NOW + at);
    let allowed = |category: &str| vec![field("/f", Access::Read, category, permit())];
    let rows = [
        base(&north, 0),
        FlowRecord { verdicts: allowed("user.contact.phone_number"), ..base(&north, 1_000) },
        FlowRecord { plugin: "chat-button".into(), verdicts: allowed("user.device"), ..base(&south, 2_000) },
        FlowRecord { partner: "clarity".into(), stage: Stage::Return, ..base(&south, 3_000) },
        FlowRecord { flow: Flow::Decide, verdicts: vec![], ..base(&north, 4_000) },
    ];
    for row in &rows {
        let call = CallRecord { flows: vec![row.clone()], ..CallRecord::default() };
        assert!(store.record_call(call).await.unwrap());
    }
    let some = |text: &str| Some(text.to_owned());
    let cases: [(&str, FlowQuery, &[usize]); 17] = [
        ("all", FlowQuery::default(), &[4, 3, 2, 1, 0]),
        ("brand", FlowQuery { brand: some("north"), ..FlowQuery::default() }, &[4, 1, 0]),
        ("consumer", FlowQuery { consumer: Some(south.pseudonym), ..FlowQuery::default() }, &[3, 2]),
        (
            "consumer and those linked",
            FlowQuery {
                consumer: Some(south.pseudonym),
                linked: vec![north.pseudonym, [9; 16]],
                plugin: some("adf-lead"),
                ..FlowQuery::default()
            },
            &[4, 3, 1, 0],
        ),
        ("plugin", FlowQuery { plugin: some("chat-button"), ..FlowQuery::default() }, &[2]),
        ("partner", FlowQuery { partner: some("clarity"), ..FlowQuery::default() }, &[3]),
        ("category", FlowQuery { category: some("user.contact.email"), ..FlowQuery::default() }, &[3, 0]),
        ("category above", FlowQuery { category: some("user.contact"), ..FlowQuery::default() }, &[3, 1, 0]),
        ("category's name begun", FlowQuery { category: some("user.conta"), ..FlowQuery::default() }, &[]),
        ("flow", FlowQuery { flow: Some(Flow::Decide), ..FlowQuery::default() }, &[4]),
        ("stage", FlowQuery { stage: Some(Stage::Return), ..FlowQuery::default() }, &[3]),
        ("verdict", FlowQuery { verdict: some("withhold"), ..FlowQuery::default() }, &[3, 0]),
        (
            "category and verdict of one field",
            FlowQuery { category: some("user.device"), verdict: some("allow"), ..FlowQuery::default() },
            &[2],
        ),
        ("from", FlowQuery { from_ms: Some(NOW + 3_000), ..FlowQuery::default() }, &[4, 3]),
        ("until", FlowQuery { until_ms: Some(NOW + 1_000), ..FlowQuery::default() }, &[0]),
        ("before", FlowQuery { before: Some(rows[2].id), ..FlowQuery::default() }, &[1, 0]),
        (
            "several",
            FlowQuery { brand: some("south"), until_ms: Some(NOW + 3_000), ..FlowQuery::default() },
            &[2],
        ),
    ];
    for (name, query, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|at| rows[*at].id).collect();
        assert_eq!(flow_ids(store, query).await, expected, "{name}");
    }
}

async fn flows_page_by_cursor(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let flows: Vec<_> = (0..7).map(|at| flow(&consumer, &[1; 16], NOW + at)).collect();
    let newest_first: Vec<_> = flows.iter().rev().map(|flow| flow.id).collect();
    let call = CallRecord {
        flows,
        deliveries: vec![],
        returns: vec![],
        log: None,
        ..call(&consumer, &[1; 16], None)
    };
    assert!(store.record_call(call).await.unwrap());
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.flows(&FlowQuery { before, limit: 3, ..FlowQuery::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|flow| flow.id));
    }
    assert_eq!(seen, newest_first);
}

async fn a_closed_store_takes_nothing(store: &dyn Store) {
    store.ping().await.unwrap();
    let consumer = consumer(store, "north", 1).await;
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable)));
    assert!(matches!(store.accept(vec![event(&consumer, 1)]).await, Err(StoreError::Unavailable)));
    assert!(matches!(store.flows(&FlowQuery::default()).await, Err(StoreError::Unavailable)));
}
