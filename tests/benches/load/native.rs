//! The native twin: the same acceptance, store and request, with the plugin's logic as a native function
//! and policy, sandbox and ledger left out. A process of its own, as the gateway is.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use gateway::catalogue::Catalogue;
use gateway::pipeline::Tuning;
use gateway::store::crypto::{ConsumerKey, MasterKey, new_pseudonym, new_uid};
use gateway::store::{Acceptance, CallRecord, ConsumerRecord, NewDelivery, NewEvent, SqliteStore, Store};
use hmac::{Hmac, KeyInit, Mac};
use plugin_sdk::{Event, Share};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::Semaphore;

/// The running process.
pub struct Child {
    process: std::process::Child,
    pub address: String,
    /// Of its store: it is killed, and cannot remove it.
    _dir: tempfile::TempDir,
}

impl Child {
    pub fn start(partner: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--native", &partner.to_string()])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned(), _dir: dir }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Twin {
    catalogue: Catalogue,
    store: SqliteStore,
    master: MasterKey,
    key: ConsumerKey,
    consumer: i64,
    client: reqwest::Client,
    partner: SocketAddr,
    slots: Arc<Semaphore>,
}

/// Serves until it is killed.
pub async fn serve(partner: SocketAddr, dir: &Path) {
    let store = SqliteStore::open(&dir.join("twin.db")).await.unwrap();
    let consumer = ConsumerRecord {
        id: 0,
        brand: "b".into(),
        subject: [1; 32],
        pseudonym: new_pseudonym(),
        wrapped_key: vec![0; 60],
        engaged: true,
    };
    let consumer = store.ensure_consumer(consumer).await.unwrap().id;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let twin = Arc::new(Twin {
        catalogue: Catalogue::embedded().unwrap(),
        store,
        master: MasterKey::generate(),
        key: ConsumerKey::generate(),
        consumer,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        partner,
        slots: Arc::new(Semaphore::new(Tuning::default().concurrent_deliveries)),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let app = Router::new().route("/v1/brands/{brand}/events", post(accept)).with_state(twin);
    axum::serve(listener, app).await.unwrap();
}

async fn accept(State(twin): State<Arc<Twin>>, body: Bytes) -> StatusCode {
    let event: Value = serde_json::from_slice(&body).unwrap();
    let kind = twin.catalogue.event_type("chat.ended").unwrap();
    kind.validate(&event["data"]).unwrap();
    let uid = new_uid(1_700_000_000_000);
    let id = event["id"].as_str().unwrap();
    let record = NewEvent {
        uid,
        key: twin.master.index_digest("event", &[id.as_bytes()]),
        body: twin.master.index_digest("body", &[&body]),
        consumer: twin.consumer,
        brand: "b".into(),
        kind: "chat.ended".into(),
        accepted_ms: 1_700_000_000_000,
        payload: twin.key.seal("event", &body).unwrap(),
        engages: true,
        work: vec!["adf-lead".into()],
    };
    let accepted = twin.store.accept(vec![record]).await.unwrap().remove(0);
    let Acceptance::New { work } = accepted else { panic!("events of the load are new") };
    let slot = Arc::clone(&twin.slots);
    tokio::spawn(async move {
        let _slot = slot.acquire().await.unwrap();
        deliver(&twin, event, uid, work[0]).await;
    });
    StatusCode::ACCEPTED
}

async fn deliver(twin: &Twin, event: Value, uid: [u8; 16], work: i64) {
    let data: plugin_sdk::events::ChatEnded = serde_json::from_value(event["data"].clone()).unwrap();
    let email = data.contact.as_ref().and_then(|contact| contact.email.clone()).unwrap_or_default();
    let phone = data.contact.as_ref().and_then(|contact| contact.phone.clone()).unwrap_or_default();
    let settings =
        serde_json::from_value(serde_json::json!({ "dealer": "4711", "vendor-name": "Northside" })).unwrap();
    let event = Event::sample(data, settings).with_sealed(&["/contact/email", "/contact/phone"]);
    let outcome = adf_lead::AdfLead::on_event(event).unwrap();
    let body = outcome.deliveries()[0].body_parts().to_string();
    let body = body.replace("{/contact/email}", &email).replace("{/contact/phone}", &phone);
    let id = new_uid(1_700_000_000_000);
    let delivery = NewDelivery {
        id,
        consumer: twin.consumer,
        brand: "b".into(),
        plugin: "adf-lead".into(),
        event: uid,
        endpoint: "leads".into(),
        payload: twin.key.seal("delivery", body.as_bytes()).unwrap(),
        due_ms: i64::MAX,
        attempt: 0,
    };
    let call = CallRecord {
        work: Some(work),
        flows: vec![],
        deliveries: vec![delivery],
        returns: vec![],
        decision: None,
        log: None,
        ..CallRecord::default()
    };
    twin.store.record_call(call).await.unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    mac.update(body.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    twin.client
        .post(format!("http://{}/v1/dealers/4711/leads", twin.partner))
        .header("content-type", "application/xml")
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        .unwrap();
}
