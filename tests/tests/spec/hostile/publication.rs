//! Given a component that is no plugin, or not this partner's; when it is published; then it is refused with
//! every fault named, nothing of it is kept, after each the next event passes in a gateway that is well, and a good
//! component is published next.

use gateway::manifest::SECTION;
use gateway_tests::{Answer, Options, TestGateway, components, world};
use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use super::remade::{custom_section, with_manifest, without_manifest};
use crate::next_event::Standing;

pub(super) const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const INTERFACE: &str = include_str!("../../../../wit/0.1/plugin.wit");
const CLOCK: &str = "package wasi:clocks@0.2.0 { interface wall-clock { now: func() -> u64; } }";
const SOCKET: &str = "package evil:net@1.0.0 { interface socket { open: func(host: string); } }";

/// A component of a world with this content: its functions trap.
fn component_of(world: &str, others: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_source("plugin.wit", INTERFACE).expect("the interface parses");
    let text = format!("package test:plugin;\n{others}\nworld it {{ {world} }}");
    let package = resolve.push_source("test.wit", &text).expect("the world parses");
    let world = resolve.select_world(&[package], Some("it")).expect("the world is there");
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    let encoder = ComponentEncoder::default().module(&module).expect("a module");
    encoder.validate(true).encode().expect("a component")
}

fn with_section(component: &[u8], text: &[u8]) -> Vec<u8> {
    [component, &custom_section(SECTION, text)].concat()
}

/// The manifest of the `hostile` plugin as it is embedded.
fn manifest_text() -> Vec<u8> {
    let inspected = gateway::manifest::inspect(&components().hostile.bytes).expect("a good component");
    serde_json::to_vec(&inspected.manifest).expect("a manifest is JSON")
}

/// Without a plugin.
pub(super) async fn start_empty(options: Options) -> TestGateway {
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    with_partners(TestGateway::start(options).await).await
}

async fn start(options: Options) -> TestGateway {
    with_partners(TestGateway::demo_with(options).await).await
}

async fn with_partners(gateway: TestGateway) -> TestGateway {
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    world::partner(&gateway, "trent", "US", "trent.example").await;
    gateway
}

pub(super) async fn publish(gateway: &TestGateway, partner: &str, component: &[u8]) -> Answer {
    gateway.partner_key(partner).await.publish(component).await
}

/// A refusal: a problem of this status and type, every word of `names` in it.
#[track_caller]
pub(super) fn assert_refused(what: &str, answer: &Answer, status: u16, kind: &str, names: &[&str]) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    let problem = answer.json();
    assert_eq!(problem["type"], kind, "{what}: {problem}");
    assert_eq!(problem["status"], status, "{what}: {problem}");
    for name in names {
        assert!(answer.text.contains(name), "{what}: {name} is not named in {problem}");
    }
}

async fn assert_nothing_published(gateway: &TestGateway) {
    // The demo's and no other.
    assert_published(gateway, &["adf-lead", "chat-button", "transcript-quality"]).await;
}

pub(super) async fn assert_published(gateway: &TestGateway, expected: &[&str]) {
    let listed = gateway.partner_key("mallory").await.get("/v1/plugins").await.expect(200);
    let plugins: Vec<&Value> = listed.as_array().into_iter().flatten().map(|it| &it["plugin"]).collect();
    assert_eq!(plugins, expected);
}

