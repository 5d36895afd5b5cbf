//! Toward a plugin: which declared fields it may read or place. What it can read counts as shared
//! with its partner, whether or not it sends a request.

use std::sync::Arc;

use gateway_policy::{Access, Facts, FieldVerdict, Reason, Recipient, Verdict};
use serde_json::Value;

use super::book::Moment;
use super::connection::{Connection, Hook};
use super::permitted::Permitted;
use super::prepared::stricter;
use super::subject::{Subject, base_facts};
use super::types::PluginInput;
use crate::catalogue::Projection;

/// An event, as a connection's plugin would see it were everything allowed.
pub struct EventView<'a> {
    /// Keyed for this connection.
    pub id: &'a str,
    /// CloudEvents `type`.
    pub kind: &'a str,
    /// RFC 3339.
    pub time: &'a str,
    /// The pseudonym for (brand, partner).
    pub consumer: &'a str,
    /// When the gateway accepted it, in milliseconds since the Unix epoch.
    pub accepted_ms: i64,
    /// CloudEvents `data`.
    pub data: &'a Arc<Value>,
}

/// Why a call does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// A required field is withheld.
    RequiredWithheld,
    /// A required field was never provided.
    RequiredAbsent,
    /// No declared field is left.
    NothingLeft,
}

impl NotRun {
    /// The ledger's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::RequiredWithheld => "not-run:required-withheld",
            Self::RequiredAbsent => "not-run:required-absent",
            Self::NothingLeft => "not-run:nothing-left",
        }
    }
}

/// What was decided for one call.
pub struct TowardPlugin {
    /// A verdict for each declared field that is present in the event.
    pub verdicts: Vec<FieldVerdict>,
    /// What held, apart from what depends on a label.
    pub facts: Facts,
    /// [`Recipient::ThirdParty`] where the partner is that for any field present.
    pub recipient: Recipient,
    /// The argument of the call, or why there is none.
    pub input: Result<Permitted<PluginInput>, NotRun>,
    /// What the checks of the call's output need.
    pub crossing: Crossing,
}

/// What crossed into the sandbox; the checks of the output start from it.
pub struct Crossing {
    pub(super) hook: usize,
    /// For each field of the hook: whether it is present and allowed.
    pub(super) allowed: Vec<bool>,
    pub(super) data: Arc<Value>,
    pub(super) consumer: String,
    pub(super) accepted_ms: i64,
}

/// The verdicts on a hook's fields.
pub struct Decided {
    /// What held, apart from what depends on a label.
    pub facts: Facts,
    /// For each field of the hook that the event has: how the partner stands toward it, and the verdict.
    pub fields: Vec<Option<(Recipient, Verdict)>>,
}

/// Decides for every field of a hook that is present in `data`.
pub fn verdicts(
    connection: &Connection,
    hook_index: usize,
    data: &Value,
    subject: Subject<'_>,
    moment: Moment,
) -> Decided {
    let nothing = || Decided { facts: Facts::unknown(), fields: Vec::new() };
    let Some(hook) = connection.release.hooks.get(hook_index) else { return nothing() };
    let Some(prepared) = connection.prepared.get(hook_index) else { return nothing() };
    let facts = base_facts(subject, connection.integration(hook));
    let present = hook.presence.of(data);
    let decided = prepared.decide(&connection.partner, facts, moment);
    let fields = hook.fields.iter().enumerate().map(|(index, field)| {
        let present = field.path.is_none() || present & 1_u64.checked_shl(index as u32).unwrap_or(0) != 0;
        present.then(|| {
            let (stands, verdict) = decided.field(index);
            let granted = connection.grants(hook_index, index);
            (stands, if granted { verdict } else { Verdict::withhold(Reason::NotGranted) })
        })
    });
    Decided { facts, fields: fields.collect() }
}

/// Decides for every declared field of `hook` and makes the argument of the call.
pub fn toward_plugin(
    connection: &Connection,
    hook_index: usize,
    hook: &Hook,
    event: &EventView<'_>,
    subject: Subject<'_>,
    moment: Moment,
) -> TowardPlugin {
    let Decided { facts, fields: decided } = verdicts(connection, hook_index, event.data, subject, moment);
    let mut verdicts = Vec::with_capacity(hook.fields.len());
    let mut allowed = Vec::with_capacity(hook.fields.len());
    let mut not_run = None;
    let mut recipient = Recipient::ServiceProvider;
    for (field, decided) in hook.fields.iter().zip(decided) {
        let Some((stands, verdict)) = decided else {
            allowed.push(false);
            if field.required {
                not_run.get_or_insert(NotRun::RequiredAbsent);
            }
            continue;
        };
        recipient = stricter(recipient, stands);
        allowed.push(verdict.allows());
        if field.required && !verdict.allows() {
            not_run = Some(NotRun::RequiredWithheld);
        }
        verdicts.push(FieldVerdict {
            field: Arc::clone(&field.name),
            access: field.access,
            labels: Arc::clone(&field.labels),
            verdict,
        });
    }
    if not_run.is_none() && !allowed.contains(&true) {
        not_run = Some(NotRun::NothingLeft);
    }
    let input = match not_run {
        Some(reason) => Err(reason),
        None => Ok(Permitted::grant(input(connection, hook, event, &allowed))),
    };
    let crossing = Crossing {
        hook: hook_index,
        allowed,
        data: Arc::clone(event.data),
        consumer: event.consumer.to_owned(),
        accepted_ms: event.accepted_ms,
    };
    TowardPlugin { verdicts, facts, recipient, input, crossing }
}

fn input(connection: &Connection, hook: &Hook, event: &EventView<'_>, allowed: &[bool]) -> PluginInput {
    let of = |access: Access| {
        hook.fields
            .iter()
            .zip(allowed)
            .filter(move |(field, ok)| **ok && field.access == access)
            .map(|(f, _)| f)
    };
    let readable =
        hook.fields.iter().filter(|field| field.access == Access::Read && field.path.is_some()).count();
    let granted = of(Access::Read).filter(|field| field.path.is_some()).count();
    let fields = if readable == granted {
        to_json(&hook.all_readable, event.data)
    } else {
        to_json(&Projection::new(of(Access::Read).filter_map(|field| field.path.as_ref())), event.data)
    };
    PluginInput {
        id: event.id.to_owned(),
        kind: event.kind.to_owned(),
        time: event.time.to_owned(),
        consumer: of(Access::Read).any(|field| field.path.is_none()).then(|| event.consumer.to_owned()),
        fields,
        sealed: of(Access::Sealed).map(|field| field.name.to_string()).collect(),
        settings: connection.settings_text.to_string(),
        aggregates: None,
    }
}

fn to_json(projection: &Projection, data: &Value) -> String {
    // Invariant: a `Value` always serialises; were that to fail, the plugin gets an empty object.
    serde_json::to_string(&projection.view(data)).unwrap_or_else(|_| "{}".to_owned())
}

impl Crossing {
    /// The hook that was called.
    pub fn hook(&self) -> usize {
        self.hook
    }
}
