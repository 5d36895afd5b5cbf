//! What the boundary costs: verdicts, a whole crossing of `adf-lead`, and beside them one HTTP round
//! trip of the same body and the plugin's logic as a native function. Ratios of one run are what counts.
//! Beside the verdicts the same decisions by Cedar, beside the crossing those of JavaScript and Python.
//!
//! `cargo bench --bench crossing`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong ends a benchmark"
)]

mod cedar;
mod interpreted;

use std::collections::HashSet;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gateway::boundary::{
    Connection, EventView, Exposed, Grant, Moment, PolicyBook, Release, Subject, from_share, grant_key,
    toward_plugin, verdicts,
};
use gateway::catalogue::Catalogue;
use gateway::cli::plugin::builder::{BuildOptions, build};
use gateway::manifest;
use gateway::plugin_host::{Budget, Compiler, HostConfig, LoadedRelease, PluginHost};
use gateway_policy::{
    Category, Choices, Conditions, Contract, CookieClass, Fact, Flow, Label, LabelSet, OptOuts, Origin,
    Partner, Permission, PermissionScope, Policy, Purpose, Region,
};
use gateway_tests::pace::{fdatasync, ms};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// As in the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A chat of 15 turns with every field of the type.
fn chat() -> Value {
    let turn = |index: usize| {
        json!({
            "speaker": if index.is_multiple_of(2) { "consumer" } else { "agent" },
            "text": "I would like to pick the car up at ten in the morning, if that is possible at all.",
            "at": "2026-01-02T03:04:05Z"
        })
    };
    json!({
        "conversation": "c-0001",
        "channel": "web",
        "contact": { "name": { "first": "Ada", "last": "Okafor" }, "email": "ada@example.com", "phone": "+1 202 555 0100", "company": "Okafor" },
        "visit": { "ip": "198.51.100.2", "browser": "Firefox 140", "os": "Linux", "device_type": "desktop", "location": { "city": "Bern", "country": "CH" } },
        "transcript": (0..15).map(turn).collect::<Vec<_>>(),
    })
}

fn partner() -> Partner {
    let contract = Contract {
        purposes: vec![Purpose::parse("essential").unwrap()],
        categories: vec![Category::parse("user").unwrap()],
        onward_transfer: true,
        consideration: false,
        expires_ms: None,
    };
    Partner {
        name: "acme-crm".into(),
        display_name: "ACME".into(),
        region: Region::Us,
        domains: vec!["acme.example".into(), "front-desk.example".into()],
        consideration: false,
        contracts: [("crm".to_owned(), contract)].into(),
    }
}

/// A connection with everything granted; with `every_field`, of a plugin that declares every field of the type.
fn connection(book: &PolicyBook, component: &[u8], catalogue: &Catalogue, every_field: bool) -> Connection {
    let inspected = manifest::inspect(component).unwrap();
    let mut document = inspected.manifest;
    if every_field {
        let kind = catalogue.event_type("chat.ended").unwrap();
        document.share[0].receives = kind
            .fields
            .iter()
            .map(|field| manifest::ReceivedField {
                field: field.path.to_string(),
                access: manifest::Access::Read,
                required: false,
                why: "measured".into(),
            })
            .collect();
    }
    let release = Arc::new(Release::new(inspected.digest, document, catalogue).unwrap());
    let grant: Grant = release
        .hooks
        .iter()
        .map(|hook| (grant_key(&hook.trigger), hook.fields.iter().map(|f| f.name.to_string()).collect()))
        .collect();
    let settings = json!({ "host": "crm", "dealer": "d-7", "vendor-name": "Northside Motors" });
    Connection::new(book, "northside".into(), release, Arc::new(partner()), &grant, HashSet::new(), settings)
}

/// An event as a hook sees it, of a consumer of whom nothing is known yet.
fn event<'a>(kind: &'a str, data: &'a Arc<Value>, exposed: &'a Exposed) -> EventView<'a> {
    EventView {
        id: "0123456789abcdef0123456789abcdef",
        kind,
        time: "2026-01-02T03:04:05Z",
        consumer: "fedcba9876543210fedcba9876543210",
        accepted_ms: 1_700_000_000_000,
        data,
        received: None,
        onward: &[],
        exposed,
        memory: None,
    }
}

