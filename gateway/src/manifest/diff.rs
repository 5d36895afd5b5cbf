//! What a release changes, in plain words, and whether it gets more than the one before. It looks at what two releases
//! declare and decides nothing about anybody's data.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::Purpose;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Endpoint, Manifest, ReceivedField, ReturnSchema, SchemaSource, Settings};
use crate::catalogue::{FieldPath, Segment};

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;

/// What a release declares: its manifest, and the parts of the interface that its component imports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Declaration {
    pub manifest: Manifest,
    /// `log`, `memory`, `exchange`, `aggregates`, `types`.
    pub interfaces: BTreeSet<String>,
}

/// Which way a change goes, from the consumer's side.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It gets, keeps, sends or returns less.
    Narrower,
    /// Neither.
    Equal,
    /// More, or otherwise than the brand agreed to.
    Wider,
}

impl Reach {
    /// Its key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Narrower => "narrower",
            Self::Equal => "equal",
            Self::Wider => "wider",
        }
    }
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Change {
    /// Where: a hook (`share EVENT-TYPE`, `decide SLOT`, `receive`), `combine INTO`, `endpoint NAME`, `settings`,
    /// `interface` or `plugin`.
    pub at: String,
    pub reach: Reach,
    /// In plain words.
    pub what: String,
}

/// Everything that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Difference {
    /// Wider where any change is.
    pub reach: Reach,
    pub changes: Vec<Change>,
}

/// What changes from one release to another.
pub fn difference(old: &Declaration, new: &Declaration) -> Difference {
    let mut list = List::default();
    plugin(&old.manifest, &new.manifest, &mut list);
    imports(old, new, &mut list);
    hooks(&old.manifest, &new.manifest, &mut list);
    combinations(&old.manifest, &new.manifest, &mut list);
    endpoints(&old.manifest, &new.manifest, &mut list);
    settings(old.manifest.settings.as_ref(), new.manifest.settings.as_ref(), &mut list);
    let has = |reach| list.0.iter().any(|change| change.reach == reach);
    let reach = match (has(Reach::Wider), has(Reach::Narrower)) {
        (true, _) => Reach::Wider,
        (false, true) => Reach::Narrower,
        (false, false) => Reach::Equal,
    };
    Difference { reach, changes: list.0 }
}

#[derive(Default)]
struct List(Vec<Change>);

impl List {
    fn say(&mut self, at: &str, reach: Reach, what: impl Into<String>) {
        self.0.push(Change { at: at.to_owned(), reach, what: what.into() });
    }

    /// What is there once and not the other time.
    fn members(&mut self, at: &str, thing: &str, old: &BTreeSet<&str>, new: &BTreeSet<&str>) {
        for gained in new.difference(old) {
            self.say(at, Reach::Wider, format!("gains {thing} {gained}"));
        }
        for lost in old.difference(new) {
            self.say(at, Reach::Narrower, format!("loses {thing} {lost}"));
        }
    }
}

fn plugin(old: &Manifest, new: &Manifest, list: &mut List) {
    let (at, old, new) = ("plugin", &old.plugin, &new.plugin);
    if old.name != new.name {
        list.say(at, Reach::Wider, format!("is another plugin: {}, not {}", new.name, old.name));
    }
    if old.partner != new.partner {
        list.say(at, Reach::Wider, format!("is another partner's: {}, not {}", new.partner, old.partner));
    }
    if old.purpose != new.purpose {
        let below = |key: &str| {
            let (outer, inner) = (Purpose::parse(&old.purpose), Purpose::parse(key));
            matches!((outer, inner), (Ok(outer), Ok(inner)) if inner.is_under(outer))
        };
        let reach = if below(&new.purpose) { Reach::Narrower } else { Reach::Wider };
        list.say(at, reach, format!("its purpose is {}, not {}", new.purpose, old.purpose));
    }
    if old.privacy_policy != new.privacy_policy {
        list.say(at, Reach::Wider, "links another privacy policy than the one that was agreed to");
    }
    if old.api != new.api {
        list.say(at, Reach::Equal, format!("uses version {} of the interface, not {}", new.api, old.api));
    }
    if old.summary != new.summary {
        list.say(at, Reach::Equal, "describes itself in other words");
    }
}

fn imports(old: &Declaration, new: &Declaration, list: &mut List) {
    let kept = |of: &BTreeSet<String>, name: &str| of.contains(name);
    for (name, what) in [
        ("memory", "remembers consumers between its calls"),
        ("exchange", "asks its endpoints during a call"),
        ("aggregates", "asks for statistics over many consumers"),
    ] {
        match (kept(&old.interfaces, name), kept(&new.interfaces, name)) {
            (false, true) => list.say("interface", Reach::Wider, format!("now {what}")),
            (true, false) => list.say("interface", Reach::Narrower, format!("no longer {what}")),
            _ => {}
        }
    }
}

/// What of a hook can change.
struct Side<'m> {
    receives: &'m [ReceivedField],
    returns: Option<&'m SchemaSource>,
    deadline_ms: Option<u32>,
    /// Where a message names its consumer.
    consumer: Option<&'m str>,
}

