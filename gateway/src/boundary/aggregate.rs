//! Statistics over a brand's consumers (clause share.aggregate): whose values may be counted, and who may
//! be told the number. It counts nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use gateway_policy::{
    Access, Aggregation, CompiledDecision, Fact, Facts, FieldVerdict, Flow, Label, Partner, Purpose, Reason,
    Recipient, Region, Verdict,
};

use super::book::{Moment, PolicyBook, Question, origin_facts};
use super::connection::Connection;
use super::permitted::Permitted;
use super::prepared::stricter;
use super::subject::{Integration, Subject, base_facts};
use super::types::PluginInput;

/// Whoever may be told an aggregate.
const RECIPIENTS: [Recipient; 3] = [Recipient::Brand, Recipient::ServiceProvider, Recipient::ThirdParty];

/// The rules on counting values of one label, ready to be asked for each consumer.
///
/// There is one answer to a question, whoever asks: were those left out for one asker counted for another,
/// the two answers would differ by them. So a value counts only where it may for every recipient and every
/// purpose that aggregates are for, and a consumer who opted out of any integration is not counted at all.
pub struct Countable {
    label: Label,
    partner: Partner,
    rules: Vec<(Purpose, Vec<Arc<CompiledDecision>>)>,
}

impl Countable {
    /// For a label, under the versions of the policy that matter.
    pub fn new(book: &PolicyBook, label: Label, moment: Moment) -> Self {
        let of = |purpose| {
            let versions = [moment.current, moment.accepted];
            let mut rules: Vec<Arc<CompiledDecision>> = Vec::new();
            for version in versions {
                for recipient in RECIPIENTS {
                    let compiled = version.and_then(|version| {
                        book.compiled(version, Flow::Aggregate, recipient, purpose, label.category)
                    });
                    // No version in force: a decision that nothing permits.
                    rules.push(compiled.unwrap_or_default());
                }
            }
            (purpose, rules)
        };
        let rules = Aggregation::purposes().map(of).collect();
        Self { label, partner: nobody(), rules }
    }

    /// Whether this consumer's value counts.
    pub fn counts(&self, subject: Subject<'_>) -> bool {
        let Some(choices) = subject.choices else { return false };
        !self.rules.is_empty()
            && self.rules.iter().all(|(purpose, rules)| {
                let facts = base_facts(
                    subject,
                    Integration {
                        plugin: "",
                        purpose: *purpose,
                        partner: &self.partner,
                        switched_on: true,
                        promotional: false,
                        by_sms: false,
                    },
                );
                // Clause choice.cookies: as strictly necessary ones, whatever the event says.
                let necessary = facts.holds(Fact::CookiesStrictlyNecessary) || choices.opt_out.cookies;
                let facts = facts
                    .with(Fact::Aggregated, true)
                    .with(Fact::CookiesStrictlyNecessary, necessary)
                    .with(Fact::OptOutIntegration, !choices.opt_out.integrations.is_empty());
                let facts = origin_facts(facts, &self.label.origin, &self.partner, false);
                rules.iter().all(|rule| rule.decide(facts).allows())
            })
    }
}

/// A partner of whom nothing good is known.
pub(super) fn nobody() -> Partner {
    Partner {
        name: String::new(),
        display_name: String::new(),
        region: Region::Unknown,
        domains: Vec::new(),
        consideration: false,
        contracts: Default::default(),
    }
}

/// What was decided about telling an aggregate.
pub struct Told {
    /// A verdict for each part of the question.
    pub verdicts: Vec<FieldVerdict>,
    /// What held.
    pub facts: Facts,
    /// To whom.
    pub recipient: Recipient,
}

impl Told {
    /// Whether the number may be told.
    pub fn allows(&self) -> bool {
        !self.verdicts.is_empty() && self.verdicts.iter().all(|field| field.verdict.allows())
    }
}

/// Decides whether the brand, or the partner of a connection, may be told an aggregate over these parts;
/// `purpose` is the asker's.
pub fn tell(
    book: &PolicyBook,
    connection: Option<&Connection>,
    purpose: Purpose,
    parts: Vec<(Arc<str>, Label)>,
    moment: Moment,
) -> Told {
    let anonymous = nobody();
    let partner = connection.map_or(&anonymous, |connection| &*connection.partner);
    let facts = Facts::none()
        .with(Fact::BrandDirected, true)
        .with(Fact::Aggregated, true)
        // Nobody else is counted.
        .with(Fact::Engaged, true)
        .with(Fact::PartnerInArea, partner.region.partner_in_area())
        .with(Fact::Consideration, partner.gives_consideration(purpose));
    let question = Question { flow: Flow::Aggregate, purpose, partner, to_brand: connection.is_none() };
    let mut recipient = match connection {
        None => Recipient::Brand,
        // No contract covers a question about nothing that is known.
        Some(_) if parts.is_empty() => Recipient::ThirdParty,
        Some(_) => Recipient::ServiceProvider,
    };
    let serves = Aggregation::serves(purpose);
    let verdicts = parts
        .into_iter()
        .map(|(field, label)| {
            let (stands, verdict) = book.decide(&question, &label, facts, moment);
            if connection.is_some() {
                recipient = stricter(recipient, stands);
            }
            let verdict = if serves { verdict } else { Verdict::withhold(Reason::NoPermit) };
            let basis = question.basis([&label], moment.now_ms);
            FieldVerdict { field, access: Access::Read, labels: [label].into(), verdict, basis }
        })
        .collect();
    Told { verdicts, facts, recipient }
}

/// A question about a brand's consumers, as it was asked: untrusted.
#[derive(Clone, Debug)]
pub struct AggregateQuestion {
    /// `events`, `consumers`, `sum` or `average`.
    pub measure: String,
    /// CloudEvents `type`.
    pub event: String,
    /// The field that is summed; for `sum` and `average`.
    pub field: Option<String>,
    /// `YYYY-MM-DD`, in UTC.
    pub day: String,
    /// The field whose values make the groups.
    pub by: Option<String>,
}

/// Answers the questions of one plugin at one brand.
#[async_trait]
pub trait Aggregates: Send + Sync {
    /// The groups with their numbers; none: no answer, and no word of why.
    async fn ask(&self, question: AggregateQuestion) -> Option<Vec<(String, f64)>>;
}

/// Lets a call ask.
#[derive(Clone)]
pub struct MayAsk(Arc<dyn Aggregates>);

impl MayAsk {
    /// See [`Aggregates::ask`].
    pub async fn ask(&self, question: AggregateQuestion) -> Option<Vec<(String, f64)>> {
        self.0.ask(question).await
    }

    /// For the sandbox's tests.
    #[cfg(test)]
    pub(crate) fn of(aggregates: Arc<dyn Aggregates>) -> Self {
        Self(aggregates)
    }
}

impl fmt::Debug for MayAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayAsk")
    }
}

/// Lets the call ask for aggregates, where the plugin's purpose is one that they are for.
pub fn let_ask(
    mut input: Permitted<PluginInput>,
    connection: &Connection,
    aggregates: impl FnOnce() -> Arc<dyn Aggregates>,
) -> Permitted<PluginInput> {
    if Aggregation::serves(connection.release.purpose) {
        input.change(|input| input.aggregates = Some(MayAsk(aggregates())));
    }
    input
}