/// A sandbox that has the component, with the directory of its compiled code.
fn loaded(
    runtime: &Runtime,
    connection: &Connection,
    component: &[u8],
) -> (PluginHost, LoadedRelease, tempfile::TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let config = HostConfig { compiler: Compiler::InProcess, ..HostConfig::new(cache.path().to_owned()) };
    let host = PluginHost::new(config).unwrap();
    let loaded = runtime.block_on(host.load(connection.release.digest, component)).unwrap();
    (host, loaded, cache)
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

fn crossing(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let options =
        BuildOptions { dir: plugins.join("adf-lead"), out: None, install_toolchain: true, version: None };
    let built = build(&options, &mut |line| eprintln!("{line}")).unwrap();
    let component = std::fs::read(built.path).unwrap();

    let catalogue = Catalogue::embedded().unwrap();
    let book = PolicyBook::shipped().unwrap();
    let moment = book.moment(1_700_000_000_000, 1_700_000_000_000);
    let data = Arc::new(chat());
    let conditions = Conditions { region: Region::Us, in_conversation: true, ..Conditions::default() };
    let choices = Choices::default();
    let subject = Subject { conditions: &conditions, choices: Some(&choices), engaged: true };
    let exposed = Exposed::default();
    let event = event("chat.ended", &data, &exposed);

    // Every rule is asked for every field of the type, with reasons; what follows from it is not counted.
    let all = connection(&book, &component, &catalogue, true);
    criterion.bench_function("verdicts: chat.ended, every field declared", |bencher| {
        bencher.iter(|| black_box(verdicts(&all, 0, black_box(&data), black_box(subject), moment)));
    });
    beside_cedar(criterion, &all, &data, subject, moment);
    let (collected, chosen) = everything();
    let of_all = Subject { conditions: &collected, choices: Some(&chosen), engaged: true };
    criterion.bench_function("verdicts: the same of a consumer with every signal and choice", |bencher| {
        bencher.iter(|| black_box(verdicts(&all, 0, black_box(&data), black_box(of_all), moment)));
    });
    let (whole, each) = within(&all, &data, of_all, moment);
    println!("verdicts, every signal and choice known: {whole:.0} ns, {each:.0} ns a field\n");
    // With what is beside the verdicts: whether what goes may meet what the partner has, and the input.
    let labels: LabelSet =
        all.release.hooks[0].fields.iter().flat_map(|field| field.labels.iter().cloned()).collect();
    let had = Exposed {
        by_purpose: [(all.release.purpose, labels.clone())].into(),
        labels,
        conditions: Some(collected.clone()),
    };
    let known = EventView { exposed: &had, ..event };
    criterion.bench_function("toward the plugin: verdicts, what the partner has, the input", |bencher| {
        bencher.iter(|| {
            black_box(toward_plugin(&book, &all, 0, &all.release.hooks[0], black_box(&known), of_all, moment))
        });
    });

    let connection = connection(&book, &component, &catalogue, false);
    let (host, loaded, cache) = loaded(&runtime, &connection, &component);
    let hook = &connection.release.hooks[0];
    criterion.bench_function("crossing: adf-lead, 15 turns", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| cross(&book, &connection, &host, &loaded, &event, subject, moment));
    });
    let rust_ns = median(101, 50, || {
        runtime.block_on(cross(&book, &connection, &host, &loaded, &event, subject, moment));
    });
    interpreted::interpreted(criterion, &runtime, &book, moment, rust_ns);

    let projected = toward_plugin(&book, &connection, 0, hook, &event, subject, moment);
    let fields = projected.input.ok().unwrap().release().fields;
    let native = |fields: String| {
        use plugin_sdk::{Event, Share};
        let data = serde_json::from_str(&fields).unwrap();
        let settings = serde_json::from_value(connection.settings.clone()).unwrap();
        let event = Event::sample(data, settings).with_sealed(&["/contact/email", "/contact/phone"]);
        black_box(adf_lead::AdfLead::on_event(event).unwrap());
    };
    criterion.bench_function("native: adf-lead's logic on the same fields", |bencher| {
        bencher.iter_batched(|| fields.clone(), native, BatchSize::SmallInput);
    });
    let native_ns = median(101, 500, || native(fields.clone()));

    let (mut client, body) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(echo))
                .await
                .unwrap();
        });
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        (client, Bytes::from(serde_json::to_vec(&*data).unwrap()))
    });
    let mut round_trip = || {
        runtime.block_on(async {
            let request =
                Request::post("/").header("host", "localhost").body(Full::new(body.clone())).unwrap();
            client.ready().await.unwrap();
            let reply = client.send_request(request).await.unwrap();
            black_box(reply.into_body().collect().await.unwrap().to_bytes());
        });
    };
    criterion.bench_function("http: one keep-alive round trip of the same body on loopback", |bencher| {
        bencher.iter(&mut round_trip);
    });
    let http_ns = median(101, 50, round_trip);
    let sync = fdatasync(cache.path());
    println!(
        "a crossing: {:.1} us, {:.2} of an HTTP round trip, {:.1} times the native function; \
         fdatasync of 4 KiB: p50 {:.2} ms, p99 {:.2} ms\n",
        rust_ns / 1_000.0,
        rust_ns / http_ns,
        rust_ns / native_ns,
        ms(sync.0),
        ms(sync.1),
    );
}

