//! Whether a manifest makes sense: names, purposes, events, fields, schemas. It reads no file and no
//! component, and it decides nothing about a brand or a consumer.

use std::collections::BTreeSet;

use gateway_policy::Purpose;

use super::interface::Api;
use super::problem::Problem;
use super::schemas::not_inlined;
use super::{
    Access, CONSUMER_FIELD, Manifest, PluginSection, RECEIVED, RETURNED, ReceivedField, SchemaSource,
    combine, endpoints, returned,
};
use crate::catalogue::Presence;
use crate::catalogue::schema::{Schema, SchemaKind};
use crate::catalogue::{Catalogue, FieldPath, nearest};

/// Characters of a name: it becomes a path segment, a metric's label and a file's name.
const MAX_NAME_CHARS: usize = 63;
/// Characters of a summary or reason; a brand reads them in a list.
const MAX_TEXT_CHARS: usize = 300;
/// Milliseconds that a brand may be made to wait for a decision.
const DEADLINE_MS: std::ops::RangeInclusive<u32> = 1..=2_000;
/// Entries of a list in the manifest, whichever; each costs work at publication and in the console.
const MAX_ENTRIES: usize = 64;

/// Fields of one hook: as many as are looked for in one walk over an event.
const MAX_FIELDS: usize = Presence::MAX;

/// Everything that is wrong with a manifest, in its own order; empty where it may be published.
pub fn check(manifest: &Manifest, catalogue: &Catalogue) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_plugin(&manifest.plugin, &mut problems);
    check_counts(manifest, &mut problems);
    check_unserved(manifest, &mut problems);
    if manifest.share.is_empty() && manifest.decide.is_empty() && manifest.receive.is_empty() {
        problems.push(Problem::new(
            "no-hook",
            "plugin.toml",
            "the plugin declares nothing that it does",
            "add a `[[share]]`, `[[decide]]` or `[[receive]]` table",
        ));
    }

    let received = combine::check_receive(manifest, &mut problems);
    combine::check_combine(manifest, &mut problems);
    let plugin = &*manifest.plugin.name;
    let mut events = BTreeSet::new();
    for (index, hook) in manifest.share.iter().enumerate() {
        let at = format!("share[{index}]");
        if !events.insert(&hook.event) {
            problems.push(duplicate("duplicate-hook", &format!("{at}.event"), "event type"));
        }
        let fields = Fields {
            at: &at,
            plugin,
            catalogue,
            event: &hook.event,
            received: received.as_deref(),
            decide: false,
        };
        fields.check(&hook.receives, &mut problems);
        check_schema(hook.returns.as_ref(), &format!("{at}.returns"), SchemaKind::Returns, &mut problems);
        if manifest.endpoint.is_empty() {
            check_sealed_has_a_way(&hook.receives, &at, &mut problems);
        }
    }
    let mut slots = BTreeSet::new();
    for (index, hook) in manifest.decide.iter().enumerate() {
        let at = format!("decide[{index}]");
        check_name(&hook.slot, &format!("{at}.slot"), &mut problems);
        if !slots.insert(&hook.slot) {
            problems.push(duplicate("duplicate-hook", &format!("{at}.slot"), "slot"));
        }
        if !DEADLINE_MS.contains(&hook.deadline_ms) {
            problems.push(Problem::new(
                "deadline-out-of-bounds",
                format!("{at}.deadline-ms"),
                format!("a deadline is {} to {} milliseconds", DEADLINE_MS.start(), DEADLINE_MS.end()),
                "choose one within these bounds",
            ));
        }
        let fields = Fields {
            at: &at,
            plugin,
            catalogue,
            event: &hook.event,
            received: received.as_deref(),
            decide: true,
        };
        fields.check(&hook.receives, &mut problems);
        check_schema(Some(&hook.returns), &format!("{at}.returns"), SchemaKind::Returns, &mut problems);
    }

    let settings = manifest.settings.as_ref();
    let schema = check_schema(
        settings.and_then(|settings| settings.schema.as_ref()),
        "settings.schema",
        SchemaKind::Settings,
        &mut problems,
    );
    check_secrets(manifest, schema.as_ref(), &mut problems);
    let faulty = schema.is_none() && settings.is_some_and(|settings| settings.schema.is_some());
    endpoints::check(manifest, (!faulty).then_some(schema.as_ref()), &mut problems);
    problems
}

