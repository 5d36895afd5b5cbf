//! What a call promises, each with a guest that tries to break it.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::boundary::{Permitted, PluginInput};

use super::super::guests::{self, share, share_with};
use super::super::*;
use super::{FIELDS, Sandbox, input};

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
    let call =
        sandbox.host.decide_released(&release, "\"chat-button\"", input(), Budget::default(), None).await;
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
    let huge = "(if (i32.eq (i32.const -1) (memory.grow (i32.const 800))) (then (unreachable)))
        (call $answer (i32.const 1024) (i32.const 50000000))";
    let deliveries = "(drop (call $answer (i32.const 1024) (i32.const 2)))
        (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 17)) (i32.const 16)";
    let cases = [
        ("trap", "unreachable", "", Budget::default()),
        ("trap", "(i32.div_u (i32.const 1) (i32.const 0))", "", Budget::default()),
        ("trap", "(i32.load (i32.const -4))", "", Budget::default()),
        ("out-of-fuel", forever, "", Budget::fixed(Duration::from_secs(20), 1_000_000)),
        ("deadline", forever, "", Budget::fixed(Duration::from_millis(30), u64::MAX)),
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
            { Budget::fixed(Duration::from_secs(20), u64::MAX) },
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
        let call = sandbox.host.share_released(&release, input, budget, None).await;
        let error = call.result.expect_err(body);
        assert_eq!(error.code(), code, "{body}: {error}");
        // What ended it by a limit says which, by how much, and what is allowed.
        let no_limit = ["trap", "invalid-output", "rejected", "unavailable"].contains(&code);
        assert_eq!(call.spent.first().copied(), error.overrun(), "{error}");
        assert_eq!(error.overrun().is_none(), no_limit, "{error}");
        if let Some(over) = error.overrun() {
            assert!(over.used >= over.allowed, "{over:?}");
            let allowed = if over.budget == "time" { "30ms".to_owned() } else { over.allowed.to_string() };
            assert!(error.to_string().contains(&allowed), "{error}");
        }
        sandbox.still_works().await;
    }
}

#[tokio::test]
async fn a_hundred_megabytes_are_cut_off() {
    let guest = share(
        "(if (i32.eq (i32.const -1) (memory.grow (i32.const 1600))) (then (unreachable)))
         (call $answer (i32.const 1024) (i32.const 100000000))",
    );
    let roomy = Sandbox::with(|config| config.limits.memory = 128 * 1024 * 1024);
    for (code, sandbox) in [("memory-limit", Sandbox::new()), ("output-too-large", roomy)] {
        assert_eq!(sandbox.call(&guest).await.result.unwrap_err().code(), code);
        sandbox.still_works().await;
    }
}

#[tokio::test]
async fn running_out_of_fuel_costs_the_same_each_time() {
    let sandbox = Sandbox::new();
    let budget = Budget::fixed(Duration::from_secs(20), 1_000_000);
    let forever = share("(loop $again (br $again)) (unreachable)");
    let first = sandbox.call_within(&forever, budget).await.fuel_used;
    assert_eq!(first, sandbox.call_within(&forever, budget).await.fuel_used);
}

#[tokio::test]
async fn a_deadline_is_kept_within_a_few_ticks() {
    let sandbox = Sandbox::new();
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let budget = Budget::fixed(Duration::from_millis(50), u64::MAX);
    let started = Instant::now();
    sandbox.host.share_released(&release, input(), budget, None).await.result.unwrap_err();
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
        let budget = Budget::fixed(Duration::from_secs(2), u64::MAX);
        host.share_released(&release, input(), budget, None).await
    });
    tokio::task::yield_now().await;
    sandbox.host.share_released(&echo, input(), Budget::default(), None).await.result.unwrap();
    assert!(!busy.is_finished());
    assert_eq!(busy.await.unwrap().result.unwrap_err().code(), "deadline");
}

