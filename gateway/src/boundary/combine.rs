//! What may meet (clause integrations.combine): labels of different origins in one instance, one request or one
//! returned value, and labels that the policy keeps apart whatever their origin.

use std::sync::Arc;

use gateway_policy::{
    Access, Fact, Facts, Flow, KeptApart, Label, Origin, Partner, Purpose, Reason, Recipient, Standing,
    Verdict,
};

use super::book::{Moment, PolicyBook};
use super::connection::Connection;
use super::onward::{Brand, Way, Ways};
use super::received::is_of;
use crate::manifest::Ingredient;

/// A combination that a manifest declares: `of` may meet, for `into`.
#[derive(Clone, Debug)]
pub struct Combination {
    /// Whose fields, and which.
    pub of: Vec<Ingredient>,
    /// A returned field by its pointer, with all below it, or the name of an endpoint.
    pub into: String,
}

/// Whether an entry of a combination's `of` speaks of a label.
fn speaks_of(part: &Ingredient, label: &Label, partner: &str) -> bool {
    label.category.is_under(part.category)
        && if part.own { is_of(label, partner) } else { label.origin == Origin::FirstParty }
}

impl Combination {
    /// Whether both labels are among what may meet.
    fn covers(&self, a: &Label, b: &Label, partner: &str) -> bool {
        let covered = |label: &Label| self.of.iter().any(|part| speaks_of(part, label, partner));
        covered(a) && covered(b)
    }

