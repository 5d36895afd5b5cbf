//! The closed set of facts that a rule may speak of, and their values at one moment.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $key:literal,)+) => {
        /// One thing that is true, false or unknown at the moment of a decision.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fact { $($(#[$doc])* $name,)+ }

        impl Fact {
            /// Every fact.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The key that policy files use.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $key,)+ }
            }
        }
    };
}

facts! {
    /// The consumer opted out of this integration.
    OptOutIntegration = "opt-out.integration",
    /// The consumer opted out of all integrations.
    OptOutAll = "opt-out.all-integrations",
    /// The consumer opted out of marketing.
    OptOutMarketing = "opt-out.marketing",
    /// The consumer opted out of SMS.
    OptOutSms = "opt-out.sms",
    /// The consumer opted out of sale.
    OptOutSale = "opt-out.sale",
    /// The consumer refused cookies.
    OptOutCookies = "opt-out.cookies",
    /// The consumer disabled location.
    OptOutLocation = "opt-out.location",
    /// The consumer permitted this integration.
    PermissionIntegration = "permission.integration",
    /// The consumer permitted this purpose.
    PermissionPurpose = "permission.purpose",
    /// Do Not Track was on at collection.
    Dnt = "signal.dnt",
    /// Global Privacy Control was on at collection.
    Gpc = "signal.gpc",
    /// Collected with strictly necessary cookies only.
    CookiesStrictlyNecessary = "cookies.strictly-necessary",
    /// Collected by performance cookies.
    CookiesPerformance = "cookies.performance",
    /// Collected by functionality cookies.
    CookiesFunctionality = "cookies.functionality",
    /// The consumer has engaged with the brand.
    Engaged = "engaged",
    /// Given in a conversation, or derived from what was.
    InConversation = "in-conversation",
    /// The label's origin is public; of two labels that meet, both are.
    Public = "origin.public",
    /// The label's origin is the partner of this flow.
    SamePartner = "origin.same-partner",
    /// The label's origin is another partner.
    OtherPartner = "origin.other-partner",
    /// The consumer is in the area of EU, GB and CH, or their region is unknown.
    ConsumerInArea = "consumer.in-area",
    /// The partner is in that area.
    PartnerInArea = "partner.in-area",
    /// A valid contract covers onward transfer of this category for this purpose.
    ContractOnward = "contract.onward",
    /// The platform or the brand gets something of value for the data.
    Consideration = "consideration",
    /// The brand has switched the connection on and granted the field.
    BrandDirected = "brand-directed",
    /// The value is an aggregate.
    Aggregated = "aggregated",
    /// A request to limit awaits the brand's word.
    LimitPending = "limit-pending",
    /// A request to delete awaits the brand's word.
    DeletionPending = "deletion-pending",
    /// The endpoint reaches the consumer by SMS.
    ChannelSms = "channel.sms",
    /// The brand marks the slot promotional.
    SlotPromotional = "slot.promotional",
    /// The value was collected for other purposes than this one.
    OtherPurpose = "collected-for-another-purpose",
    /// Of two labels that meet: they have the same origin, or a declared combination that the brand
    /// granted covers the pair. Public data counts as of the same origin.
    CombineGranted = "combine.granted",
    /// A second person approved this export to an authority.
    DisclosureApproved = "disclosure.approved",
}

impl Fact {
    /// The fact with this key.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fact| fact.as_str() == key)
    }

    /// Its place in a mask. Invariant: fewer than 64 facts (a test holds it).
    #[inline]
    pub(crate) fn bit(self) -> u64 {
        1 << (self as u32)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known at the moment of a decision: each fact is true, false, or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    pub(crate) set: u64,
    pub(crate) unknown: u64,
}

impl Facts {
    /// Every fact false.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every fact unknown: whatever depends on one is withheld.
    pub fn unknown() -> Self {
        Self { set: 0, unknown: u64::MAX }
    }

    /// With `fact` known to be `value`.
    #[must_use]
    #[inline]
    pub fn with(self, fact: Fact, value: bool) -> Self {
        let bit = fact.bit();
        Self { set: (self.set & !bit) | (u64::from(value) << fact as u32), unknown: self.unknown & !bit }
    }

    /// With `fact` unknown.
    #[must_use]
    pub fn without_knowing(mut self, fact: Fact) -> Self {
        self.unknown |= fact.bit();
        self.set &= !fact.bit();
        self
    }

    /// Whether `fact` is known to be true.
    pub fn holds(self, fact: Fact) -> bool {
        self.set & fact.bit() != 0
    }

    /// The facts known to be true.
    pub fn iter(self) -> impl Iterator<Item = Fact> {
        Fact::ALL.iter().copied().filter(move |fact| self.holds(*fact))
    }

    /// The true facts as one number, for the ledger; [`Facts::from_bits`] reads it.
    pub fn to_bits(self) -> u64 {
        self.set
    }

    /// Facts from [`Facts::to_bits`].
    pub fn from_bits(set: u64) -> Self {
        Self { set, unknown: 0 }
    }
}

/// The keys of the facts known to be true: what the ledger keeps.
impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Fact::as_str))
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = Vec::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        keys.iter().try_fold(Self::none(), |facts, key| {
            let fact = Fact::parse(key).ok_or_else(|| serde::de::Error::custom("an unknown fact"))?;
            Ok(facts.with(fact, true))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_fit_a_mask_and_have_distinct_keys() {
        assert!(Fact::ALL.len() < 64);
        for fact in Fact::ALL {
            assert_eq!(Fact::parse(fact.as_str()), Some(*fact));
        }
    }

    #[test]
    fn a_fact_is_true_false_or_unknown() {
        let facts = Facts::unknown().with(Fact::Dnt, true).with(Fact::Gpc, false);
        assert!(facts.holds(Fact::Dnt) && !facts.holds(Fact::Gpc) && !facts.holds(Fact::Engaged));
        assert_eq!(facts.unknown & Fact::Dnt.bit(), 0);
        assert_ne!(facts.unknown & Fact::Engaged.bit(), 0);
    }
}
