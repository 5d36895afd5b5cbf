//! Components that a partner might send. They are encoded from worlds and by hand; none is run.

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use super::super::ReceiveHook;
use super::super::tests::{GOOD, inlined};
use super::*;

const SHARE: &str = "include integration:plugin/share-plugin@0.1.0;";
const BOTH: &str =
    "include integration:plugin/share-plugin@0.1.0; include integration:plugin/decide-plugin@0.1.0;";

/// A component of a world with this content, built against this text of the interface.
fn component_of(interface: &str, world: &str, others: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_source("plugin.wit", interface).expect("the interface parses");
    let text = format!("package test:plugin;\n{others}\nworld it {{ {world} }}");
    let package = resolve.push_source("test.wit", &text).expect("the world parses");
    let world = resolve.select_world(&[package], Some("it")).expect("the world is there");
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default()
        .module(&module)
        .expect("a module")
        .validate(true)
        .encode()
        .expect("a component")
}

fn component(world: &str) -> Vec<u8> {
    component_of(Api::V0_1.wit(), world, "")
}

pub(in crate::manifest) fn built(world: &str) -> Vec<u8> {
    embed(&component(world), &inlined(GOOD)).expect("embeds")
}

/// One section: id, size, content.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(leb128(content.len()));
    bytes.extend_from_slice(content);
    bytes
}

/// A custom section.
pub(in crate::manifest) fn section_named(name: &str, text: &[u8]) -> Vec<u8> {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(text);
    section(0, &content)
}

fn manifest_section(text: &[u8]) -> Vec<u8> {
    section_named(SECTION, text)
}

pub(in crate::manifest) const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// A component around one core module of these sections.
pub(in crate::manifest) fn around_module(sections: &[u8]) -> Vec<u8> {
    let module = [MODULE_HEADER, sections].concat();
    [COMPONENT_HEADER, &section(1, &module)].concat()
}

pub(in crate::manifest) fn found(bytes: &[u8]) -> Vec<(&'static str, String)> {
    match inspect(bytes) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| (problem.code, problem.at)).collect(),
    }
}

#[test]
fn what_is_embedded_is_what_is_inspected() {
    let bytes = built(BOTH);
    let inspected = inspect(&bytes).expect("good");
    assert_eq!(inspected.size, bytes.len());
    assert_eq!(inspected.digest.as_slice(), Sha256::digest(&bytes).as_slice());
    assert_eq!(canonical(&inspected.manifest), canonical(&inlined(GOOD)));
    let catalogue = Catalogue::embedded().expect("embedded");
    assert!(review(&bytes, &catalogue).is_ok());
    assert_eq!(built(BOTH), bytes, "one manifest has one text");
}

#[test]
fn embedding_refuses_what_could_not_be_published() {
    let manifest = inlined(GOOD);
    let good = component(SHARE);
    let embedded = embed(&good, &manifest).expect("embeds");
    let mut with_path = manifest.clone();
    with_path.decide[0].returns = SchemaSource::Path("x.json".to_owned());
    assert_eq!(embed(b"MZ", &manifest), Err(EmbedError::NotAComponent));
    assert_eq!(embed(MODULE_HEADER, &manifest), Err(EmbedError::NotAComponent));
    assert_eq!(embed(&good[..good.len() - 3], &manifest), Err(EmbedError::Malformed));
    assert_eq!(embed(&embedded, &manifest), Err(EmbedError::AlreadyEmbedded));
    assert_eq!(embed(&around_module(&manifest_section(b"{}")), &manifest), Err(EmbedError::AlreadyEmbedded));
    assert_eq!(embed(&good, &with_path), Err(EmbedError::SchemaNotInlined));
}

#[test]
fn bytes_that_are_no_plugin() {
    let mut large = component(BOTH);
    large.resize(MAX_COMPONENT_BYTES + 1, 0);
    let cut = built(BOTH);
    let shared_memory = section(5, &[1, 3, 1, 1]);
    let memory64 = section(5, &[1, 4, 1]);
    // A function's type that takes one.
    let externref = section(1, &[1, 0x60, 1, 0x6f, 0]);
    // A component type in a component type, and so on: three octets a level.
    let nested_types = |levels: usize| {
        let mut content = vec![1];
        content.extend([0x41, 1, 1].repeat(levels));
        content.extend([0x41, 0]);
        [COMPONENT_HEADER, &section(7, &content)].concat()
    };
    let nested_component = [COMPONENT_HEADER, &manifest_section(b"{}")].concat();
    for (what, bytes, codes) in [
        ("text", b"hello".to_vec(), &["not-wasm"][..]),
        ("nothing", Vec::new(), &["not-wasm"]),
        ("core module", MODULE_HEADER.to_vec(), &["core-module"]),
        ("too large", large, &["component-too-large"]),
        ("cut off", cut[..cut.len() / 2].to_vec(), &["invalid-component", "no-manifest"]),
        ("no manifest", component(BOTH), &["no-manifest"]),
        ("empty component", COMPONENT_HEADER.to_vec(), &["no-manifest"]),
        ("two manifests", [built(BOTH), manifest_section(b"{}")].concat(), &["several-manifests"]),
        (
            "manifest in a module",
            around_module(&manifest_section(b"{}")),
            &["nested-manifest", "no-manifest"],
        ),
        (
            "manifest in a component",
            [COMPONENT_HEADER, &section(4, &nested_component)].concat(),
            &["nested-manifest", "no-manifest"],
        ),
        ("manifest is no JSON", [component(BOTH), manifest_section(b"{")].concat(), &["bad-manifest"]),
        (
            "manifest is another document",
            [component(BOTH), manifest_section(b"{}")].concat(),
            &["bad-manifest"],
        ),
        (
            "large manifest",
            [component(BOTH), manifest_section(&vec![b' '; MAX_MANIFEST_BYTES + 1])].concat(),
            &["manifest-too-large"],
        ),
        ("threads", around_module(&shared_memory), &["invalid-component", "no-manifest"]),
        ("deeply nested types", nested_types(20_000), &["no-manifest"]),
        ("bottomless types", nested_types(3_000_000), &["types-too-large"]),
        ("references of the host", around_module(&externref), &["invalid-component", "no-manifest"]),
        ("memory64", around_module(&memory64), &["invalid-component", "no-manifest"]),
    ] {
        let codes_found: Vec<&str> = found(&bytes).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes_found, codes, "{what}");
    }
}

