//! Where the fields are that a manifest declares: in the event's type, in what the partner sends, in what other
//! plugins return. It decides nothing.

use std::sync::Arc;

use gateway_policy::{Category, Label, Origin};

use super::connection::{HookField, Source};
use crate::catalogue::{Catalogue, EventType, Field, FieldPath};
use crate::manifest::{self, ReturnSchema};

/// Where declared fields are looked up.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) catalogue: &'a Catalogue,
    /// What messages may bring.
    pub(super) received: &'a [HookField],
}

/// A declared field, found.
pub(super) struct Declared<'a> {
    pub(super) source: Source,
    /// None: the pseudonym.
    pub(super) path: Option<FieldPath>,
    /// Those that it always has.
    pub(super) labels: Arc<[Label]>,
    /// The field of the event's type, where it is one.
    pub(super) of: Option<&'a Field>,
}

impl<'a> Sources<'a> {
    /// Finds a field that a hook about events of this type declares.
    pub(super) fn find(&self, declared: &str, kind: &'a EventType) -> Result<Declared<'a>, String> {
        let path = || FieldPath::parse(declared).map(Some).map_err(|error| error.to_string());
        if declared == manifest::CONSUMER_FIELD {
            let category =
                Category::parse("user.unique_id.pseudonymous").map_err(|error| error.to_string())?;
            let labels = [Label::first_party(category)].into();
            return Ok(Declared { source: Source::FirstParty, path: None, labels, of: None });
        }
        if let Some(label) = self.received(declared) {
            return Ok(Declared {
                source: Source::Received,
                path: path()?,
                labels: [label?].into(),
                of: None,
            });
        }
        if manifest::returned_by(declared).is_some() {
            // Which label it has, the plugin that returns it says; and which others, the call that made it.
            let labels = Arc::new([]);
            return Ok(Declared { source: Source::Returned, path: path()?, labels, of: None });
        }
        let field = kind
            .fields
            .iter()
            .find(|field| field.path.as_str() == declared)
            .ok_or_else(|| format!("field {declared} is not in event type {}", kind.name))?;
        let category = Category::parse(&field.category).map_err(|error| error.to_string())?;
        let origin = if field.public { Origin::Public } else { Origin::FirstParty };
        Ok(Declared {
            source: Source::FirstParty,
            path: Some(field.path.clone()),
            labels: [Label { category, origin }].into(),
            of: Some(field),
        })
    }

    /// The label of a field under `/partner`; none: it is not there.
    fn received(&self, declared: &str) -> Option<Result<Label, String>> {
        let path = declared.strip_prefix(manifest::RECEIVED).filter(|path| path.starts_with('/'))?;
        let field = self.received.iter().find(|field| *field.name == *path);
        let label = field.and_then(|field| field.labels.first()).cloned();
        Some(label.ok_or_else(|| format!("field {declared} is nothing that the `receive` hook returns")))
    }
}

/// What a hook may return, and the label of each leaf.
pub(super) fn return_schema(
    returns: Option<&manifest::SchemaSource>,
    partner: &Arc<str>,
) -> Result<(Option<ReturnSchema>, Vec<Label>), String> {
    let returns = match returns {
        None => None,
        Some(manifest::SchemaSource::Inline(schema)) => {
            Some(ReturnSchema::compile(schema).map_err(|problem| problem.message)?)
        }
        Some(manifest::SchemaSource::Path(_)) => return Err("its schemas are not inlined".into()),
    };
    let mut labels = Vec::new();
    for (_, category) in returns.iter().flat_map(|schema| schema.leaves()) {
        labels.push(Label {
            category: Category::parse(category).map_err(|error| error.to_string())?,
            origin: Origin::Partner(Arc::clone(partner)),
        });
    }
    Ok((returns, labels))
}
