//! What a coupon banner offers after a purchase: a discount for everybody, a larger one for members of the
//! partner's loyalty programme.

use plugin_sdk::events::PurchaseCompleted;
use plugin_sdk::{
    Decide, Event, EventType, Failure, Message, NoSettings, Outcome, Receive, Request, Share, json,
};
use serde::{Deserialize, Serialize};

/// The plugin.
pub struct LoyaltyOffer;

/// A purchase, with what the programme said of the member.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Purchase {
    /// In the purchase's currency.
    #[serde(default)]
    pub total: Option<f64>,
    /// From the partner.
    #[serde(default)]
    pub partner: Programme,
}

impl EventType for Purchase {
    const TYPE: &str = PurchaseCompleted::TYPE;
}

/// What the programme sends, and what is stored of it: `schemas/member.json`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Programme {
    /// The member.
    #[serde(default)]
    pub member: Member,
}

/// A member of the programme.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Member {
    /// None: not known, or not to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

/// What a member has earned.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The first.
    Bronze,
    /// The second.
    Silver,
    /// The highest.
    Gold,
}

/// The answer: `schemas/offer.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Banner {
    /// What the banner says.
    pub offer: Offer,
}

/// A discount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// On the next purchase.
    pub percent: u32,
    /// `everybody` or `members`.
    #[serde(rename = "for")]
    pub audience: &'static str,
}

/// A total from which a member is offered more.
const LARGE: f64 = 500.0;

impl Share for LoyaltyOffer {
    type Event = Purchase;
    type Settings = NoSettings;

    fn on_event(event: Event<Purchase, NoSettings>) -> Result<Outcome, Failure> {
        let Some(consumer) = event.sealed("consumer") else { return Ok(Outcome::new()) };
        let member = json::object().with("ref", consumer);
        Ok(Outcome::new().deliver(Request::to("members").body(json::object().with("member", member))))
    }
}

impl Receive for LoyaltyOffer {
    type Message = Programme;
    type Settings = NoSettings;

    fn on_message(message: Message<Programme, NoSettings>) -> Result<Outcome, Failure> {
        Outcome::new().returning(&message.body)
    }
}

impl Decide for LoyaltyOffer {
    type Event = Purchase;
    type Settings = NoSettings;
    type Answer = Banner;

    fn decide(_slot: &str, event: Event<Purchase, NoSettings>) -> Result<Banner, Failure> {
        Ok(Banner { offer: offer(&event.data) })
    }
}

fn offer(purchase: &Purchase) -> Offer {
    let Some(tier) = purchase.partner.member.tier else {
        return Offer { percent: 5, audience: "everybody" };
    };
    let by_tier = match tier {
        Tier::Bronze => 10,
        Tier::Silver => 15,
        Tier::Gold => 20,
    };
    let more = if purchase.total.is_some_and(|total| total >= LARGE) { 5 } else { 0 };
    Offer { percent: by_tier + more, audience: "members" }
}

plugin_sdk::export!(LoyaltyOffer: share, decide, receive);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_offered_more_by_tier_and_by_what_they_spend() {
        let cases = [
            (None, Some(900.0), 5, "everybody"),
            (Some(Tier::Bronze), None, 10, "members"),
            (Some(Tier::Silver), Some(499.0), 15, "members"),
            (Some(Tier::Gold), Some(500.0), 25, "members"),
        ];
        for (tier, total, percent, audience) in cases {
            let purchase = Purchase { total, partner: Programme { member: Member { tier } } };
            let answer =
                LoyaltyOffer::decide("coupon-banner", Event::sample(purchase, NoSettings {})).unwrap();
            assert_eq!(answer.offer, Offer { percent, audience }, "{tier:?} {total:?}");
        }
    }

    #[test]
    fn the_request_holds_the_pseudonym_and_nothing_else() {
        let purchase = Event::sample(Purchase::default(), NoSettings {}).with_sealed(&["consumer"]);
        let outcome = LoyaltyOffer::on_event(purchase).unwrap();
        assert_eq!(outcome.deliveries()[0].body_parts().to_string(), r#"{"member":{"ref":{consumer}}}"#);
    }

    #[test]
    fn a_message_is_stored_as_far_as_the_schema_goes() {
        let body: Programme =
            plugin_sdk::serde_json::from_str(r#"{"member":{"ref":"x","tier":"gold","since":2019}}"#).unwrap();
        let outcome = LoyaltyOffer::on_message(Message::sample(body, NoSettings {})).unwrap();
        assert_eq!(outcome.returns(), r#"{"member":{"tier":"gold"}}"#);
    }
}
