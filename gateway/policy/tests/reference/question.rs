//! What is asked, in the words of `clauses.md`.

use std::fmt;

use gateway_policy::{Fact, Facts, Flow, Recipient};

/// One question at the boundary. `with` is the other label's category where two labels meet
/// ([`Flow::Combine`]), and only there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub flow: Flow,
    pub recipient: Recipient,
    pub purpose: &'static str,
    pub category: &'static str,
    pub with: Option<&'static str>,
    pub facts: Facts,
}

/// Whether `key` is `above` or stands below it.
fn under(key: &str, above: &str) -> bool {
    key == above || key.starts_with(&format!("{above}."))
}

const CONTENT: &[&str] = &["user.content.private", "user.content.self_image", "user.biometric.voice"];

const IDENTIFYING: &[&str] = &[
    "user.name",
    "user.contact",
    "user.account",
    "user.unique_id",
    "user.device.ip_address",
    "user.device.device_id",
    "user.device.cookie",
    "user.device.cookie_id",
    "user.government_id",
    "user.financial",
    "user.payment",
    "user.biometric",
    "user.health_and_medical",
    "user.location.precise",
];

const BEHAVIOUR: &[&str] = &["user.behavior"];

const SENSITIVE: &[&str] = &[
    "user.health_and_medical",
    "user.biometric",
    "user.financial",
    "user.government_id",
    "user.criminal_history",
    "user.childrens",
    "user.demographic.race_ethnicity",
    "user.demographic.religious_belief",
    "user.demographic.political_opinion",
    "user.demographic.sexual_orientation",
];

/// What clause signals.dnt names.
const TRACKING: &[&str] = &[
    "user.behavior",
    "user.location",
    "user.device.ip_address",
    "user.device.device_id",
    "user.device.cookie",
    "user.device.cookie_id",
];

const LOCATION: &[&str] = &["user.location", "user.device.ip_address"];

impl Question {
    /// Whether this fact holds. An unknown fact is asked about by [`Question::completions`].
    pub fn is(&self, fact: Fact) -> bool {
        self.facts.holds(fact)
    }

    /// To a partner, whatever its standing.
    pub fn goes_to_partner(&self) -> bool {
        self.goes_to_third_party() || self.recipient == Recipient::ServiceProvider
    }

    pub fn goes_to_third_party(&self) -> bool {
        self.recipient == Recipient::ThirdParty
    }

    /// A field goes to a partner as it is: an event handed on, or a decision asked for.
    pub fn hands_over(&self) -> bool {
        matches!(self.flow, Flow::Share | Flow::Decide) && self.goes_to_partner()
    }

    /// A slot that a brand marks promotional counts as marketing whatever the plugin's purpose
    /// (clause choice.marketing).
    pub fn for_marketing(&self) -> bool {
        under(self.purpose, "marketing") || self.is(Fact::SlotPromotional)
    }

    /// And so it is not essential.
    pub fn for_essential(&self) -> bool {
        under(self.purpose, "essential") && !self.is(Fact::SlotPromotional)
    }

    pub fn for_analytics(&self) -> bool {
        under(self.purpose, "analytics")
    }

    pub fn for_training(&self) -> bool {
        under(self.purpose, "train_ai_system")
    }

    /// Purposes for which clause signals.dnt withholds from every recipient.
    pub fn for_tracking(&self) -> bool {
        self.for_marketing() || self.for_analytics() || under(self.purpose, "personalize")
    }

    pub fn by_sms(&self) -> bool {
        self.is(Fact::ChannelSms) || self.purpose.ends_with(".sms")
    }

    /// Purposes that are sale-like by themselves.
    pub fn for_a_sale(&self) -> bool {
        ["marketing", "sales", "third_party_sharing"].iter().any(|above| under(self.purpose, above))
    }

    /// Sale-like: such a purpose, a slot that counts as marketing, and every purpose where something of
    /// value is given for the data.
    pub fn for_something_like_a_sale(&self) -> bool {
        self.for_a_sale() || self.for_marketing() || self.is(Fact::Consideration)
    }

    /// Whether a label of the question is under one of these.
    fn any_under(&self, keys: &[&str]) -> bool {
        [Some(self.category), self.with]
            .into_iter()
            .flatten()
            .any(|category| keys.iter().any(|above| under(category, above)))
    }

    /// Whether one of the two labels is under `one` and the other under `other`.
    fn meets(&self, one: &[&str], other: &[&str]) -> bool {
        let is = |category: &str, keys: &[&str]| keys.iter().any(|above| under(category, above));
        self.with.is_some_and(|with| {
            (is(self.category, one) && is(with, other)) || (is(self.category, other) && is(with, one))
        })
    }

    pub fn is_content(&self) -> bool {
        self.any_under(CONTENT)
    }

    pub fn is_identifying(&self) -> bool {
        self.any_under(IDENTIFYING)
    }

    pub fn is_sensitive(&self) -> bool {
        self.any_under(SENSITIVE)
    }

    pub fn is_tracking(&self) -> bool {
        self.any_under(TRACKING)
    }

    pub fn is_location(&self) -> bool {
        self.any_under(LOCATION)
    }

    pub fn is_phone_number(&self) -> bool {
        self.any_under(&["user.contact.phone_number"])
    }

    pub fn identity_meets_behaviour(&self) -> bool {
        self.meets(IDENTIFYING, BEHAVIOUR)
    }

    /// A forum post: public content of public origin; joined with anything else it is as that
    /// (clause choice.public).
    pub fn is_public(&self) -> bool {
        self.is(Fact::Public)
            && [Some(self.category), self.with]
                .into_iter()
                .flatten()
                .all(|category| under(category, "user.content.public"))
    }

    /// The question with every way in which its unknown facts may turn out, among those of `facts`.
    pub fn completions(&self, unknown: &[Fact]) -> Vec<Self> {
        let mut all = vec![*self];
        for fact in unknown {
            let question = |value| move |q: &Self| Self { facts: q.facts.with(*fact, value), ..*q };
            all = all.iter().map(question(false)).chain(all.iter().map(question(true))).collect();
        }
        all
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts: Vec<&str> = self.facts.iter().map(Fact::as_str).collect();
        write!(
            f,
            "{} to {} for {}: {}",
            self.flow.as_str(),
            self.recipient.as_str(),
            self.purpose,
            self.category
        )?;
        if let Some(with) = self.with {
            write!(f, " with {with}")?;
        }
        write!(f, ", facts [{}]", facts.join(", "))
    }
}
