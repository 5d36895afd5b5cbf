//! Measurements, for whoever changes a limit. They check nothing.

use std::time::Instant;

use super::super::guests::{self, Guest};
use super::super::*;
use super::{Sandbox, compiler_of_tests, input};

/// Not a check but a measurement: `cargo test --release -p gateway --lib plugin_host -- --ignored --nocapture`.
/// With `GATEWAY_MEASURE=FILE…` it loads and calls those components too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure() {
    let mut components = vec![("echo".to_owned(), guests::echo())];
    for path in std::env::var("GATEWAY_MEASURE").unwrap_or_default().split_whitespace() {
        components.push((path.to_owned(), Guest::of(std::fs::read(path).unwrap())));
    }
    for (name, guest) in components {
        let directory = tempfile::tempdir().unwrap();
        let compiler = compiler_of_tests(directory.path());
        let sandbox = Sandbox::with(|config| {
            config.compiler = Compiler::Program(compiler);
            config.max_concurrent_calls = 8;
        });
        let started = Instant::now();
        drop(sandbox.load(&guest).await);
        let uncached = started.elapsed();
        let started = Instant::now();
        let release = sandbox.load(&guest).await;
        let cached = started.elapsed();
        let mut times = Vec::new();
        let (mut fuel, mut memory, mut result) = (0, 0, "ok");
        for _ in 0..2000 {
            let mut input = input();
            input.fields = transcript();
            let started = Instant::now();
            let budget = Budget::default();
            if release.exports_share() {
                let call = sandbox.host.share_released(&release, input, budget).await;
                times.push(started.elapsed());
                (fuel, memory) = (call.fuel_used, call.memory_bytes);
                result = call.result.as_ref().map_or_else(CallError::code, |_| "ok");
            } else {
                let call = sandbox.host.decide_released(&release, "chat-button", input, budget).await;
                times.push(started.elapsed());
                (fuel, memory) = (call.fuel_used, call.memory_bytes);
                result = call.result.as_ref().map_or_else(CallError::code, |_| "ok");
            }
        }
        times.sort();
        println!(
            "{name}: load {uncached:?} uncached, {cached:?} cached; call {result} p50 {:?} p99 {:?}; \
             fuel {fuel}, memory {memory}; resident {}",
            times[1000],
            times[1980],
            resident()
        );
    }
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name| status.lines().find(|line: &&str| line.starts_with(name)).unwrap_or_default();
    format!("{} {}", line("VmRSS"), line("VmSize")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A 15-turn chat with what the sample plugins read.
fn transcript() -> String {
    let turn = r#"{"speaker":"agent","text":"Good morning, how can I help you with your new car today?"}"#;
    let turns = vec![turn; 15].join(",");
    format!(
        r#"{{"contact":{{"name":{{"first":"Jane","last":"Roe"}}}},"conversation":"c-1","visit":{{"device_type":"mobile"}},"transcript":[{turns}]}}"#
    )
}
