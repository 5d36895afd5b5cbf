//! What loading promises: what is refused, what is compiled and where, what is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::super::guests::{self, Guest};
use super::super::*;
use super::{FIELDS, Sandbox, compiler_of_tests};

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
    let hook = "world w { import integration:plugin/decide@0.1.0; export integration:plugin/share@0.1.0; }";
    let hook = guests::of_world(
        hook,
        r#"(module
        (import "integration:plugin/decide@0.1.0" "decide" (func (param i32 i32)))
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
        ("decide", hook),
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
async fn compiled_code_is_found_by_its_digest_without_the_component() {
    let (sandbox, echo) = (Sandbox::new(), guests::echo());
    assert!(sandbox.host.load_compiled(echo.digest).await.unwrap().is_none(), "nothing is compiled yet");
    drop(sandbox.load(&echo).await);
    let loaded = sandbox.host.load_compiled(echo.digest).await.unwrap().unwrap();
    let call = sandbox.host.share_released(&loaded, super::input(), Budget::default(), None).await;
    assert_eq!(call.result.unwrap().returns, FIELDS);
    drop(loaded);
    std::fs::write(sandbox.artifact(), "damaged").unwrap();
    assert!(sandbox.host.load_compiled(echo.digest).await.unwrap().is_none(), "it has to be compiled again");
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

/// A plugin as large as an interpreter, most of it not code; `pad` makes another component of the same functions.
fn large(pad: u8) -> Guest {
    let functions: String =
        (0..1_000).map(|number| format!("(func (result i32) (i32.const {number}))")).collect();
    let mut component =
        guests::share_with("(call $answer (local.get $fields) (local.get $fields-n))", &functions).component;
    // A custom section: its number, its length in LEB128 of four octets, its name's length, and what it holds.
    component.extend([0, 0x80, 0x80, 0x80, 0x01, 0]);
    component.resize(component.len() + (1 << 21) - 1, pad);
    Guest::of(component)
}

#[tokio::test]
async fn the_next_build_of_a_large_plugin_finds_its_functions() {
    let sandbox = Sandbox::new();
    // Files of functions, and bytes in them.
    let kept = || {
        let files = std::fs::read_dir(sandbox.artifact().parent().unwrap()).unwrap().flatten();
        let files = files.map(|file| file.path());
        let files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "functions")).collect();
        let bytes: u64 = files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
        (files, bytes)
    };
    let echoed = async |guest: &Guest, what: &str| {
        let call = sandbox.call(guest).await;
        assert_eq!(call.result.unwrap().returns, FIELDS, "{what}");
    };
    echoed(&guests::echo(), "a small plugin").await;
    assert_eq!(kept().1, 0);
    echoed(&large(1), "the first build").await;
    let (files, first) = kept();
    assert_eq!(files.len(), 1, "its functions are kept");
    echoed(&large(2), "the second build").await;
    let added = kept().1 - first;
    // Half of them may by chance have another key.
    assert!(added < first * 3 / 4, "{added} bytes are new beside {first}");
    let mut damaged = std::fs::read(&files[0]).unwrap();
    let code = damaged.len() / 2..;
    damaged[code].fill(0xcc);
    std::fs::write(&files[0], damaged).unwrap();
    echoed(&large(3), "over damaged functions").await;
    assert!(!files[0].exists(), "what is damaged goes");
    assert!(kept().1 > 0, "and is compiled again");
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

#[test]
#[ignore = "an entry for another process"]
fn compiling_process() {
    let (Some(input), Some(output)) = (std::env::var_os("IN"), std::env::var_os("OUT")) else { return };
    let Some(functions) = std::env::var_os("FUNCTIONS") else { return };
    if let Err(error) = compile_component_child(input.as_ref(), output.as_ref(), functions.as_ref(), 0) {
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
