//! The interface `budget`: what is left of a call's limits. A function of the input and of what the guest did: no
//! clock, and nothing of how busy the machine is.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use super::instance::{InstanceState, charge};
use super::limits::HOST_CALL_FUEL;

/// `left`.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Left {
    fuel: u64,
    memory: u64,
    #[component(name = "log-bytes")]
    log_bytes: u32,
    #[component(name = "output-bytes")]
    output_bytes: u32,
    deliveries: u32,
}

/// What the answer of a hook may hold.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) returns_bytes: usize,
    pub(super) deliveries: usize,
}

/// Gives guests the interface, which came with 0.2.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance("integration:plugin/budget@0.2.0")?.func_wrap("left", left)
}

fn left(mut store: StoreContextMut<'_, InstanceState>, (): ()) -> wasmtime::Result<(Left,)> {
    charge(&mut store, HOST_CALL_FUEL)?;
    let fuel = store.get_fuel()?;
    let state = store.data();
    let narrow = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok((Left {
        fuel,
        memory: state.quota.left() as u64,
        log_bytes: narrow(state.log.left()),
        output_bytes: narrow(state.answer.returns_bytes),
        deliveries: narrow(state.answer.deliveries),
    },))
}
