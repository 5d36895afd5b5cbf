//! A partner's message on its way to its plugin: what it brings is the partner's, and derives from what the
//! partner already received (clause integrations.receive).

use std::sync::Arc;

use gateway_policy::{Access, Facts, FieldVerdict, Flow, Label, Origin, Reason, Verdict};
use serde_json::Value;

use super::book::{Moment, PolicyBook, Question};
use super::combine::{Meeting, Pairs};
use super::connection::{Connection, Hook, MESSAGE};
use super::from_plugin::Carried;
use super::memory::Recalled;
use super::permitted::Permitted;
use super::received::Exposed;
use super::subject::{Subject, base_facts};
use super::toward_plugin::{Crossing, NotRun};
use super::types::PluginMessage;

/// A message whose consumer is known.
pub struct MessageView<'a> {
    /// Keyed for this connection.
    pub id: &'a str,
    /// RFC 3339.
    pub time: &'a str,
    /// The pseudonym by which it names its consumer.
    pub handle: &'a str,
    /// JSON.
    pub body: &'a str,
    /// When the gateway took it, in milliseconds since the Unix epoch.
    pub accepted_ms: i64,
    /// What the partner already received of the consumer.
    pub exposed: &'a Exposed,
    /// What became of the plugin's memory of the consumer; none: the plugin does not ask for it.
    pub memory: Option<&'a Recalled>,
}

/// What was decided for one message.
pub struct TowardReceive {
    /// A verdict for each field that a message may bring.
    pub verdicts: Vec<FieldVerdict>,
    /// What held, apart from what depends on a label.
    pub facts: Facts,
    /// The argument of the call, or why there is none.
    pub input: Result<Permitted<PluginMessage>, NotRun>,
    /// What the checks of the call's output need.
    pub crossing: Crossing,
}

/// Decides whether a message may bring anything, and makes the argument of the call.
pub fn toward_receive(
    book: &PolicyBook,
    connection: &Connection,
    hook_index: usize,
    hook: &Hook,
    message: &MessageView<'_>,
    subject: Subject<'_>,
    moment: Moment,
) -> TowardReceive {
    let moment = book.also(moment, subject.conditions);
    let mut conditions = subject.conditions.clone();
    book.note(moment, &mut conditions);
    let facts = base_facts(subject, connection.integration(hook));
    let question = Question {
        flow: Flow::Receive,
        purpose: connection.release.purpose,
        partner: &connection.partner,
        to_brand: true,
    };
    let exposed = message.exposed.also(&message.exposed.labels, book, moment);
    let mut verdicts: Vec<FieldVerdict> = hook
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let labels = field.labels.iter().chain(exposed.iter());
            let decided = book.decide_all(&question, labels.clone(), facts, moment);
            let decided = decided.map_or(Verdict::withhold(Reason::Undeclared), |(_, verdict)| verdict);
            let granted = connection.grants(hook_index, index);
            FieldVerdict {
                field: Arc::clone(&field.name),
                access: Access::Return,
                basis: question.basis(labels.clone(), moment.now_ms).within(subject.conditions),
                labels: labels.cloned().collect(),
                verdict: if granted { decided } else { Verdict::withhold(Reason::NotGranted) },
            }
        })
        .collect();
    // All that the plugin can read here: what the partner made, of its own or of what it received.
    let own = hook
        .return_labels
        .iter()
        .map(|label| label.category)
        .map(|category| Label { category, origin: Origin::Partner(connection.partner.name.as_str().into()) });
    let joined = Carried {
        field: MESSAGE.into(),
        access: Access::Reply,
        labels: own.chain(exposed.iter().cloned()).collect(),
        form: None,
        declassified: None,
        returned: None,
    };
    let pairs = Pairs {
        book,
        partner: &connection.partner,
        purpose: connection.release.purpose,
        granted: &connection.combinations,
        facts,
        moment,
    };
    let memory = message.memory.map(|memory| {
        let with_memory = memory.standing().meeting(&pairs, subject, connection.integration(hook));
        keep_out(&with_memory, &joined, memory, facts)
    });
    let input = if verdicts.iter().any(|field| field.verdict.allows()) {
        Ok(Permitted::grant(PluginMessage {
            id: message.id.to_owned(),
            time: message.time.to_owned(),
            consumer: Some(message.handle.to_owned()),
            body: message.body.to_owned(),
            settings: connection.settings_text.to_string(),
            memory: memory.as_ref().map(Recalled::entries),
        }))
    } else {
        Err(NotRun::NothingLeft)
    };
    verdicts.extend(memory.as_ref().and_then(Recalled::verdict).map(|(_, verdict)| verdict));
    let crossing = Crossing {
        hook: hook_index,
        allowed: vec![false; hook.fields.len()],
        labels: hook.fields.iter().map(|field| Arc::clone(&field.labels)).collect(),
        forms: connection.forms(hook_index, moment),
        returned: Default::default(),
        joined: vec![joined],
        // Nothing is sent on a message.
        numbers: Vec::new(),
        conditions,
        data: Arc::new(Value::Null),
        consumer: message.handle.to_owned(),
        accepted_ms: message.accepted_ms,
        refused_meeting: None,
        memory: memory.as_ref().map(Recalled::standing),
    };
    TowardReceive { verdicts, facts, input, crossing }
}

/// A memory that may not meet the message stays out of the call. What the message derives from already meets nothing
/// new in it.
fn keep_out(pairs: &Pairs<'_>, message: &Carried, memory: &Recalled, of_row: Facts) -> Recalled {
    let new = memory.labels().filter(|label| !message.labels.contains(label));
    match pairs.strictest(new, message.labels.iter(), Meeting::Instance) {
        Some(met) if !met.allows() => memory.kept_out(met, of_row),
        _ => memory.clone(),
    }
}
