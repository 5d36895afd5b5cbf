//! One function for each clause about data that a decision can break: true where it is broken.
//!
//! Two labels that meet (`combine`) are decided each by itself as well, in the flow that brings them
//! there. So of a meeting only those clauses are asked that speak of meeting.

use gateway_policy::{Fact, Flow, Recipient};

use crate::Question;

type Breaks = fn(&Question) -> bool;

/// In the order of `clauses.md`.
pub const CLAUSES: &[(&str, Breaks)] = &[
    ("use.brand-directed", not_directed_by_the_brand),
    ("use.train", trains_on_what_is_no_aggregate),
    ("cookies.strictly-necessary", strictly_necessary_cookies),
    ("cookies.performance", performance_cookies),
    ("cookies.functionality", functionality_cookies),
    ("cookies.third-party-analytics", analytics_of_persons),
    ("choice.cookies", refused_cookies),
    ("signals.dnt", do_not_track),
    ("signals.gpc", global_privacy_control),
    ("share.legal", not_approved_by_a_second_person),
    ("share.aggregate", no_aggregate),
    ("share.no-sale", sale),
    ("share.content", content_to_a_third_party),
    ("integrations.share", not_engaged),
    ("integrations.combine", combination_not_granted),
    ("integrations.opt-out", opted_out_of_the_integration),
    ("integrations.onward", of_another_partner),
    ("choice.marketing", opted_out_of_marketing),
    ("choice.sms", opted_out_of_sms),
    ("choice.location", disabled_location),
    ("rights.limit", limit_pending),
    ("rights.delete", deletion_pending),
    ("principles.sensitive", sensitive_without_permission),
    ("principles.purpose", other_purpose),
    ("transfer.onward", leaves_the_area),
];

/// Who may get what at all, and by which clause. A request under `rights` is not decided by rules about
/// data.
pub fn provided_by(q: &Question) -> Option<&'static str> {
    let brand = q.recipient == Recipient::Brand;
    match q.flow {
        Flow::Share | Flow::Decide if q.goes_to_partner() && q.is_public() => Some("choice.public"),
        Flow::Share | Flow::Decide if q.goes_to_third_party() => Some("integrations.share"),
        Flow::Share | Flow::Decide if q.goes_to_partner() => Some("share.brand"),
        Flow::Return if brand => Some("share.brand"),
        Flow::Receive if brand => Some("integrations.receive"),
        Flow::Combine if q.goes_to_partner() || brand => Some("integrations.combine"),
        Flow::Aggregate if q.goes_to_partner() || brand => Some("share.aggregate"),
        Flow::Disclose if q.recipient == Recipient::Authority => Some("share.legal"),
        _ => None,
    }
}

/// A flow of one field, by a brand's direction: everything but a meeting and a disclosure.
fn by_direction(q: &Question) -> bool {
    matches!(q.flow, Flow::Share | Flow::Decide | Flow::Receive | Flow::Return | Flow::Aggregate)
}

/// No flow without that brand's switched-on connection, its grant and its purpose.
fn not_directed_by_the_brand(q: &Question) -> bool {
    (by_direction(q) || q.flow == Flow::Combine) && !q.is(Fact::BrandDirected)
}

/// train_ai_system is forbidden for anything that is not an aggregate.
fn trains_on_what_is_no_aggregate(q: &Question) -> bool {
    by_direction(q) && q.for_training() && !q.is(Fact::Aggregated)
}

/// Data collected with strictly necessary cookies: purposes under `essential` only.
fn strictly_necessary_cookies(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::CookiesStrictlyNecessary) && !q.for_essential() && !q.is_public()
}

/// Never shared field by field, aggregates only.
fn performance_cookies(q: &Question) -> bool {
    q.hands_over() && q.is(Fact::CookiesPerformance) && !q.is(Fact::Aggregated) && !q.is_public()
}

/// No identifying category leaves.
fn functionality_cookies(q: &Question) -> bool {
    (q.hands_over() || q.flow == Flow::Aggregate) && q.is(Fact::CookiesFunctionality) && q.is_identifying()
}

/// Purpose under `analytics`: no identifying category, no content; nor a person's identity meeting
/// their behaviour.
fn analytics_of_persons(q: &Question) -> bool {
    let field = (q.hands_over() || (q.flow == Flow::Aggregate && q.goes_to_partner()))
        && (q.is_identifying() || q.is_content());
    let meeting = q.flow == Flow::Combine && q.identity_meets_behaviour();
    q.for_analytics() && (field || meeting)
}

