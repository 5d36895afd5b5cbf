//! The sandbox's promises, each with a guest that tries to break it.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::boundary::{Permitted, PluginInput};

use super::guests::{self, Guest, share, share_with};
use super::*;

const FIELDS: &str = r#"{"contact":{"name":{"first":"Jane"}}}"#;

fn input() -> PluginInput {
    PluginInput {
        id: "9f2c".to_owned(),
        kind: "chat.ended".to_owned(),
        time: "2017-03-01T12:00:00Z".to_owned(),
        consumer: Some("p-1".to_owned()),
        fields: FIELDS.to_owned(),
        sealed: vec!["/contact/email".to_owned()],
        settings: "{}".to_owned(),
    }
}

struct Sandbox {
    host: PluginHost,
    cache: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut config = HostConfig::new(cache.path().join("code"));
        config.compiler = Compiler::InProcess;
        config.max_concurrent_calls = 2;
        change(&mut config);
        Self { host: PluginHost::new(config).unwrap(), cache }
    }

    async fn load(&self, guest: &Guest) -> LoadedRelease {
        self.host.load(guest.digest, &guest.component).await.unwrap()
    }

    async fn refusal(&self, guest: &Guest) -> HostError {
        self.host.load(guest.digest, &guest.component).await.unwrap_err()
    }

    async fn call(&self, guest: &Guest) -> Call<crate::boundary::PluginOutcome> {
        self.call_within(guest, Budget::default()).await
    }

    async fn call_within(&self, guest: &Guest, budget: Budget) -> Call<crate::boundary::PluginOutcome> {
        let release = self.load(guest).await;
        self.host.share_released(&release, input(), budget).await
    }

    /// The promise after every hostile call.
    async fn still_works(&self) {
        let call = self.call(&guests::echo()).await;
        assert_eq!(call.result.unwrap().returns, FIELDS);
    }

    fn artifact(&self) -> std::path::PathBuf {
        let version = std::fs::read_dir(self.cache.path().join("code")).unwrap().next().unwrap().unwrap();
        let mut files = std::fs::read_dir(version.path()).unwrap().map(|file| file.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
    }
}

#[tokio::test]
async fn a_good_guest_gets_its_input_and_gives_its_answer() {
    let call = Sandbox::new().call(&guests::echo()).await;
    assert_eq!(call.result.unwrap().returns, FIELDS);
    assert_eq!((call.logs.len(), call.logs_dropped, call.memory_bytes), (0, 0, 65536));
}

#[tokio::test]
async fn a_decision_gets_its_slot() {
    let sandbox = Sandbox::new();
    let release = sandbox.load(&guests::decide()).await;
    let call = sandbox.host.decide_released(&release, "\"chat-button\"", input(), Budget::default()).await;
    assert_eq!(call.result.unwrap(), "\"chat-button\"");
}

#[tokio::test]
async fn a_call_costs_the_same_each_time() {
    let sandbox = Sandbox::new();
    let (first, second) = (sandbox.call(&guests::echo()).await, sandbox.call(&guests::echo()).await);
    assert!(first.fuel_used > 0);
    assert_eq!(first.fuel_used, second.fuel_used);
}

#[tokio::test]
async fn nothing_survives_a_call() {
    let counter = share_with(
        "(i32.store (i32.const 4000) (i32.add (i32.const 1) (i32.load (i32.const 4000))))
         (global.set $count (i32.add (i32.const 1) (global.get $count)))
         (call $answer (i32.const 1024)
            (i32.add (i32.const 1) (i32.and (i32.eq (i32.const 1) (i32.load (i32.const 4000)))
                                            (i32.eq (i32.const 1) (global.get $count)))))",
        "(global $count (mut i32) (i32.const 0))",
    );
    let sandbox = Sandbox::new();
    for _ in 0..10 {
        assert_eq!(sandbox.call(&counter).await.result.unwrap().returns, "{}");
    }
}