    /// Whether it is for this returned field.
    pub fn reaches_field(&self, path: &str) -> bool {
        path.strip_prefix(self.into.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Where labels meet: which combinations count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meeting<'a> {
    /// In an instance: whatever it is for.
    Instance,
    /// In a returned field.
    Field(&'a str),
    /// In a request to an endpoint.
    Request(&'a str),
}

/// Decides about pairs of labels for one call.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) book: &'a PolicyBook,
    pub(super) partner: &'a Partner,
    pub(super) purpose: Purpose,
    /// Those that the brand granted.
    pub(super) granted: &'a [Combination],
    pub(super) facts: Facts,
    pub(super) moment: Moment,
}

/// What was decided about a label that would meet another.
#[derive(Clone, Copy)]
pub(super) struct Met<'l> {
    pub(super) verdict: Verdict,
    labels: (&'l Label, &'l Label),
    standing: Standing,
    granted: bool,
    purpose: Purpose,
    facts: Facts,
}

impl Met<'_> {
    /// The stricter of the two; the first where they are equal.
    pub(super) fn strictest(self, other: Self) -> Self {
        if other.verdict.decision > self.verdict.decision { other } else { self }
    }

    pub(super) fn allows(&self) -> bool {
        self.verdict.allows()
    }

    /// Whether they may not because the brand grants no combination of them, as it may for what is first-party and what is
    /// this partner's.
    pub(super) fn lacks_grant(&self, partner: &str) -> bool {
        let (one, other) = self.labels;
        let grantable = |label: &Label| label.origin == Origin::FirstParty || is_of(label, partner);
        !self.allows() && !self.granted && grantable(one) && grantable(other)
    }

    /// For the ledger, where they may not.
    pub(super) fn kept_apart(&self) -> Option<KeptApart> {
        let Self { verdict, labels: (label, with), standing, granted, purpose, facts } = *self;
        let (label, with, own_facts) = (label.clone(), with.clone(), Some(facts));
        (!verdict.allows()).then_some(KeptApart { label, with, standing, granted, purpose, own_facts })
    }

    /// What becomes of a verdict under these meetings, in a row of these facts; where one of them withholds what would
    /// go, which.
    pub(super) fn under(
        verdict: Verdict,
        meetings: impl IntoIterator<Item = Self>,
        of_row: Facts,
    ) -> (Verdict, Option<Arc<KeptApart>>) {
        let strictest = meetings.into_iter().reduce(Self::strictest).filter(|_| verdict.allows());
        match strictest.and_then(|met| met.kept_apart().map(|pair| (met.verdict, pair))) {
            Some((withheld, pair)) => (withheld, Some(Arc::new(pair.under(of_row)))),
            None => (verdict, None),
        }
    }
}

impl Pairs<'_> {
    /// Whether a label may meet another.
    pub(super) fn meet<'l>(&self, a: &'l Label, b: &'l Label, meeting: Meeting<'_>) -> Met<'l> {
        let name = &*self.partner.name;
        let counts = |combination: &&Combination| match meeting {
            Meeting::Instance => true,
            Meeting::Field(path) => combination.reaches_field(path),
            Meeting::Request(endpoint) => combination.into == endpoint,
        };
        let granted = a.origin == b.origin
            || a.origin == Origin::Public
            || b.origin == Origin::Public
            || self.granted.iter().filter(counts).any(|combination| combination.covers(a, b, name));
        let foreign = |label: &Label| matches!(&label.origin, Origin::Partner(of) if **of != *name);
        let (first, second) = (self.standing(a), self.standing(b));
        let facts = self
            .facts
            .with(Fact::CombineGranted, granted)
            .with(Fact::SamePartner, is_of(a, name) || is_of(b, name))
            .with(Fact::OtherPartner, foreign(a) || foreign(b))
            .with(Fact::ContractOnward, first.1 && second.1);
        let recipient = super::prepared::stricter(first.0, second.0);
        let one = |version: Option<usize>| {
            version
                .and_then(|version| {
                    self.book.compiled_pair(version, recipient, self.purpose, a.category, b.category)
                })
                .map_or(Verdict::withhold(Reason::NoPermit), |decision| decision.decide(facts))
        };
        let verdict = self.moment.strictest(one);
        let standing = Standing { recipient, onward: first.1 && second.1 };
        Met { verdict, labels: (a, b), standing, granted, purpose: self.purpose, facts: self.facts }
    }

    fn standing(&self, label: &Label) -> (Recipient, bool) {
        let standing = self.partner.standing(self.purpose, label.category, self.moment.now_ms);
        (standing.recipient, standing.onward)
    }

    /// The strictest over every pair of a label of `a` with one of `b`; none where there is no pair.
    pub(super) fn strictest<'l>(
        &self,
        a: impl Iterator<Item = &'l Label> + Clone,
        b: impl Iterator<Item = &'l Label> + Clone,
        meeting: Meeting<'_>,
    ) -> Option<Met<'l>> {
        a.flat_map(|one| b.clone().map(move |other| (one, other)))
            .map(|(one, other)| self.meet(one, other, meeting))
            .reduce(Met::strictest)
    }

    /// The strictest over every pair of labels of two different values. The labels of one value have met already,
    /// where it was made.
    pub(super) fn strictest_between<'l>(
        &self,
        values: &[&'l [Label]],
        meeting: Meeting<'_>,
    ) -> Option<Met<'l>> {
        // Each label with the values that have it, a bit for each; of many, some share one and so meet all.
        let mut found: Vec<(&Label, u128)> = Vec::new();
        for (at, labels) in values.iter().enumerate() {
            let bit = u32::try_from(at).ok().and_then(|at| 1_u128.checked_shl(at)).unwrap_or(u128::MAX);
            for label in *labels {
                match found.iter_mut().find(|(known, _)| *known == label) {
                    Some((_, values)) => *values |= bit,
                    None => found.push((label, bit)),
                }
            }
        }
        let mut strictest: Option<Met<'l>> = None;
        for (index, (one, of_one)) in found.iter().enumerate() {
            for (other, of_other) in found.iter().skip(index) {
                // In one value alone they have met already.
                if (of_one | of_other).count_ones() < 2 {
                    continue;
                }
                let met = self.meet(one, other, meeting);
                strictest = Some(strictest.map_or(met, |strictest| strictest.strictest(met)));
            }
        }
        strictest
    }

    /// Whether it is worth asking: where all labels are of one origin, only rules about categories speak.
    pub(super) fn matter<'l>(&self, mut labels: impl Iterator<Item = &'l Label>) -> bool {
        let mixed = match labels.next() {
            None => return false,
            Some(first) => labels.any(|label| label.origin != first.origin),
        };
        mixed || self.book.tells_pairs_apart(self.purpose)
    }
}

/// Two fields that would meet and may not, whoever the consumer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// Where the first comes from: `PLUGIN HOOK FIELD (LABEL)`.
    pub from: String,
    /// Where the second comes from.
    pub with: String,
    /// Why they may not meet.
    pub reason: String,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} would meet {} ({})", self.from, self.with, self.reason)
    }
}

/// A label that reaches a partner, with the way by which it does.
struct Reaching<'a> {
    way: String,
    hook: (&'a str, usize),
    field: usize,
    read: bool,
    label: Label,
}

