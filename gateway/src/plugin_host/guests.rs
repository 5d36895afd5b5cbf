//! Small guests for the tests, good and hostile, written in WebAssembly text and encoded as
//! components the way real plugins are. Nothing here runs outside tests.

use std::path::Path;

use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component and the digest that names it.
pub(super) struct Guest {
    pub(super) component: Vec<u8>,
    pub(super) digest: [u8; 32],
}

impl Guest {
    pub(super) fn of(component: Vec<u8>) -> Self {
        let digest = Sha256::digest(&component).into();
        Self { component, digest }
    }
}

/// Parameters of `share.on-event`, flattened: pointer and length of `id`, `kind`, `time`; tag,
/// pointer, length of `consumer`; pointer and length of `fields`, `sealed`, `settings`.
const EVENT: &str = "(param $id i32) (param $id-n i32) (param $kind i32) (param $kind-n i32)
    (param $time i32) (param $time-n i32) (param $consumer-is i32) (param $consumer i32)
    (param $consumer-n i32) (param $fields i32) (param $fields-n i32) (param $sealed i32)
    (param $sealed-n i32) (param $settings i32) (param $settings-n i32)";

/// Parameters of `receive.on-message`, flattened: pointer and length of `id` and `time`; tag, pointer, length of
/// `consumer`; pointer and length of `body`, `settings`.
const MESSAGE: &str = "(param $id i32) (param $id-n i32) (param $time i32) (param $time-n i32)
    (param $consumer-is i32) (param $consumer i32) (param $consumer-n i32) (param $body i32)
    (param $body-n i32) (param $settings i32) (param $settings-n i32)";

/// What every guest has: a memory, a bump allocator, room for an answer at 16, and two ways to answer.
const COMMON: &str = r#"
    (import "integration:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
    (global $next (mut i32) (i32.const 8192))
    (data (i32.const 1024) "{}")
    (data (i32.const 1040) "it broke: jane@example.org")
    (func (export "cabi_realloc") (param $old i32) (param $old-n i32) (param $align i32) (param $n i32)
      (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $n)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $fits (i32.ne (i32.const -1) (memory.grow
          (i32.add (i32.const 1) (i32.shr_u (local.get $n) (i32.const 16))))))
        (unreachable))
      (local.get $at))
    ;; ok: no deliveries, `returns` as given.
    (func $answer (param $returns i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 0))
      (i32.store (i32.const 24) (i32.const 0))
      (i32.store (i32.const 28) (local.get $returns))
      (i32.store (i32.const 32) (local.get $n))
      (i32.const 16))
    ;; error: a failure of the given kind.
    (func $fail (param $kind i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store8 (i32.const 20) (local.get $kind))
      (i32.store (i32.const 24) (i32.const 1040))
      (i32.store (i32.const 28) (i32.const 26))
      (i32.const 16))
"#;

/// A component for `share` of 0.2 that imports `budget`.
pub(super) fn share_0_2(body: &str) -> Guest {
    let world = "world it { include integration:plugin/share-plugin@0.2.0; include integration:plugin/imports-budget@0.2.0; }";
    let common = COMMON.replace("@0.1.0", "@0.2.0");
    let module = format!(
        r#"(module (import "integration:plugin/budget@0.2.0" "left" (func $left (param i32))) {common}
          (memory (export "memory") 1)
          (func (export "integration:plugin/share@0.2.0#on-event") {EVENT} (result i32) {body}))"#
    );
    of_world(world, &module)
}

/// A component for `share` whose hook has this body; `more` stands beside it in the module.
pub(super) fn share_with(body: &str, more: &str) -> Guest {
    encode(
        "share-plugin",
        &format!(
            r#"(module {COMMON} {more} (memory (export "memory") 1)
              (func (export "integration:plugin/share@0.1.0#on-event") {EVENT} (result i32) {body}))"#
        ),
    )
}

/// The same in a world that imports more; `import` stands before everything else in the module.
pub(super) fn share_importing(imports: &str, import: &str, body: &str, more: &str) -> Guest {
    importing(
        "share",
        &format!("\"integration:plugin/share@0.1.0#on-event\") {EVENT}"),
        imports,
        import,
        body,
        more,
    )
}

/// The same for `receive`.
pub(super) fn receive_importing(imports: &str, import: &str, body: &str, more: &str) -> Guest {
    let hook = format!("\"integration:plugin/receive@0.1.0#on-message\") {MESSAGE}");
    importing("receive", &hook, imports, import, body, more)
}

/// `export` is the name of the hook's function, in its bracket, and its parameters.
fn importing(hook: &str, export: &str, imports: &str, import: &str, body: &str, more: &str) -> Guest {
    let world = format!(
        "world it {{ include integration:plugin/{hook}-plugin@0.1.0; include integration:plugin/{imports}@0.1.0; }}"
    );
    let module = format!(
        r#"(module {import} {COMMON} {more} (memory (export "memory") 1)
          (func (export {export} (result i32) {body}))"#
    );
    of_world(&world, &module)
}

pub(super) fn share(body: &str) -> Guest {
    share_with(body, "")
}

/// Returns the fields it was given.
pub(super) fn echo() -> Guest {
    share("(call $answer (local.get $fields) (local.get $fields-n))")
}

/// For `decide`: its parameters are too many to be flat, so they lie in memory, the slot first;
/// answers with the slot, which the tests make JSON.
pub(super) fn decide() -> Guest {
    let module = format!(
        r#"(module {COMMON} (memory (export "memory") 1)
          (func (export "integration:plugin/decide@0.1.0#decide") (param $args i32) (result i32)
            (i32.store8 (i32.const 16) (i32.const 0))
            (i32.store (i32.const 20) (i32.load (local.get $args)))
            (i32.store (i32.const 24) (i32.load offset=4 (local.get $args)))
            (i32.const 16)))"#
    );
    encode("decide-plugin", &module)
}

/// A component of a world of this test's own, with a core module to match.
pub(super) fn of_world(world: &str, module: &str) -> Guest {
    let mut resolve = interface();
    let source = format!("package test:guest; {world}");
    let package = resolve.push_str("guest.wit", &source).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    finish(&resolve, world, module)
}

fn encode(world: &str, module: &str) -> Guest {
    let resolve = interface();
    let package = resolve.packages.iter().next().expect("0.1 comes first").0;
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    finish(&resolve, world, module)
}

fn interface() -> Resolve {
    let mut resolve = Resolve::default();
    for version in ["0.1", "0.2"] {
        resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit").join(version)).unwrap();
    }
    resolve
}

fn finish(resolve: &Resolve, world: wit_parser::WorldId, module: &str) -> Guest {
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().validate(true).module(&module).unwrap();
    Guest::of({ encoder }.encode().unwrap())
}
