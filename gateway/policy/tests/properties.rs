//! Properties of the shipped policy, proved over its whole space: every flow, recipient, purpose and
//! category, and every combination of the facts that a decision hangs on.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashSet;

use gateway_policy::{
    Category, CompiledDecision, Effect, Fact, Facts, Flow, Matched, Policy, Purpose, Recipient,
};

const FLOWS: [Flow; 2] = [Flow::Share, Flow::Decide];
const PARTNERS: [Recipient; 2] = [Recipient::ServiceProvider, Recipient::ThirdParty];

fn policy() -> Policy {
    Policy::parse(include_str!("../../policies/platform-2017-03-01.toml")).unwrap()
}

fn category(key: &str) -> Category {
    Category::parse(key).unwrap()
}

fn purpose(key: &str) -> Purpose {
    Purpose::parse(key).unwrap()
}

/// Facts by which a value is public: then the policy does not apply to it, but for the consumer's own choices.
fn is_public(facts: Facts) -> bool {
    facts.holds(Fact::Public)
}

/// Proves that whatever is allowed has `property`, which speaks of the facts `about`, for every decision that
/// `relevant` names. Every combination of facts is covered: a branch ends where a rule forbids whatever the
/// facts still open are, or where the property holds whatever they are.
fn prove(
    recipients: &[Recipient],
    relevant: impl Fn(Purpose, Category) -> bool,
    about: &[Fact],
    property: impl Fn(Facts) -> bool,
) {
    let policy = policy();
    let mut decisions: HashSet<CompiledDecision> = HashSet::new();
    for flow in FLOWS {
        for recipient in recipients {
            for purpose in Purpose::all() {
                for category in Category::all().filter(|category| relevant(purpose, *category)) {
                    decisions.insert(policy.compile(flow, *recipient, purpose, category));
                }
            }
        }
    }
    assert!(!decisions.is_empty(), "the property is about nothing");
    for decision in &decisions {
        for combination in 0_u64..1 << about.len() {
            let bits = about.iter().enumerate();
            let facts = bits
                .fold(Facts::unknown(), |facts, (bit, fact)| facts.with(*fact, combination >> bit & 1 == 1));
            if !property(facts) {
                refute(decision, facts, &mut about.to_vec());
            }
        }
    }
}

/// Finds a forbid for every way in which the open facts can turn out.
fn refute(decision: &CompiledDecision, facts: Facts, known: &mut Vec<Fact>) {
    let explanation = decision.explain(facts);
    let open = |matched: &&Matched| matched.lacking.iter().all(|fact| !known.contains(fact));
    let of = |effect| explanation.rules.iter().filter(move |matched| matched.effect == effect);
    let Some(nearest) = of(Effect::Forbid).find(open) else {
        let permitted = of(Effect::Permit).any(|matched| open(&matched));
        assert!(!permitted, "allowed with {:?} true of {known:?}", facts.iter().collect::<Vec<_>>());
        return;
    };
    let Some(fact) = nearest.lacking.first().copied() else { return };
    known.push(fact);
    refute(decision, facts.with(fact, true), known);
    refute(decision, facts.with(fact, false), known);
    known.pop();
}

fn content(category_: Category) -> bool {
    ["user.content.private", "user.content.self_image", "user.biometric.voice"]
        .iter()
        .any(|above| category_.is_under(category(above)))
}

fn anything(_: Purpose, _: Category) -> bool {
    true
}

#[test]
fn content_reaches_a_third_party_only_with_the_consumers_permission() {
    prove(
        &[Recipient::ThirdParty],
        |_, category| content(category),
        &[Fact::PermissionIntegration],
        |facts| facts.holds(Fact::PermissionIntegration),
    );
}

#[test]
fn content_serves_a_sale_like_purpose_only_with_a_permission_that_names_it() {
    let sale = |purpose_: Purpose| {
        ["marketing", "sales", "third_party_sharing"].iter().any(|above| purpose_.is_under(purpose(above)))
    };
    prove(
        &PARTNERS,
        |purpose, category| content(category) && sale(purpose),
        &[Fact::PermissionPurpose],
        |facts| facts.holds(Fact::PermissionPurpose),
    );
}

#[test]
fn content_is_not_given_for_something_of_value_without_a_permission_that_names_the_purpose() {
    prove(
        &PARTNERS,
        |_, category| content(category),
        &[Fact::Consideration, Fact::PermissionPurpose],
        |facts| !facts.holds(Fact::Consideration) || facts.holds(Fact::PermissionPurpose),
    );
}

#[test]
fn nothing_flows_to_a_partner_that_the_brand_has_not_switched_on() {
    prove(&PARTNERS, anything, &[Fact::BrandDirected], |facts| facts.holds(Fact::BrandDirected));
}

#[test]
fn nothing_flows_to_an_integration_that_the_consumer_opted_out_of() {
    prove(&PARTNERS, anything, &[Fact::OptOutIntegration, Fact::OptOutAll], |facts| {
        !facts.holds(Fact::OptOutIntegration) && !facts.holds(Fact::OptOutAll)
    });
}

#[test]
fn nothing_leaves_the_area_without_an_onward_transfer_contract() {
    prove(
        &PARTNERS,
        anything,
        &[Fact::ConsumerInArea, Fact::PartnerInArea, Fact::ContractOnward, Fact::Public],
        |facts| {
            !facts.holds(Fact::ConsumerInArea)
                || facts.holds(Fact::PartnerInArea)
                || facts.holds(Fact::ContractOnward)
                || is_public(facts)
        },
    );
}