#[test]
fn imports_and_exports_outside_the_interface_are_named() {
    const CLOCK: &str = "package wasi:clocks@0.2.0 { interface wall-clock { now: func() -> u64; } }";
    const OTHER: &str = "package evil:net@1.0.0 { interface socket { open: func(host: string); } }";
    let at_import = |name: &str| format!("component, import `{name}`");
    let at_export = |name: &str| format!("component, export `{name}`");
    for (world, others, code, at) in [
        (
            "import wasi:clocks/wall-clock@0.2.0;",
            CLOCK,
            "wasi-import",
            at_import("wasi:clocks/wall-clock@0.2.0"),
        ),
        ("import evil:net/socket@1.0.0;", OTHER, "unknown-import", at_import("evil:net/socket@1.0.0")),
        ("import now: func() -> u64;", "", "unknown-import", at_import("now")),
        (
            "include integration:plugin/imports-exchange@0.1.0;",
            "",
            "exchange-without-reply",
            "endpoint".to_owned(),
        ),
        ("export evil:net/socket@1.0.0;", OTHER, "unknown-export", at_export("evil:net/socket@1.0.0")),
        ("export run: func();", "", "unknown-export", at_export("run")),
    ] {
        let bytes = component_of(Api::V0_1.wit(), &format!("{BOTH} {world}"), others);
        let bytes = embed(&bytes, &inlined(GOOD)).expect("embeds");
        assert_eq!(found(&bytes), [(code, at)], "{world}");
    }
}

#[test]
fn a_plugin_that_gets_messages_does_not_ask_its_partner() {
    let world =
        "include integration:plugin/receive-plugin@0.1.0; include integration:plugin/imports-exchange@0.1.0;";
    let mut manifest = inlined(GOOD);
    let returns = manifest.share.first().expect("a share hook").returns.clone();
    manifest.receive = vec![ReceiveHook { consumer: "/member/ref".into(), returns }];
    let bytes = embed(&component(&format!("{BOTH} {world}")), &manifest).expect("embeds");
    assert_eq!(found(&bytes), [("exchange-and-receive", "receive".to_owned())]);
}

#[test]
fn aggregates_are_imported_for_their_purposes_only() {
    let world = format!("{BOTH} include integration:plugin/imports-aggregates@0.1.0;");
    for (purpose, expected) in [
        ("analytics.reporting.content_performance", &[][..]),
        ("train_ai_system", &[]),
        ("essential.service.operations.improve", &[]),
        ("essential.service.operations.support", &["aggregates-not-for-purpose"]),
        ("marketing", &["aggregates-not-for-purpose"]),
    ] {
        let mut manifest = inlined(GOOD);
        manifest.plugin.purpose = purpose.to_owned();
        let bytes = embed(&component(&world), &manifest).expect("embeds");
        let codes: Vec<_> = found(&bytes).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, expected, "{purpose}");
    }
}

#[test]
fn what_componentize_py_adds_is_accepted_by_name() {
    let world = format!("{BOTH} export exports: interface {{ run: func(); }}");
    let bytes = embed(&component(&world), &inlined(GOOD)).expect("embeds");
    assert_eq!(found(&bytes), []);
}

#[test]
fn exports_and_hooks_agree_both_ways() {
    let mut share_only = inlined(GOOD);
    share_only.decide.clear();
    let mut bytes = embed(&component(BOTH), &share_only).expect("embeds");
    assert_eq!(found(&bytes), [("hook-not-declared", "decide".to_owned())]);
    bytes = built(SHARE);
    assert_eq!(found(&bytes), [("hook-not-exported", "decide".to_owned())]);
    bytes = built(&format!("{BOTH} include integration:plugin/rights-plugin@0.1.0;"));
    assert_eq!(
        found(&bytes),
        [
            ("not-served-yet", "component, export `integration:plugin/rights@0.1.0`".to_owned()),
            ("hook-not-declared", "rights".to_owned())
        ]
    );
}

