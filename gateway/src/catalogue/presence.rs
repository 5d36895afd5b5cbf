//! Which of several paths are present in a document, in one walk over it. It decides nothing.

use serde_json::Value;

use super::path::{FieldPath, Segment};

/// Up to 64 paths, made ready once.
#[derive(Clone, Debug, Default)]
pub struct Presence(Node);

#[derive(Clone, Debug, Default)]
struct Node {
    /// Paths that end here.
    ends: u64,
    /// All paths that end here or below.
    below: u64,
    each: Option<Box<Node>>,
    keys: Vec<(Box<str>, Node)>,
}

impl Presence {
    /// How many.
    pub const MAX: usize = u64::BITS as usize;

    /// Paths by their bit; one with a bit beyond 63 is never present.
    pub fn new<'p>(paths: impl IntoIterator<Item = (usize, &'p FieldPath)>) -> Self {
        let mut root = Node::default();
        for (index, path) in paths {
            root.add(path.segments(), 1_u64.checked_shl(index as u32).unwrap_or(0));
        }
        Self(root)
    }

    /// The bits of the paths that have at least one leaf in `data`; `null` counts as absent.
    pub fn of(&self, data: &Value) -> u64 {
        let mut found = 0;
        self.0.walk(data, &mut found);
        found
    }
}

impl Node {
    fn add(&mut self, segments: &[Segment], bit: u64) {
        self.below |= bit;
        let Some((first, rest)) = segments.split_first() else {
            self.ends |= bit;
            return;
        };
        match first {
            Segment::Each => self.each.get_or_insert_default().add(rest, bit),
            Segment::Key(key) => match self.keys.iter_mut().find(|(known, _)| known == key) {
                Some((_, node)) => node.add(rest, bit),
                None => {
                    let mut node = Self::default();
                    node.add(rest, bit);
                    self.keys.push((key.clone(), node));
                }
            },
        }
    }

    fn walk(&self, value: &Value, found: &mut u64) {
        match value {
            Value::Object(map) => {
                // Most often the names come in the order in which they are known.
                let mut next = 0;
                for (name, inner) in map {
                    let known = self.keys.iter().enumerate();
                    let mut known = known.clone().skip(next).chain(known.take(next));
                    if let Some((at, (_, node))) = known.find(|(_, (key, _))| **key == **name) {
                        next = at + 1;
                        node.walk(inner, found);
                    }
                }
            }
            Value::Array(items) => {
                let Some(node) = &self.each else { return };
                for item in items {
                    // Most often the first item has all there is to find.
                    if *found & node.below == node.below {
                        return;
                    }
                    node.walk(item, found);
                }
            }
            Value::Null => {}
            _ => *found |= self.ends,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn agrees_with_each_path_by_itself() {
        let paths: Vec<FieldPath> = ["/a", "/b/c", "/b/d", "/l/*/x", "/l/*/y", "/m/*", "/n"]
            .into_iter()
            .map(|text| FieldPath::parse(text).unwrap())
            .collect();
        let presence = Presence::new(paths.iter().enumerate());
        for data in [
            json!({}),
            json!({ "a": 1, "b": { "c": null, "d": "" } }),
            json!({ "a": { "x": 1 }, "b": 1, "l": [{}, { "y": 0 }], "m": [null] }),
            json!({ "l": [{ "x": 1 }, { "y": 1 }], "m": [1], "n": false }),
            json!({ "l": {}, "m": [{}], "n": [] }),
        ] {
            let expected = paths.iter().enumerate().filter(|(_, path)| path.is_present(&data));
            let expected = expected.fold(0_u64, |bits, (index, _)| bits | 1 << index);
            assert_eq!(presence.of(&data), expected, "{data}");
        }
    }
}