#[test]
fn a_third_party_gets_nothing_of_a_consumer_who_did_not_engage() {
    prove(&[Recipient::ThirdParty], anything, &[Fact::Engaged, Fact::Public], |facts| {
        facts.holds(Fact::Engaged) || is_public(facts)
    });
}

#[test]
fn a_third_party_gets_nothing_while_a_request_to_limit_or_delete_waits() {
    prove(&[Recipient::ThirdParty], anything, &[Fact::LimitPending, Fact::DeletionPending], |facts| {
        !facts.holds(Fact::LimitPending) && !facts.holds(Fact::DeletionPending)
    });
}

#[test]
fn global_privacy_control_leaves_a_third_party_essential_purposes_only() {
    prove(
        &[Recipient::ThirdParty],
        |use_, _| !use_.is_under(purpose("essential")),
        &[Fact::Gpc, Fact::Public],
        |facts| !facts.holds(Fact::Gpc) || is_public(facts),
    );
}

#[test]
fn do_not_track_keeps_tracking_data_from_third_parties_and_from_tracking_purposes() {
    let tracking = |category_: Category| {
        [
            "user.behavior",
            "user.location",
            "user.device.ip_address",
            "user.device.device_id",
            "user.device.cookie_id",
        ]
        .iter()
        .any(|above| category_.is_under(category(above)))
    };
    prove(
        &[Recipient::ThirdParty],
        |_, category| tracking(category),
        &[Fact::Dnt],
        |facts| !facts.holds(Fact::Dnt),
    );
    let tracks = |use_: Purpose| {
        ["marketing", "analytics", "personalize"].iter().any(|above| use_.is_under(purpose(above)))
    };
    prove(
        &PARTNERS,
        |use_, category| tracking(category) && tracks(use_),
        &[Fact::Dnt],
        |facts| !facts.holds(Fact::Dnt),
    );
}

#[test]
fn performance_cookies_share_aggregates_only() {
    prove(&PARTNERS, anything, &[Fact::CookiesPerformance, Fact::Aggregated, Fact::Public], |facts| {
        !facts.holds(Fact::CookiesPerformance) || facts.holds(Fact::Aggregated) || is_public(facts)
    });
}

#[test]
fn functionality_cookies_identify_nobody() {
    let identifying = |category_: Category| {
        [
            "user.name",
            "user.contact",
            "user.account",
            "user.unique_id",
            "user.device.ip_address",
            "user.payment",
        ]
        .iter()
        .any(|above| category_.is_under(category(above)))
    };
    prove(
        &PARTNERS,
        |_, category| identifying(category),
        &[Fact::CookiesFunctionality],
        |facts| !facts.holds(Fact::CookiesFunctionality),
    );
}

#[test]
fn strictly_necessary_or_refused_cookies_serve_essential_purposes_only() {
    prove(
        &PARTNERS,
        |use_, _| !use_.is_under(purpose("essential")),
        &[Fact::CookiesStrictlyNecessary, Fact::OptOutCookies, Fact::Public],
        |facts| {
            let refused = facts.holds(Fact::CookiesStrictlyNecessary) || facts.holds(Fact::OptOutCookies);
            !refused || is_public(facts)
        },
    );
}

#[test]
fn one_partners_data_does_not_reach_another() {
    prove(&PARTNERS, anything, &[Fact::OtherPartner], |facts| !facts.holds(Fact::OtherPartner));
}

#[test]
fn only_aggregates_train() {
    prove(
        &PARTNERS,
        |use_, _| use_.is_under(purpose("train_ai_system")),
        &[Fact::Aggregated],
        |facts| facts.holds(Fact::Aggregated),
    );
}

#[test]
fn sensitive_data_reaches_a_third_party_only_with_permission() {
    let sensitive = |category_: Category| {
        [
            "user.health_and_medical",
            "user.biometric",
            "user.financial",
            "user.government_id",
            "user.childrens",
        ]
        .iter()
        .any(|above| category_.is_under(category(above)))
    };
    prove(
        &[Recipient::ThirdParty],
        |_, category| sensitive(category),
        &[Fact::PermissionIntegration],
        |facts| facts.holds(Fact::PermissionIntegration),
    );
}

#[test]
fn marketing_location_and_purpose_choices_hold() {
    prove(
        &PARTNERS,
        |use_, _| use_.is_under(purpose("marketing")),
        &[Fact::OptOutMarketing],
        |facts| !facts.holds(Fact::OptOutMarketing),
    );
    prove(&PARTNERS, anything, &[Fact::OptOutMarketing, Fact::SlotPromotional], |facts| {
        !facts.holds(Fact::OptOutMarketing) || !facts.holds(Fact::SlotPromotional)
    });
    prove(
        &PARTNERS,
        |_, category_| category_.is_under(category("user.location")),
        &[Fact::OptOutLocation],
        |facts| !facts.holds(Fact::OptOutLocation),
    );
    prove(&PARTNERS, anything, &[Fact::OtherPurpose], |facts| !facts.holds(Fact::OtherPurpose));
}

#[test]
fn a_phone_number_is_not_given_for_sms_to_one_who_opted_out() {
    let phone = |_, category_: Category| category_.is_under(category("user.contact.phone_number"));
    prove(&PARTNERS, phone, &[Fact::OptOutSms, Fact::ChannelSms], |facts| {
        !facts.holds(Fact::OptOutSms) || !facts.holds(Fact::ChannelSms)
    });
}