/// The facts that allow most, for what is asked before there is a consumer.
pub(super) fn most() -> Facts {
    [Fact::BrandDirected, Fact::Engaged, Fact::PermissionIntegration, Fact::PermissionPurpose]
        .into_iter()
        .fold(Facts::none(), |facts, fact| facts.with(fact, true))
}

/// What would meet by a connection and must not, under the facts that allow most: within one instance, and at the
/// partner, which also gets what the brand's `others` of that partner give it; also by way of what `others` return
/// to it. Empty: it may be switched on.
pub fn refused_meetings(
    book: &PolicyBook,
    connection: &Connection,
    others: &[&Connection],
    moment: Moment,
) -> Vec<Path> {
    let facts = most();
    let partner = &*connection.partner.name;
    let connections: Vec<&Connection> = others.iter().copied().chain([connection]).collect();
    let brand = Brand { book, connections: &connections, facts, moment };
    // The others that count here are of the same partner.
    let ways = brand.ways(partner);
    let own = reaching(&ways, connection);
    let mut found = std::collections::BTreeSet::new();
    let mut judge = |pairs: &Pairs<'_>, a: &Reaching<'_>, b: &Reaching<'_>| {
        let verdict = pairs.meet(&a.label, &b.label, Meeting::Instance).verdict;
        if !verdict.allows() {
            let reason = verdict.reason.to_string();
            found.insert(Path { from: a.way.clone(), with: b.way.clone(), reason });
        }
    };
    let pairs = pairs_of(book, connection, facts, moment);
    for (index, a) in own.iter().enumerate() {
        for b in own.iter().skip(index + 1) {
            // The labels of one value have met already, where it was made.
            if a.hook == b.hook && a.field == b.field {
                continue;
            }
            // In different calls what came from the partner meets nothing: the partner knows it.
            if a.hook == b.hook || !(is_of(&a.label, partner) || is_of(&b.label, partner)) {
                judge(&pairs, a, b);
            }
        }
    }
    for other in others.iter().filter(|other| *other.partner.name == *partner) {
        let theirs = reaching(&ways, other);
        let other_pairs = pairs_of(book, other, facts, moment);
        for a in own.iter().filter(|a| !is_of(&a.label, partner)) {
            for b in theirs.iter().filter(|b| !is_of(&b.label, partner)) {
                judge(&pairs, a, b);
                judge(&other_pairs, a, b);
            }
        }
    }
    found.into_iter().collect()
}

/// What calls may read and may not meet what the partner answers, whoever the consumer is: such a call asks nothing.
/// Whether a plugin asks is not in its manifest, so it is no reason not to switch it on.
pub fn answers_kept_apart(
    book: &PolicyBook,
    connection: &Connection,
    connections: &[&Connection],
    moment: Moment,
) -> Vec<Path> {
    let facts = most();
    let brand = Brand { book, connections, facts, moment };
    let ways = brand.ways(&connection.partner.name);
    let pairs = pairs_of(book, connection, facts, moment);
    let mut found = std::collections::BTreeSet::new();
    for read in reaching(&ways, connection).iter().filter(|reaching| reaching.read) {
        for answer in connection.answers() {
            let verdict = pairs.meet(&read.label, &answer.label, Meeting::Instance).verdict;
            if !verdict.allows() {
                let reason = verdict.reason.to_string();
                found.insert(Path { from: read.way.clone(), with: answer.text, reason });
            }
        }
    }
    found.into_iter().collect()
}

fn pairs_of<'a>(book: &'a PolicyBook, connection: &'a Connection, facts: Facts, moment: Moment) -> Pairs<'a> {
    let (partner, purpose) = (&*connection.partner, connection.release.purpose);
    Pairs { book, partner, purpose, granted: &connection.combinations, facts, moment }
}

/// The labels of granted fields that may reach the partner at all.
fn reaching<'a>(ways: &Ways<'_>, connection: &'a Connection) -> Vec<Reaching<'a>> {
    let mut found = Vec::new();
    for (index, hook) in connection.release.hooks.iter().enumerate() {
        if hook.flow == Flow::Receive {
            continue;
        }
        for (at, field) in hook.fields.iter().enumerate() {
            let inputs = ways.inputs(connection, index, at).into_iter();
            found.extend(inputs.map(|Way { label, text }| Reaching {
                way: text,
                hook: (&connection.plugin, index),
                field: at,
                read: field.access == Access::Read,
                label,
            }));
        }
    }
    found
}
