//! The catalogue: which event types there are and what their fields are. It decides no flow.
//!
//! Invariant: every leaf of every type has a category that the taxonomy knows, and every object is
//! closed. A schema that breaks this stops the start, because a field without a category could not
//! be judged.

mod embedded;
mod made_up;
pub mod path;
mod presence;
mod problem;
pub mod schema;
mod statistics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_policy::Purpose;
use serde_json::{Map, Value};

pub(crate) use path::escape;
pub use path::{FieldPath, FieldPathError, Projection, Segment, project};
pub use presence::Presence;
pub use problem::{Problem, ProblemKind};
pub(crate) use problem::{explain_invalid, nearest_and_count};
pub use schema::FieldKind;
use schema::{MAX_SCHEMA_BYTES, Schema, SchemaFault, SchemaKind};
pub use statistics::{OTHER, Statistic};

/// Characters of a type's name.
const MAX_TYPE_CHARS: usize = 128;

/// Every event type there is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogue {
    types: Arc<BTreeMap<String, EventType>>,
}

/// One event type.
#[derive(Debug)]
pub struct EventType {
    /// CloudEvents `type`.
    pub name: String,
    /// The leaves of `data`, in the order of the schema.
    pub fields: Vec<Field>,
    /// Whether a consumer who sends one is engaged with the brand (clause integrations.share).
    pub engages: bool,
    /// Whether its values are given in a conversation (clause share.no-sale).
    pub conversation: bool,
    /// Whether only the platform's own brand may send it (clause use.own-sites).
    pub platform_only: bool,
    /// The only purpose that its values are collected for; none: whatever the brand directs (clause
    /// principles.purpose).
    pub purpose: Option<Purpose>,
    schema: Schema,
    document: Map<String, Value>,
}

/// A leaf of an event's `data`.
#[derive(Clone, Debug)]
pub struct Field {
    /// Where it is.
    pub path: FieldPath,
    /// What it is: a key of `gateway_policy::Category`.
    pub category: String,
    /// Its origin is `public` (clause choice.public), not `first-party`.
    pub public: bool,
    /// What its values are.
    pub kind: FieldKind,
    /// What it may do in a statistic over consumers (clause share.aggregate).
    pub statistic: Option<Statistic>,
}

/// Where a plugin finds what its partner sent of the consumer; no event type has such a property.
pub const RECEIVED: &str = gateway_policy::RECEIVED;

/// Where a plugin finds what other plugins returned of the consumer, by plugin; no event type has such a property.
pub const RETURNED: &str = gateway_policy::RETURNED;

/// Why the catalogue cannot be used. Schemas are the operator's own documents, so they are quoted.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file or directory cannot be read.
    #[error("{file}: cannot be read ({source}); check that it is there and readable", file = file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than a schema may be.
    #[error("{file}: larger than {MAX_SCHEMA_BYTES} bytes; describe fewer fields", file = file.display())]
    TooLarge {
        /// Which.
        file: PathBuf,
    },
    /// A file is not a JSON object.
    #[error("{file}: not a JSON object ({reason}); correct it", file = file.display())]
    NotJson {
        /// Which.
        file: PathBuf,
        /// Line and column, and what is wrong there.
        reason: String,
    },
    /// The file's name is not a type's name.
    #[error(
        "{file}: not named after an event type; name it `noun.verb.json`, lower case with dots between the words",
        file = file.display()
    )]
    Name {
        /// Which.
        file: PathBuf,
    },
    /// Two files describe one type.
    #[error("{file}: this event type exists already; give the new one another name", file = file.display())]
    Duplicate {
        /// The later one.
        file: PathBuf,
    },
    /// It has a property that is not its own to have.
    #[error(
        "{file}: has the property `partner` or `returned`, under which plugins find what their partner sent and what other plugins returned; give it another name",
        file = file.display()
    )]
    Reserved {
        /// Which.
        file: PathBuf,
    },
    /// The schema breaks rules of the catalogue.
    #[error("{file}: {}", list(faults), file = file.display())]
    Schema {
        /// Which.
        file: PathBuf,
        /// All that is wrong with it.
        faults: Vec<SchemaFault>,
    },
}

fn list(faults: &[SchemaFault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("at `{}`: {}; {}", fault.pointer, fault.message, fault.remedy))
        .collect();
    lines.join("\n")
}

