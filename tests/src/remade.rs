//! A built component with another manifest inside: one plugin's code for many releases. It compiles nothing.

use gateway::manifest::{SECTION, embed, inspect};
use serde_json::Value;

/// The component with its manifest changed.
pub fn with_manifest(component: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let inspected = inspect(component).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut manifest = serde_json::to_value(inspected.manifest).expect("a manifest is JSON");
    change(&mut manifest);
    let manifest = serde_json::from_value(manifest).expect("it is still a manifest");
    embed(&without_manifest(component), &manifest).expect("it embeds")
}

/// The component as the encoder made it.
pub fn without_manifest(component: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8;
    let mut kept = component[..HEADER].to_vec();
    let mut at = HEADER;
    while at < component.len() {
        let (size, length) = leb128(&component[at + 1..]);
        let end = at + 1 + length + size;
        let content = &component[at + 1 + length..end];
        let (name, length) = leb128(content);
        let is_manifest =
            component[at] == 0 && content.get(length..length + name) == Some(SECTION.as_bytes());
        if !is_manifest {
            kept.extend_from_slice(&component[at..end]);
        }
        at = end;
    }
    kept
}

/// One custom section.
pub fn custom_section(name: &str, text: &[u8]) -> Vec<u8> {
    section(0, &[&encoded(name.len())[..], name.as_bytes(), text].concat())
}

/// One section of a component or a module.
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &encoded(content.len())[..], content].concat()
}

/// Unsigned LEB128: the number, and how many octets it takes.
fn leb128(bytes: &[u8]) -> (usize, usize) {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (number, index + 1);
        }
    }
    panic!("a number that does not end")
}

/// A number as unsigned LEB128.
pub fn encoded(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("seven bits"));
    bytes
}
