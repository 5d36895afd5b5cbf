//! The policies in force and their compiled decisions. It decides; it makes no `Permitted<T>`.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use gateway_policy::{
    Aggregation, Basis, Category, CompiledDecision, Conditions, Declassified, Effect, Fact, Facts, Flow,
    Label, LabelSet, Origin, Partner, Policy, PolicyError, PolicySet, Purpose, Reason, Recipient, Standing,
    Verdict,
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
    /// Versions in force when that was accepted which was stored since and counts too: a bit for each.
    collected: u64,
}

impl Moment {
    /// One at which this version alone counts.
    pub(super) fn under(version: Option<usize>) -> Self {
        Self { now_ms: 0, accepted: version, current: version, collected: 0 }
    }

    /// The versions that count, a bit for each; none: at some time that counts none was in force.
    pub(super) fn versions(self) -> Option<u64> {
        let bit = |version: Option<usize>| 1_u64.checked_shl(u32::try_from(version?).ok()?);
        Some(bit(self.current)? | bit(self.accepted)? | self.collected)
    }

    /// The strictest of what every version that matters says; none in force says what `one` says of none.
    pub(super) fn strictest(self, one: impl Fn(Option<usize>) -> Verdict) -> Verdict {
        let Self { accepted, current, collected, .. } = self;
        let mut verdict = one(current);
        if accepted != current {
            verdict = verdict.strictest(one(accepted));
        }
        let mut left = collected;
        while left != 0 {
            let version = left.trailing_zeros() as usize;
            left &= left - 1;
            if Some(version) != current && Some(version) != accepted {
                verdict = verdict.strictest(one(Some(version)));
            }
        }
        verdict
    }
}