/// Each of these guests ends its own call, with its own code, and nothing else.
#[tokio::test]
async fn a_hostile_call_ends_and_the_next_one_succeeds() {
    let forever = "(loop $again (br $again)) (unreachable)";
    let huge = "(local.get $id) (drop) (i32.const 0) (drop)
        (if (i32.eq (i32.const -1) (memory.grow (i32.const 1600))) (then (unreachable)))
        (call $answer (i32.const 1024) (i32.const 100000000))";
    let deliveries = "(drop (call $answer (i32.const 1024) (i32.const 2)))
        (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 17)) (i32.const 16)";
    let cases = [
        ("trap", "unreachable", "", Budget::default()),
        ("trap", "(i32.div_u (i32.const 1) (i32.const 0))", "", Budget::default()),
        ("trap", "(i32.load (i32.const -4))", "", Budget::default()),
        ("out-of-fuel", forever, "", Budget { deadline: Duration::from_secs(20), fuel: 1_000_000 }),
        ("deadline", forever, "", Budget { deadline: Duration::from_millis(30), fuel: u64::MAX }),
        (
            "memory-limit",
            "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16))))) (unreachable)",
            "",
            Budget::default(),
        ),
        (
            "stack-overflow",
            "(call $deep)",
            "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))",
            { Budget { deadline: Duration::from_secs(20), fuel: u64::MAX } },
        ),
        ("output-too-large", huge, "", Budget::default()),
        (
            "output-too-large",
            "(call $answer (i32.const 1024) (i32.const 300000))",
            "(func (export \"_initialize\")
            (drop (memory.grow (i32.const 8))))",
            Budget::default(),
        ),
        ("output-too-large", deliveries, "", Budget::default()),
        ("invalid-output", "(call $answer (i32.const -8) (i32.const 100))", "", Budget::default()),
        (
            "invalid-output",
            "(i32.store8 (i32.const 2000) (i32.const 255)) (call $answer (i32.const 2000)
            (i32.const 1))",
            "",
            Budget::default(),
        ),
        (
            "invalid-output",
            "(drop (call $answer (i32.const 1024) (i32.const 2))) (i32.store8 (i32.const 16)
            (i32.const 7)) (i32.const 16)",
            "",
            Budget::default(),
        ),
        (
            "output-too-large",
            "(if (i32.eq (i32.const -1) (memory.grow (i32.const 100))) (then (unreachable)))
            (call $log (i32.const 1) (i32.const 0) (i32.const 2000000)) (call $answer (i32.const 1024)
            (i32.const 2))",
            "",
            Budget::default(),
        ),
        ("rejected", "(call $fail (i32.const 0))", "", Budget::default()),
        ("unavailable", "(call $fail (i32.const 1))", "", Budget::default()),
        ("input-too-large", "(call $answer (i32.const 1024) (i32.const 2))", "", Budget::default()),
    ];
    let sandbox = Sandbox::new();
    for (code, body, more, budget) in cases {
        let release = sandbox.load(&share_with(body, more)).await;
        let mut input = input();
        if code == "input-too-large" {
            input.fields = "x".repeat(2_000_000);
        }
        let call = sandbox.host.share_released(&release, input, budget).await;
        let error = call.result.expect_err(body);
        assert_eq!(error.code(), code, "{body}: {error}");
        sandbox.still_works().await;
    }
}

#[tokio::test]
async fn running_out_of_fuel_costs_the_same_each_time() {
    let sandbox = Sandbox::new();
    let budget = Budget { deadline: Duration::from_secs(20), fuel: 1_000_000 };
    let forever = share("(loop $again (br $again)) (unreachable)");
    let first = sandbox.call_within(&forever, budget).await.fuel_used;
    assert_eq!(first, sandbox.call_within(&forever, budget).await.fuel_used);
}

