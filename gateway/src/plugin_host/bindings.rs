//! Rust types of `wit/`, generated: one set for each hook's world and version, with the types shared that are the same.

/// World `share-plugin` of 0.1.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub(super) mod share {
    wasmtime::component::bindgen!({
        world: "share-plugin",
        path: "../wit/0.1",
        exports: { default: async },
    });
}

/// World `decide-plugin` of 0.1.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub(super) mod decide {
    wasmtime::component::bindgen!({
        world: "decide-plugin",
        path: "../wit/0.1",
        exports: { default: async },
        with: {
            "integration:plugin/types@0.1.0": super::share::integration::plugin::types,
            "integration:plugin/log@0.1.0": super::share::integration::plugin::log,
        },
    });
}

/// World `receive-plugin` of 0.1.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub(super) mod receive {
    wasmtime::component::bindgen!({
        world: "receive-plugin",
        path: "../wit/0.1",
        exports: { default: async },
        with: {
            "integration:plugin/types@0.1.0": super::share::integration::plugin::types,
            "integration:plugin/log@0.1.0": super::share::integration::plugin::log,
        },
    });
}

/// Types of 0.2: those of 0.1, but for the failure. Types are compared by structure, so a change that is forgotten
/// here is refused when a component of that version is linked.
pub mod types_0_2 {
    use wasmtime::component::{ComponentType, Lift, Lower};

    pub use super::share::integration::plugin::types::{
        Event, Host, HostWithStore, Json, Outcome, add_to_linker,
    };

    /// `failure`.
    #[derive(Clone, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub enum Failure {
        /// Will never work.
        #[component(name = "rejected")]
        Rejected(String),
        /// May work later.
        #[component(name = "unavailable")]
        Unavailable(String),
        /// May work after so many seconds.
        #[component(name = "later")]
        Later((u32, String)),
    }
}

/// World `share-plugin` of 0.2.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub(super) mod share_0_2 {
    wasmtime::component::bindgen!({
        world: "share-plugin",
        path: "../wit/0.2",
        exports: { default: async },
        with: {
            "integration:plugin/types@0.2.0": super::types_0_2,
            "integration:plugin/log@0.2.0": super::share::integration::plugin::log,
        },
    });
}

/// World `decide-plugin` of 0.2.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub(super) mod decide_0_2 {
    wasmtime::component::bindgen!({
        world: "decide-plugin",
        path: "../wit/0.2",
        exports: { default: async },
        with: {
            "integration:plugin/types@0.2.0": super::types_0_2,
            "integration:plugin/log@0.2.0": super::share::integration::plugin::log,
        },
    });
}

/// World `receive-plugin` of 0.2.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated code")]
pub(super) mod receive_0_2 {
    wasmtime::component::bindgen!({
        world: "receive-plugin",
        path: "../wit/0.2",
        exports: { default: async },
        with: {
            "integration:plugin/types@0.2.0": super::types_0_2,
            "integration:plugin/log@0.2.0": super::share::integration::plugin::log,
        },
    });
}

pub(super) use receive::exports::integration::plugin::receive::Message;
pub(super) use share::integration::plugin::log::Level;
pub(super) use share::integration::plugin::types::{
    Event, Failure as Failure01, Outcome, Part, Request, Response,
};
pub(super) use types_0_2::Failure;

/// The newest version says all that an older one can.
impl From<Failure01> for Failure {
    fn from(failure: Failure01) -> Self {
        match failure {
            Failure01::Rejected(text) => Self::Rejected(text),
            Failure01::Unavailable(text) => Self::Unavailable(text),
        }
    }
}
