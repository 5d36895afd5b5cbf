//! The closed subset of JSON Schema that the gateway accepts, from the catalogue and from plugins.
//! It reads one document and nothing else: no reference is resolved, no file or network is touched.
//!
//! Every schema describes a tree whose objects are closed and whose leaves are plain values, so that
//! "the fields of this document" has one answer that can be read off without running anything.

use gateway_policy::Category;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use super::path::{FieldPath, Segment, escape};

/// Octets of a schema, written without spaces.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Levels of nesting; the walkers in this room recurse no deeper.
pub const MAX_SCHEMA_DEPTH: usize = 16;
/// Leaves of a schema: a verdict is given to each of them.
pub const MAX_SCHEMA_LEAVES: usize = 256;
/// Characters of a property's name.
const MAX_PROPERTY_CHARS: usize = 64;
/// Characters of a `pattern`.
const MAX_PATTERN_CHARS: usize = 512;
/// Octets of a compiled `pattern`, and of the cache that its automaton may take.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const FORMATS: [&str; 9] = ["date-time", "date", "time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];
const SCALARS: [&str; 4] = ["string", "number", "integer", "boolean"];

const ANY: [&str; 4] = ["type", "title", "description", "$comment"];
const EVENT_ROOT: [&str; 5] = ["$schema", "x-engages", "x-conversation", "x-platform-only", "x-purpose"];
const OBJECT: [&str; 5] =
    ["properties", "required", "additionalProperties", "minProperties", "maxProperties"];
const ARRAY: [&str; 3] = ["items", "minItems", "maxItems"];
const LEAF: [&str; 13] = [
    "x-category",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "x-origin",
];

/// Whose schema it is: what its leaves must say about themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// `data` of an event type: a category on every leaf.
    Event,
    /// What a plugin returns: a category on every leaf.
    Returns,
    /// A connection's settings: the brand's words, not a consumer's; no category.
    Settings,
}

/// One rule broken by a schema. Schemas are published documents, so they may be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFault {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// JSON Pointer into the schema.
    pub pointer: String,
    /// The rule.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// A leaf of a schema.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Where it is in a document.
    pub path: FieldPath,
    /// Absent in settings only.
    pub category: Option<Category>,
    /// `"x-origin": "public"`.
    pub public: bool,
    /// What its values are.
    pub kind: FieldKind,
}

/// What the values of a leaf are, as far as its schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Strings.
    Text,
    /// Strings in the form of RFC 3339.
    Time,
    /// Numbers.
    Number,
    /// Anything else, or several kinds.
    Other,
}

impl FieldKind {
    /// Whether they are strings.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Time)
    }

    fn of(schema: &Map<String, Value>) -> Self {
        match schema.get("type").and_then(Value::as_str) {
            Some("string") if schema.get("format").is_some_and(|format| format == "date-time") => Self::Time,
            Some("string") => Self::Text,
            Some("number" | "integer") => Self::Number,
            _ => Self::Other,
        }
    }
}

/// A schema that keeps the rules, compiled once.
#[derive(Debug)]
pub struct Schema {
    leaves: Vec<Leaf>,
    shape: Shape,
    validator: Validator,
}

/// The declared tree, for naming the nearest declared path of a document that breaks the rules.
#[derive(Clone, Debug)]
enum Shape {
    Object(Vec<(Box<str>, Shape)>),
    Array(Box<Shape>),
    Leaf,
}

