//! What a component does in parts is what it does whole, and what is not plain stays whole.

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Module, Store};

use super::*;
use crate::plugin_host::engine::{Allocation, engine};
use crate::plugin_host::limits::Limits;

/// With a memory and data in it; its function adds to what it finds there.
const OWN: &str = r#"(core module $m
    (global $added (mut i32) (i32.const 2))
    (memory (export "memory") 1 2)
    (data (i32.const 8) "\28") (data (i32.const 16) "\05")
    (func $start (global.set $added (i32.load8_u (i32.const 16))))
    (start $start)
    (func (export "run") (result i32)
      (i32.store8 (i32.const 8) (i32.add (global.get $added) (i32.load8_u (i32.const 8))))
      (i32.add (memory.grow (i32.const 1)) (i32.load8_u (i32.const 8)))))"#;
const LIFTED: &str = r#"(func (export "run") (result u32) (canon lift (core func $i "run")))"#;

struct Case {
    name: &'static str,
    component: String,
    /// Modules that are taken out.
    out: usize,
    /// What it answers.
    answer: u32,
}

fn cases() -> Vec<Case> {
    let case =
        |name, component: &[&str], out, answer| Case { name, component: component.concat(), out, answer };
    vec![
        case("its own memory", &[OWN, "(core instance $i (instantiate $m))", LIFTED], 1, 46),
        case(
            "the memory of another, a table, and what comes before and after it",
            &[
                r#"(core module $first (memory (export "memory") 1) (data (i32.const 8) "\28")
                    (table (export "table") 1 funcref) (global (export "three") i32 (i32.const 3)))
                (core module $m (import "env" "memory" (memory 1)) (import "env" "table" (table 1 funcref))
                    (import "env" "three" (global i32))
                    (elem (i32.const 0) func $run) (type $run (func (result i32)))
                    (func $run (type $run) (i32.add (global.get 0) (i32.load8_u (i32.const 8))))
                    (func (export "again") (type $run) (call_indirect (type $run) (i32.const 0))))
                (core module $last (import "m" "again" (func (result i32)))
                    (func (export "run") (result i32) (i32.add (i32.const 1) (call 0))))
                (core instance $env (instantiate $first))
                (core instance $n (instantiate $m (with "env" (instance $env))))
                (alias core export $n "again" (core func $again))
                (core instance $i (instantiate $last (with "m" (instance (export "again" (func $again))))))"#,
                LIFTED,
            ],
            2,
            44,
        ),
        case(
            "data that is not laid out: only the code has a place of its own",
            &[
                r#"(core module $m (memory 1) (data $d "\28")
                    (func (export "run") (result i32)
                      (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (i32.load8_u (i32.const 0))))
                (core instance $i (instantiate $m))"#,
                LIFTED,
            ],
            1,
            40,
        ),
        case(
            "two of one module, each with its memory",
            &[
                OWN,
                r#"(core instance $other (instantiate $m)) (core instance $i (instantiate $m))
                (func (export "other") (result u32) (canon lift (core func $other "run")))"#,
                LIFTED,
            ],
            0,
            46,
        ),
        case(
            "the same module twice",
            &[
                r#"(core module $a (func (export "run") (result i32) (i32.const 40)))
                (core module $b (func (export "run") (result i32) (i32.const 40)))
                (core instance $i (instantiate $a)) (core instance $j (instantiate $b))
                (func (export "other") (result u32) (canon lift (core func $j "run")))"#,
                LIFTED,
            ],
            1,
            40,
        ),
        case(
            "a module of a component within",
            &[
                "(component $c ",
                OWN,
                "(core instance $i (instantiate $m))",
                LIFTED,
                ")",
                r#"(instance $i (instantiate $c)) (export "run" (func $i "run"))"#,
            ],
            0,
            46,
        ),
        case(
            "a module that comes after an instance",
            &[
                r#"(core module $first (func (export "forty") (result i32) (i32.const 40)))
                (core instance $f (instantiate $first))"#,
                OWN,
                "(core instance $i (instantiate $m))",
                LIFTED,
            ],
            0,
            46,
        ),
        case(
            "a core type of its own",
            &["(core type (func))", OWN, "(core instance $i (instantiate $m))", LIFTED],
            0,
            46,
        ),
    ]
}