impl Catalogue {
    /// The types that this gateway is built with.
    ///
    /// # Errors
    /// Never in a released build; a test reads every one of them.
    pub fn embedded() -> Result<Self, CatalogueError> {
        let mut types = BTreeMap::new();
        for (name, text) in embedded::SCHEMAS {
            let file = PathBuf::from(format!("{name}.json"));
            insert(&mut types, name, &file, text)?;
        }
        Ok(Self { types: Arc::new(types) })
    }

    /// The embedded types and those of the operator: every `TYPE.json` in `dir`, other names refused.
    ///
    /// # Errors
    /// The first file that cannot be used, with everything that is wrong with it.
    pub fn load(dir: &Path) -> Result<Self, CatalogueError> {
        let embedded = Self::embedded()?;
        let mut types = Arc::try_unwrap(embedded.types).unwrap_or_default();
        let unreadable = |source| CatalogueError::Unreadable { file: dir.to_owned(), source };
        let mut files = std::fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
            .map_err(unreadable)?;
        files.sort();
        for file in files {
            let name =
                file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
            let Some(name) = name.filter(|name| is_type_name(name)) else {
                return Err(CatalogueError::Name { file });
            };
            let unreadable = |source| CatalogueError::Unreadable { file: file.clone(), source };
            if std::fs::metadata(&file).map_err(unreadable)?.len() > MAX_SCHEMA_BYTES as u64 {
                return Err(CatalogueError::TooLarge { file });
            }
            let text = std::fs::read_to_string(&file).map_err(unreadable)?;
            insert(&mut types, name, &file, &text)?;
        }
        Ok(Self { types: Arc::new(types) })
    }

    /// The type of this name.
    pub fn event_type(&self, name: &str) -> Option<&EventType> {
        self.types.get(name)
    }

    /// Every type, by name.
    pub fn event_types(&self) -> impl Iterator<Item = &EventType> {
        self.types.values()
    }

    /// The type whose name is closest to a mistyped one.
    pub fn nearest_type(&self, name: &str) -> Option<&str> {
        nearest(name, self.types.keys().map(String::as_str))
    }
}