impl Schema {
    /// Checks every rule of the subset and compiles the validator.
    ///
    /// # Errors
    /// Every fault found, in document order.
    pub fn compile(document: &Map<String, Value>, kind: SchemaKind) -> Result<Self, Vec<SchemaFault>> {
        let mut reader = Reader { kind, leaves: Vec::new(), faults: Vec::new() };
        let size = serde_json::to_vec(document).map_or(usize::MAX, |text| text.len());
        if size > MAX_SCHEMA_BYTES {
            reader.fault(
                "schema-too-large",
                "",
                format!("the schema is larger than {MAX_SCHEMA_BYTES} bytes"),
                "describe fewer fields",
            );
            return Err(reader.faults);
        }
        if document.get("type").and_then(Value::as_str) != Some("object") {
            reader.fault(
                "schema-root",
                "/type",
                "the root of a schema is an object",
                "write `\"type\": \"object\"` at the root",
            );
            return Err(reader.faults);
        }
        let shape = reader.object(document, "", &mut Vec::new(), 1);
        if reader.leaves.is_empty() && kind != SchemaKind::Settings && reader.faults.is_empty() {
            reader.fault("schema-empty", "", "the schema declares no field", "declare at least one property");
        }
        if reader.leaves.len() > MAX_SCHEMA_LEAVES {
            reader.fault(
                "schema-too-large",
                "",
                format!("the schema declares more than {MAX_SCHEMA_LEAVES} fields"),
                "describe fewer fields",
            );
        }
        if !reader.faults.is_empty() {
            return Err(reader.faults);
        }
        match options().build(&Value::Object(document.clone())) {
            Ok(validator) => Ok(Self { leaves: reader.leaves, shape, validator }),
            Err(error) => {
                let pointer = error.instance_path().as_str().to_owned();
                reader.fault(
                    "schema-invalid",
                    &pointer,
                    format!("this is not JSON Schema 2020-12 (`{}`)", error.kind().keyword()),
                    "correct the keyword's value",
                );
                Err(reader.faults)
            }
        }
    }

    /// The leaves, in document order.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The compiled validator; fast for documents that are valid.
    pub fn validator(&self) -> &Validator {
        &self.validator
    }

    /// The deepest declared path at or above `pointer`, indices as `*`; empty for the root. It is
    /// made of names in the schema only, so it cannot carry anything of the document.
    pub fn nearest_declared<'s>(&self, pointer: impl Iterator<Item = Step<'s>>) -> String {
        let mut shape = &self.shape;
        let mut path = String::new();
        for step in pointer {
            match (shape, step) {
                (Shape::Object(properties), Step::Key(name)) => {
                    let Some((declared, inner)) = properties.iter().find(|(key, _)| **key == *name) else {
                        break;
                    };
                    path.push('/');
                    path.push_str(&escape(declared));
                    shape = inner;
                }
                (Shape::Array(items), Step::Index) => {
                    path.push_str("/*");
                    shape = items;
                }
                _ => break,
            }
        }
        path
    }

    /// The declared properties of the object at the declared path, for suggestions.
    pub fn properties_at(&self, declared: &str) -> Vec<&str> {
        let mut shape = &self.shape;
        if let Ok(path) = FieldPath::parse(declared) {
            for segment in path.segments() {
                shape = match (shape, segment) {
                    (Shape::Object(properties), Segment::Key(key)) => {
                        match properties.iter().find(|(name, _)| name == key) {
                            Some((_, inner)) => inner,
                            None => return Vec::new(),
                        }
                    }
                    (Shape::Array(items), Segment::Each) => items,
                    _ => return Vec::new(),
                };
            }
        }
        match shape {
            Shape::Object(properties) => properties.iter().map(|(name, _)| &**name).collect(),
            Shape::Array(_) | Shape::Leaf => Vec::new(),
        }
    }
}

/// One step into a document.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Into a property.
    Key(&'a str),
    /// Into an element, whichever.
    Index,
}

/// The one place where a validator's abilities are chosen: no retrieval of anything, patterns on the
/// engine that takes linear time, formats asserted.
fn options() -> jsonschema::ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(
            PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES),
        )
}

struct Reader {
    kind: SchemaKind,
    leaves: Vec<Leaf>,
    faults: Vec<SchemaFault>,
}

impl Reader {
    fn fault(
        &mut self,
        code: &'static str,
        pointer: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (message, remedy) = (message.into(), remedy.into());
        self.faults.push(SchemaFault { code, pointer: pointer.to_owned(), message, remedy });
    }