#[tokio::test]
async fn a_deadline_is_kept_within_a_few_ticks() {
    let sandbox = Sandbox::new();
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let budget = Budget { deadline: Duration::from_millis(50), fuel: u64::MAX };
    let started = Instant::now();
    sandbox.host.share_released(&release, input(), budget).await.result.unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

/// On one executor thread: a busy guest lets others run at each tick.
#[tokio::test(flavor = "current_thread")]
async fn a_busy_guest_does_not_keep_others_from_running() {
    let sandbox = Sandbox::new();
    let echo = sandbox.load(&guests::echo()).await;
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let host = sandbox.host.clone();
    let busy = tokio::spawn(async move {
        let budget = Budget { deadline: Duration::from_millis(300), fuel: u64::MAX };
        host.share_released(&release, input(), budget).await
    });
    tokio::task::yield_now().await;
    sandbox.host.share_released(&echo, input(), Budget::default()).await.result.unwrap();
    assert!(!busy.is_finished());
    assert_eq!(busy.await.unwrap().result.unwrap_err().code(), "deadline");
}

#[tokio::test]
async fn waiting_for_a_slot_counts_as_time() {
    let sandbox = Sandbox::with(|config| config.max_concurrent_calls = 1);
    let echo = sandbox.load(&guests::echo()).await;
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let busy = Budget { deadline: Duration::from_millis(400), fuel: u64::MAX };
    let short = Budget::within(Duration::from_millis(20));
    let first = sandbox.host.share_released(&release, input(), busy);
    let second = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        sandbox.host.share_released(&echo, input(), short).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.result.unwrap_err().code(), "deadline");
    assert_eq!(second.result.unwrap_err().code(), "busy");
    sandbox.still_works().await;
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_slot_back() {
    let sandbox = Sandbox::with(|config| config.max_concurrent_calls = 1);
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let budget = Budget { deadline: Duration::from_secs(20), fuel: u64::MAX };
    let call = sandbox.host.share_released(&release, input(), budget);
    tokio::time::timeout(Duration::from_millis(20), call).await.unwrap_err();
    sandbox.still_works().await;
}

#[tokio::test]
async fn the_clock_wakes_after_it_has_slept() {
    let sandbox = Sandbox::with(|config| config.limits.tick_linger = Duration::ZERO);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let budget = Budget { deadline: Duration::from_millis(20), fuel: u64::MAX };
        let call = sandbox.call_within(&share("(loop $again (br $again)) (unreachable)"), budget).await;
        assert_eq!(call.result.unwrap_err().code(), "deadline");
    }
}

#[tokio::test]
async fn a_log_line_is_kept_with_its_level() {
    let guest = share(
        "(call $log (i32.const 2) (i32.const 1040) (i32.const 8)) (call $answer (i32.const 1024) (i32.const 2))",
    );
    let call = Sandbox::new().call(&guest).await;
    assert_eq!(call.logs, [LogLine { level: LogLevel::Warn, message: "it broke".to_owned() }]);
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_counted() {
    let guest = share(
        "(local $n i32)
         (loop $again
           (call $log (i32.const 1) (i32.const 1024) (i32.const 60000))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $n) (i32.const 10000))))
         (call $answer (i32.const 1024) (i32.const 2))",
    );
    let limits = Limits::default();
    let call = Sandbox::new().call(&guest).await;
    assert_eq!(call.result.unwrap().returns, "{}");
    assert_eq!(call.logs.len(), limits.log_lines);
    assert_eq!(call.logs_dropped as usize, 10_000 - limits.log_lines);
    assert!(call.logs.iter().all(|line| line.message.len() <= limits.log_line_bytes));
}

/// Errors and log lines end up in the gateway's own logs; what a plugin wrote must not.
#[tokio::test]
async fn what_a_plugin_wrote_is_never_shown() {
    let guest = share("(call $log (i32.const 3) (i32.const 1040) (i32.const 26)) (call $fail (i32.const 0))");
    let call = Sandbox::new().call(&guest).await;
    let shown = format!("{call:?}");
    assert!(!shown.contains("jane@example.org"), "{shown}");
    let error = call.result.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("jane@example.org"));
    assert!(matches!(error, CallError::Rejected(text) if text == "it broke: jane@example.org"));
}

