//! What a recording tells of the operator's record of the partner: what the decisions about the call turn on, and of
//! contracts what covers it.

use std::collections::{BTreeMap, BTreeSet};

use gateway_policy::{Category, Fact, Label};

use super::super::gateway::Gateway;
use super::super::model::ContractInput;
use super::super::registry::rfc3339;
use super::super::rehearsal::PartnerCase;
use super::Recorded;
use crate::boundary::{Connection, Integration, Question, Subject, base_facts};

/// A partner's part of a case.
pub(super) struct RecordCase {
    pub(super) partner: PartnerCase,
    pub(super) contracts: BTreeMap<String, ContractInput>,
}

impl Gateway {
    /// `also` are labels of what reaches the call beside what its release declares.
    pub(super) fn record_case<'l>(
        &self,
        recorded: &Recorded<'_>,
        connection: &Connection,
        also: impl Iterator<Item = &'l Label>,
        subject: Subject<'_>,
    ) -> RecordCase {
        let record = &connection.partner;
        let labels: BTreeSet<Label> = declared(connection).chain(also.cloned()).collect();
        let partner = PartnerCase {
            region: Some(record.region.as_str().to_owned()),
            domains: Some(record.domains.clone()),
            consideration: self.turns_on_consideration(recorded, connection, &labels, subject),
        };
        RecordCase { partner, contracts: covering(connection, &labels, self.clock.now_ms()) }
    }

    /// Whether something of value is given for the data, and a decision about the call would be another without.
    fn turns_on_consideration(
        &self,
        recorded: &Recorded<'_>,
        connection: &Connection,
        labels: &BTreeSet<Label>,
        subject: Subject<'_>,
    ) -> bool {
        let (hook, purpose, partner) = (recorded.hook, connection.release.purpose, &*connection.partner);
        let integration = Integration {
            plugin: &connection.plugin,
            purpose,
            partner,
            switched_on: true,
            promotional: connection.is_promotional(hook),
            by_sms: false,
        };
        let facts = base_facts(subject, integration);
        let question = Question { flow: hook.flow, purpose, partner, to_brand: false };
        let moment = self.book.moment(recorded.row.at_ms, self.clock.now_ms());
        let decided = |label: &Label, given: bool| {
            self.book.decide(&question, label, facts.with(Fact::Consideration, given), moment)
        };
        partner.gives_consideration(purpose)
            && labels.iter().any(|label| decided(label, true) != decided(label, false))
    }
}

/// Labels of all that the release declares: fields, as they are and in the form that is granted, what is returned, and
/// what its partner answers.
fn declared(connection: &Connection) -> impl Iterator<Item = Label> {
    let release = &connection.release;
    let hooks = release.hooks.iter().enumerate();
    let fields = hooks.flat_map(move |(index, hook)| {
        let forms = (0..hook.fields.len()).flat_map(move |at| connection.labels(index, at));
        let own = hook.fields.iter().flat_map(|field| &*field.labels);
        forms.chain(own).chain(&hook.return_labels).cloned()
    });
    let replies = release.manifest.endpoint.iter().filter_map(|endpoint| endpoint.reply.as_deref());
    fields.chain(replies.filter_map(|key| Category::parse(key).ok()).map(Label::first_party))
}

/// Contracts that cover the release's purpose now, each with that purpose and of its categories those of `labels`.
fn covering(
    connection: &Connection,
    labels: &BTreeSet<Label>,
    now_ms: i64,
) -> BTreeMap<String, ContractInput> {
    let purpose = connection.release.purpose;
    let of: BTreeSet<Category> = labels.iter().map(|label| label.category).collect();
    let contracts = connection.partner.contracts.iter().filter_map(|(name, contract)| {
        let covered = of.iter().filter(|category| contract.covers(purpose, **category, now_ms));
        let categories: Vec<String> = covered.map(|category| category.as_str().to_owned()).collect();
        let contract = ContractInput {
            purposes: vec![purpose.as_str().to_owned()],
            onward_transfer: contract.onward_transfer,
            // The partner's record says it, where it matters.
            consideration: false,
            expires: contract.expires_ms.map(rfc3339),
            categories,
        };
        (!contract.categories.is_empty()).then(|| (name.clone(), contract))
    });
    contracts.collect()
}
