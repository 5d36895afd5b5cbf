//! Rust types of `wit/0.1`, generated: one set for each hook's world, with the types shared. Nothing
//! here is written by hand.

/// World `share-plugin`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
pub(super) mod share {
    wasmtime::component::bindgen!({
        world: "share-plugin",
        path: "../wit/0.1",
        exports: { default: async },
    });
}

/// World `decide-plugin`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
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

/// World `receive-plugin`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
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

pub(super) use decide::DecidePluginPre;
pub(super) use receive::ReceivePluginPre;
pub(super) use receive::exports::integration::plugin::receive::Message;
pub(super) use share::SharePluginPre;
pub(super) use share::integration::plugin::log::Level;
pub(super) use share::integration::plugin::types::{Event, Failure, Outcome, Part, Request, Response};