/// Versions side by side: one for each bit of [`Moment::collected`].
const MAX_VERSIONS: usize = u64::BITS as usize;

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
        let found = parsed.len();
        if found > MAX_VERSIONS {
            return Err(PolicyError::Head(format!(
                "there are {found} versions, and at most {MAX_VERSIONS} stand side by side; drop the oldest"
            )));
        }
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

    /// Its versions, oldest first.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.set.iter()
    }

    /// The versions that matter for something accepted at `accepted_ms` and decided at `now_ms`.
    pub fn moment(&self, accepted_ms: i64, now_ms: i64) -> Moment {
        Moment {
            now_ms,
            accepted: self.set.in_force(&day(accepted_ms)),
            current: self.set.in_force(&day(now_ms)),
            collected: 0,
        }
    }

    /// The same for what was made of something stored too: each version under which any of that was collected
    /// holds for it, so that a looser one does not reach back (clause policy.version).
    pub fn also(&self, moment: Moment, conditions: &Conditions) -> Moment {
        conditions.under.iter().fold(moment, |moment, day| {
            let version = self.set.in_force(day).and_then(|version| u32::try_from(version).ok());
            match version.and_then(|version| 1_u64.checked_shl(version)) {
                Some(bit) => Moment { collected: moment.collected | bit, ..moment },
                None => Moment { accepted: None, ..moment },
            }
        })
    }

    /// Notes with what held for something accepted at this moment the version under which it was.
    pub fn note(&self, moment: Moment, conditions: &mut Conditions) {
        let day = self.accepted_under(moment);
        if !conditions.under.contains(day) {
            conditions.under.insert(day.to_owned());
        }
    }

    /// The version in force at acceptance, as in [`Conditions::under`].
    pub(super) fn accepted_under(&self, moment: Moment) -> &str {
        let version = moment.accepted.and_then(|index| self.set.get(index));
        version.map(Policy::effective).unwrap_or_default()
    }

    /// The labels that a value has besides those that it is stored with: [`PolicyBook::regained`], and
    /// [`Conditions::lapsed`] by the records that `partner` finds.
    pub fn besides<'p>(
        &self,
        conditions: &Conditions,
        partner: impl Fn(&str) -> Option<&'p Partner>,
        moment: Moment,
    ) -> LabelSet {
        let mut labels: LabelSet = self.regained(conditions, moment).map(|one| one.from.clone()).collect();
        labels.join(&conditions.lapsed(partner, moment.now_ms, &labels));
        labels
    }

    /// Labels that a value has besides, each with the one to which it gave way: the version in force now has no such rule,
    /// or the one under which the event was accepted that the value was made of.
    pub(super) fn regained<'c>(
        &self,
        conditions: &'c Conditions,
        moment: Moment,
    ) -> impl Iterator<Item = &'c Declassified> {
        let has = move |version: Option<usize>, one: &Declassified| {
            version.and_then(|version| self.set.get(version)).is_some_and(|policy| one.is_by(policy))
        };
        conditions
            .declassified
            .iter()
            .filter(move |one| !(has(moment.current, one) && has(self.set.in_force(&one.under), one)))
    }

    /// SHA-256 of the file of the version in force now; zeroes where none is.
    pub fn digest(&self, moment: Moment) -> [u8; 32] {
        moment.current.and_then(|index| self.digests.get(index)).copied().unwrap_or_default()
    }

    /// How aggregates are made, by the version in force now; none: there are none.
    pub fn aggregation(&self, moment: Moment) -> Option<Aggregation> {
        moment.current.and_then(|index| self.set.get(index)).map(|policy| *policy.aggregation())
    }

    /// Each version, with its bit in [`Moment::versions`].
    pub(super) fn each(&self) -> impl Iterator<Item = (u64, &Policy)> {
        self.set.iter().zip(0_u32..).filter_map(|(policy, at)| Some((1_u64.checked_shl(at)?, policy)))
    }

    /// The versions among these.
    pub(super) fn among(&self, counting: u64) -> impl Iterator<Item = &Policy> {
        self.each().filter(move |(bit, _)| counting & bit != 0).map(|(_, policy)| policy)
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
        (recipient, moment.strictest(one))
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
    /// How the recipient stands toward each of these labels: what a row keeps of it.
    pub(super) fn basis<'l>(&self, labels: impl IntoIterator<Item = &'l Label>, now_ms: i64) -> Basis {
        Basis::of(labels.into_iter().map(|label| {
            let Standing { recipient, onward } = self.partner.standing(self.purpose, label.category, now_ms);
            Standing { recipient: if self.to_brand { Recipient::Brand } else { recipient }, onward }
        }))
    }

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

    fn partner() -> Partner {
        Partner {
            name: "p".into(),
            display_name: "P".into(),
            region: gateway_policy::Region::Us,
            domains: Vec::new(),
            consideration: false,
            contracts: Default::default(),
        }
    }

    #[test]
    fn every_version_under_which_something_stored_was_collected_decides_too() {
        let loose = PolicyBook::SHIPPED.replace("\"strict\"", "\"loose\"");
        let from = |text: &str, day: &str| text.replace("2017-03-01", day);
        let (first, second, third) = ("2017-03-01", "2020-01-01", "2027-01-01");
        let texts = [loose.clone(), from(PolicyBook::SHIPPED, second), from(&loose, third)];
        let book = PolicyBook::new(&texts).unwrap();
        let partner = partner();
        let purpose = Purpose::parse("essential").unwrap();
        let question = Question { flow: Flow::Share, purpose, partner: &partner, to_brand: false };
        let facts = Facts::none().with(Fact::BrandDirected, true);
        let label = Label::first_party(Category::parse("user.contact.email").unwrap());
        let now = book.moment(JANUARY_2027, JANUARY_2027);
        for (under, allowed) in [
            (&[][..], true),
            (&[first], true),
            (&[second], false),
            // An older one that allows it does not stand in for the one between.
            (&[first, second], false),
            (&[first, third], true),
            // Accepted while none was in force.
            (&[""], false),
        ] {
            let mut conditions = Conditions::default();
            conditions.under.extend(under.iter().map(|day| (*day).to_owned()));
            let (_, verdict) = book.decide(&question, &label, facts, book.also(now, &conditions));
            assert_eq!(verdict.allows(), allowed, "{under:?}: {verdict:?}");
        }
        let mut noted = Conditions::default();
        for ms in [MARCH_2017, MARCH_2017 + 1, JANUARY_2027, MARCH_2017 - 1] {
            book.note(book.moment(ms, JANUARY_2027), &mut noted);
        }
        assert_eq!(noted.under, ["", first, third].map(str::to_owned).into());
    }

    proptest::proptest! {
        #[test]
        fn what_goes_is_allowed_by_every_version_that_counts_whichever_those_are(
            accepted in proptest::option::of(0_usize..6),
            current in proptest::option::of(0_usize..6),
            collected in 0_u64..64,
            allowing in 0_u64..64,
        ) {
            let is_in = |bits: u64, version: usize| bits & (1 << version) != 0;
            let clause = gateway_policy::Clause::parse("share.brand").unwrap();
            let says = |version: Option<usize>| match version {
                Some(version) if is_in(allowing, version) => Verdict::allow(clause),
                _ => Verdict::withhold(Reason::NoPermit),
            };
            let verdict = Moment { now_ms: 0, accepted, current, collected }.strictest(says);
            let counts = |version: usize| {
                [accepted, current].contains(&Some(version)) || is_in(collected, version)
            };
            let none_missing = accepted.is_some() && current.is_some();
            let all_allow = (0..6).filter(|version| counts(*version)).all(|version| is_in(allowing, version));
            proptest::prop_assert_eq!(verdict.allows(), none_missing && all_allow);
        }
    }

    #[test]
    fn more_versions_than_stand_side_by_side_are_refused() {
        let of = |day: usize| {
            let day = format!("20{:02}-{:02}-01", 18 + day / 12, 1 + day % 12);
            PolicyBook::SHIPPED.replace("2017-03-01", &day)
        };
        let texts: Vec<String> = (0..=MAX_VERSIONS).map(of).collect();
        assert!(PolicyBook::new(&texts[1..]).is_ok());
        let refused = PolicyBook::new(&texts).err().unwrap().to_string();
        assert!(refused.contains("65 versions"), "{refused}");
    }

    #[test]
    fn the_stricter_of_the_version_at_acceptance_and_the_one_in_force_decides() {
        let loose = PolicyBook::SHIPPED.replace("\"strict\"", "\"loose\"");
        let later = |text: &str| text.replace("2017-03-01", "2027-01-01");
        let partner = partner();
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