/// A consumer who refused: as cookies.strictly-necessary, whatever the event says.
fn refused_cookies(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::OptOutCookies) && !q.for_essential() && !q.is_public()
}

/// Behaviour, location and device identifiers are withheld from third parties, and from every
/// recipient for marketing, analytics and personalisation.
fn do_not_track(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::Dnt) && q.is_tracking() && (q.goes_to_third_party() || q.for_tracking())
}

/// A third party gets nothing, but for purposes under `essential`.
fn global_privacy_control(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::Gpc) && q.goes_to_third_party() && !q.for_essential() && !q.is_public()
}

/// A named person asks, another approves.
fn not_approved_by_a_second_person(q: &Question) -> bool {
    q.flow == Flow::Disclose && !q.is(Fact::DisclosureApproved)
}

/// Count, sum, average over engaged consumers; opted-out consumers (see integrations.opt-out) and
/// content left out.
fn no_aggregate(q: &Question) -> bool {
    q.flow == Flow::Aggregate && (!q.is(Fact::Aggregated) || !q.is(Fact::Engaged) || q.is_content())
}

/// Content, everything given in a conversation, and all derived from these: forbidden for sale-like
/// purposes unless the consumer's permission names the purpose. Who opted out of sale is sold nothing,
/// forum posts included: that is the consumer's choice. For a purpose that is sale-like by itself content
/// does not even meet anything.
fn sale(q: &Question) -> bool {
    let sold = (q.hands_over() || q.flow == Flow::Aggregate) && q.for_something_like_a_sale();
    let meets = q.flow == Flow::Combine && q.for_a_sale();
    let said = q.is_content() || (sold && q.is(Fact::InConversation));
    (sold && q.is(Fact::OptOutSale)) || ((sold || meets) && said && !q.is(Fact::PermissionPurpose))
}

/// To a third party only with the consumer's permission for that integration.
fn content_to_a_third_party(q: &Question) -> bool {
    q.hands_over() && q.goes_to_third_party() && q.is_content() && !q.is(Fact::PermissionIntegration)
}

/// To a third party only once the consumer is engaged with the brand.
fn not_engaged(q: &Question) -> bool {
    q.hands_over() && q.goes_to_third_party() && !q.is(Fact::Engaged) && !q.is_public()
}

/// Only a declared, granted combination.
fn combination_not_granted(q: &Question) -> bool {
    q.flow == Flow::Combine && !q.is(Fact::CombineGranted)
}

/// One or all; what is stored from that partner, and what was combined with it, stops being used.
fn opted_out_of_the_integration(q: &Question) -> bool {
    (by_direction(q) || q.flow == Flow::Combine) && (q.is(Fact::OptOutIntegration) || q.is(Fact::OptOutAll))
}

/// Data of one partner reaches no other.
fn of_another_partner(q: &Question) -> bool {
    let reaches =
        q.hands_over() || (q.flow == Flow::Aggregate && q.goes_to_partner()) || q.flow == Flow::Combine;
    reaches && q.is(Fact::OtherPartner)
}

/// Purposes under `marketing` withheld; a promotional slot counts as marketing.
fn opted_out_of_marketing(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::OptOutMarketing) && q.for_marketing()
}

/// The phone number withheld wherever the endpoint's channel is sms or the purpose ends in `.sms`.
fn opted_out_of_sms(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::OptOutSms) && q.is_phone_number() && q.by_sms()
}

/// Location and IP address withheld.
fn disabled_location(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::OptOutLocation) && q.is_location()
}

/// While it awaits the brand's word, third parties get nothing.
fn limit_pending(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::LimitPending) && q.goes_to_third_party()
}

/// While it awaits the brand's word, third parties get nothing.
fn deletion_pending(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::DeletionPending) && q.goes_to_third_party()
}

/// Sensitive categories to third parties only with permission.
fn sensitive_without_permission(q: &Question) -> bool {
    by_direction(q) && q.is_sensitive() && q.goes_to_third_party() && !q.is(Fact::PermissionIntegration)
}

/// A value is used for the purpose it was collected or granted for.
fn other_purpose(q: &Question) -> bool {
    by_direction(q) && q.is(Fact::OtherPurpose)
}

/// A consumer in the area and a partner outside it: only with an onward-transfer contract. An
/// aggregate is nobody's data: nothing of a consumer leaves with it.
fn leaves_the_area(q: &Question) -> bool {
    q.hands_over()
        && q.is(Fact::ConsumerInArea)
        && !q.is(Fact::PartnerInArea)
        && !q.is(Fact::ContractOnward)
        && !q.is_public()
}