fn sides(manifest: &Manifest) -> BTreeMap<String, Side<'_>> {
    let share = manifest.share.iter().map(|hook| {
        let side = Side {
            receives: &hook.receives,
            returns: hook.returns.as_ref(),
            deadline_ms: None,
            consumer: None,
        };
        (format!("share {}", hook.event), side)
    });
    let decide = manifest.decide.iter().map(|hook| {
        let side = Side {
            receives: &hook.receives,
            returns: Some(&hook.returns),
            deadline_ms: Some(hook.deadline_ms),
            consumer: None,
        };
        (format!("decide {} on {}", hook.slot, hook.event), side)
    });
    let receive = manifest.receive.iter().map(|hook| {
        let side = Side {
            receives: &[],
            returns: hook.returns.as_ref(),
            deadline_ms: None,
            consumer: Some(&hook.consumer),
        };
        ("receive".to_owned(), side)
    });
    share.chain(decide).chain(receive).collect()
}

fn hooks(old: &Manifest, new: &Manifest, list: &mut List) {
    let (old, new) = (sides(old), sides(new));
    for (at, new) in &new {
        let Some(old) = old.get(at) else {
            list.say(at, Reach::Wider, "gains this hook");
            for field in new.receives {
                list.say(at, Reach::Wider, format!("gains {}, {}", field.field, access(field)));
            }
            continue;
        };
        fields(at, old.receives, new.receives, list);
        returns(at, old.returns, new.returns, list);
        match (old.deadline_ms, new.deadline_ms) {
            (Some(old), Some(new)) if old != new => {
                let reach = if new > old { Reach::Wider } else { Reach::Narrower };
                list.say(at, reach, format!("may take {new} ms, not {old} ms"));
            }
            _ => {}
        }
        if old.consumer != new.consumer {
            list.say(at, Reach::Equal, "finds the consumer elsewhere in a message");
        }
    }
    for at in old.keys().filter(|at| !new.contains_key(*at)) {
        list.say(at, Reach::Narrower, "loses this hook");
    }
}

fn access(field: &ReceivedField) -> &'static str {
    match field.access {
        super::Access::Read => "which it reads",
        super::Access::Sealed => "sealed",
    }
}

fn fields(at: &str, old: &[ReceivedField], new: &[ReceivedField], list: &mut List) {
    let by_name = |of: &[ReceivedField]| {
        of.iter().map(|field| (field.field.clone(), field.clone())).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (by_name(old), by_name(new));
    for (name, new) in &new {
        let Some(old) = old.get(name) else {
            list.say(at, Reach::Wider, format!("gains {name}, {}", access(new)));
            continue;
        };
        match (old.access, new.access) {
            (super::Access::Sealed, super::Access::Read) => {
                list.say(at, Reach::Wider, format!("reads {name}, which was sealed"));
            }
            (super::Access::Read, super::Access::Sealed) => {
                list.say(at, Reach::Narrower, format!("gets {name} sealed, which it read"));
            }
            _ => {}
        }
        match (old.required, new.required) {
            (true, false) => {
                list.say(at, Reach::Wider, format!("is called also where {name} is missing or withheld"));
            }
            (false, true) => {
                list.say(at, Reach::Narrower, format!("is called only where {name} is there"));
            }
            _ => {}
        }
        if old.why != new.why {
            list.say(at, Reach::Equal, format!("gives another reason for {name}"));
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        list.say(at, Reach::Narrower, format!("loses {name}"));
    }
}

/// Path → category; none where the schema is not there or does not compile.
fn leaves(schema: Option<&SchemaSource>) -> BTreeMap<String, String> {
    let Some(SchemaSource::Inline(document)) = schema else { return BTreeMap::new() };
    let compiled = ReturnSchema::compile(document).ok();
    let leaves = compiled.iter().flat_map(ReturnSchema::leaves);
    leaves.map(|(path, category)| (path.to_string(), category.clone())).collect()
}

fn returns(at: &str, old: Option<&SchemaSource>, new: Option<&SchemaSource>, list: &mut List) {
    let (before, after) = (leaves(old), leaves(new));
    for (path, category) in &after {
        match before.get(path) {
            None => list.say(at, Reach::Wider, format!("returns {path} ({category})")),
            Some(old) if old != category => {
                list.say(at, Reach::Wider, format!("returns {path} as {category}, not {old}"));
            }
            Some(_) => {}
        }
    }
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        list.say(at, Reach::Narrower, format!("no longer returns {path}"));
    }
    // What a value may be, and how many there may be, is part of what the brand agreed to.
    let (old, new) = (document(old), document(new));
    for path in before.keys().filter(|path| after.contains_key(*path)) {
        if rules(old.as_ref(), path) != rules(new.as_ref(), path) {
            list.say(at, Reach::Wider, format!("returns {path} under other rules"));
        }
    }
}

/// All that a schema says of the way to one leaf and of the leaf, but not of what stands beside it.
fn rules(schema: Option<&Value>, path: &str) -> Vec<Value> {
    let mut rules = Vec::new();
    let mut at = schema;
    let path = FieldPath::parse(path);
    for step in path.iter().flat_map(|path| path.segments()) {
        let mut here = at.cloned().unwrap_or_default();
        if let Some(members) = here.as_object_mut() {
            members.retain(|name, _| !["properties", "items", "required"].contains(&name.as_str()));
        }
        rules.push(here);
        let below = match step {
            Segment::Each => at.and_then(|at| at.get("items")),
            Segment::Key(name) => at.and_then(|at| at.get("properties")?.get(&**name)),
        };
        // Where the way is not to be followed, everything counts.
        at = below.or(schema);
    }
    rules.extend(at.cloned());
    rules
}

fn document(schema: Option<&SchemaSource>) -> Option<Value> {
    serde_json::to_value(schema?).ok()
}

fn combinations(old: &Manifest, new: &Manifest, list: &mut List) {
    let by_target = |manifest: &Manifest| {
        let all = manifest
            .combine
            .iter()
            .map(|combine| (combine.into.clone(), combine.of.iter().cloned().collect::<BTreeSet<_>>()));
        all.collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (by_target(old), by_target(new));
    let told = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(" with ");
    for (into, of) in &new {
        match old.get(into) {
            Some(before) if before == of => {}
            _ => list.say(&format!("combine {into}"), Reach::Wider, format!("combines {}", told(of))),
        }
    }
    for (into, of) in old.iter().filter(|(into, of)| new.get(*into) != Some(*of)) {
        list.say(&format!("combine {into}"), Reach::Narrower, format!("no longer combines {}", told(of)));
    }
}

/// The host of a template, as it is written.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn endpoints(old: &Manifest, new: &Manifest, list: &mut List) {
    let by_name = |manifest: &Manifest| {
        manifest.endpoint.iter().map(|endpoint| (endpoint.name.clone(), endpoint.clone())).collect()
    };
    let (old, new): (BTreeMap<String, Endpoint>, BTreeMap<String, Endpoint>) = (by_name(old), by_name(new));
    for (name, new) in &new {
        let at = format!("endpoint {name}");
        match old.get(name) {
            None => list.say(&at, Reach::Wider, format!("sends to {} {}", new.method, new.url)),
            Some(old) => endpoint(&at, old, new, list),
        }
    }
    for (name, old) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        list.say(&format!("endpoint {name}"), Reach::Narrower, format!("no longer sends to {}", old.url));
    }
}