    fn node(&mut self, schema: &Value, at: &str, path: &mut Vec<Segment>, depth: usize) -> Shape {
        if depth > MAX_SCHEMA_DEPTH {
            self.fault(
                "schema-too-deep",
                at,
                format!("the schema nests deeper than {MAX_SCHEMA_DEPTH} levels"),
                "flatten it",
            );
            return Shape::Leaf;
        }
        let Value::Object(schema) = schema else {
            self.fault("schema-invalid", at, "a schema is an object here", "write an object with a `type`");
            return Shape::Leaf;
        };
        match schema.get("type") {
            Some(Value::String(name)) if name == "object" => self.object(schema, at, path, depth),
            Some(Value::String(name)) if name == "array" => self.array(schema, at, path, depth),
            Some(Value::String(name)) if SCALARS.contains(&name.as_str()) => self.leaf(schema, at, path),
            Some(Value::Array(names)) if is_scalar_union(names) => self.leaf(schema, at, path),
            Some(_) => {
                self.keywords(schema, at, &[&ANY, &OBJECT, &ARRAY, &LEAF]);
                self.fault(
                    "schema-type",
                    &format!("{at}/type"),
                    "a type is `object`, `array`, or one or more of the plain types, with or without `null`",
                    "name one of these types",
                );
                Shape::Leaf
            }
            None => {
                self.keywords(schema, at, &[&ANY, &OBJECT, &ARRAY, &LEAF]);
                self.fault("schema-type", at, "the schema has no `type`", "add `type`");
                Shape::Leaf
            }
        }
    }

