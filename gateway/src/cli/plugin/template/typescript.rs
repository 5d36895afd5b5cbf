//! `types/plugin.d.ts`: the event types and the interface for an editor that checks JavaScript.

use super::shape::{self, Shape, type_name};
use super::wit;
use crate::catalogue::{Catalogue, FieldKind};

const HEAD: &str = "\
// The event types of the gateway's catalogue and the gateway's interface, as types.
// It came with `gateway plugin new`; take it over whole from a newer one rather than edit it.

declare const sealed: unique symbol;

/** A field that can be placed in a request and not read: it has a path and no value. */
export interface Sealed {
  readonly [sealed]: true;
  /** As the manifest declares it. */
  readonly path: string;
  readonly toString: never;
  readonly toJSON: never;
}

/** An event as this plugin may see it. Withheld and never provided look the same: undefined. */
export interface EventOf<T extends keyof Events, S = Record<string, never>> {
  /** The same through retries. */
  readonly id: string;
  readonly type: T;
  /** RFC 3339; the only clock. */
  readonly time: string;
  /** The partner's pseudonym for the consumer, where granted. */
  readonly consumer?: string;
  /** The readable fields. */
  readonly data: Events[T];
  /** The connection's settings. */
  readonly settings: S;
  /** The sealed field at this path; undefined where there is none. */
  sealed(path: Paths[T]): Sealed | undefined;
}
";

/// The whole file.
pub(super) fn types(catalogue: &Catalogue) -> String {
    let mut out = HEAD.to_owned();
    let mut events = String::new();
    let mut paths = String::new();
    for event_type in catalogue.event_types() {
        let name = type_name(&event_type.name);
        out.push_str(&format!("\n/** `{}` */\nexport interface {name} ", event_type.name));
        object(&mut out, &shape::of(event_type), 0);
        out.push('\n');
        events.push_str(&format!("  '{}': {name};\n", event_type.name));
        paths.push_str(&format!("  '{}':\n", event_type.name));
        for field in &event_type.fields {
            paths.push_str(&format!("    | '{}'\n", field.path.as_str()));
        }
        paths.truncate(paths.trim_end().len());
        paths.push_str(";\n");
    }
    out.push_str(&format!("\n/** Event types by name. */\nexport interface Events {{\n{events}}}\n"));
    out.push_str(&format!(
        "\n/** The fields of each, for `sealed`. */\nexport interface Paths {{\n{paths}}}\n"
    ));
    out.push_str("\n/** What crosses the boundary, as `wit/` has it. */\nexport namespace wit {\n");
    out.push_str(&wit::typescript());
    out.push_str("}\n");
    out
}

fn object(out: &mut String, properties: &[(String, Shape)], depth: usize) {
    let indent = "  ".repeat(depth + 1);
    out.push_str("{\n");
    for (name, shape) in properties {
        if let Shape::Leaf { category, .. } = shape {
            out.push_str(&format!("{indent}/** {category} */\n"));
        }
        out.push_str(&format!("{indent}readonly {name}?: "));
        value(out, shape, depth + 1);
        out.push_str(";\n");
    }
    out.push_str(&"  ".repeat(depth));
    out.push('}');
}

fn value(out: &mut String, shape: &Shape, depth: usize) {
    match shape {
        Shape::Leaf { kind: FieldKind::Text | FieldKind::Time, .. } => out.push_str("string"),
        Shape::Leaf { kind: FieldKind::Number, .. } => out.push_str("number"),
        Shape::Leaf { kind: FieldKind::Other, .. } => out.push_str("unknown"),
        Shape::Object(properties) => object(out, properties, depth),
        Shape::Array(items) => {
            out.push_str("ReadonlyArray<");
            value(out, items, depth);
            out.push('>');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_are_those_of_the_catalogue_and_the_interface() {
        let types = types(&Catalogue::embedded().unwrap());
        for part in [
            "export interface ChatEnded {\n  /** user.unique_id.pseudonymous */\n  readonly conversation?: string;\n",
            "  readonly transcript?: ReadonlyArray<{\n    /** user.telemetry */\n    readonly speaker?: string;\n",
            "  'chat.ended': ChatEnded;\n",
            "    | '/contact/email'\n",
            "  readonly rating?: number;\n",
            "  type Part =\n    | { tag: 'text'; val: string }\n    | { tag: 'field'; val: string };\n",
            "  interface Outcome {\n",
            "    deliveries: Request[];\n",
            "    path: [string, Part[]][];\n",
            "    consumer?: string;\n",
        ] {
            assert!(types.contains(part), "{part}\nin\n{types}");
        }
        let open = types.matches('{').count();
        assert_eq!(open, types.matches('}').count());
    }
}