fn endpoint(at: &str, old: &Endpoint, new: &Endpoint, list: &mut List) {
    if host(&old.url) != host(&new.url) {
        let what = format!("sends to the host {}, not {}", host(&new.url), host(&old.url));
        list.say(at, Reach::Wider, what);
    } else if old.url != new.url {
        list.say(at, Reach::Equal, "sends to another path of the same host");
    }
    if old.method != new.method {
        list.say(at, Reach::Wider, format!("uses {}, not {}", new.method, old.method));
    }
    // A channel brings rules with it: none is not less than one.
    if old.channel != new.channel {
        list.say(at, Reach::Wider, "reaches the consumer by another channel");
    }
    if old.auth != new.auth {
        list.say(at, Reach::Wider, "is authenticated in another way");
    }
    if old.media_type != new.media_type {
        list.say(at, Reach::Equal, "sends another media type");
    }
    let names =
        |of: &Endpoint| of.headers.iter().map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>();
    let (before, after) = (names(old), names(new));
    let borrowed = |of: &'_ BTreeSet<String>| of.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    if before != after {
        let reach = if after.is_subset(&before) { Reach::Narrower } else { Reach::Wider };
        list.say(at, reach, format!("may set the headers: {}", borrowed(&after)));
    }
    match (&old.reply, &new.reply) {
        (old, new) if old == new => {}
        (_, None) => list.say(at, Reach::Narrower, "is no longer asked for answers"),
        (_, Some(category)) => list.say(at, Reach::Wider, format!("is asked for answers of {category}")),
    }
}

fn settings(old: Option<&Settings>, new: Option<&Settings>, list: &mut List) {
    let names = |of: Option<&Settings>| {
        of.iter().flat_map(|settings| &settings.secrets).cloned().collect::<BTreeSet<_>>()
    };
    let (before, after) = (names(old), names(new));
    list.members(
        "settings",
        "the secret",
        &before.iter().map(String::as_str).collect(),
        &after.iter().map(String::as_str).collect(),
    );
    let schema = |of: Option<&Settings>| document(of.and_then(|settings| settings.schema.as_ref()));
    if schema(old) != schema(new) {
        list.say("settings", Reach::Equal, "takes other settings");
    }
}

/// The parts of the interface that a component imports, whatever their version. Of bytes that are no component: none.
pub fn imported_interfaces(component: &[u8]) -> BTreeSet<String> {
    use wasmparser::{Parser, Payload};
    let mut found = BTreeSet::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::Version { .. }) => depth = depth.saturating_add(1),
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 1 => {
                let names = section.into_iter().flatten().map(|import| import.name.name);
                let ours = names.filter_map(|name| name.strip_prefix("integration:plugin/"));
                found.extend(ours.map(|name| name.split('@').next().unwrap_or(name).to_owned()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found
}
