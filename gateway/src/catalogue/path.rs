//! Paths of fields and what they select from an event's `data`. It decides nothing about a field.
//!
//! A path is a JSON Pointer (RFC 6901) in which the segment `*` stands for any index of an array.
//! It names leaves only: a path that meets an object or an array where a leaf should be selects
//! nothing, so a path can never carry more along than it names.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Characters of a path; a catalogue's paths are far shorter.
const MAX_PATH_CHARS: usize = 512;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A property of an object, unescaped.
    Key(Box<str>),
    /// `*`: every element of an array.
    Each,
}

/// The path of a field, such as `/transcript/*/text`. Cheap to clone; compared by its text, which
/// is unambiguous because RFC 6901 has one way to escape a key.
#[derive(Clone)]
pub struct FieldPath {
    text: Arc<str>,
    segments: Arc<[Segment]>,
}

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    #[error("a path begins with `/`; write it as a JSON Pointer such as `/contact/email`")]
    NoSlash,
    #[error("a path has no empty segment; remove the doubled or trailing `/`")]
    EmptySegment,
    #[error("`~` in a path is followed by `0` or `1` (RFC 6901); write `~0` for `~` and `~1` for `/`")]
    Escape,
    #[error("a path is at most {MAX_PATH_CHARS} characters long; shorten it")]
    TooLong,
}

impl FieldPath {
    /// Reads a JSON Pointer with `*`. The pointer of the whole document names no field.
    pub fn parse(text: &str) -> Result<Self, FieldPathError> {
        if text.len() > MAX_PATH_CHARS {
            return Err(FieldPathError::TooLong);
        }
        let rest = text.strip_prefix('/').ok_or(FieldPathError::NoSlash)?;
        let segments = rest.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { text: text.into(), segments: segments.into() })
    }

    /// The path of `segments`, escaped.
    pub(crate) fn from_segments(segments: &[Segment]) -> Self {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            match segment {
                Segment::Key(key) => text.push_str(&escape(key)),
                Segment::Each => text.push('*'),
            }
        }
        Self { text: text.into(), segments: segments.into() }
    }

    /// The path as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its steps, from the root of `data`.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether the path goes through an array.
    pub fn is_pattern(&self) -> bool {
        self.segments.contains(&Segment::Each)
    }

    /// The leaves that are present in `data`, in document order.
    pub fn select<'v>(&self, data: &'v Value) -> Vec<&'v Value> {
        let mut found = Vec::new();
        collect(&self.segments, data, &mut found);
        found
    }

    /// Whether at least one leaf is there. `null` counts as absent.
    pub fn is_present(&self, data: &Value) -> bool {
        any(&self.segments, data)
    }
}

/// Escapes one key for a JSON Pointer (RFC 6901 §3).
pub(crate) fn escape(key: &str) -> std::borrow::Cow<'_, str> {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1").into() } else { key.into() }
}

fn parse_segment(text: &str) -> Result<Segment, FieldPathError> {
    match text {
        "" => Err(FieldPathError::EmptySegment),
        "*" => Ok(Segment::Each),
        plain if !plain.contains('~') => Ok(Segment::Key(plain.into())),
        escaped => {
            let mut key = String::with_capacity(escaped.len());
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                match (c, c == '~') {
                    (_, true) => match chars.next() {
                        Some('0') => key.push('~'),
                        Some('1') => key.push('/'),
                        _ => return Err(FieldPathError::Escape),
                    },
                    (c, false) => key.push(c),
                }
            }
            Ok(Segment::Key(key.into()))
        }
    }
}

/// A value that a field can have. `null` means that the consumer provided none.
fn is_leaf(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}

fn collect<'v>(segments: &[Segment], value: &'v Value, found: &mut Vec<&'v Value>) {
    match (segments.split_first(), value) {
        (None, leaf) if is_leaf(leaf) => found.push(leaf),
        (Some((Segment::Key(key), rest)), Value::Object(map)) => {
            if let Some(inner) = map.get(&**key) {
                collect(rest, inner, found);
            }
        }
        (Some((Segment::Each, rest)), Value::Array(items)) => {
            for item in items {
                collect(rest, item, found);
            }
        }
        _ => {}
    }
}