    fn object(
        &mut self,
        schema: &Map<String, Value>,
        at: &str,
        path: &mut Vec<Segment>,
        depth: usize,
    ) -> Shape {
        let root: &[&str] = match (path.is_empty(), self.kind) {
            (false, _) => &[],
            (true, SchemaKind::Event) => &EVENT_ROOT,
            (true, _) => &["$schema"],
        };
        self.keywords(schema, at, &[&ANY, &OBJECT, root]);
        if path.is_empty() && schema.get("$schema").is_some_and(|dialect| dialect != DIALECT) {
            self.fault(
                "schema-dialect",
                &format!("{at}/$schema"),
                "the dialect is not JSON Schema 2020-12",
                format!("write `{DIALECT}` or leave it out"),
            );
        }
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            self.fault(
                "schema-open",
                at,
                "the object is not closed",
                "add `\"additionalProperties\": false`",
            );
        }
        let empty = Map::new();
        let properties = match schema.get("properties") {
            Some(Value::Object(properties)) => properties,
            None => &empty,
            Some(_) => {
                self.fault(
                    "schema-invalid",
                    &format!("{at}/properties"),
                    "`properties` is an object",
                    "write one schema for each property",
                );
                &empty
            }
        };
        for (index, name) in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            if !name.as_str().is_some_and(|name| properties.contains_key(name)) {
                self.fault(
                    "schema-required",
                    &format!("{at}/required/{index}"),
                    "a required property is not declared, so no document could be valid",
                    "declare it under `properties`, or do not require it",
                );
            }
        }
        let mut shapes = Vec::with_capacity(properties.len());
        for (name, inner) in properties {
            let here = format!("{at}/properties/{}", escape(name));
            if !is_property_name(name) {
                self.fault(
                    "schema-property-name",
                    &here,
                    format!("a property's name is 1 to {MAX_PROPERTY_CHARS} characters, none a control character, and not `*`"),
                    "rename it",
                );
                continue;
            }
            path.push(Segment::Key(name.as_str().into()));
            let shape = self.node(inner, &here, path, depth.saturating_add(1));
            path.pop();
            shapes.push((name.as_str().into(), shape));
        }
        Shape::Object(shapes)
    }

    fn array(
        &mut self,
        schema: &Map<String, Value>,
        at: &str,
        path: &mut Vec<Segment>,
        depth: usize,
    ) -> Shape {
        self.keywords(schema, at, &[&ANY, &ARRAY]);
        let Some(items) = schema.get("items") else {
            self.fault("schema-open", at, "the array does not say what it holds", "add `items`");
            return Shape::Array(Box::new(Shape::Leaf));
        };
        path.push(Segment::Each);
        let shape = self.node(items, &format!("{at}/items"), path, depth.saturating_add(1));
        path.pop();
        Shape::Array(Box::new(shape))
    }

    fn leaf(&mut self, schema: &Map<String, Value>, at: &str, path: &[Segment]) -> Shape {
        self.keywords(schema, at, &[&ANY, &LEAF]);
        let category = match (schema.get("x-category"), self.kind) {
            (None, SchemaKind::Settings) => None,
            (None, _) => {
                self.fault(
                    "schema-no-category",
                    at,
                    "the field has no category",
                    "add `\"x-category\"` with a fideslang key such as `user.contact.email`",
                );
                None
            }
            (Some(key), _) => self.category(key, at),
        };
        let public = match schema.get("x-origin") {
            None => false,
            Some(origin) if origin == "public" && self.kind == SchemaKind::Event => true,
            Some(_) => {
                self.fault(
                    "schema-origin",
                    &format!("{at}/x-origin"),
                    "only a field of an event may have an origin, and only `public`",
                    "remove it",
                );
                false
            }
        };
        if let Some(format) = schema.get("format")
            && !format.as_str().is_some_and(|format| FORMATS.contains(&format))
        {
            self.fault(
                "schema-format",
                &format!("{at}/format"),
                "the gateway does not check this format",
                format!("use one of {}", FORMATS.join(", ")),
            );
        }
        if let Some(pattern) = schema.get("pattern") {
            self.pattern(pattern, at);
        }
        let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        if listed.chain(schema.get("const")).any(|value| value.is_object() || value.is_array()) {
            self.fault(
                "schema-type",
                at,
                "`enum` and `const` of a field hold plain values",
                "list strings, numbers or booleans",
            );
        }
        self.leaves.push(Leaf {
            path: FieldPath::from_segments(path),
            category,
            public,
            kind: FieldKind::of(schema),
        });
        Shape::Leaf
    }

    fn category(&mut self, key: &Value, at: &str) -> Option<Category> {
        let found = key.as_str().map(Category::parse);
        if let Some(Ok(category)) = found {
            return Some(category);
        }
        let remedy = match found {
            Some(Err(unknown)) => format!("the nearest known key is `{}`", unknown.nearest),
            _ => "write a fideslang key such as `user.contact.email`".to_owned(),
        };
        self.fault(
            "schema-unknown-category",
            &format!("{at}/x-category"),
            "the category is not in the taxonomy",
            remedy,
        );
        None
    }

    /// A pattern is compiled here by itself, so that the fault has its own pointer.
    fn pattern(&mut self, pattern: &Value, at: &str) {
        let good = pattern.as_str().is_some_and(|text| {
            text.chars().count() <= MAX_PATTERN_CHARS
                && options().build(&serde_json::json!({ "pattern": text })).is_ok()
        });
        if !good {
            self.fault(
                "schema-pattern",
                &format!("{at}/pattern"),
                format!("the pattern is longer than {MAX_PATTERN_CHARS} characters, too large, or needs backtracking"),
                "write it without look-around and back-references, and with small repetitions",
            );
        }
    }

    fn keywords(&mut self, schema: &Map<String, Value>, at: &str, allowed: &[&[&str]]) {
        for keyword in schema.keys() {
            if allowed.iter().any(|group| group.contains(&keyword.as_str())) {
                continue;
            }
            let nearest = super::nearest(keyword, allowed.iter().flat_map(|group| group.iter().copied()));
            let remedy = nearest.map_or_else(
                || "remove it; schemas are closed trees of objects, arrays and plain values".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            self.fault(
                "schema-keyword",
                &format!("{at}/{}", escape(keyword)),
                "this keyword is outside the subset of JSON Schema at this place",
                remedy,
            );
        }
    }
}

fn is_scalar_union(names: &[Value]) -> bool {
    let scalar = |name: &Value| name.as_str().is_some_and(|name| SCALARS.contains(&name));
    names.iter().any(scalar) && names.iter().all(|name| scalar(name) || name == "null")
}

fn is_property_name(name: &str) -> bool {
    !name.is_empty()
        && name != "*"
        && name.chars().count() <= MAX_PROPERTY_CHARS
        && !name.chars().any(char::is_control)
}