#[test]
fn signatures_are_those_of_the_interface() {
    for (from, to, place) in [
        ("on-event: func(event: event)", "on-event: func(happening: event)", "parameter"),
        ("on-event: func(event: event)", "on-event: func()", "parameters"),
        (
            "on-event: func(event: event) -> result<outcome, failure>",
            "on-event: func(event: event)",
            "result",
        ),
        ("on-event: func", "on-happening: func", "on-event"),
        (
            "write: func(level: level, message: string);",
            "write: func(level: level, message: list<u8>);",
            "message",
        ),
        ("enum level { debug, info, warn, error }", "enum level { debug, info, error }", "level"),
        ("enum level { debug, info, warn, error }", "enum level { debug, info, error, warn }", "level"),
        ("variant failure {", "variant failure { fatal,", "failure"),
        (
            "consumer: option<string>,\n    /// The readable",
            "consumer: string,\n    /// The readable",
            "consumer",
        ),
        ("type json = string;", "type json = list<u8>;", "json"),
        ("deliveries: list<request>,", "deliveries: request,", "deliveries"),
        ("path: list<tuple<string, list<part>>>,", "path: list<tuple<list<part>, string>>,", "path"),
    ] {
        assert!(Api::V0_1.wit().contains(from), "not in the interface: {from}");
        let other = Api::V0_1.wit().replacen(from, to, 1);
        let bytes = embed(&component_of(&other, BOTH, ""), &inlined(GOOD)).expect("embeds");
        let problems = inspect(&bytes).expect_err(to);
        assert!(problems.iter().all(|problem| problem.code == "signature-differs"), "{to}: {problems:#?}");
        assert!(problems.iter().any(|problem| problem.message.contains(place)), "{to}: {problems:#?}");
    }
}

#[test]
fn another_version_of_the_interface_is_not_served() {
    let other = Api::V0_1.wit().replace("@0.1.0", "@0.3.0");
    let world = BOTH.replace("@0.1.0", "@0.3.0");
    let bytes = embed(&component_of(&other, &world, ""), &inlined(GOOD)).expect("embeds");
    let codes: Vec<&str> = found(&bytes).into_iter().map(|(code, _)| code).collect();
    assert!(codes.contains(&"unknown-import") && codes.contains(&"unknown-export"), "{codes:?}");
    assert!(codes.contains(&"hook-not-exported"), "{codes:?}");
    let problems = inspect(&bytes).expect_err("of no version that is served");
    assert!(
        problems[0].message.contains("0.3.0") && problems[0].message.contains("0.1 and 0.2"),
        "{problems:#?}"
    );
}

/// The world of both hooks, with what 0.2 brought, built against 0.2.
fn of_0_2() -> Vec<u8> {
    let world =
        format!("{BOTH} include integration:plugin/imports-budget@0.1.0;").replace("@0.1.0", "@0.2.0");
    component_of(Api::V0_2.wit(), &world, "")
}

#[test]
fn a_component_is_of_the_version_that_its_manifest_says() {
    let manifest = |api: &str| {
        let mut manifest = inlined(GOOD);
        manifest.plugin.api = api.to_owned();
        manifest
    };
    for (component, api, good) in [
        (component(BOTH), "0.1", true),
        (component(BOTH), "0.2", false),
        (of_0_2(), "0.1", false),
        (of_0_2(), "0.2", true),
    ] {
        let bytes = embed(&component, &manifest(api)).expect("embeds");
        match inspect(&bytes) {
            Ok(_) => assert!(good, "{api}"),
            Err(problems) => {
                assert!(!good, "{api}: {problems:#?}");
                let [problem] = problems.as_slice() else { panic!("{problems:#?}") };
                assert_eq!((problem.code, problem.at.as_str()), ("api-mismatch", "plugin.api"));
                let other = if api == "0.1" { "0.2" } else { "0.1" };
                for said in [format!("says version {api}"), format!("of version {other}"), Api::served()] {
                    assert!(problem.message.contains(&said), "{}", problem.message);
                }
            }
        }
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut manifest = inlined(GOOD);
    manifest.decide.clear();
    manifest.plugin.purpose = "anything".to_owned();
    manifest.endpoint[0].url = "http://acme.example/".to_owned();
    let world = format!("{BOTH} include integration:plugin/rights-plugin@0.1.0; import now: func() -> u64;");
    let bytes = embed(&component(&world), &manifest).expect("embeds");
    let catalogue = Catalogue::embedded().expect("embedded");
    let problems = review(&bytes, &catalogue).expect_err("five things are wrong");
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    for code in
        ["not-served-yet", "unknown-import", "hook-not-declared", "unknown-purpose", "endpoint-not-https"]
    {
        assert!(codes.contains(&code), "{code} is not in {codes:?}");
    }
}

#[test]
fn numbers_are_written_as_leb128() {
    for (number, bytes) in [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 1]), (624_485, &[0xe5, 0x8e, 0x26])]
    {
        assert_eq!(leb128(number), bytes);
    }
}
