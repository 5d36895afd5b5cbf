//! The policies in force and their compiled decisions. It decides; it makes no `Permitted<T>`.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use gateway_policy::{
    Aggregation, Category, CompiledDecision, Effect, Fact, Facts, Flow, Label, Origin, Partner, Policy,
    PolicyError, PolicySet, Purpose, Reason, Recipient, Verdict,
};
use sha2::{Digest as _, Sha256};

use super::prepared::stricter;

/// When a decision is made, and under which versions of the policy (clause policy.version).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The version in force when the event was accepted; none: nothing is allowed.
    pub accepted: Option<usize>,
    /// The version in force now.
    pub current: Option<usize>,
}

type Key = (usize, Flow, Recipient, Purpose, Category);
type PairKey = (usize, Recipient, Purpose, Category, Category);

/// All policies, and a memo of what they compile to. The memo is bounded by the vocabulary.
pub struct PolicyBook {
    set: PolicySet,
    digests: Vec<[u8; 32]>,
    /// Of each rule, in any version, that keeps categories of one origin apart: its purposes; none given: all.
    apart: Vec<Vec<Purpose>>,
    compiled: RwLock<HashMap<Key, Arc<CompiledDecision>>>,
    pairs: RwLock<HashMap<PairKey, Arc<CompiledDecision>>>,
}

impl PolicyBook {
    /// The policy that comes with the gateway.
    pub const SHIPPED: &str = include_str!("../../policies/platform-2017-03-01.toml");

    /// Reads policy files.
    ///
    /// # Errors
    /// [`PolicyError`] for the first text that is not a policy, or two of one date.
    pub fn new(texts: &[String]) -> Result<Self, PolicyError> {
        let mut parsed = Vec::with_capacity(texts.len());
        for text in texts {
            parsed.push((Policy::parse(text)?, <[u8; 32]>::from(Sha256::digest(text.as_bytes()))));
        }
        // The same order as `PolicySet` gives its versions.
        parsed.sort_by(|(a, _), (b, _)| a.effective().cmp(b.effective()));
        let (policies, digests) = parsed.into_iter().unzip();
        let set = PolicySet::new(policies)?;
        let apart = apart(&set);
        Ok(Self { set, digests, apart, compiled: RwLock::default(), pairs: RwLock::default() })
    }

    /// The policies shipped with the gateway.
    ///
    /// # Errors
    /// [`PolicyError`] where the shipped file is damaged.
    pub fn shipped() -> Result<Self, PolicyError> {
        Self::new(&[Self::SHIPPED.to_owned()])
    }

    /// The versions that matter for something accepted at `accepted_ms` and decided at `now_ms`.
    pub fn moment(&self, accepted_ms: i64, now_ms: i64) -> Moment {
        Moment {
            now_ms,
            accepted: self.set.in_force(&day(accepted_ms)),
            current: self.set.in_force(&day(now_ms)),
        }
    }

    /// SHA-256 of the file of the version in force now; zeroes where none is.
    pub fn digest(&self, moment: Moment) -> [u8; 32] {
        moment.current.and_then(|index| self.digests.get(index)).copied().unwrap_or_default()
    }

    /// How aggregates are made, by the version in force now; none: there are none.
    pub fn aggregation(&self, moment: Moment) -> Option<Aggregation> {
        moment.current.and_then(|index| self.set.get(index)).map(|policy| *policy.aggregation())
    }

    /// How many versions there are.
    pub fn versions(&self) -> usize {
        self.digests.len()
    }

    /// The decision of one version, compiled once.
    pub fn compiled(
        &self,
        version: usize,
        flow: Flow,
        recipient: Recipient,
        purpose: Purpose,
        category: Category,
    ) -> Option<Arc<CompiledDecision>> {
        let key = (version, flow, recipient, purpose, category);
        if let Some(known) = self.compiled.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key)
        {
            return Some(Arc::clone(known));
        }
        let fresh = self.set.get(version)?.compile(flow, recipient, purpose, category);
        let mut memo = self.compiled.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Categories that no rule tells apart share one decision.
        let shared = memo.values().find(|known| ***known == fresh).map(Arc::clone);
        let shared = shared.unwrap_or_else(|| Arc::new(fresh));
        Some(Arc::clone(memo.entry(key).or_insert(shared)))
    }

    /// The decision of one version about two labels that meet, compiled once.
    pub(super) fn compiled_pair(
        &self,
        version: usize,
        recipient: Recipient,
        purpose: Purpose,
        a: Category,
        b: Category,
    ) -> Option<Arc<CompiledDecision>> {
        let key = (version, recipient, purpose, a.min(b), a.max(b));
        if let Some(known) = self.pairs.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key) {
            return Some(Arc::clone(known));
        }
        let fresh = self.set.get(version)?.compile_combination(recipient, purpose, a, b);
        let mut memo = self.pairs.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let shared = memo.values().find(|known| ***known == fresh).map(Arc::clone);
        let shared = shared.unwrap_or_else(|| Arc::new(fresh));
        Some(Arc::clone(memo.entry(key).or_insert(shared)))
    }

    /// Whether any version has a rule that keeps categories of one origin apart for this purpose.
    pub(super) fn tells_pairs_apart(&self, purpose: Purpose) -> bool {
        let speaks_of = |purposes: &Vec<Purpose>| {
            purposes.is_empty() || purposes.iter().any(|above| purpose.is_under(*above))
        };
        self.apart.iter().any(speaks_of)
    }

    /// The verdict on one label: allowed by the version at acceptance and by the one in force now.
    pub fn decide(
        &self,
        question: &Question<'_>,
        label: &Label,
        base: Facts,
        moment: Moment,
    ) -> (Recipient, Verdict) {
        let (recipient, facts) = question.facts_for(label, base, moment.now_ms);
        let one = |version: Option<usize>| {
            version
                .and_then(|version| {
                    self.compiled(version, question.flow, recipient, question.purpose, label.category)
                })
                .map_or(Verdict::withhold(Reason::NoPermit), |decision| decision.decide(facts))
        };
        let now = one(moment.current);
        let verdict =
            if moment.accepted == moment.current { now } else { now.strictest(one(moment.accepted)) };
        (recipient, verdict)
    }

    /// The strictest over all of a value's labels; none: it has no label, and so no origin (clause
    /// collect.sources).
    pub fn decide_all<'l>(
        &self,
        question: &Question<'_>,
        labels: impl IntoIterator<Item = &'l Label>,
        base: Facts,
        moment: Moment,
    ) -> Option<(Recipient, Verdict)> {
        let decided = labels.into_iter().map(|label| self.decide(question, label, base, moment));
        decided.reduce(|(stands, so_far), (to, one)| (stricter(stands, to), so_far.strictest(one)))
    }
}

