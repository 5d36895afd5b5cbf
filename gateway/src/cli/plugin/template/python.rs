//! The event types as Python's dataclasses, for the end of `gateway_plugin.py`.

use super::shape::{self, Shape, type_name};
use crate::catalogue::{Catalogue, FieldKind};

/// A class for each event type and for each object within one, and the table that finds them by type.
pub(super) fn types(catalogue: &Catalogue) -> String {
    let mut out = String::new();
    let mut table = String::new();
    for event_type in catalogue.event_types() {
        let name = type_name(&event_type.name);
        class(&mut out, &name, &format!("`{}`", event_type.name), &shape::of(event_type));
        table.push_str(&format!("    \"{}\": {name},\n", event_type.name));
    }
    out.push_str(&format!("\n\nEVENTS: dict[str, type[Record]] = {{\n{table}}}\n"));
    out
}

/// Classes of what is nested come first: a class names them when it is made.
fn class(out: &mut String, name: &str, about: &str, properties: &[(String, Shape)]) {
    let mut fields = String::new();
    let mut nested = String::new();
    for (property, shape) in properties {
        let inner = format!("{name}{}", type_name(property));
        let (text, of) = written(shape, &inner);
        if let Shape::Leaf { category, .. } = shape {
            fields.push_str(&format!("    #: {category}\n"));
        }
        fields.push_str(&format!("    {property}: {text} | None = None\n"));
        if let Some(properties) = of {
            class(out, &inner, &format!("`{property}` of `{name}`"), properties);
            nested.push_str(&format!("\"{property}\": {inner}, "));
        }
    }
    let nested = nested.trim_end_matches(", ");
    out.push_str(&format!(
        "\n\n@dataclass(frozen=True)\nclass {name}(Record):\n    \"\"\"{about}\"\"\"\n\n{fields}"
    ));
    if !nested.is_empty() {
        out.push_str(&format!("    _nested: ClassVar[dict[str, type[Record]]] = {{{nested}}}\n"));
    }
}

/// The type of a property, and what is in it where that needs a class.
fn written<'s>(shape: &'s Shape, inner: &str) -> (String, Option<&'s [(String, Shape)]>) {
    match shape {
        Shape::Leaf { kind: FieldKind::Text | FieldKind::Time, .. } => ("str".to_owned(), None),
        Shape::Leaf { kind: FieldKind::Number, .. } => ("float".to_owned(), None),
        Shape::Leaf { kind: FieldKind::Other, .. } => ("Any".to_owned(), None),
        Shape::Object(properties) => (inner.to_owned(), Some(properties)),
        Shape::Array(items) => {
            let (text, of) = written(items, inner);
            (format!("list[{text}]"), of)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_are_those_of_the_catalogue() {
        let types = types(&Catalogue::embedded().unwrap());
        for part in [
            "class ChatEndedContactName(Record):\n    \"\"\"`name` of `ChatEndedContact`\"\"\"\n\n    #: user.name.first\n    first: str | None = None\n",
            "    transcript: list[ChatEndedTranscript] | None = None\n",
            "    rating: float | None = None\n",
            "\"contact\": ChatEndedContact",
            "    \"chat.ended\": ChatEnded,\n",
        ] {
            assert!(types.contains(part), "{part}\nin\n{types}");
        }
        let at = |class: &str| types.find(&format!("\nclass {class}(Record)")).unwrap();
        assert!(
            at("ChatEndedContactName") < at("ChatEndedContact") && at("ChatEndedContact") < at("ChatEnded")
        );
    }
}