/// One crossing of the first hook: decide and project, call, check and label.
async fn cross(
    book: &PolicyBook,
    connection: &Connection,
    host: &PluginHost,
    loaded: &LoadedRelease,
    event: &EventView<'_>,
    subject: Subject<'_>,
    moment: Moment,
) {
    let hook = &connection.release.hooks[0];
    let toward = toward_plugin(book, connection, 0, hook, event, subject, moment);
    let call = host.share(loaded, toward.input.ok().unwrap(), Budget::default(), None).await;
    let outcome = call.result.unwrap();
    black_box(
        from_share(book, connection, &toward.crossing, event.exposed, subject, moment, &outcome).unwrap(),
    );
}

/// A whole `chat.ended` may take so long, in nanoseconds, and each of its fields so long.
const EVENT_NS: f64 = 1_000.0;
const FIELD_NS: f64 = 100.0;
/// Sets of facts under which both sides are compared.
const COMPARED: usize = 2_000;

/// The same verdicts by Cedar: compared first, then measured. Its requests are made beforehand, while the verdicts
/// look up what is present and what holds each time.
fn beside_cedar(
    criterion: &mut Criterion,
    all: &Connection,
    data: &Arc<Value>,
    subject: Subject<'_>,
    moment: Moment,
) {
    let policy = Policy::parse(PolicyBook::SHIPPED).unwrap();
    let cedar = cedar::Cedar::new(&policy, Flow::Share);
    let hook = &all.release.hooks[0];
    let purpose = all.release.purpose;
    let labels: Vec<&Label> = hook.fields.iter().map(|field| &field.labels[0]).collect();
    assert!(hook.fields.iter().all(|field| field.labels.len() == 1), "a field of an event has one label");
    assert!(labels.iter().all(|label| label.origin == Origin::FirstParty));

    let sale = Purpose::parse("marketing.advertising.third_party.targeted").unwrap();
    let analytics = Purpose::parse("analytics.reporting").unwrap();
    let categories: Vec<Category> = labels.iter().map(|label| label.category).collect();
    let (asked, allowed) =
        cedar.agrees(&policy, &[purpose, sale, analytics], &categories, COMPARED).unwrap_or_else(|wrong| {
            panic!("the two policies do not say the same: {wrong}");
        });
    assert!(allowed > asked / 20 && allowed < asked, "{allowed} of {asked} are allowed");

    let decided = verdicts(all, 0, data, subject, moment);
    let questions: Vec<_> = labels
        .iter()
        .zip(&decided.fields)
        .map(|(label, field)| {
            let (recipient, verdict) = field.expect("every field is present");
            let onward = all.partner.standing(purpose, label.category, moment.now_ms).onward;
            let facts = decided.facts.with(Fact::ContractOnward, onward);
            let question = cedar.question(recipient, purpose, label.category, facts);
            assert_eq!(cedar.allows(&question), verdict.allows(), "{label}");
            question
        })
        .collect();
    criterion.bench_function("cedar-policy: the same decisions, requests made beforehand", |bencher| {
        bencher.iter(|| questions.iter().filter(|question| cedar.allows(black_box(question))).count());
    });

    let (ours, each) = within(all, data, subject, moment);
    let theirs = median(101, 20, || {
        black_box(questions.iter().filter(|question| cedar.allows(black_box(question))).count());
    });
    println!(
        "verdicts: {ours:.0} ns for {} fields, {each:.0} ns a field; cedar-policy with {} policies: {theirs:.0} \
         ns, {:.0} times as long; {asked} decisions under {COMPARED} sets of facts were the same, {allowed} of them \
         allowed\n",
        questions.len(),
        cedar.policies(),
        theirs / ours,
    );
}

