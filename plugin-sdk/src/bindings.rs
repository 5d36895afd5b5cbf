//! What version 0.1 of the interface in `wit/` looks like to Rust: generated, and the only place with `unsafe`. No logic in here.

// The generated code lowers and lifts values through raw pointers, and its names are not ours.
#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]

/// The `share` hook, and the interfaces that all hooks use.
pub mod share {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "share-plugin",
        pub_export_macro: true,
        export_macro_name: "export_share",
        default_bindings_module: "plugin_sdk::bindings::share",
    });
}

/// The `decide` hook.
pub mod decide {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "decide-plugin",
        pub_export_macro: true,
        export_macro_name: "export_decide",
        default_bindings_module: "plugin_sdk::bindings::decide",
        with: {
            "integration:plugin/types@0.1.0": crate::bindings::share::integration::plugin::types,
            "integration:plugin/log@0.1.0": crate::bindings::share::integration::plugin::log,
        },
    });
}

/// The `receive` hook.
pub mod receive {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "receive-plugin",
        pub_export_macro: true,
        export_macro_name: "export_receive",
        default_bindings_module: "plugin_sdk::bindings::receive",
        with: {
            "integration:plugin/types@0.1.0": crate::bindings::share::integration::plugin::types,
            "integration:plugin/log@0.1.0": crate::bindings::share::integration::plugin::log,
        },
    });
}

/// The import `memory`.
pub mod remembering {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "imports-memory",
        with: {
            "integration:plugin/types@0.1.0": crate::bindings::share::integration::plugin::types,
        },
    });
}

/// The import `exchange`.
pub mod asking {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "imports-exchange",
        with: {
            "integration:plugin/types@0.1.0": crate::bindings::share::integration::plugin::types,
        },
    });
}

pub use asking::integration::plugin::exchange;
pub use remembering::integration::plugin::memory;
/// The interface `aggregates`; a plugin imports it by using it.
pub mod aggregates {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "imports-aggregates",
    });
}

pub use share::integration::plugin::{log, types};