#[tokio::test]
async fn waiting_for_a_slot_counts_as_time() {
    let sandbox = Sandbox::with(|config| config.max_concurrent_calls = 1);
    let echo = sandbox.load(&guests::echo()).await;
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let busy = Budget::fixed(Duration::from_millis(400), u64::MAX);
    let short = Budget::within(Duration::from_millis(20));
    let first = sandbox.host.share_released(&release, input(), busy, None);
    let second = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        sandbox.host.share_released(&echo, input(), short, None).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.result.unwrap_err().code(), "deadline");
    assert_eq!(second.result.unwrap_err().code(), "busy");
    sandbox.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_share_the_slots_and_do_not_meet() {
    let sandbox = Sandbox::new();
    let echo = sandbox.load(&guests::echo()).await;
    let trap = sandbox.load(&share("unreachable")).await;
    let calls = (0..400).map(|number| {
        let (host, release) = (sandbox.host.clone(), if number % 4 == 0 { &trap } else { &echo }.clone());
        tokio::spawn(async move {
            let mut input = input();
            input.fields = format!("{{\"number\":{number}}}");
            let expected = if number % 4 == 0 { Err("trap") } else { Ok(input.fields.clone()) };
            let call =
                host.share_released(&release, input, Budget::within(Duration::from_secs(20)), None).await;
            let result = call.result.map(|outcome| outcome.returns).map_err(|error| error.code());
            assert_eq!(result, expected);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn an_endless_deadline_is_cut() {
    let sandbox = Sandbox::with(|config| config.limits.longest_call = Duration::from_millis(20));
    let budget = Budget::fixed(Duration::MAX, u64::MAX);
    let call = sandbox.call_within(&share("(loop $again (br $again)) (unreachable)"), budget).await;
    assert!(
        matches!(call.result, Err(CallError::Deadline { allowed, .. }) if allowed < Duration::from_secs(1))
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_slot_back() {
    let sandbox = Sandbox::with(|config| config.max_concurrent_calls = 1);
    let release = sandbox.load(&share("(loop $again (br $again)) (unreachable)")).await;
    let budget = Budget::fixed(Duration::from_secs(20), u64::MAX);
    let call = sandbox.host.share_released(&release, input(), budget, None);
    tokio::time::timeout(Duration::from_millis(20), call).await.unwrap_err();
    sandbox.still_works().await;
}

#[tokio::test]
async fn the_clock_wakes_after_it_has_slept() {
    let sandbox = Sandbox::with(|config| config.limits.tick_linger = Duration::ZERO);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let budget = Budget::fixed(Duration::from_millis(20), u64::MAX);
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
    assert_eq!((call.logs_dropped, call.logs_cut), (0, 0));
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
    assert_eq!(call.logs_cut as usize, limits.log_lines);
    for line in call.logs {
        let (kept, mark) = line.message.split_once('…').unwrap();
        assert_eq!(mark, format!(" [cut: {} bytes more]", 60_000 - kept.len()));
        assert_eq!(line.message.len(), limits.log_line_bytes);
    }
}

/// Both versions are served by one host; what came with 0.2 is there for components of 0.2.
#[tokio::test]
async fn what_is_left_is_told_and_costs_the_same_each_time() {
    let guest = guests::share_0_2(
        "(call $left (i32.const 64))
         (call $log (i32.const 1) (i32.const 1024) (i32.const 2))
         (call $left (i32.const 128))
         (if (i64.ge_u (i64.load (i32.const 128)) (i64.load (i32.const 64))) (then (unreachable)))
         (if (i64.ne (i64.load (i32.const 72)) (i64.const 67043328)) (then (unreachable)))
         (if (i32.ne (i32.load (i32.const 80)) (i32.const 204800)) (then (unreachable)))
         (if (i32.ne (i32.load (i32.const 144)) (i32.const 202752)) (then (unreachable)))
         (if (i32.ne (i32.load (i32.const 84)) (i32.const 262144)) (then (unreachable)))
         (if (i32.ne (i32.load (i32.const 88)) (i32.const 16)) (then (unreachable)))
         (call $answer (i32.const 1024) (i32.const 2))",
    );
    let sandbox = Sandbox::new();
    let (first, second) = (sandbox.call(&guest).await, sandbox.call(&guest).await);
    assert_eq!(first.result.unwrap().returns, "{}");
    assert_eq!(first.fuel_used, second.fuel_used);
    sandbox.still_works().await;
}

#[tokio::test]
async fn a_failure_may_say_when_to_try_again_and_the_host_caps_it() {
    for (asked, waits) in [(0, 1), (90, 90), (1_000_000, 3_600)] {
        let guest = guests::share_0_2(&format!(
            "(drop (call $fail (i32.const 2)))
             (i32.store (i32.const 24) (i32.const {asked}))
             (i32.store (i32.const 28) (i32.const 1040))
             (i32.store (i32.const 32) (i32.const 8)) (i32.const 16)"
        ));
        let error = Sandbox::new().call(&guest).await.result.unwrap_err();
        assert!(
            matches!(&error, CallError::Later { seconds, text } if *seconds == waits && text == "it broke"),
            "{error}"
        );
    }
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
    let call = sandbox.host.decide_released(&release, "banner", input(), Budget::default(), None).await;
    assert_eq!(call.result.unwrap_err().code(), "hook-missing");
}

#[test]
fn calls_can_be_awaited_on_any_thread() {
    fn send(_: impl Future + Send) {}
    #[allow(dead_code)]
    fn calls(host: &PluginHost, release: &LoadedRelease, permitted: fn() -> Permitted<PluginInput>) {
        send(host.share(release, permitted(), Budget::default(), None));
        send(host.decide(release, "", permitted(), Budget::default(), None));
        send(host.load([0; 32], b""));
    }
}
