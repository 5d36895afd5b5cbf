//! What a plugin wrote into its log, and why it says that it failed: toward its partner, as long as all that it may
//! have been made of may go there. It is judged whenever it is read, by what holds then.

use gateway_policy::{Flow, LabelSet};

use super::book::{Moment, PolicyBook, Question};
use super::connection::Connection;
use super::subject::{Integration, Subject, base_facts};

/// Whether the partner may see a text that a call of `flow` wrote, which carries `labels`. Without a label there is
/// nothing to decide about, and it stays.
pub fn may_see_text(
    book: &PolicyBook,
    connection: &Connection,
    flow: Flow,
    labels: &LabelSet,
    subject: Subject<'_>,
    moment: Moment,
) -> bool {
    let (partner, purpose) = (&connection.partner, connection.release.purpose);
    let integration = Integration {
        plugin: &connection.plugin,
        purpose,
        partner,
        switched_on: true,
        // For whichever slot it was: the strict way.
        promotional: flow == Flow::Decide && !connection.promotional.is_empty(),
        by_sms: false,
    };
    let facts = base_facts(subject, integration);
    let moment = book.also(moment, subject.conditions);
    let question = Question { flow, purpose, partner, to_brand: false };
    let besides = connection.besides(book, subject.conditions, moment);
    let decided = book.decide_all(&question, labels.iter().chain(besides.iter()), facts, moment);
    decided.is_some_and(|(_, verdict)| verdict.allows()) && connection.grants_labels(labels.iter(), moment)
}