fn taken_apart(component: &[u8]) -> Option<Apart> {
    apart(component, &Limits::default(), 1).unwrap_or_else(|ImportsModule| panic!("it imports no module"))
}

fn encoded(case: &Case) -> Vec<u8> {
    wat::parse_str(format!("(component {})", case.component)).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

fn run(engine: &Engine, component: &[u8], modules: &BTreeMap<[u8; 32], Vec<u8>>) -> u32 {
    let component = Component::new(engine, component).unwrap();
    let mut linker = Linker::<()>::new(engine);
    for (digest, module) in modules {
        let module = Module::new(engine, module).unwrap();
        linker.root().module(&import_name(digest), &module).unwrap();
    }
    let mut store = Store::new(engine, ());
    store.set_fuel(1_000_000).unwrap();
    store.set_epoch_deadline(1_000);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run").unwrap();
    run.call(&mut store, ()).unwrap().0
}

#[test]
fn in_parts_a_component_does_what_it_does_whole() {
    let engine = engine(&Limits::default(), Allocation::None).unwrap();
    for case in cases() {
        let whole = encoded(&case);
        assert_eq!(run(&engine, &whole, &BTreeMap::new()), case.answer, "{}", case.name);
        let parts = taken_apart(&whole);
        assert_eq!(parts.as_ref().map_or(0, |parts| parts.modules.len()), case.out, "{}", case.name);
        if let Some(parts) = parts {
            assert_eq!(run(&engine, &parts.component, &parts.modules), case.answer, "{}", case.name);
        }
    }
}

#[test]
fn what_is_in_the_memory_makes_no_other_code() {
    let [before, after] = [OWN.to_owned(), OWN.replace("\\28", "\\29 and more")].map(|module| {
        let whole = format!("(component {module} (core instance $i (instantiate $m)) {LIFTED})");
        taken_apart(&wat::parse_str(whole).unwrap()).unwrap()
    });
    assert_eq!(before.modules, after.modules);
    assert_ne!(before.component, after.component);
}

#[test]
fn what_is_beyond_the_limits_stays_whole() {
    let whole = |modules: usize, own: &str| {
        let module = |at: usize| {
            format!(
                "(core module $m{at} {own} (func (result i32) (i32.const {at}))) (core instance (instantiate $m{at}))"
            )
        };
        let text: String = (0..modules).map(module).collect();
        taken_apart(&wat::parse_str(format!("(component {text})")).unwrap()).map(|parts| parts.modules.len())
    };
    let limits = Limits::default();
    let [instances, tables] = [limits.core_instances, limits.tables].map(|limit| limit as usize);
    assert_eq!((whole(instances, ""), whole(instances + 1, "")), (Some(MOST), None));
    assert_eq!(
        (whole(tables, "(table 1 funcref)"), whole(tables + 1, "(table 1 funcref)")),
        (Some(MOST), None)
    );
    let memories = limits.memories as usize;
    assert_eq!((whole(memories, "(memory 1)"), whole(memories + 1, "(memory 1)")), (Some(memories), None));
}

#[test]
fn a_component_that_imports_a_module_is_told_apart() {
    let name = import_name(&[7; 32]);
    let text = format!("(component (core type $t (module)) (import \"{name}\" (core module (type $t))))");
    let component = wat::parse_str(text).unwrap();
    assert!(apart(&component, &Limits::default(), 1).is_err());
}

#[test]
fn little_code_stays_where_it_is() {
    let whole = format!("(component {OWN} (core instance $i (instantiate $m)) {LIFTED})");
    let parts = apart(&wat::parse_str(whole).unwrap(), &Limits::default(), LARGE);
    assert!(parts.is_ok_and(|parts| parts.is_none()));
}

#[test]
fn what_is_cut_off_or_no_component_stays_whole() {
    let whole = encoded(&cases()[0]);
    for length in 0..whole.len() {
        let _ = taken_apart(&whole[..length]);
    }
    assert!(taken_apart(b"\0asm\x01\0\0\0").is_none());
}

#[test]
fn a_name_says_which_module_it_is() {
    let digest = Sha256::digest(b"a module").into();
    assert_eq!(imported(&import_name(&digest)), Some(digest));
    let short = &import_name(&digest)[..64];
    for other in ["", "m", "integration:plugin/log@0.1.0", short, "méééééééééééééééééééééééééééééééé"]
    {
        assert_eq!(imported(other), None, "{other}");
    }
}
