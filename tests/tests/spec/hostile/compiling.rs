//! Given a component that takes more to compile than a gateway allows; when it is published; then the refusal says what
//! ran out and how much of it there is, nothing is kept, and under the same limits the next publication and the next
//! call succeed.

use std::path::Path;
use std::time::Duration;

use gateway::plugin_host::{HostConfig, Limits};
use gateway_tests::gateway::host_config;
use gateway_tests::{Options, components, world};

use super::publication::{MODULE, assert_published, assert_refused, publish, start_empty};
use super::remade::{encoded, section};

/// A plugin that brings so many functions, each of so many remainders, one of the other.
fn with_code(plugin: &[u8], functions: usize, remainders: usize) -> Vec<u8> {
    // One type: two numbers in, one out.
    const TYPES: &[u8] = &[1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f];
    // local.get 0, local.get 1, i32.rem_u, local.set 0
    const REMAINDER: &[u8] = &[0x20, 0, 0x20, 1, 0x70, 0x21, 0];
    let content = [&[0], &REMAINDER.repeat(remainders)[..], &[0x20, 0, 0x0b]].concat();
    let body = [&encoded(content.len())[..], &content].concat();
    let number = encoded(functions);
    let declared = [&number[..], &vec![0; functions]].concat();
    let code = [&number[..], &body.repeat(functions)].concat();
    let module = [MODULE, &section(1, TYPES), &section(3, &declared), &section(10, &code)].concat();
    [plugin, &section(1, &module)].concat()
}

/// What there is too little of, the functions and the remainders in each, and what the refusal says.
type Case = (&'static str, fn(&mut Limits), (usize, usize), &'static str);

const CASES: &[Case] = &[
    // What is kept of a function while it is compiled is hundreds of times its size.
    (
        "memory",
        |limits| limits.compile_memory = 256 << 20,
        (1, 200_000),
        "signal 6, most likely because it needed more than 268435456 bytes of memory",
    ),
    (
        "processor-time",
        |limits| limits.compile_cpu_seconds = 3,
        (400, 10_000),
        "signal 9, most likely because it needed more than 3 seconds of processor time",
    ),
    (
        "code",
        |limits| limits.artifact_bytes = 2 << 20,
        (100, 5_000),
        "signal 25, most likely because it needed more than 2097152 bytes of compiled code",
    ),
    ("time", |limits| limits.compile_time = Duration::from_secs(5), (400, 10_000), "and may take 5s"),
];

/// How many files there are of compiled code, and of compilations.
fn kept(cache: &Path) -> usize {
    let versions = std::fs::read_dir(cache).expect("the cache").map(|entry| entry.expect("an entry").path());
    versions.map(|version| std::fs::read_dir(version).expect("a part of the cache").count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_compiling_runs_out_of_is_named_and_the_next_publication_and_call_succeed() {
    let usual = tokio::task::spawn_blocking(host_config).await.expect("a configuration");
    for (what, limit, (functions, remainders), says) in CASES {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let mut host = HostConfig { cache_dir: cache.path().join("cache"), ..usual.clone() };
        host.limits.compile_threads = 1;
        limit(&mut host.limits);
        let gateway = start_empty(Options { host: Some(host), ..Options::default() }).await;
        let good = &components().hostile.bytes;

        let bad = with_code(good, *functions, *remainders);
        let answer = publish(&gateway, "mallory", &bad).await;
        assert_refused(what, &answer, 422, "/problems/invalid", &[says]);
        assert_published(&gateway, &[]).await;
        assert_eq!(kept(&cache.path().join("cache")), 0, "{what}");
        gateway.anonymous().get("/readyz").await.expect(200);

        let release = publish(&gateway, "mallory", good).await.expect(201);
        world::brand(&gateway, super::BRAND, false).await;
        super::assert_next_call_succeeds(&gateway, &release, what).await;
    }
}
