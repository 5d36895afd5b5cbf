//! A release that is ready to be called: linked once, instantiated for each call. It may not hold
//! anything of a call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use wasmtime::Module;
use wasmtime::component::Linker;

use super::apart::import_name;
use super::cache::Code;
use super::error::{HostError, describe};
use super::hooks::{Decide, Receive, Share};
use super::instance::InstanceState;

const MEMORY: &str = "integration:plugin/memory@";
const EXCHANGE: &str = "integration:plugin/exchange@";

/// A release, compiled and linked. Cloning is cheap; its code is freed with the last clone.
#[derive(Clone)]
pub struct LoadedRelease {
    pub(super) inner: Arc<Release>,
}

pub(super) struct Release {
    digest: [u8; 32],
    /// Modules that were taken out of it; others may run the same.
    pub(super) modules: BTreeMap<[u8; 32], Module>,
    pub(super) share: Option<Share>,
    pub(super) decide: Option<Decide>,
    pub(super) receive: Option<Receive>,
    imports_memory: bool,
    imports_exchange: bool,
}

impl LoadedRelease {
    /// SHA-256 of the component's bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.inner.digest
    }

    /// Whether [`share`](super::PluginHost::share) can be called.
    pub fn exports_share(&self) -> bool {
        self.inner.share.is_some()
    }

    /// Whether [`decide`](super::PluginHost::decide) can be called.
    pub fn exports_decide(&self) -> bool {
        self.inner.decide.is_some()
    }

    /// Whether [`receive`](super::PluginHost::receive) can be called.
    pub fn exports_receive(&self) -> bool {
        self.inner.receive.is_some()
    }

    /// Whether it remembers: then a call needs the consumer's memory.
    pub fn imports_memory(&self) -> bool {
        self.inner.imports_memory
    }

    /// Whether it asks its partner: then a call needs an exchanger.
    pub fn imports_exchange(&self) -> bool {
        self.inner.imports_exchange
    }
}

impl Release {
    /// What its compiled code is kept under: its own digest, and those of the modules that were taken out of it.
    pub(super) fn digests(&self) -> impl Iterator<Item = [u8; 32]> {
        self.modules.keys().copied().chain([self.digest])
    }
}

impl fmt::Debug for LoadedRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedRelease")
            .field("share", &self.exports_share())
            .field("decide", &self.exports_decide())
            .field("receive", &self.exports_receive())
            .finish_non_exhaustive()
    }
}

/// Links a component: each import must be one that is served, and each hook that it exports must
/// have the interface's signature.
pub(super) fn link(
    linker: &Linker<InstanceState>,
    digest: [u8; 32],
    code: Code,
) -> Result<Release, HostError> {
    let misfit = |error: wasmtime::Error| HostError::Interface { reason: describe(&error) };

    let Code { component, modules } = code;
    let mut linker = linker.clone();
    for (digest, module) in &modules {
        linker.root().module(&import_name(digest), module).map_err(misfit)?;
    }
    // One import at fault is enough to be refused; it does not matter to which hook it belongs.
    let linked = linker.instantiate_pre(&component).map_err(misfit)?;
    let share = Share::of(&component, &linked).map_err(misfit)?;
    let decide = Decide::of(&component, &linked).map_err(misfit)?;
    let receive = Receive::of(&component, &linked).map_err(misfit)?;
    if share.is_none() && decide.is_none() && receive.is_none() {
        return Err(HostError::NoHook);
    }
    // The first call must not pay for laying out the memory image.
    let images = modules.values().map(Module::initialize_copy_on_write_image);
    images
        .chain([component.initialize_copy_on_write_image()])
        .collect::<Result<(), _>>()
        .map_err(|_| HostError::Internal { doing: "preparing a memory image" })?;
    let imports = |name: &str| {
        component.component_type().imports(linker.engine()).any(|(known, _)| known.starts_with(name))
    };
    Ok(Release {
        digest,
        modules,
        share,
        decide,
        receive,
        imports_memory: imports(MEMORY),
        imports_exchange: imports(EXCHANGE),
    })
}
