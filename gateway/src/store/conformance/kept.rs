//! What is kept of a consumer beside events: what partners received and sent, and what plugins remember.

use super::*;

pub(super) async fn what_partners_received_and_sent_is_kept(store: &dyn Store) {
    let (known, other) = (consumer(store, "north", 1).await, consumer(store, "north", 2).await);
    let found = store.consumer_by_pseudonym(&known.pseudonym).await.unwrap();
    assert_eq!(found.map(|found| found.id), Some(known.id));
    assert!(store.consumer_by_pseudonym(&[0; 16]).await.unwrap().is_none());
    let exposure =
        |what: &str| Exposure { consumer: known.id, partner: "acme".into(), what: what.to_owned() };
    let message = |key: u8, payload: u8| CallRecord {
        exposures: vec![exposure("a"), exposure("a"), exposure("b")],
        message: Some(NewMessage { key: [key; 32], at_ms: NOW }),
        received: Some(NewReceived {
            consumer: known.id,
            plugin: "loyalty".into(),
            payload: vec![payload; 9],
        }),
        ..CallRecord::default()
    };
    assert!(!store.knows_message(&[1; 32]).await.unwrap());
    assert!(store.record_call(message(1, 1)).await.unwrap());
    assert!(store.record_call(message(2, 2)).await.unwrap());
    assert!(!store.record_call(message(1, 3)).await.unwrap(), "a message is taken once");
    assert!(store.knows_message(&[1; 32]).await.unwrap());
    let kept = store.kept(known.id).await.unwrap();
    assert_eq!(kept.exposures, [("acme".to_owned(), "a".to_owned()), ("acme".into(), "b".into())]);
    assert_eq!(kept.received, [("loyalty".to_owned(), vec![2; 9])]);
    let nothing = store.kept(other.id).await.unwrap();
    assert!(nothing.exposures.is_empty() && nothing.received.is_empty());
}

pub(super) async fn a_memory_is_kept_replaced_and_forgotten_with_its_call(store: &dyn Store) {
    let (one, other) = (consumer(store, "north", 1).await, consumer(store, "north", 2).await);
    let write = |whose: &ConsumerRecord, plugin: &str, payload: Option<u8>| CallRecord {
        memory: Some(NewMemory {
            consumer: whose.id,
            plugin: plugin.into(),
            payload: payload.map(|byte| vec![byte; 9]),
        }),
        deliveries: vec![],
        ..call(whose, &new_uid(NOW), None)
    };
    let read = async |whose: &ConsumerRecord, plugin: &str| {
        store.memory(whose.id, plugin).await.unwrap().map(|payload| payload[0])
    };
    assert_eq!(read(&one, "adf-lead").await, None);
    // At once, so that they come to be one group.
    let writes =
        [write(&one, "adf-lead", Some(1)), write(&other, "adf-lead", Some(2)), write(&one, "other", Some(3))];
    for written in futures::future::join_all(writes.map(|call| store.record_call(call))).await {
        assert!(written.unwrap());
    }
    assert_eq!((read(&one, "adf-lead").await, read(&other, "adf-lead").await), (Some(1), Some(2)));
    assert!(store.record_call(write(&one, "adf-lead", Some(4))).await.unwrap());
    assert!(store.record_call(write(&other, "adf-lead", None)).await.unwrap());
    assert!(store.record_call(write(&other, "never", None)).await.unwrap());
    assert_eq!((read(&one, "adf-lead").await, read(&other, "adf-lead").await), (Some(4), None));
    assert_eq!(read(&one, "other").await, Some(3));
    // Not without its call.
    let (event, work) = accepted(store, &one, 1).await;
    let done = CallRecord { work: Some(work), ..write(&one, "adf-lead", Some(5)) };
    assert!(store.record_call(call(&one, &event.uid, Some(work))).await.unwrap());
    assert!(!store.record_call(done).await.unwrap());
    assert_eq!(read(&one, "adf-lead").await, Some(4));
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
