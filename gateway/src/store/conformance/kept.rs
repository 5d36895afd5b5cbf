//! What is kept of a consumer beside events: what partners received and sent, and what plugins remember.

use super::*;

/// A connection that is on at `north`.
async fn connection(store: &dyn Store, plugin: &str) -> Uid {
    let id = new_uid(NOW);
    let document = Document {
        kind: DocumentKind::Connection,
        scope: "north".into(),
        name: plugin.into(),
        body: "{}".into(),
        secret: None,
        connection: Some(id),
    };
    store.put_document(document, change("put")).await.unwrap();
    id
}

pub(super) async fn what_partners_received_and_sent_is_kept(store: &dyn Store) {
    let (known, other) = (consumer(store, "north", 1).await, consumer(store, "north", 2).await);
    let found = store.consumer_by_pseudonym(&known.pseudonym).await.unwrap();
    assert_eq!(found.map(|found| found.id), Some(known.id));
    assert!(store.consumer_by_pseudonym(&[0; 16]).await.unwrap().is_none());
    let exposure =
        |what: &str| Exposure { consumer: known.id, partner: "acme".into(), what: what.to_owned() };
    let on = connection(store, "loyalty").await;
    let message = |payload: u8| CallRecord {
        exposures: vec![exposure("a"), exposure("a"), exposure("b")],
        received: Some(NewReceived { consumer: known.id, connection: on, payload: vec![payload; 9] }),
        ..CallRecord::default()
    };
    assert!(store.record_call(message(1)).await.unwrap());
    assert!(store.record_call(message(2)).await.unwrap());
    let kept = store.kept(known.id).await.unwrap();
    assert_eq!(kept.exposures, [("acme".to_owned(), "a".to_owned()), ("acme".into(), "b".into())]);
    assert_eq!(kept.received, [(on, vec![2; 9])]);
    let nothing = store.kept(other.id).await.unwrap();
    assert!(nothing.exposures.is_empty() && nothing.received.is_empty());
}

pub(super) async fn a_memory_is_kept_replaced_and_forgotten_with_its_call(store: &dyn Store) {
    let (one, other) = (consumer(store, "north", 1).await, consumer(store, "north", 2).await);
    let (lead, second) = (connection(store, "adf-lead").await, connection(store, "other").await);
    let write = |whose: &ConsumerRecord, connection: Uid, payload: Option<u8>| CallRecord {
        memory: Some(NewMemory {
            consumer: whose.id,
            connection,
            payload: payload.map(|byte| vec![byte; 9]),
        }),
        deliveries: vec![],
        ..call(whose, &new_uid(NOW), None)
    };
    let read = async |whose: &ConsumerRecord, connection: Uid| {
        store.memory(whose.id, &connection).await.unwrap().map(|payload| payload[0])
    };
    assert_eq!(read(&one, lead).await, None);
    // At once, so that they come to be one group.
    let writes = [write(&one, lead, Some(1)), write(&other, lead, Some(2)), write(&one, second, Some(3))];
    for written in futures::future::join_all(writes.map(|call| store.record_call(call))).await {
        assert!(written.unwrap());
    }
    assert_eq!((read(&one, lead).await, read(&other, lead).await), (Some(1), Some(2)));
    assert!(store.record_call(write(&one, lead, Some(4))).await.unwrap());
    assert!(store.record_call(write(&other, lead, None)).await.unwrap());
    assert!(store.record_call(write(&other, new_uid(NOW), None)).await.unwrap());
    assert_eq!((read(&one, lead).await, read(&other, lead).await), (Some(4), None));
    assert_eq!(read(&one, second).await, Some(3));
    // Not without its call.
    let (event, work) = accepted(store, &one, 1).await;
    let done = CallRecord { work: Some(work), ..write(&one, lead, Some(5)) };
    assert!(store.record_call(call(&one, &event.uid, Some(work))).await.unwrap());
    assert!(!store.record_call(done).await.unwrap());
    assert_eq!(read(&one, lead).await, Some(4));
}

pub(super) async fn what_a_plugin_keeps_goes_with_its_connection(store: &dyn Store) {
    let known = consumer(store, "north", 1).await;
    let (on, stays) = (connection(store, "loyalty").await, connection(store, "other").await);
    let keep = |connection: Uid| CallRecord {
        memory: Some(NewMemory { consumer: known.id, connection, payload: Some(vec![1; 9]) }),
        received: Some(NewReceived { consumer: known.id, connection, payload: vec![2; 9] }),
        flows: vec![flow(&known, &[3; 16], NOW)],
        ..CallRecord::default()
    };
    for connection in [on, stays] {
        assert!(store.record_call(keep(connection)).await.unwrap());
    }
    store.delete_document(DocumentKind::Connection, "north", "loyalty", change("delete")).await.unwrap();
    let kept = async |on: &Uid| {
        let received = store.kept(known.id).await.unwrap().received;
        let has_received = received.iter().any(|(connection, _)| connection == on);
        (store.memory(known.id, on).await.unwrap().is_some(), has_received)
    };
    assert_eq!((kept(&on).await, kept(&stays).await), ((false, false), (true, true)));
    // A call that ran meanwhile has its row, and leaves nothing.
    assert!(store.record_call(keep(on)).await.unwrap());
    assert_eq!(kept(&on).await, (false, false));
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 3);
    let again = connection(store, "loyalty").await;
    assert_eq!((kept(&on).await, kept(&again).await), ((false, false), (false, false)));
}