fn apart(set: &PolicySet) -> Vec<Vec<Purpose>> {
    let scopes = set.iter().flat_map(Policy::rules).filter(|rule| rule.effect == Effect::Forbid);
    let scopes = scopes.map(|rule| &rule.scope).filter(|scope| scope.flow.contains(&Flow::Combine));
    let scopes = scopes.filter(|scope| {
        let of_categories = !(scope.category.is_empty() && scope.with.is_empty());
        // What speaks of sharing too says the same of each of both; what speaks of origins, nothing of one.
        let of_origins =
            scope.when.contains(&Fact::OtherPartner) || scope.unless.contains(&Fact::CombineGranted);
        of_categories || !(of_origins || scope.flow.contains(&Flow::Share))
    });
    scopes.map(|scope| scope.purpose.clone()).collect()
}

/// The UTC day of a moment, `YYYY-MM-DD`.
fn day(ms: i64) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .date();
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// What is asked of the policy, apart from the label and the facts.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The kind of flow.
    pub flow: Flow,
    /// The plugin's purpose.
    pub purpose: Purpose,
    /// Who runs the plugin; with [`Question::to_brand`], not the recipient but the origin to compare with.
    pub partner: &'a Partner,
    /// Whether the data goes to the brand rather than to the partner.
    pub to_brand: bool,
}

impl Question<'_> {
    /// The recipient for this label, and the facts that depend on it.
    fn facts_for(&self, label: &Label, base: Facts, now_ms: i64) -> (Recipient, Facts) {
        let standing = self.partner.standing(self.purpose, label.category, now_ms);
        let facts = origin_facts(base, &label.origin, self.partner, standing.onward);
        (if self.to_brand { Recipient::Brand } else { standing.recipient }, facts)
    }
}

/// The facts that depend on a label's origin and on the contracts that cover it.
pub(super) fn origin_facts(base: Facts, origin: &Origin, partner: &Partner, onward: bool) -> Facts {
    let facts = base.with(Fact::ContractOnward, onward);
    match origin {
        Origin::FirstParty => facts,
        Origin::Public => facts.with(Fact::Public, true),
        Origin::Partner(name) if **name == *partner.name => facts.with(Fact::SamePartner, true),
        Origin::Partner(_) => facts.with(Fact::OtherPartner, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of 1 March 2017 and of 1 January 2027.
    const MARCH_2017: i64 = 1_488_326_400_000;
    const JANUARY_2027: i64 = 1_798_761_600_000;

    #[test]
    fn the_stricter_of_the_version_at_acceptance_and_the_one_in_force_decides() {
        let loose = PolicyBook::SHIPPED.replace("\"strict\"", "\"loose\"");
        let later = |text: &str| text.replace("2017-03-01", "2027-01-01");
        let partner = Partner {
            name: "p".into(),
            display_name: "P".into(),
            region: gateway_policy::Region::Us,
            domains: Vec::new(),
            consideration: false,
            contracts: Default::default(),
        };
        let question = Question {
            flow: Flow::Share,
            purpose: Purpose::parse("essential").unwrap(),
            partner: &partner,
            to_brand: false,
        };
        // Not engaged: the strict reading withholds, the loose one allows.
        let facts = Facts::none().with(Fact::BrandDirected, true);
        let label = Label::first_party(Category::parse("user.contact.email").unwrap());
        let before = MARCH_2017 - 1;
        for (texts, accepted, now, allowed) in [
            ([loose.clone(), later(PolicyBook::SHIPPED)], MARCH_2017, MARCH_2017, true),
            // Tightened meanwhile: what was accepted before is held to the new version too.
            ([loose.clone(), later(PolicyBook::SHIPPED)], MARCH_2017, JANUARY_2027, false),
            // Loosened meanwhile: the looser version does not reach back.
            ([PolicyBook::SHIPPED.to_owned(), later(&loose)], MARCH_2017, JANUARY_2027, false),
            ([PolicyBook::SHIPPED.to_owned(), later(&loose)], JANUARY_2027, JANUARY_2027, true),
            // Before the first version there was no permission to collect.
            ([loose.clone(), later(&loose)], before, JANUARY_2027, false),
        ] {
            let book = PolicyBook::new(&texts).unwrap();
            let (_, verdict) = book.decide(&question, &label, facts, book.moment(accepted, now));
            assert_eq!(verdict.allows(), allowed, "accepted {accepted}, decided {now}: {verdict:?}");
        }
    }
}