/// The consumer of the event after this case.
fn after(what: &str) -> String {
    format!("after-{}", what.replace(' ', "-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_refused_with_its_faults_named() {
    let gateway = start(Options::default()).await;
    let hostile = &components().hostile.bytes;
    let text = manifest_text();
    let share = "include integration:plugin/share-plugin@0.1.0;";
    let both = format!("{share} include integration:plugin/decide-plugin@0.1.0;");
    let changed = |change: fn(&mut Value)| with_manifest(hostile, change);
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("text", b"#!/bin/sh".to_vec(), &["not-wasm"]),
        ("nothing", Vec::new(), &["not-wasm"]),
        ("a core module", MODULE.to_vec(), &["core-module"]),
        ("cut off", hostile[..hostile.len() / 2].to_vec(), &["invalid-component", "no-manifest"]),
        ("an empty component", COMPONENT.to_vec(), &["no-manifest"]),
        ("no manifest", without_manifest(hostile), &["no-manifest"]),
        ("two manifests", with_section(hostile, &text), &["several-manifests"]),
        ("a manifest that is no JSON", with_section(&without_manifest(hostile), b"{"), &["bad-manifest"]),
        (
            "WASI",
            with_section(
                &component_of(&format!("{both} import wasi:clocks/wall-clock@0.2.0;"), CLOCK),
                &text,
            ),
            &["wasi-import", "wasi:clocks/wall-clock@0.2.0"],
        ),
        (
            "an import from elsewhere",
            with_section(&component_of(&format!("{both} import evil:net/socket@1.0.0;"), SOCKET), &text),
            &["unknown-import", "evil:net/socket@1.0.0"],
        ),
        (
            "a plugin that waits for answers that have no category",
            changed(|manifest| {
                for endpoint in manifest["endpoint"].as_array_mut().expect("endpoints") {
                    endpoint.as_object_mut().expect("an object").shift_remove("reply");
                }
            }),
            &["exchange-without-reply"],
        ),
        (
            "an answer of a category that there is not",
            changed(|manifest| manifest["endpoint"][3]["reply"] = json!("user.acount")),
            &["endpoint[3].reply", "user.account"],
        ),
        (
            "a hook declared and not exported",
            with_section(&component_of(share, ""), &text),
            &["hook-not-exported", "`decide`"],
        ),
        (
            "a hook exported and not declared",
            changed(|manifest| drop(manifest.as_object_mut().expect("an object").shift_remove("decide"))),
            &["hook-not-declared", "`decide`"],
        ),
        (
            "an export beside the hooks",
            with_section(&component_of(&format!("{both} export run: func();"), ""), &text),
            &["unknown-export", "`run`"],
        ),
        (
            "an event type that there is not",
            changed(|manifest| manifest["share"][0]["event"] = json!("chat.begun")),
            &["share[0].event"],
        ),
        (
            "a field that there is not",
            changed(|manifest| manifest["share"][0]["receives"][0]["field"] = json!("/contact/fax")),
            &["share[0].receives[0].field", "/contact/fax"],
        ),
        (
            "a purpose that there is not",
            changed(|manifest| manifest["plugin"]["purpose"] = json!("essential.curiosity")),
            &["plugin.purpose", "unknown-purpose"],
        ),
        (
            "an endpoint without TLS",
            changed(|manifest| {
                manifest["endpoint"][1]["url"] = json!("http://{host}.mallory.example/v1/xml")
            }),
            &["endpoint[1].url", "https"],
        ),
        (
            "an address for an endpoint",
            changed(|manifest| manifest["endpoint"][1]["url"] = json!("https://127.0.0.1/v1/xml")),
            &["endpoint[1].url"],
        ),
        (
            "several faults at once",
            changed(|manifest| {
                manifest["plugin"]["purpose"] = json!("essential.curiosity");
                manifest["share"][0]["receives"][0]["field"] = json!("/contact/fax");
                manifest["decide"][0]["deadline-ms"] = json!(60_000);
            }),
            &["plugin.purpose", "share[0].receives[0].field", "decide[0].deadline-ms"],
        ),
    ];
    for (what, component, names) in cases {
        let before = Standing::of(&gateway);
        let answer = publish(&gateway, "mallory", &component).await;
        assert_refused(what, &answer, 422, "/problems/invalid", names);
        assert!(answer.json()["problems"].as_array().is_some_and(|all| !all.is_empty()), "{what}");
        before.assert_next_passes(&gateway, &after(what)).await;
        assert_nothing_published(&gateway).await;
    }
    publish(&gateway, "mallory", hostile).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_belongs_to_the_partner_that_published_it_and_a_version_to_its_bytes() {
    let gateway = start(Options::default()).await;
    let hostile = &components().hostile.bytes;
    let first = publish(&gateway, "mallory", hostile).await.expect(201);

    let taken = with_manifest(hostile, |manifest| manifest["plugin"]["partner"] = json!("trent"));
    let other = with_manifest(hostile, |manifest| manifest["plugin"]["summary"] = json!("Another text."));
    let elsewhere = with_manifest(hostile, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
        manifest["endpoint"][0]["url"] = json!("https://mallory.example.org/");
    });
    /// What it is, who publishes which bytes, and the answer: status, problem, what it names.
    type Case<'c> = (&'c str, &'c str, &'c [u8], u16, &'c str, &'c [&'c str]);
    let cases: [Case<'_>; 4] = [
        ("another component", "trent", hostile, 403, "/problems/forbidden", &["mallory", "trent"]),
        ("another name", "trent", &taken, 409, "/problems/conflict", &["hostile", "mallory"]),
        ("other bytes", "mallory", &other, 409, "/problems/conflict", &["1.0.0", "hostile"]),
        (
            "an endpoint of another's",
            "mallory",
            &elsewhere,
            422,
            "/problems/invalid",
            &["endpoint[0].url", "mallory.example"],
        ),
    ];
    for (what, partner, component, status, kind, names) in cases {
        let before = Standing::of(&gateway);
        let answer = publish(&gateway, partner, component).await;
        assert_refused(what, &answer, status, kind, names);
        before.assert_next_passes(&gateway, &after(what)).await;
    }

    // The same bytes again are no fault, and a new version is welcome.
    assert_eq!(publish(&gateway, "mallory", hostile).await.ok()["release"], first["release"]);
    let next = with_manifest(hostile, |manifest| manifest["plugin"]["version"] = json!("1.0.1"));
    publish(&gateway, "mallory", &next).await.expect(201);
    let releases = gateway.partner_key("mallory").await.get("/v1/plugins/hostile/releases").await.expect(200);
    let versions: Vec<&Value> = releases.as_array().into_iter().flatten().map(|it| &it["version"]).collect();
    assert_eq!(versions, ["1.0.1", "1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_over_the_cap_is_refused_unread() {
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    let hostile = &built.hostile.bytes;
    // The demo's are published too.
    let sizes = [hostile, &built.adf_lead.bytes, &built.chat_button.bytes, &built.transcript_quality.bytes]
        .map(|bytes| bytes.len());
    let cap = sizes.into_iter().max().expect("four sizes");
    let gateway = start(Options { max_component: cap, ..Options::default() }).await;
    let padding = vec![b'x'; cap - hostile.len()];
    let large = [&hostile[..], &custom_section("padding", &padding)].concat();
    let before = Standing::of(&gateway);
    let answer = publish(&gateway, "mallory", &large).await;
    assert_refused("over the cap", &answer, 413, "/problems/too-large", &[&cap.to_string()]);
    before.assert_next_passes(&gateway, &after("over the cap")).await;
    assert_nothing_published(&gateway).await;
    publish(&gateway, "mallory", hostile).await.expect(201);
}