fn any(segments: &[Segment], value: &Value) -> bool {
    match (segments.split_first(), value) {
        (None, leaf) => is_leaf(leaf),
        (Some((Segment::Key(key), rest)), Value::Object(map)) => {
            map.get(&**key).is_some_and(|inner| any(rest, inner))
        }
        (Some((Segment::Each, rest)), Value::Array(items)) => items.iter().any(|item| any(rest, item)),
        _ => false,
    }
}

impl PartialEq for FieldPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for FieldPath {}

impl std::hash::Hash for FieldPath {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for FieldPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FieldPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldPath({})", self.text)
    }
}

impl std::str::FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A set of paths, ready to cut one document after another down to them.
///
/// The result has the event's shape. An object appears where a leaf below it does. An array appears,
/// in its full length, where at least one granted leaf inside it is present; its elements with
/// nothing granted are `{}` (or `null` in an array of plain values). Withheld and never provided look
/// the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    root: Node,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    leaf: bool,
    each: Option<Box<Node>>,
    keys: Vec<(Box<str>, Node)>,
}

impl Projection {
    /// Joins `paths`; one that names a leaf and one that goes on below it keep both readings, of
    /// which a document can hold only one.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p FieldPath>) -> Self {
        let mut root = Node::default();
        for path in paths {
            let mut node = &mut root;
            for segment in path.segments() {
                node = node.child(segment);
            }
            node.leaf = true;
        }
        Self { root }
    }

    /// A copy of `data` with only the leaves of this set; `{}` where none is present.
    pub fn apply(&self, data: &Value) -> Value {
        self.root.cut(data).unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// The same as [`Projection::apply`], written out as it is read: nothing is copied.
    pub fn view<'a>(&'a self, data: &'a Value) -> impl Serialize + 'a {
        View { node: &self.root, value: data }
    }
}

/// A copy of `data` with only the leaves of `paths`, see [`Projection`].
pub fn project(paths: &[&FieldPath], data: &Value) -> Value {
    Projection::new(paths.iter().copied()).apply(data)
}

impl Node {
    fn child(&mut self, segment: &Segment) -> &mut Node {
        match segment {
            Segment::Each => self.each.get_or_insert_with(Box::default),
            Segment::Key(key) => {
                let at = self.keys.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
                    self.keys.push((key.clone(), Node::default()));
                    self.keys.len().saturating_sub(1)
                });
                // Invariant: `at` was found or pushed on the line above.
                #[expect(clippy::indexing_slicing)]
                &mut self.keys[at].1
            }
        }
    }

    /// Linear: an object of the catalogue has a handful of keys.
    fn key(&self, name: &str) -> Option<&Node> {
        self.keys.iter().find(|(key, _)| &**key == name).map(|(_, node)| node)
    }

    fn present(&self, value: &Value) -> bool {
        match value {
            Value::Object(map) => {
                map.iter().any(|(name, inner)| self.key(name).is_some_and(|node| node.present(inner)))
            }
            Value::Array(items) => {
                self.each.as_ref().is_some_and(|node| items.iter().any(|item| node.present(item)))
            }
            leaf => self.leaf && is_leaf(leaf),
        }
    }

    /// What stands in an array for an element of which nothing is present.
    fn empty(value: &Value) -> Value {
        match value {
            Value::Object(_) => Value::Object(Map::new()),
            Value::Array(_) => Value::Array(Vec::new()),
            _ => Value::Null,
        }
    }

    fn cut(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(map) => {
                let cut: Map<String, Value> = map
                    .iter()
                    .filter_map(|(name, inner)| Some((name.clone(), self.key(name)?.cut(inner)?)))
                    .collect();
                (!cut.is_empty()).then_some(Value::Object(cut))
            }
            Value::Array(items) if self.present(value) => {
                let node = self.each.as_ref()?;
                let cut = items.iter().map(|item| node.cut(item).unwrap_or_else(|| Self::empty(item)));
                Some(Value::Array(cut.collect()))
            }
            Value::Array(_) => None,
            leaf => (self.leaf && is_leaf(leaf)).then(|| leaf.clone()),
        }
    }
}

