//! The plugin's log. It writes nowhere but to the gateway (to standard error in native tests).
//!
//! A line is kept under the consumer's key and carries the labels of everything readable in the
//! call: its partner sees it only while all of those may be seen.

#[cfg(target_arch = "wasm32")]
use crate::bindings::log::{Level, write};

#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// For the developer who looks for a fault.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// What happened, in the ordinary course.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// Something that a person should look at some day.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Something that a person should look at now.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

/// Makes a panic say where it happened: a trap alone says nothing.
#[cfg(target_arch = "wasm32")]
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| error(panic.to_string())));
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn report_panics() {}
