//! The files as they are written: names not yet resolved. What they do not know is refused.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::policy::{Effect, Exception, Flow, Reading, Recipient, Scope};
use crate::{Aggregation, Category, Clause, Declassification, Fact, Purpose, Transform};

/// Names written `@name`, for several keys each.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) categories: &'a BTreeMap<String, Vec<String>>,
    pub(crate) purposes: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) effective: String,
    #[serde(default)]
    pub(crate) readings: BTreeMap<String, Reading>,
    #[serde(default)]
    pub(crate) categories: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) purposes: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) aggregate: Aggregation,
    #[serde(default)]
    pub(crate) rule: Vec<Rule>,
    #[serde(default)]
    pub(crate) declassify: Vec<Declassify>,
}

/// A rule of declassification. What it lifts is part of what it says, so even nothing is written out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declassify {
    pub(crate) name: String,
    form: Transform,
    from: String,
    to: String,
    clause: Clause,
    lifts: Vec<Clause>,
}

impl Declassify {
    /// Resolves its names; the error says which is unknown and what would be right.
    pub(crate) fn resolve(&self) -> Result<Declassification, String> {
        let Self { name, form, from, to, clause, lifts } = self;
        if name.trim().is_empty() {
            return Err("it needs a name, which rows of the ledger give".into());
        }
        if *form == Transform::Region {
            return Err(
                "in the form `region` another part of the event goes, which has a label of its own; leave \
                        the rule out"
                    .into(),
            );
        }
        let category = |key: &str| Category::parse(key).map_err(|error| error.to_string());
        Ok(Declassification {
            name: name.as_str().into(),
            form: *form,
            from: category(from)?,
            to: category(to)?,
            clause: *clause,
            lifts: lifts.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Properties {
    #[serde(default)]
    pub(crate) categories: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) purposes: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) property: Vec<Property>,
    #[serde(default)]
    pub(crate) form: Vec<Form>,
}

/// What must hold of labels where values go in a form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) clause: Clause,
    pub(crate) says: String,
    #[serde(default)]
    pub(crate) form: Vec<Transform>,
    #[serde(default)]
    category: Vec<String>,
    becomes: Option<String>,
}

impl Form {
    /// Its categories, and what they become.
    pub(crate) fn resolve(&self, groups: &Groups<'_>) -> Result<(Vec<Category>, Option<Category>), String> {
        let becomes = self.becomes.as_deref().map(Category::parse).transpose();
        let becomes = becomes.map_err(|error| error.to_string())?;
        if becomes.is_some() && (self.category.is_empty() || self.form.is_empty()) {
            return Err("`becomes` needs `form` and `category`, to say of what".into());
        }
        Ok((expand(&self.category, groups.categories, Category::parse)?, becomes))
    }
}

/// A table of the file that has a scope beside its own keys. (serde cannot both flatten a scope and
/// refuse unknown keys.)
macro_rules! scoped {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)+ }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$attribute])* pub(crate) $field: $type,)+
            flow: Vec<Flow>,
            recipient: Vec<Recipient>,
            #[serde(default)]
            category: Vec<String>,
            #[serde(default)]
            with: Vec<String>,
            #[serde(default)]
            purpose: Vec<String>,
            #[serde(default)]
            when: Vec<String>,
            #[serde(default)]
            unless: Vec<String>,
            #[serde(default)]
            except: Vec<Left>,
        }

        impl $name {
            pub(crate) fn scope(&self) -> Written<'_> {
                let Self { flow, recipient, category, with, purpose, when, unless, except, .. } = self;
                Written { flow, recipient, category, with, purpose, when, unless, except }
            }
        }
    };
}

scoped! { Rule {
    effect: Effect,
    clause: Clause,
    reading: Option<String>,
} }

scoped! { Property {
    name: String,
    clause: Clause,
    says: String,
    never: Option<Never>,
    always: Option<Always>,
    reading: Option<String>,
} }

/// What may be nowhere in a property's scope.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Never {
    Allow,
    Permit,
    Lift,
}

/// What must be everywhere in a property's scope.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Always {
    Allow,
    Forbid,
}

/// What a scope leaves out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Left {
    #[serde(default)]
    category: Vec<String>,
    #[serde(default)]
    purpose: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
}

/// A scope as it is written.
pub(crate) struct Written<'a> {
    flow: &'a [Flow],
    recipient: &'a [Recipient],
    category: &'a [String],
    with: &'a [String],
    purpose: &'a [String],
    when: &'a [String],
    unless: &'a [String],
    except: &'a [Left],
}

impl Written<'_> {
    /// Resolves its names; the error says which is unknown and what would be right.
    pub(crate) fn resolve(&self, groups: &Groups<'_>) -> Result<Scope, String> {
        if !self.with.is_empty() && self.flow != [Flow::Combine] {
            return Err(r#"`with` speaks of a pair, which only flow = ["combine"] has"#.into());
        }
        Ok(Scope {
            flow: self.flow.to_vec(),
            recipient: self.recipient.to_vec(),
            category: expand(self.category, groups.categories, Category::parse)?,
            with: expand(self.with, groups.categories, Category::parse)?,
            purpose: expand(self.purpose, groups.purposes, Purpose::parse)?,
            when: facts(self.when)?,
            unless: facts(self.unless)?,
            except: self.except.iter().map(|left| left.resolve(groups)).collect::<Result<_, _>>()?,
        })
    }
}

impl Left {
    fn resolve(&self, groups: &Groups<'_>) -> Result<Exception, String> {
        Ok(Exception {
            category: expand(&self.category, groups.categories, Category::parse)?,
            purpose: expand(&self.purpose, groups.purposes, Purpose::parse)?,
            when: facts(&self.when)?,
            unless: facts(&self.unless)?,
        })
    }
}

/// Keys, and groups written `@name`.
fn expand<T, E: std::fmt::Display>(
    names: &[String],
    groups: &BTreeMap<String, Vec<String>>,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    let mut keys = Vec::new();
    for name in names {
        match name.strip_prefix('@') {
            None => keys.push(parse(name).map_err(|error| error.to_string())?),
            Some(group) => {
                let members = groups.get(group).ok_or_else(|| format!("group @{group} is not defined"))?;
                // An empty list would mean any.
                if members.is_empty() {
                    return Err(format!("group @{group} is empty"));
                }
                for member in members {
                    keys.push(parse(member).map_err(|error| format!("group @{group}: {error}"))?);
                }
            }
        }
    }
    Ok(keys)
}

fn facts(keys: &[String]) -> Result<Vec<Fact>, String> {
    let known = || Fact::ALL.iter().map(|fact| fact.as_str()).collect::<Vec<_>>().join(", ");
    keys.iter()
        .map(|key| Fact::parse(key).ok_or_else(|| format!("unknown fact {key:?}; known: {}", known())))
        .collect()
}