/// Nanoseconds of the verdicts on a whole event, and on one of its fields; no more than may be.
fn within(all: &Connection, data: &Arc<Value>, subject: Subject<'_>, moment: Moment) -> (f64, f64) {
    let whole = median(101, 2_000, || {
        black_box(verdicts(all, 0, black_box(data), black_box(subject), moment));
    });
    #[expect(clippy::cast_precision_loss, reason = "a few fields")]
    let each = whole / all.release.hooks[0].fields.len() as f64;
    assert!(whole <= EVENT_NS, "{whole:.0} ns for a whole event; {EVENT_NS:.0} are allowed");
    assert!(each <= FIELD_NS, "{each:.0} ns for a field; {FIELD_NS:.0} are allowed");
    (whole, each)
}

/// A consumer of whom everything is known that is ever asked: every signal, every choice but the one that ends all
/// questions, and permissions and refusals of other plugins before the ones that count.
fn everything() -> (Conditions, Choices) {
    let conditions = Conditions {
        dnt: true,
        gpc: true,
        cookies: [CookieClass::StrictlyNecessary, CookieClass::Performance, CookieClass::Functionality]
            .into(),
        region: Region::Us,
        in_conversation: true,
        collected_for: Some([Purpose::parse("essential").unwrap()].into()),
        through: (0..4).map(|n| format!("plugin-{n}")).collect(),
        ..Conditions::default()
    };
    let scopes = (0..8).map(|n| PermissionScope::Integration(format!("plugin-{n}"))).chain([
        PermissionScope::Purpose("marketing.advertising.first_party.targeted".into()),
        PermissionScope::Purpose("essential.service.operations.support".into()),
        PermissionScope::Integration("adf-lead".into()),
    ]);
    let permission = |scope| Permission {
        scope,
        wording: "May we pass this on?".into(),
        actor: "brand".into(),
        at: "2026-01-02T03:04:05Z".into(),
    };
    let choices = Choices {
        opt_out: OptOuts {
            integrations: (0..8).map(|n| format!("other-{n}")).collect(),
            marketing: true,
            sms: true,
            sale: true,
            cookies: true,
            location: true,
            ..OptOuts::default()
        },
        permissions: scopes.map(permission).collect(),
        ..Choices::default()
    };
    (conditions, choices)
}

/// Nanoseconds of one run, the median of so many batches of so many runs.
fn median(batches: usize, batch: u32, mut run: impl FnMut()) -> f64 {
    let mut batches: Vec<f64> = (0..batches)
        .map(|_| {
            let started = Instant::now();
            (0..batch).for_each(|_| run());
            started.elapsed().as_secs_f64() * 1e9 / f64::from(batch)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}

criterion_group!(benches, crossing);
criterion_main!(benches);