fn check_plugin(plugin: &PluginSection, problems: &mut Vec<Problem>) {
    check_name(&plugin.name, "plugin.name", problems);
    check_name(&plugin.partner, "plugin.partner", problems);
    if Api::of_manifest(&plugin.api).is_none() {
        problems.push(Problem::new(
            "api-not-served",
            "plugin.api",
            format!("this gateway does not serve that version of the interface; it serves {}", Api::served()),
            "build against one of these, and name it",
        ));
    }
    check_text(&plugin.summary, "plugin.summary", problems);
    let policy = url::Url::parse(&plugin.privacy_policy).ok();
    let good = policy.is_some_and(|url| {
        url.scheme() == "https"
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if !good {
        problems.push(Problem::new(
            "privacy-policy-not-https",
            "plugin.privacy-policy",
            "brands and consumers are shown the partner's privacy policy, as an https link",
            "write the link in full, beginning with `https://`",
        ));
    }
    if let Err(unknown) = Purpose::parse(&plugin.purpose) {
        problems.push(Problem::new(
            "unknown-purpose",
            "plugin.purpose",
            "the purpose is not a fideslang data use",
            format!("the nearest known one is `{}`", unknown.nearest),
        ));
    }
}

fn check_counts(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let settings = manifest.settings.as_ref();
    let share = manifest.share.iter().map(|hook| ("share", &hook.receives)).enumerate();
    let decide = manifest.decide.iter().map(|hook| ("decide", &hook.receives)).enumerate();
    for (index, (hook, receives)) in share.chain(decide) {
        if receives.len() > MAX_FIELDS {
            let message = format!("a hook receives at most {MAX_FIELDS} fields");
            let at = format!("{hook}[{index}].receives");
            problems.push(Problem::new("too-many", at, message, "leave out what the plugin can do without"));
        }
    }
    for (at, count) in [
        ("share", manifest.share.len()),
        ("decide", manifest.decide.len()),
        ("receive", manifest.receive.len()),
        ("combine", manifest.combine.len()),
        ("endpoint", manifest.endpoint.len()),
        ("settings.secrets", settings.map_or(0, |settings| settings.secrets.len())),
    ] {
        if count > MAX_ENTRIES {
            let message = format!("there are more than {MAX_ENTRIES} entries");
            problems.push(Problem::new("too-many", at, message, "split the plugin in two"));
        }
    }
}

fn check_unserved(manifest: &Manifest, problems: &mut Vec<Problem>) {
    for index in 0..manifest.rights.len() {
        problems.push(Problem::not_served(format!("rights[{index}]"), "`rights`"));
    }
}

/// The fields of one hook.
struct Fields<'c> {
    at: &'c str,
    /// Whose hook it is.
    plugin: &'c str,
    catalogue: &'c Catalogue,
    event: &'c str,
    /// What a message may bring, if that is known.
    received: Option<&'c [String]>,
    decide: bool,
}

impl Fields<'_> {
    fn check(&self, receives: &[ReceivedField], problems: &mut Vec<Problem>) {
        let at = self.at;
        if receives.is_empty() {
            problems.push(Problem::new(
                "receives-nothing",
                format!("{at}.receives"),
                "a call for which no field is left does not happen, so this hook would never run",
                "declare the fields that it needs",
            ));
        }
        let event_type = self.catalogue.event_type(self.event);
        if event_type.is_none() {
            let remedy = self.catalogue.nearest_type(self.event).map_or_else(
                || "name a type of the catalogue, such as `chat.ended`".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            problems.push(Problem::new(
                "unknown-event",
                format!("{at}.event"),
                "the catalogue has no such event type",
                remedy,
            ));
        }
        let mut seen = BTreeSet::new();
        for (index, declared) in receives.iter().enumerate() {
            let here = format!("{at}.receives[{index}]");
            let field = format!("{here}.field");
            if !seen.insert(&declared.field) {
                problems.push(duplicate("duplicate-field", &field, "field"));
            }
            let received = declared.field.strip_prefix(RECEIVED).filter(|path| path.starts_with('/'));
            if let Some(path) = received {
                if let Some(known) = self.received.filter(|known| !known.iter().any(|known| known == path)) {
                    let remedy = nearest(path, known.iter().map(String::as_str)).map_or_else(
                        || format!("name a leaf of the schema of `[[receive]]`, with `{RECEIVED}` before it"),
                        |known| format!("did you mean `{RECEIVED}{known}`?"),
                    );
                    let message = format!("the `receive` hook returns no field `{path}`");
                    problems.push(Problem::new("unknown-field", field, message, remedy));
                }
            } else if let Some(path) =
                declared.field.strip_prefix(RETURNED).filter(|path| path.starts_with('/'))
            {
                returned::check(self.plugin, path, &field, problems);
            } else if declared.field != CONSUMER_FIELD {
                match (FieldPath::parse(&declared.field), event_type) {
                    (Err(error), _) => problems.push(Problem::new(
                        "bad-path",
                        field,
                        error.to_string(),
                        "name a field such as `/contact/email`, or `consumer`",
                    )),
                    (Ok(path), Some(event_type)) if event_type.field(path.as_str()).is_none() => {
                        let below = event_type.fields_below(path.as_str());
                        let nearest = event_type.nearest_field(path.as_str());
                        let remedy = match (below.is_empty(), nearest) {
                            (false, _) => {
                                format!("it is no leaf; name what is in it: `{}`", below.join("`, `"))
                            }
                            (true, Some(known)) => format!("did you mean `{known}`?"),
                            (true, None) => "name a leaf of the event's schema".to_owned(),
                        };
                        let message = format!("the event type has no field `{path}`");
                        problems.push(Problem::new("unknown-field", field, message, remedy));
                    }
                    _ => {}
                }
            }
            if self.decide && declared.access == Access::Sealed {
                problems.push(Problem::new(
                    "sealed-under-decide",
                    format!("{here}.access"),
                    "a decision makes no request in which a sealed field could be placed",
                    "read the field, or leave it out",
                ));
            }
            check_text(&declared.why, &format!("{here}.why"), problems);
        }
    }
}

fn check_sealed_has_a_way(receives: &[ReceivedField], at: &str, problems: &mut Vec<Problem>) {
    for (index, declared) in receives.iter().enumerate() {
        if declared.access == Access::Sealed {
            problems.push(Problem::new(
                "sealed-nowhere",
                format!("{at}.receives[{index}].access"),
                "a sealed field can only be placed in a request, and the manifest declares no endpoint",
                "add an `[[endpoint]]`, or leave the field out",
            ));
        }
    }
}

fn check_secrets(manifest: &Manifest, settings: Option<&Schema>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    let secrets: Vec<&String> = manifest.settings.iter().flat_map(|settings| &settings.secrets).collect();
    let used: Vec<&str> = manifest.endpoint.iter().flat_map(|endpoint| endpoint.auth.secrets()).collect();
    // A name that is no secret's may be meant for any of them.
    let mistaken = used.iter().any(|used| !secrets.iter().any(|secret| secret == used));
    for (index, secret) in secrets.into_iter().enumerate() {
        let at = format!("settings.secrets[{index}]");
        check_name(secret, &at, problems);
        if !seen.insert(secret) {
            problems.push(duplicate("duplicate-secret", &at, "secret"));
        }
        if !mistaken && !used.contains(&secret.as_str()) {
            problems.push(Problem::new(
                "unused-secret",
                at.clone(),
                "no endpoint authenticates with this secret, so the brand would be asked for it in vain",
                "name it in the `auth` of an endpoint, or remove it",
            ));
        }
        if settings.is_some_and(|schema| schema.properties_at("").contains(&secret.as_str())) {
            problems.push(Problem::new(
                "secret-in-settings",
                at,
                "settings enter the sandbox and secrets never do, so one name cannot be both",
                "take it out of the settings schema",
            ));
        }
    }
}

/// Compiles a schema for its faults; gives it back where it has none.
pub(super) fn check_schema(
    source: Option<&SchemaSource>,
    at: &str,
    kind: SchemaKind,
    problems: &mut Vec<Problem>,
) -> Option<Schema> {
    match source? {
        SchemaSource::Path(_) => {
            problems.push(not_inlined(at));
            None
        }
        SchemaSource::Inline(document) => match Schema::compile(document, kind) {
            Ok(schema) => Some(schema),
            Err(faults) => {
                problems.extend(faults.into_iter().map(|fault| Problem::in_schema(at, fault)));
                None
            }
        },
    }
}

pub(super) fn duplicate(code: &'static str, at: &str, what: &str) -> Problem {
    Problem::new(code, at, format!("this {what} stands there already"), "declare it once")
}

/// Whether a text is a name: `[a-z][a-z0-9-]{0,62}`.
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_CHARS
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(super) fn check_name(name: &str, at: &str, problems: &mut Vec<Problem>) {
    if !is_name(name) {
        problems.push(Problem::new(
            "bad-name",
            at,
            "a name is `[a-z][a-z0-9-]{0,62}`",
            "use lower case letters, digits and hyphens",
        ));
    }
}

/// Control and direction characters, and those of no width.
pub(super) fn is_disguise(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// One line that a person can read. Control and direction characters could disguise what it says.
pub(super) fn check_text(text: &str, at: &str, problems: &mut Vec<Problem>) {
    let good =
        !text.trim().is_empty() && text.chars().count() <= MAX_TEXT_CHARS && !text.chars().any(is_disguise);
    if !good {
        problems.push(Problem::new(
            "bad-text",
            at,
            format!("this is shown to the brand: one line of 1 to {MAX_TEXT_CHARS} visible characters"),
            "say it in plain words",
        ));
    }
}