/// A value under a node that is present, or an element of an array.
struct View<'a> {
    node: &'a Node,
    value: &'a Value,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(map) => {
                let mut out = serializer.serialize_map(None)?;
                for (name, value) in map {
                    if let Some(node) = self.node.key(name)
                        && node.present(value)
                    {
                        out.serialize_entry(name, &View { node, value })?;
                    }
                }
                out.end()
            }
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(None)?;
                if self.node.present(self.value)
                    && let Some(node) = &self.node.each
                {
                    for value in items {
                        out.serialize_element(&View { node, value })?;
                    }
                }
                out.end()
            }
            leaf if self.node.leaf && is_leaf(leaf) => leaf.serialize(serializer),
            _ => serializer.serialize_unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{FieldPath, FieldPathError, Projection, Segment, project};

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).expect(text)
    }

    #[test]
    fn escapes_are_those_of_rfc_6901() {
        assert_eq!(path("/a~1b/m~0n").segments(), [Segment::Key("a/b".into()), Segment::Key("m~n".into())]);
        assert_eq!(path("/~01").segments(), [Segment::Key("~1".into())]);
        for text in ["/a~1b/m~0n", "/~01", "/transcript/*/text"] {
            assert_eq!(FieldPath::from_segments(path(text).segments()), path(text));
        }
    }

    #[test]
    fn each_rule_refuses_its_text() {
        let long = format!("/{}", "x".repeat(600));
        for (text, error) in [
            ("", FieldPathError::NoSlash),
            ("contact", FieldPathError::NoSlash),
            ("/", FieldPathError::EmptySegment),
            ("/a//b", FieldPathError::EmptySegment),
            ("/a/", FieldPathError::EmptySegment),
            ("/a~", FieldPathError::Escape),
            ("/a~2", FieldPathError::Escape),
            (long.as_str(), FieldPathError::TooLong),
        ] {
            assert_eq!(FieldPath::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn presence_and_selection_agree() {
        let data = json!({
            "url": "u", "gone": null, "contact": {"name": {"first": "Ada"}},
            "transcript": [{"text": "a"}, {"speaker": "agent"}, {"text": "b"}], "none": [],
            "tags": ["x", null, 3]
        });
        for (text, count) in [
            ("/url", 1),
            ("/gone", 0),
            ("/contact/name/first", 1),
            ("/contact/name", 0),
            ("/contact", 0),
            ("/transcript/*/text", 2),
            ("/transcript/*", 0),
            ("/transcript/0/text", 0),
            ("/transcript", 0),
            ("/none/*/x", 0),
            ("/tags/*", 2),
            ("/url/x", 0),
            ("/missing", 0),
        ] {
            let path = path(text);
            assert_eq!(path.select(&data).len(), count, "{text}");
            assert_eq!(path.is_present(&data), count > 0, "{text}");
        }
    }

    #[test]
    fn a_projection_keeps_the_shape_and_nothing_else() {
        let data = json!({
            "contact": {"name": {"first": "Ada", "last": "L"}, "email": "e"},
            "transcript": [{"text": "a", "speaker": "s"}, {"text": "b"}, {"at": "t"}],
            "tags": ["x", null], "visit": {"ip": "1"}, "none": null
        });
        let cases = [
            (vec![], json!({})),
            (vec!["/contact/email"], json!({"contact": {"email": "e"}})),
            (
                vec!["/contact/name/first", "/visit/ip"],
                json!({"contact": {"name": {"first": "Ada"}}, "visit": {"ip": "1"}}),
            ),
            (vec!["/contact"], json!({})),
            (vec!["/contact/phone"], json!({})),
            (vec!["/none"], json!({})),
            (vec!["/transcript/*/speaker"], json!({"transcript": [{"speaker": "s"}, {}, {}]})),
            (vec!["/transcript/*/other"], json!({})),
            (vec!["/transcript"], json!({})),
            (vec!["/tags/*"], json!({"tags": ["x", null]})),
        ];
        for (paths, expected) in cases {
            let owned: Vec<FieldPath> = paths.iter().map(|text| path(text)).collect();
            let cut = project(&owned.iter().collect::<Vec<_>>(), &data);
            assert_eq!(cut, expected, "{paths:?}");
            let projection = Projection::new(&owned);
            let written = serde_json::to_value(projection.view(&data)).expect("serializes");
            assert_eq!(written, expected, "view of {paths:?}");
        }
    }

    /// Documents over a few names, with gaps.
    fn documents() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..9).prop_map(Value::from)];
        let object = |inner: BoxedStrategy<Value>| {
            btree_map("[abc]", inner, 0..4).prop_map(|members| members.into_iter().collect::<Value>())
        };
        let any = leaf.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::Array), object(inner.boxed())]
        });
        object(any.boxed())
    }

    /// Every leaf with its JSON Pointer.
    fn leaves(at: &str, value: &Value) -> Vec<(String, Value)> {
        match value {
            Value::Object(map) => {
                map.iter().flat_map(|(name, inner)| leaves(&format!("{at}/{name}"), inner)).collect()
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .flat_map(|(index, inner)| leaves(&format!("{at}/{index}"), inner))
                .collect(),
            leaf => vec![(at.to_owned(), leaf.clone())],
        }
    }

    /// Whether every object, array and element is one of the document's, and no array has more or fewer unless it is
    /// empty.
    fn has_shape_of(cut: &Value, data: &Value) -> bool {
        match (cut, data) {
            (Value::Object(cut), Value::Object(data)) => {
                cut.iter().all(|(name, inner)| data.get(name).is_some_and(|data| has_shape_of(inner, data)))
            }
            (Value::Array(cut), Value::Array(data)) => {
                (cut.is_empty() || cut.len() == data.len())
                    && cut.iter().zip(data).all(|(inner, data)| has_shape_of(inner, data))
            }
            (cut, data) => !(cut.is_object() || cut.is_array() || data.is_object() || data.is_array()),
        }
    }

    proptest! {
        /// Clause collect.consumer-decides: for what a consumer did not provide, and what is withheld, nothing stands in.
        #[test]
        fn a_projection_invents_nothing(data in documents(), texts in vec("(/[abc*]){1,4}", 0..5)) {
            let paths: Vec<FieldPath> = texts.iter().map(|text| path(text)).collect();
            let projection = Projection::new(&paths);
            let cut = projection.apply(&data);
            prop_assert_eq!(&serde_json::to_value(projection.view(&data)).unwrap(), &cut);
            prop_assert!(has_shape_of(&cut, &data), "{}", cut);
            let is_granted = |pointer: &str| {
                let matches = |path: &FieldPath| {
                    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
                    path.segments().len() == steps.len()
                        && path.segments().iter().zip(steps).all(|(segment, step)| match segment {
                            Segment::Key(key) => **key == *step,
                            Segment::Each => step.parse::<usize>().is_ok(),
                        })
                };
                paths.iter().any(matches)
            };
            // `null` stands for an element of an array of which nothing goes, and for nothing else.
            let is_element = |pointer: &str| pointer.ends_with(|last: char| last.is_ascii_digit());
            let shown = leaves("", &cut).into_iter();
            for (pointer, leaf) in shown.filter(|(at, leaf)| !(leaf.is_null() && is_element(at))) {
                prop_assert_eq!(data.pointer(&pointer), Some(&leaf));
                prop_assert!(is_granted(&pointer), "{}", pointer);
            }
        }
    }
}
