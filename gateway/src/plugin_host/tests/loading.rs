//! What loading promises: what is refused, what is compiled and where, what is kept.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

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

/// A plugin with as much code as an interpreter, with this in its memory.
fn large(memory: &str) -> Guest {
    let stores = "i32.const 0 i32.const 1 i32.store ".repeat(500);
    let code: String = (0..100).map(|at| format!("(func $f{at} {stores})")).collect();
    let table: String = (0..100).map(|at| format!("$f{at} ")).collect();
    guests::share_with(
        "(call $answer (local.get $fields) (local.get $fields-n))",
        &format!("{code} (table funcref (elem {table})) (data (i32.const 4096) \"{memory}\")"),
    )
}

#[tokio::test]
async fn the_next_build_of_a_large_plugin_compiles_what_is_new() {
    let sandbox = Sandbox::new();
    let echoed = async |guest: &Guest, what: &str| {
        let call = sandbox.call(guest).await;
        assert_eq!(call.result.unwrap().returns, FIELDS, "{what}");
    };
    // Compiled code, largest first.
    let kept = || {
        let files = std::fs::read_dir(sandbox.artifact().parent().unwrap()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let code = files.filter(|path| path.extension().is_some_and(|end| end == "cwasm"));
        let mut code: Vec<_> = code.map(|path| (std::fs::metadata(&path).unwrap().len(), path)).collect();
        code.sort_unstable_by(|a, b| b.cmp(a));
        code
    };
    echoed(&large("one build"), "the first build").await;
    let first = kept();
    let [(size, interpreter), _] = &first[..] else { panic!("{first:?}") };
    let written = || std::fs::metadata(interpreter).unwrap().ino();
    let same = written();
    echoed(&large("another build"), "the second build").await;
    assert_eq!((kept().len(), written()), (3, same), "only the rest is new");

    std::fs::write(interpreter, "damaged").unwrap();
    echoed(&large("a third build"), "over a damaged interpreter").await;
    assert_eq!(std::fs::metadata(interpreter).unwrap().len(), *size, "it is compiled again");
    let checksum = interpreter.with_extension("sha256");
    std::fs::remove_file(&checksum).unwrap();
    echoed(&large("a fourth build"), "over one that is not known to be whole").await;
    assert!(checksum.exists());
}

#[tokio::test]
async fn what_does_not_compile_in_parts_is_compiled_whole() {
    // Where the data is no module's, what names it has nothing to name.
    let sandbox = Sandbox::new();
    let stores = "i32.const 0 i32.const 1 i32.store ".repeat(50_000);
    let guest = guests::share_with(
        "(data.drop $d) (call $answer (local.get $fields) (local.get $fields-n))",
        &format!("(func $f {stores}) (table funcref (elem $f)) (data $d (i32.const 4096) \"x\")"),
    );
    assert_eq!(sandbox.call(&guest).await.result.unwrap().returns, FIELDS);
}

#[tokio::test]
async fn a_component_that_imports_a_module_is_refused() {
    let sandbox = Sandbox::new();
    let name = format!("m{}", "07".repeat(32));
    let text = format!("(component (core type $t (module)) (import \"{name}\" (core module (type $t))))");
    let refusal = sandbox.refusal(&Guest::of(wat::parse_str(text).unwrap())).await.to_string();
    assert!(refusal.contains("imports a core module"), "{refusal}");
}

#[tokio::test]
async fn what_plugins_have_in_common_is_loaded_once_and_stays_while_one_needs_it() {
    // Nothing is kept that no release runs.
    let sandbox = Sandbox::with(|config| config.cache_bytes = 0);
    let first = sandbox.load(&large("one")).await;
    let second = sandbox.load(&large("another")).await;
    drop(first);
    drop(sandbox.load(&guests::echo()).await);
    // Its interpreter was not removed: what is loaded anew finds it.
    assert!(sandbox.host.load_compiled(large("another").digest).await.unwrap().is_some());
    let call = sandbox.host.share_released(&second, super::input(), Budget::default(), None).await;
    assert_eq!(call.result.unwrap().returns, FIELDS);
    drop(second);
    drop(sandbox.load(&guests::decide()).await);
    assert!(sandbox.host.load_compiled(large("another").digest).await.unwrap().is_none());
}

#[tokio::test]
async fn a_compiler_that_fails_is_reported_and_leaves_nothing() {
    let scripts = [
        ("gave no reason", "exit 1"),
        ("tag expected", "echo tag expected >&2; exit 1"),
        ("the compiler fails on it", "echo panicked at $0 >&2; exit 101"),
        ("failed", "exit 0"),
    ];
    for (word, script) in scripts {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let sandbox = Sandbox::with(|config| config.compiler = Compiler::Program(program));
        let refusal = sandbox.refusal(&guests::echo()).await.to_string();
        assert!(refusal.contains(word), "{word}: {refusal}");
        assert!(!refusal.contains("panicked"), "{refusal}");
        let version = std::fs::read_dir(sandbox.cache.path().join("code")).unwrap().next().unwrap().unwrap();
        assert_eq!(std::fs::read_dir(version.path()).unwrap().count(), 0, "{word}");
    }
}

#[test]
#[ignore = "an entry for another process"]
fn compiling_process() {
    let (Some(input), Some(output)) = (std::env::var_os("IN"), std::env::var_os("OUT")) else { return };
    let Some(compiled) = std::env::var_os("COMPILED") else { return };
    let limits = Limits::default();
    let compiled = compile_component_child(input.as_ref(), output.as_ref(), compiled.as_ref(), &limits);
    if let Err(error) = compiled {
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
