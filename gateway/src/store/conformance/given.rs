//! What the cases of the suite are given: consumers, events, calls, flows. It asserts nothing about a store.

use gateway_policy::{
    Access, Basis, Category, Clause, FieldVerdict, Flow, Label, Reason, Recipient, Standing, Verdict,
};

use crate::store::crypto::{new_pseudonym, new_uid};
use crate::store::*;

pub(crate) const NOW: i64 = 1_764_000_000_000;

pub(crate) fn change(what: &str) -> Change {
    Change { at_ms: NOW, actor: "test".into(), what: what.into() }
}

pub(crate) fn digest(seed: u64) -> Digest {
    let mut digest = [0xd1; 32];
    digest[..8].copy_from_slice(&seed.to_be_bytes());
    digest
}

pub(crate) async fn consumer(store: &dyn Store, brand: &str, seed: u64) -> ConsumerRecord {
    let offered = ConsumerRecord {
        id: 0,
        brand: brand.into(),
        subject: digest(seed),
        pseudonym: new_pseudonym(),
        wrapped_key: vec![7; 60],
        engaged: false,
    };
    store.ensure_consumer(offered).await.unwrap()
}

pub(crate) fn event(consumer: &ConsumerRecord, seed: u64) -> NewEvent {
    NewEvent {
        uid: new_uid(NOW + seed as i64),
        key: digest(seed),
        body: digest(1),
        consumer: consumer.id,
        brand: consumer.brand.clone(),
        kind: "chat.ended".into(),
        accepted_ms: NOW + seed as i64,
        payload: vec![seed as u8; 40],
        engages: false,
        work: vec!["adf-lead".into()],
    }
}

pub(crate) fn field(path: &str, access: Access, category: &str, verdict: Verdict) -> FieldVerdict {
    let label = Label::first_party(Category::parse(category).unwrap());
    let basis = Basis::of([Standing { recipient: Recipient::ThirdParty, onward: false }]);
    FieldVerdict { field: path.into(), access, labels: [label].into(), verdict, basis }
}

pub(super) fn permit() -> Verdict {
    Verdict::allow(Clause::parse("integrations.share").unwrap())
}

pub(crate) fn flow(consumer: &ConsumerRecord, event: &Uid, at_ms: i64) -> FlowRecord {
    FlowRecord {
        id: new_uid(at_ms),
        at_ms,
        stage: Stage::Call,
        flow: Flow::Share,
        recipient: Recipient::ThirdParty,
        brand: consumer.brand.clone(),
        plugin: "adf-lead".into(),
        partner: "acme-crm".into(),
        release: digest(100),
        policy: digest(101),
        purpose: "essential.service.operations.support".into(),
        consumer: consumer.pseudonym,
        event: *event,
        event_type: "chat.ended".into(),
        verdicts: vec![
            field("/contact/email", Access::Sealed, "user.contact.email", permit()),
            field("/visit/device_type", Access::Read, "user.device", Verdict::withhold(Reason::NotGranted)),
        ],
        facts: u64::MAX - 5,
        outcome: "ran".into(),
        endpoint: None,
        delivery: None,
        attempt: 0,
        payload: Some(digest(102)),
        fuel: 12_345,
        micros: 28,
        memory: 65_536,
        spent: vec![("fuel".to_owned(), 90, 100)],
        result: None,
    }
}

pub(crate) fn call(consumer: &ConsumerRecord, event: &Uid, work: Option<i64>) -> CallRecord {
    let flow = flow(consumer, event, NOW);
    CallRecord {
        work,
        deliveries: vec![NewDelivery {
            id: new_uid(NOW),
            consumer: consumer.id,
            brand: consumer.brand.clone(),
            plugin: "adf-lead".into(),
            event: *event,
            endpoint: "leads".into(),
            payload: vec![5; 100],
            due_ms: NOW,
            attempt: 0,
        }],
        returns: vec![NewReturn {
            flow: flow.id,
            consumer: consumer.id,
            brand: consumer.brand.clone(),
            plugin: "adf-lead".into(),
            event: *event,
            payload: vec![6; 30],
            at_ms: NOW,
        }],
        log: Some(NewLog { flow: flow.id, consumer: consumer.id, text: vec![8; 20] }),
        memory: None,
        flows: vec![flow],
        ..CallRecord::default()
    }
}

/// A stored event with the number of its work.
pub(crate) async fn accepted(store: &dyn Store, consumer: &ConsumerRecord, seed: u64) -> (NewEvent, i64) {
    let event = event(consumer, seed);
    match store.accept(vec![event.clone()]).await.unwrap().as_slice() {
        [Acceptance::New { work }] => (event, work[0]),
        other => panic!("{other:?}"),
    }
}

/// A delivery that is pending, with its consumer.
pub(super) async fn pending(store: &dyn Store) -> (Uid, ConsumerRecord) {
    let consumer = consumer(store, "north", 1).await;
    let (event, work) = accepted(store, &consumer, 1).await;
    let call = call(&consumer, &event.uid, Some(work));
    let id = call.deliveries[0].id;
    assert!(store.record_call(call).await.unwrap());
    (id, consumer)
}

pub(super) fn attempt_flow(consumer: &ConsumerRecord, delivery: &Uid, attempt: u32) -> FlowRecord {
    FlowRecord {
        stage: Stage::Delivery,
        outcome: "attempt".into(),
        endpoint: Some("leads".into()),
        delivery: Some(*delivery),
        attempt,
        ..flow(consumer, &[3; 16], NOW + i64::from(attempt))
    }
}

pub(super) async fn flow_ids(store: &dyn Store, query: FlowQuery) -> Vec<Uid> {
    let query = FlowQuery { limit: 100, ..query };
    store.flows(&query).await.unwrap().into_iter().map(|flow| flow.id).collect()
}

pub(super) async fn is_empty(store: &dyn Store) -> bool {
    flow_ids(store, FlowQuery::default()).await.is_empty()
        && store.due_deliveries(i64::MAX, 9).await.unwrap().is_empty()
        && store.returns("north", 0, 9).await.unwrap().is_empty()
}
