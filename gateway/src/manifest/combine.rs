//! What may come from a partner, and what may meet: `[[receive]]` and `[[combine]]`. It decides nothing about a
//! brand or a consumer.

use std::collections::BTreeSet;

use gateway_policy::Category;

use super::Manifest;
use super::check::{check_schema, check_text, duplicate};
use super::problem::Problem;
use crate::catalogue::schema::{Schema, SchemaKind};
use crate::catalogue::{FieldPath, nearest};

/// One entry of a combination's `of`: `first-party:CATEGORY`, or `partner:CATEGORY` for what the plugin's own
/// partner sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingredient {
    /// As declared: what a grant names.
    pub text: String,
    /// Whether it is the partner's.
    pub own: bool,
    /// With all below it.
    pub category: Category,
}

impl Ingredient {
    /// Reads an entry.
    ///
    /// # Errors
    /// What would be right, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = || "write `first-party:CATEGORY` or `partner:CATEGORY`".to_owned();
        let (origin, category) = text.split_once(':').ok_or_else(shape)?;
        let own = match origin {
            "first-party" => false,
            "partner" => true,
            _ => return Err(shape()),
        };
        let category = Category::parse(category).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), own, category })
    }
}

/// Checks the `receive` hooks; the fields that a message may bring, none where a schema does not say.
pub(super) fn check_receive(manifest: &Manifest, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let mut fields = Some(Vec::new());
    for (index, hook) in manifest.receive.iter().enumerate() {
        let at = format!("receive[{index}]");
        if index > 0 {
            problems.push(duplicate("duplicate-hook", &at, "hook"));
        }
        let path = FieldPath::parse(&hook.consumer);
        if !path.is_ok_and(|path| !path.is_pattern()) {
            problems.push(Problem::new(
                "bad-path",
                format!("{at}.consumer"),
                "this is not one place in a message",
                "write a JSON Pointer without `*`, such as `/member/ref`, to the pseudonym that the plugin got as `consumer`",
            ));
        }
        let place = format!("{at}.returns");
        match check_schema(hook.returns.as_ref(), &place, SchemaKind::Returns, problems) {
            Some(schema) => {
                if let Some(fields) = &mut fields {
                    fields.extend(leaves(&schema));
                }
            }
            None => {
                fields = None;
                if hook.returns.is_none() {
                    problems.push(Problem::new(
                        "missing-key",
                        place,
                        "a message that may bring no field is of no use",
                        "declare in a schema what the plugin makes of a message",
                    ));
                }
            }
        }
    }
    fields
}

fn leaves(schema: &Schema) -> impl Iterator<Item = String> {
    schema.leaves().iter().map(|leaf| leaf.path.to_string())
}

/// Checks the combinations.
pub(super) fn check_combine(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let mut places = BTreeSet::new();
    let destinations = Destinations::of(manifest);
    for (index, combine) in manifest.combine.iter().enumerate() {
        let at = format!("combine[{index}]");
        let (mut own, mut first_party, mut unread) = (false, false, false);
        for (part, text) in combine.of.iter().enumerate() {
            match Ingredient::parse(text) {
                Ok(ingredient) => {
                    own |= ingredient.own;
                    first_party |= !ingredient.own;
                }
                Err(remedy) => {
                    unread = true;
                    problems.push(Problem::new(
                        "bad-label",
                        format!("{at}.of[{part}]"),
                        "this names nothing that can be combined",
                        remedy,
                    ));
                }
            }
        }
        // What does not read may be the one that is missing.
        if !(own && first_party || unread) {
            problems.push(Problem::new(
                "combines-nothing",
                format!("{at}.of"),
                "a combination is of first-party data and of the partner's",
                "name at least one `first-party:` and one `partner:` category",
            ));
        }
        if !places.insert(&combine.into) {
            problems.push(duplicate("duplicate-combination", &format!("{at}.into"), "combination"));
        }
        if let Err(remedy) = destinations.lead(&combine.into) {
            problems.push(Problem::new(
                "unknown-into",
                format!("{at}.into"),
                "this is neither a returned field of a hook nor an endpoint",
                remedy,
            ));
        }
        check_text(&combine.why, &format!("{at}.why"), problems);
    }
}

/// What a combination may lead into.
struct Destinations<'m> {
    endpoints: Vec<&'m str>,
    /// None where a schema does not say.
    fields: Option<Vec<String>>,
}

impl<'m> Destinations<'m> {
    fn of(manifest: &'m Manifest) -> Self {
        let endpoints = manifest.endpoint.iter().map(|endpoint| &*endpoint.name).collect();
        if manifest.combine.is_empty() {
            return Self { endpoints, fields: None };
        }
        let share = manifest.share.iter().filter_map(|hook| hook.returns.as_ref());
        let decide = manifest.decide.iter().map(|hook| &hook.returns);
        // Their faults are told where they are checked.
        let schemas: Option<Vec<Schema>> = share
            .chain(decide)
            .map(|source| check_schema(Some(source), "", SchemaKind::Returns, &mut Vec::new()))
            .collect();
        Self { endpoints, fields: schemas.map(|schemas| schemas.iter().flat_map(leaves).collect()) }
    }

    fn lead(&self, into: &str) -> Result<(), String> {
        let covers = |leaf: &String| {
            leaf.strip_prefix(into).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let field = into.starts_with('/');
        let known = match &self.fields {
            Some(fields) => fields.iter().any(covers),
            None => field,
        };
        if known || self.endpoints.contains(&into) {
            return Ok(());
        }
        let fields = self.fields.iter().flatten().map(String::as_str);
        Err(nearest(into, fields.chain(self.endpoints.iter().copied())).map_or_else(
            || "name a field such as `/offer`, which covers all below it, or an endpoint".to_owned(),
            |known| format!("did you mean `{known}`?"),
        ))
    }
}
