//! An event type's fields as the tree that they make, for the types of other languages.

use crate::catalogue::{EventType, FieldKind, Segment};

/// What stands at a place of an event's data.
#[derive(Debug)]
pub(super) enum Shape {
    /// A plain value, with its category.
    Leaf { kind: FieldKind, category: String },
    /// Properties in the order of the schema.
    Object(Vec<(String, Shape)>),
    /// Elements of one shape.
    Array(Box<Shape>),
}

/// The properties of an event type's data.
pub(super) fn of(event_type: &EventType) -> Vec<(String, Shape)> {
    let mut root = Vec::new();
    for field in &event_type.fields {
        let leaf = Shape::Leaf { kind: field.kind, category: field.category.clone() };
        put(&mut root, field.path.segments(), leaf);
    }
    root
}

fn put(properties: &mut Vec<(String, Shape)>, path: &[Segment], leaf: Shape) {
    let Some((Segment::Key(name), rest)) = path.split_first() else { return };
    let at = properties.iter().position(|(known, _)| **known == **name);
    let at = at.unwrap_or_else(|| {
        properties.push((name.to_string(), empty(rest)));
        properties.len() - 1
    });
    let Some((_, shape)) = properties.get_mut(at) else { return };
    fill(shape, rest, leaf);
}

/// What a path of these steps leads through, with nothing in it yet.
fn empty(rest: &[Segment]) -> Shape {
    match rest.first() {
        Some(Segment::Each) => Shape::Array(Box::new(empty(rest.get(1..).unwrap_or_default()))),
        Some(Segment::Key(_)) | None => Shape::Object(Vec::new()),
    }
}

fn fill(shape: &mut Shape, rest: &[Segment], leaf: Shape) {
    match (shape, rest.split_first()) {
        (shape, None) => *shape = leaf,
        (Shape::Object(properties), Some((Segment::Key(_), _))) => put(properties, rest, leaf),
        (Shape::Array(items), Some((Segment::Each, rest))) => fill(items, rest, leaf),
        // A schema has one kind of value at one place.
        _ => {}
    }
}

/// `chat.ended` as `ChatEnded`.
pub(super) fn type_name(words: &str) -> String {
    words
        .split(['.', '_', '-'])
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}
