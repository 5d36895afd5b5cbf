//! The one place that configures wasmtime, for the host and for the process that compiles. It may
//! not differ between the two in anything that the compiled code depends on.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{
    Collector, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy, WasmFeatures,
};

use super::apart;
use super::error::{HostError, describe};
use super::limits::{Limits, MEMORY_GUARD, MEMORY_RESERVATION};

/// Where instances come from.
#[derive(Clone, Copy)]
pub(super) enum Allocation {
    /// Slots reserved ahead, for a host that runs this many calls at once.
    Pool { calls: u32 },
    /// None: this process only compiles, under an address-space limit that refuses a pool.
    None,
}

/// WebAssembly 2.0, extended constant expressions and the component model: what Rust, JavaScript
/// and Python components need. Everything else is off, also what is added to wasmtime later.
/// Garbage-collected types (`externref`) are off although part of 2.0: no guest needs them.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC_TYPES);

/// Makes an engine. Its compatibility hash does not depend on `allocation`.
pub(super) fn engine(limits: &Limits, allocation: Allocation) -> Result<Engine, HostError> {
    let refused = |error: wasmtime::Error| HostError::Engine { reason: describe(&error) };
    Engine::new(&config(limits, allocation)).map_err(refused)
}

/// Names what compiled code depends on: the version of wasmtime, the processor, every setting
/// of [`config`], and how components are taken apart. Code compiled under another name is never loaded.
pub(super) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    apart::FORM.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn config(limits: &Limits, allocation: Allocation) -> Config {
    let mut config = Config::new();

    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(FEATURES, true);
    config.shared_memory(false);
    config.collector(Collector::Null);

    // A call is a function of its input.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    config.consume_fuel(true);
    config.epoch_interruption(true);

    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    config.parallel_compilation(true);

    // A guest's names and addresses are of no use here and would have to be kept out of logs.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    config.debug_info(false);

    config.max_wasm_stack(limits.wasm_stack);
    config.async_stack_size(limits.fiber_stack);
    // Nothing survives a call, on the stack neither.
    config.async_stack_zeroing(true);
    config.signals_based_traps(true);
    config.memory_reservation(MEMORY_RESERVATION);
    config.memory_guard_size(MEMORY_GUARD);
    config.memory_reservation_for_growth(0);
    config.memory_may_move(false);
    config.guard_before_linear_memory(true);
    config.memory_init_cow(true);
    config.table_lazy_init(true);

    config.allocation_strategy(match allocation {
        Allocation::Pool { calls } => InstanceAllocationStrategy::Pooling(pool(limits, calls)),
        Allocation::None => InstanceAllocationStrategy::OnDemand,
    });
    config
}

/// Exactly as many slots as calls can take, so that the semaphore in front is the only queue; of
/// memories a few more, which stay warm for other releases.
fn pool(limits: &Limits, calls: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .max_component_instance_size(limits.component_instance_size)
        .total_core_instances(calls.saturating_mul(limits.core_instances))
        .max_core_instances_per_component(limits.core_instances)
        .max_core_instance_size(limits.core_instance_size)
        .total_memories(calls.saturating_mul(limits.memories).saturating_add(limits.warm_memories))
        .max_memories_per_component(limits.memories)
        .max_memories_per_module(1)
        .max_memory_size(limits.memory)
        .total_tables(calls.saturating_mul(limits.tables))
        .max_tables_per_component(limits.tables)
        .max_tables_per_module(limits.tables)
        .table_elements(limits.table_elements)
        .total_stacks(calls)
        .total_gc_heaps(0)
        .max_unused_warm_slots(limits.warm_memories)
        .decommit_batch_size(1)
        .linear_memory_keep_resident(limits.memory_keep_resident)
        .table_keep_resident(limits.table_keep_resident)
        .async_stack_keep_resident(limits.stack_keep_resident)
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_compiled_by_the_child_is_what_the_host_loads() {
        let limits = Limits::default();
        let host = engine(&limits, Allocation::Pool { calls: 2 }).unwrap();
        let child = engine(&limits, Allocation::None).unwrap();
        assert_eq!(compatibility(&host), compatibility(&child));
    }

    /// Each module uses one proposal beyond what is served.
    #[test]
    fn proposals_beyond_the_interface_are_refused() {
        let engine = engine(&Limits::default(), Allocation::None).unwrap();
        let cases = [
            ("threads", "(module (memory 1 1 shared))"),
            ("memory64", "(module (memory i64 1))"),
            ("multi-memory", "(module (memory 1) (memory 1))"),
            ("custom-page-sizes", "(module (memory 1 (pagesize 1)))"),
            (
                "relaxed-simd",
                "(module (func (param v128 v128) (result v128)
                (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
            ),
            ("exceptions", "(module (tag))"),
            ("gc", "(module (type (struct)))"),
            ("externref", "(module (func (param externref)))"),
            ("function-references", "(module (type $f (func)) (func (param (ref $f))))"),
            ("tail-call", "(module (func $f (return_call $f)))"),
            (
                "wide-arithmetic",
                "(module (func (param i64 i64) (result i64 i64)
                (i64.mul_wide_u (local.get 0) (local.get 1))))",
            ),
        ];
        for (proposal, module) in cases {
            assert!(engine.precompile_module(module.as_bytes()).is_err(), "{proposal} is on");
        }
    }

    #[test]
    fn what_the_three_languages_need_is_accepted() {
        let engine = engine(&Limits::default(), Allocation::None).unwrap();
        let cases = [
            (
                "simd",
                "(module (func (param v128 v128) (result v128) (i32x4.add (local.get 0) (local.get 1))))",
            ),
            (
                "bulk-memory",
                "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
            ),
            ("reference-types", "(module (table 1 funcref) (func (drop (table.size 0))))"),
            ("multi-value", "(module (func (result i32 i32) (i32.const 1) (i32.const 2)))"),
            ("sign-extension", "(module (func (param i32) (result i32) (i32.extend8_s (local.get 0))))"),
            ("saturating", "(module (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0))))"),
            ("extended-const", "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))"),
        ];
        for (proposal, module) in cases {
            engine.precompile_module(module.as_bytes()).unwrap_or_else(|e| panic!("{proposal}: {e}"));
        }
    }
}