impl EventType {
    /// Reads one schema.
    fn read(name: &str, document: &Map<String, Value>) -> Result<Self, Vec<SchemaFault>> {
        let mut faults = Vec::new();
        let schema = match Schema::compile(document, SchemaKind::Event) {
            Ok(schema) => Some(schema),
            Err(found) => {
                faults.extend(found);
                None
            }
        };
        let mut flag = |keyword: &'static str| {
            document.get(keyword).and_then(Value::as_bool).unwrap_or_else(|| {
                faults.push(SchemaFault {
                    code: "schema-flag",
                    pointer: format!("/{keyword}"),
                    message: "the type does not say this about itself, and there is no safe guess".to_owned(),
                    remedy: format!("add `\"{keyword}\"` with true or false at the root"),
                });
                false
            })
        };
        let (engages, conversation, platform_only) =
            (flag("x-engages"), flag("x-conversation"), flag("x-platform-only"));
        let purpose = match document.get("x-purpose") {
            None => None,
            Some(key) => match key.as_str().map(Purpose::parse) {
                Some(Ok(purpose)) => Some(purpose),
                _ => {
                    faults.push(SchemaFault {
                        code: "schema-purpose",
                        pointer: "/x-purpose".to_owned(),
                        message: "this is not a fideslang data use".to_owned(),
                        remedy: "write a known data use, or leave `x-purpose` out".to_owned(),
                    });
                    None
                }
            },
        };
        let Some(schema) = schema.filter(|_| faults.is_empty()) else {
            return Err(faults);
        };
        let fields: Vec<Field> = schema
            .leaves()
            .iter()
            .filter_map(|leaf| {
                // Invariant: `SchemaKind::Event` refuses a leaf without a category.
                Some(Field {
                    path: leaf.path.clone(),
                    category: leaf.category?.to_string(),
                    public: leaf.public,
                    kind: leaf.kind,
                    statistic: leaf.statistic.clone(),
                })
            })
            .collect();
        let is_dimension = |unit: &str| {
            let named = fields.iter().find(|field| field.path.as_str() == unit);
            named.is_some_and(|field| matches!(field.statistic, Some(Statistic::Dimension(_))))
        };
        for field in &fields {
            if let Some(Statistic::Measure { unit: Some(unit), .. }) = &field.statistic
                && !is_dimension(unit)
            {
                faults.push(SchemaFault {
                    code: "schema-statistic",
                    pointer: format!("/properties{}/x-measure/unit", field.path.as_str()),
                    message:
                        "the unit of a measure is a field with `x-dimension`, whose groups are the units"
                            .to_owned(),
                    remedy: "name such a field of this type, or remove `unit`".to_owned(),
                });
            }
        }
        // By two, groups of one could be told from groups of the other by a few consumers.
        let dimensions =
            fields.iter().filter(|field| matches!(field.statistic, Some(Statistic::Dimension(_))));
        faults.extend(dimensions.skip(1).map(|field| SchemaFault {
            code: "schema-statistic",
            pointer: format!("/properties{}/x-dimension", field.path.as_str()),
            message:
                "another field of the type has `x-dimension`; consumers are divided in one way".to_owned(),
            remedy: "keep one of them".to_owned(),
        }));
        if !faults.is_empty() {
            return Err(faults);
        }
        let (name, document) = (name.to_owned(), document.clone());
        Ok(Self { name, fields, engages, conversation, platform_only, purpose, schema, document })
    }

    /// Checks an event's `data`. A valid one costs a few microseconds and no allocation.
    ///
    /// # Errors
    /// What is wrong and where, without any value. Callers that may not name undeclared keys use
    /// [`Problem::declared_ancestor`].
    pub fn validate(&self, data: &Value) -> Result<(), Vec<Problem>> {
        problem::explain_invalid(&self.schema, data).map_or(Ok(()), Err)
    }

    /// Valid `data` with these fields, beside what the schema requires: of the schema's own making, so that nothing of
    /// any event is in it. None where the schema asks for more than can be made up, such as a pattern.
    pub fn made_up(&self, fields: &[&FieldPath]) -> Option<Value> {
        Some(made_up::made_up(&self.document, fields)).filter(|made| self.schema.validator().is_valid(made))
    }

    /// The field at this path, as written in a manifest or a grant.
    pub fn field(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path.as_str() == path)
    }

    /// The field whose path is closest to a mistyped one.
    pub fn nearest_field(&self, path: &str) -> Option<&str> {
        nearest(path, self.fields.iter().map(|field| field.path.as_str()))
    }

    /// The fields in an object or array of this path; none of a leaf, or of what is not there.
    pub fn fields_below(&self, path: &str) -> Vec<&str> {
        let is_below = |field: &&str| field.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.fields.iter().map(|field| field.path.as_str()).filter(is_below).collect()
    }
}

fn insert(
    types: &mut BTreeMap<String, EventType>,
    name: &str,
    file: &Path,
    text: &str,
) -> Result<(), CatalogueError> {
    let file = || file.to_owned();
    let document: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| CatalogueError::NotJson { file: file(), reason: error.to_string() })?;
    let event_type =
        EventType::read(name, &document).map_err(|faults| CatalogueError::Schema { file: file(), faults })?;
    let taken = event_type.fields.iter().any(|field| {
        [RECEIVED, RETURNED].iter().any(|reserved| {
            let path = field.path.as_str().strip_prefix(reserved);
            path.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    if taken {
        return Err(CatalogueError::Reserved { file: file() });
    }
    match types.insert(name.to_owned(), event_type) {
        None => Ok(()),
        Some(_) => Err(CatalogueError::Duplicate { file: file() }),
    }
}

/// At least two words, `[a-z][a-z0-9_-]*`, joined by dots.
fn is_type_name(name: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    };
    name.len() <= MAX_TYPE_CHARS && name.contains('.') && name.split('.').all(word)
}

/// The candidate closest to a mistyped word, where one is close enough to be meant: at most a third
/// of its characters would change (insertions, deletions, substitutions, transpositions).
pub(crate) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    /// A name that is cut off is recognised by that much of it.
    const SHORTEST_BEGINNING: usize = 4;
    /// The distance is quadratic in the lengths; no name of ours is longer.
    const LONGEST: usize = 128;
    if word.len() > LONGEST {
        return None;
    }
    let limit = (word.chars().count() / 3).max(1);
    let cut_off = |candidate: &str| word.len() >= SHORTEST_BEGINNING && candidate.starts_with(word);
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit || cut_off(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