#[tokio::test]
async fn a_hook_that_is_not_exported_is_missing() {
    let sandbox = Sandbox::new();
    let release = sandbox.load(&guests::echo()).await;
    assert!(release.exports_share() && !release.exports_decide());
    let call = sandbox.host.decide_released(&release, "banner", input(), Budget::default()).await;
    assert_eq!(call.result.unwrap_err().code(), "hook-missing");
}

#[tokio::test]
async fn what_is_not_served_is_refused_at_load() {
    let wasi = r#"world w { import clock: interface { now: func() -> u64; } export integration:plugin/share@0.1.0; }"#;
    let wasi = guests::of_world(
        wasi,
        r#"(module (import "clock" "now" (func (result i64)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "integration:plugin/share@0.1.0#on-event") (param i32 i32 i32 i32 i32 i32 i32 i32
            i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#,
    );
    let memory = "world w { import integration:plugin/memory@0.1.0; export integration:plugin/share@0.1.0; }";
    let memory = guests::of_world(
        memory,
        r#"(module
        (import "integration:plugin/memory@0.1.0" "get" (func (param i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "integration:plugin/share@0.1.0#on-event") (param i32 i32 i32 i32 i32 i32 i32 i32
            i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#,
    );
    let no_hook = guests::of_world("world w {}", "(module)");
    let core = Guest::of(wat::parse_str("(module)").unwrap());
    let text = Guest::of(b"(component)".to_vec());
    let cut = Guest::of(guests::echo().component[..400].to_vec());
    let cases = [
        ("clock", wasi),
        ("memory", memory),
        ("no hook", no_hook),
        ("not a WebAssembly component", core),
        ("not a WebAssembly component", text),
        ("refused", cut),
    ];
    let sandbox = Sandbox::new();
    for (word, guest) in cases {
        let refusal = sandbox.refusal(&guest).await.to_string();
        assert!(refusal.contains(word), "{word}: {refusal}");
        sandbox.still_works().await;
    }
}

#[tokio::test]
async fn a_component_that_is_too_large_is_refused_before_it_is_read() {
    let echo = guests::echo();
    let sandbox = Sandbox::with(|config| config.limits.component_bytes = echo.component.len() - 1);
    assert!(matches!(sandbox.refusal(&echo).await, HostError::TooLarge { .. }));
}

#[tokio::test]
async fn a_guest_that_starts_with_too_much_memory_is_refused_at_load() {
    let guest = guests::of_world(
        "world w { export integration:plugin/share@0.1.0; }",
        r#"(module (memory (export "memory") 4000)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "integration:plugin/share@0.1.0#on-event") (param i32 i32 i32 i32 i32 i32 i32 i32
                i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#,
    );
    let sandbox = Sandbox::new();
    sandbox.refusal(&guest).await;
    sandbox.still_works().await;
}

#[tokio::test]
async fn bytes_that_the_digest_does_not_name_are_refused() {
    let sandbox = Sandbox::new();
    let refusal = sandbox.host.load([0; 32], &guests::echo().component).await.unwrap_err();
    assert!(matches!(refusal, HostError::DigestMismatch));
}

#[tokio::test]
async fn a_release_is_compiled_once() {
    let sandbox = Sandbox::new();
    drop(sandbox.load(&guests::echo()).await);
    // A second compilation would fail.
    let mut config = HostConfig::new(sandbox.cache.path().join("code"));
    config.compiler = Compiler::Program("/bin/false".into());
    config.max_concurrent_calls = 1;
    let host = PluginHost::new(config).unwrap();
    let echo = guests::echo();
    host.load(echo.digest, &echo.component).await.unwrap();
}

#[tokio::test]
async fn damaged_code_is_compiled_again() {
    type Damage = fn(&Path);
    let damage: [(&str, Damage); 3] = [
        ("truncated", |path| {
            let code = std::fs::read(path).unwrap();
            std::fs::write(path, &code[..code.len() / 2]).unwrap();
        }),
        ("a flipped bit", |path| {
            let mut code = std::fs::read(path).unwrap();
            let middle = code.len() / 2;
            code[middle] ^= 1;
            std::fs::write(path, code).unwrap();
        }),
        ("no checksum", |path| std::fs::remove_file(path.with_extension("sha256")).unwrap()),
    ];
    for (what, damage) in damage {
        let sandbox = Sandbox::new();
        drop(sandbox.load(&guests::echo()).await);
        damage(&sandbox.artifact());
        let call = sandbox.call(&guests::echo()).await;
        assert_eq!(call.result.unwrap().returns, FIELDS, "{what}");
    }
}

#[tokio::test]
async fn a_compiler_that_fails_is_reported_and_leaves_nothing() {
    let scripts = [
        ("gave no reason", "exit 1"),
        ("tag expected", "echo tag expected >&2; exit 1"),
        ("longer than", "exec sleep 60"),
        ("signal 9", "kill -9 $$"),
        ("failed", "exit 0"),
    ];
    for (word, script) in scripts {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let sandbox = Sandbox::with(|config| {
            config.compiler = Compiler::Program(program);
            config.limits.compile_time = Duration::from_millis(500);
        });
        let refusal = sandbox.refusal(&guests::echo()).await.to_string();
        assert!(refusal.contains(word), "{word}: {refusal}");
        let version = std::fs::read_dir(sandbox.cache.path().join("code")).unwrap().next().unwrap().unwrap();
        assert_eq!(std::fs::read_dir(version.path()).unwrap().count(), 0, "{word}");
    }
}

/// The compiling process of the tests: this test binary, started by a script that passes the two
/// paths on and runs [`compiling_process`] only.
fn compiler_of_tests(directory: &Path) -> std::path::PathBuf {
    let program = directory.join("compiler");
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nIN=\"$2\" OUT=\"$3\" exec '{}' --ignored --exact plugin_host::tests::compiling_process\n",
        this.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}

#[test]
#[ignore = "an entry for another process"]
fn compiling_process() {
    let path = |name| std::env::var_os(name).expect("run by `compiler_of_tests` only");
    if let Err(error) = compile_component_child(path("IN").as_ref(), path("OUT").as_ref()) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[tokio::test]
async fn a_child_process_compiles_under_its_limits() {
    let directory = tempfile::tempdir().unwrap();
    let compiler = compiler_of_tests(directory.path());
    let sandbox = Sandbox::with(|config| config.compiler = Compiler::Program(compiler));
    sandbox.still_works().await;

    let invalid = Guest::of([b"\0asm\x0d\0\x01\0".as_slice(), b"\xff\xff"].concat());
    assert!(matches!(sandbox.refusal(&invalid).await, HostError::Invalid { .. }));
    sandbox.still_works().await;
}

#[test]
fn calls_can_be_awaited_on_any_thread() {
    fn send(_: impl Future + Send) {}
    #[allow(dead_code)]
    fn calls(host: &PluginHost, release: &LoadedRelease, permitted: fn() -> Permitted<PluginInput>) {
        send(host.share(release, permitted(), Budget::default()));
        send(host.decide(release, "", permitted(), Budget::default()));
        send(host.load([0; 32], b""));
    }
}

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
        let (mut fuel, mut memory) = (0, 0);
        for _ in 0..2000 {
            let started = Instant::now();
            let call = sandbox.host.share_released(&release, input(), Budget::default()).await;
            times.push(started.elapsed());
            (fuel, memory) = (call.fuel_used, call.memory_bytes);
        }
        times.sort();
        println!(
            "{name}: load {uncached:?} uncached, {cached:?} cached; call p50 {:?} p99 {:?}; fuel {fuel}, memory {memory}",
            times[1000], times[1980]
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmSize"))
        .for_each(|line| println!("{line}"));
}