pub(super) async fn a_message_is_taken_once_and_worked_on_once(store: &dyn Store) {
    let message = |seed: u8| MessageRecord {
        uid: new_uid(NOW + i64::from(seed)),
        brand: "north".into(),
        plugin: "loyalty".into(),
        connection: [7; 16],
        at_ms: NOW + i64::from(seed),
        attempt: 0,
        payload: vec![seed; 9],
    };
    let (first, second) = (message(1), message(2));
    let take = |key: u8, message: &MessageRecord| {
        store.take_message(NewMessage { key: [key; 32], message: message.clone() })
    };
    assert!(take(1, &first).await.unwrap());
    assert!(!take(1, &message(3)).await.unwrap(), "it is the same message");
    assert!(take(2, &second).await.unwrap());
    assert_eq!(store.due_messages(NOW + 1, 9).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.due_messages(i64::MAX, 9).await.unwrap(), [first.clone(), second.clone()]);

    let known = consumer(store, "north", 1).await;
    let rows = || vec![flow(&known, &first.uid, NOW)];
    store.defer_message(&first.uid, 1, NOW + 9_000, rows()).await.unwrap();
    let due = store.due_messages(i64::MAX, 9).await.unwrap();
    assert_eq!(due, [second.clone(), MessageRecord { attempt: 1, ..first.clone() }]);
    assert_eq!(store.next_due_ms(NOW + 2).await.unwrap(), Some(NOW + 9_000));

    let done = |flows| CallRecord { message: Some(first.uid), flows, ..CallRecord::default() };
    assert!(store.record_call(done(rows())).await.unwrap());
    assert!(!store.record_call(done(rows())).await.unwrap(), "somebody else did it");
    assert!(store.defer_message(&first.uid, 2, NOW, rows()).await.is_err());
    assert_eq!(store.due_messages(i64::MAX, 9).await.unwrap(), [second]);
    assert!(!take(1, &message(4)).await.unwrap(), "also after it is done");
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 2);
}

pub(super) async fn returns_are_a_feed(store: &dyn Store) {
    let consumers = [consumer(store, "north", 1).await, consumer(store, "south", 1).await];
    for seed in 0..6 {
        let consumer = &consumers[seed as usize % 2];
        let (event, work) = accepted(store, consumer, seed).await;
        store.record_call(call(consumer, &event.uid, Some(work))).await.unwrap();
    }
    let feed = store.returns("north", 0, 2).await.unwrap();
    assert_eq!(feed.len(), 2);
    let rest = store.returns("north", feed[1].position, 9).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert!(feed[0].position < feed[1].position && feed[1].position < rest[0].position);
    let own = store.consumer_returns(consumers[0].id, 9).await.unwrap();
    let newest: Vec<_> = own.iter().map(|each| each.position).collect();
    assert_eq!(newest, [rest[0].position, feed[1].position, feed[0].position]);
    assert!(own.iter().all(|each| each.brand == "north" && each.payload == [6; 30]));
    let plugin = own[0].plugin.clone();
    let last = store.last_returns(consumers[0].id, &plugin, 2).await.unwrap();
    assert_eq!(last.iter().map(|each| each.position).collect::<Vec<_>>(), newest[..2]);
    assert!(store.last_returns(consumers[0].id, "another", 9).await.unwrap().is_empty());
}

pub(super) async fn work_put_off_is_due_later_and_what_was_received_stays(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (event, work) = accepted(store, &consumer, 1).await;
    let exposure = |what: &str| Exposure { consumer: consumer.id, partner: "acme".into(), what: what.into() };
    let later = |attempt, due_ms, what| Deferral {
        work,
        attempt,
        due_ms,
        flows: vec![flow(&consumer, &event.uid, NOW)],
        exposures: vec![exposure(what)],
    };
    store.defer_work(later(1, NOW + 5_000, "by a call put off")).await.unwrap();
    assert!(store.due_work(NOW + 4_999, 9).await.unwrap().is_empty());
    assert_eq!(store.due_work(NOW + 5_000, 9).await.unwrap()[0].attempt, 1);
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 1);
    store.record_call(call(&consumer, &event.uid, Some(work))).await.unwrap();
    let after = store.defer_work(later(2, NOW, "never")).await;
    assert!(matches!(after, Err(StoreError::Contradiction(_))), "the work is done");
    assert_eq!(flow_ids(store, FlowQuery::default()).await.len(), 2);

    let received = vec![exposure("by a request"), exposure("by a call put off")];
    store.record_flow(flow(&consumer, &event.uid, NOW), received).await.unwrap();
    let kept = store.kept(consumer.id).await.unwrap().exposures;
    let acme = |what: &str| ("acme".to_owned(), what.to_owned());
    assert_eq!(kept, [acme("by a call put off"), acme("by a request")]);
}

pub(super) async fn a_first_attempt_is_recorded_with_its_call_or_not_at_all(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let (event, work) = accepted(store, &consumer, 1).await;
    let begun = || {
        let mut call = call(&consumer, &event.uid, Some(work));
        call.deliveries[0].attempt = 1;
        let attempt = attempt_flow(&consumer, &call.deliveries[0].id, 1);
        call.flows.push(attempt.clone());
        (call, attempt)
    };
    let (call, attempt) = begun();
    let delivery = call.deliveries[0].id;
    assert!(store.record_call(call).await.unwrap());
    let due = store.due_deliveries(NOW, 9).await.unwrap();
    let [stored] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((stored.id, stored.attempt, stored.state), (delivery, 1, DeliveryState::Pending));
    let row = store.flow(&attempt.id).await.unwrap().unwrap();
    assert_eq!((row.delivery, row.attempt, row.result), (Some(delivery), 1, None));

    let (again, attempt) = begun();
    assert!(!store.record_call(again).await.unwrap(), "the work is done");
    assert!(store.flow(&attempt.id).await.unwrap().is_none(), "no row says that it was sent");
}
