//! The clauses that rules, reasons and the console cite, each with one plain sentence.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A clause of the policy, by id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clause(u8);

/// (id, what it says in plain words). The order has no meaning.
const CLAUSES: &[(&str, &str)] = &[
    ("collect.transcripts", "Chat and messaging transcripts are collected on behalf of the brand."),
    (
        "collect.brand-requested",
        "Browsing, purchases and online behaviour are collected where the brand asks.",
    ),
    ("collect.automatic", "Address, system, place and pages viewed are collected automatically."),
    ("collect.personal", "Names, contact details, surveys, transcripts and recordings are collected."),
    ("collect.mobile", "Location, device id and media are collected where the consumer allows it."),
    ("collect.sources", "Every value has an origin: the consumer, public data, or a named partner."),
    ("collect.consumer-decides", "It is up to the consumer what to provide."),
    ("use.brand-directed", "Data is used on behalf of the brand and as it directs."),
    ("use.deploy-content", "The brand may use data to decide whether to show a chat button or a banner."),
    ("use.own-sites", "Data given on the platform's own sites serves the purpose it was given for."),
    ("use.train", "Only aggregates are used for training."),
    (
        "cookies.strictly-necessary",
        "Data collected with strictly necessary cookies serves essential purposes only.",
    ),
    ("cookies.performance", "Data collected by performance cookies is shared only in aggregate."),
    (
        "cookies.functionality",
        "Data collected by functionality cookies never identifies the consumer to a partner.",
    ),
    ("cookies.third-party-analytics", "Analytics gets nothing that identifies the consumer, and no content."),
    ("choice.cookies", "The consumer refused cookies: essential purposes only."),
    ("signals.dnt", "The consumer's browser asked not to be tracked."),
    ("signals.gpc", "The consumer's browser sent the Global Privacy Control signal."),
    (
        "share.no-sale",
        "What a consumer says in a conversation is not sold, traded or rented without permission.",
    ),
    (
        "share.content",
        "The contents of conversations go to third parties only with the consumer's permission.",
    ),
    (
        "share.legal",
        "Data is disclosed to an authority only for a legal reason, asked by one person and approved by another.",
    ),
    ("share.legal.i", "Disclosed to comply with legal process."),
    ("share.legal.ii", "Disclosed to mitigate liability in a lawsuit."),
    ("share.legal.iii", "Disclosed to enforce the policy or an agreement."),
    ("share.legal.iv", "Disclosed to investigate or prevent unauthorised transactions or illegal activity."),
    ("share.legal.v", "Disclosed to protect rights or property."),
    ("share.brand", "Data may be shared with the brand and with the platform's service providers."),
    ("share.aggregate", "Aggregates that identify nobody may be shared."),
    (
        "integrations.share",
        "A brand's integration may receive the data of consumers who engaged with that brand.",
    ),
    ("integrations.receive", "A partner may send data about a consumer to the brand."),
    ("integrations.combine", "A partner's data may be combined with the brand's where declared and granted."),
    ("integrations.no-control", "The partner's own privacy policy governs what it does with the data."),
    ("integrations.opt-out", "The consumer opted out of this integration."),
    ("integrations.onward", "One partner's data does not reach another partner."),
    ("choice.marketing", "The consumer opted out of marketing."),
    ("choice.sms", "The consumer opted out of SMS."),
    ("choice.location", "The consumer disabled location."),
    ("choice.public", "Forum posts are public."),
    ("rights.limit", "While a request to limit awaits the brand's word, third parties get nothing."),
    ("rights.delete", "While a request to delete awaits the brand's word, third parties get nothing."),
    ("principles.sensitive", "Sensitive data goes to third parties only with the consumer's permission."),
    ("principles.purpose", "Data serves the purpose it was collected or granted for."),
    ("transfer.contract", "A service provider is bound by a contract that covers the purpose and the data."),
    ("transfer.onward", "Data leaves the EU, the UK and Switzerland only under an onward-transfer contract."),
    ("policy.version", "A flow must be allowed by the policy at collection and by the one in force now."),
];

impl Clause {
    /// Looks an id up.
    pub fn parse(id: &str) -> Option<Self> {
        let index = CLAUSES.iter().position(|(known, _)| *known == id)?;
        u8::try_from(index).ok().map(Self)
    }

    /// The id.
    pub fn as_str(self) -> &'static str {
        CLAUSES.get(usize::from(self.0)).map_or("", |(id, _)| id)
    }

    /// What the clause says, in one plain sentence.
    pub fn summary(self) -> &'static str {
        CLAUSES.get(usize::from(self.0)).map_or("", |(_, text)| text)
    }

    /// Every clause.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CLAUSES.len()).filter_map(|index| u8::try_from(index).ok().map(Self))
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Clause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Clause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&id).ok_or_else(|| serde::de::Error::custom(format!("unknown clause {id:?}")))
    }
}
