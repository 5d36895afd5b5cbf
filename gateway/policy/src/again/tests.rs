//! Rows as a gateway wrote them, and what other policies make of them.

use super::*;
use crate::{Clause, Transform};

const SHIPPED: &str = include_str!("../../../policies/platform-2017-03-01.toml");

fn clause(id: &str) -> Clause {
    Clause::parse(id).unwrap()
}

const THIRD: Standing = Standing { recipient: Recipient::ThirdParty, onward: false };
const PROVIDER: Standing = Standing { recipient: Recipient::ServiceProvider, onward: false };
const ONWARD: Standing = Standing { recipient: Recipient::ServiceProvider, onward: true };
const BRAND: Standing = Standing { recipient: Recipient::Brand, onward: false };

/// A field that a plugin could read, with whoever got it standing alike toward all its labels.
fn field(standing: Standing, labels: &[&str], verdict: Verdict) -> FieldVerdict {
    let labels: Vec<Label> = labels.iter().map(|label| label.parse().unwrap()).collect();
    let basis = Basis::of(labels.iter().map(|_| standing));
    FieldVerdict { field: "/f".into(), access: Access::Read, labels: labels.into(), verdict, basis }
}

fn row(flow: Flow, purpose: &str, facts: &[Fact]) -> Recorded<'static> {
    let purpose = Purpose::parse(purpose).unwrap();
    Recorded { flow, partner: "p", purpose, facts: held(facts), request: false }
}

fn again(
    row: &Recorded<'_>,
    new: &Policy,
    old: Option<&Policy>,
    fields: &[FieldVerdict],
) -> Result<Vec<Again>, NotRecorded> {
    row.decide_again(&Compiled::of(new), old.map(Compiled::of).as_ref(), fields)
}

fn across(
    row: &Recorded<'_>,
    new: &Policy,
    old: Option<&Policy>,
    fields: &[FieldVerdict],
    answers: &mut [Again],
    had: &Had,
) -> Result<(), NotRecorded> {
    row.across_calls(&Compiled::of(new), old.map(Compiled::of).as_ref(), fields, answers, had)
}

fn held(facts: &[Fact]) -> Facts {
    facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true))
}

fn withheld(id: &str) -> Verdict {
    Verdict::withhold(Reason::Clause(clause(id)))
}

#[test]
fn a_recorded_verdict_is_decided_again_from_what_the_row_tells() {
    let old = Policy::parse(SHIPPED).unwrap();
    let loose = Policy::parse(&SHIPPED.replace("\"strict\"", "\"loose\"")).unwrap();
    let third = Verdict::allow(clause("integrations.share"));
    let provider = Verdict::allow(clause("share.brand"));
    let email = "first-party:user.contact.email";
    let text = "first-party:user.content.private.transcript";
    let engaged = &[Fact::BrandDirected, Fact::Engaged][..];
    let directed = &[Fact::BrandDirected][..];
    let in_area = &[Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea][..];
    let not_granted = Verdict::withhold(Reason::NotGranted);
    for (standing, labels, facts, recorded, expected) in [
        (THIRD, &[email][..], engaged, third, third),
        (PROVIDER, &[email], engaged, provider, provider),
        (THIRD, &[email], directed, withheld("integrations.share"), third),
        (THIRD, &[text], engaged, withheld("share.content"), third),
        // What the rules did not decide stays as it was.
        (THIRD, &[email], engaged, not_granted, not_granted),
        (ONWARD, &[email], in_area, provider, provider),
        (PROVIDER, &[email], in_area, withheld("transfer.onward"), withheld("transfer.onward")),
        (
            THIRD,
            &["partner:other:user.account"],
            engaged,
            withheld("integrations.onward"),
            withheld("integrations.onward"),
        ),
        (
            THIRD,
            &[email, "partner:other:user.account"],
            engaged,
            withheld("integrations.onward"),
            withheld("integrations.onward"),
        ),
    ] {
        let fields = [field(standing, labels, recorded)];
        let again = again(&row(Flow::Share, "essential", facts), &loose, Some(&old), &fields);
        assert_eq!(again, Ok(vec![Again::Decided(expected)]), "{labels:?} {facts:?} {recorded:?}");
    }
}

#[test]
fn how_the_partner_stood_is_read_and_not_inferred() {
    // An opt-out came first, so nothing else of the verdict tells whether there was a contract for it.
    let old = Policy::parse(SHIPPED).unwrap();
    let without = SHIPPED.replace("when = [\"opt-out.all-integrations\"]", "when = [\"opt-out.sms\"]");
    let new = Policy::parse(&without).unwrap();
    let facts = [Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea, Fact::OptOutAll];
    let row = row(Flow::Share, "essential", &facts);
    let recorded = withheld("integrations.opt-out");
    for (standing, expected) in [
        (ONWARD, Verdict::allow(clause("share.brand"))),
        (PROVIDER, withheld("transfer.onward")),
        (THIRD, withheld("transfer.onward")),
    ] {
        let fields = [field(standing, &["first-party:user.contact.email"], recorded)];
        assert_eq!(again(&row, &new, Some(&old), &fields), Ok(vec![Again::Decided(expected)]));
        let explained = row.explain(&old, &fields[0]).unwrap();
        assert_eq!(explained[0].verdict, recorded);
    }
    let mut lacking = field(THIRD, &["first-party:user.contact.email"], recorded);
    lacking.basis.standing = [].into();
    assert_eq!(again(&row, &new, Some(&old), &[lacking.clone()]), Err(NotRecorded));
    assert!(row.explain(&old, &lacking).is_err());
}

#[test]
fn a_field_that_derives_from_more_than_the_event_has_facts_of_its_own() {
    let policy = Policy::parse(SHIPPED).unwrap();
    let row = row(Flow::Decide, "marketing", &[Fact::BrandDirected, Fact::Engaged]);
    let own = row.facts.with(Fact::Dnt, true);
    let recorded = withheld("signals.dnt");
    let mut tracked = field(THIRD, &["first-party:user.behavior"], recorded);
    tracked.basis = tracked.basis.under(own, row.facts);
    assert_eq!(again(&row, &policy, None, &[tracked.clone()]), Ok(vec![Again::Decided(recorded)]));
    tracked.basis = tracked.basis.under(row.facts, row.facts);
    assert_eq!(tracked.basis.own_facts, None, "the row says it");
}

#[test]
fn what_something_else_withheld_is_not_allowed_by_its_own_label() {
    let old = Policy::parse(SHIPPED).unwrap();
    let row = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    let allow = Verdict::allow(clause("integrations.share"));
    let mut met = field(THIRD, &["partner:p:user.account"], withheld("integrations.combine"));
    met.basis.met = true;
    let beside = |verdict| field(THIRD, &["first-party:user.name"], verdict);
    let recorded = Again::Decided(met.verdict);
    let open = Again::Open(Why::Met, allow);
    let apart = |of: &str| Policy::parse(&format!("{SHIPPED}{}", keeping_apart(of))).unwrap();
    let (about_it, about_others) = (apart("user.account"), apart("user.device"));
    let strict = format!("{SHIPPED}{KEEPS_NAMES}");
    let strict = Policy::parse(&strict).unwrap();
    for (new, known, expected) in [
        // What may meet is said in the same words, so the same met.
        (&old, Some(&old), [recorded, Again::Decided(allow)]),
        (&about_others, Some(&old), [recorded, Again::Decided(allow)]),
        (&about_it, Some(&old), [open, Again::Decided(allow)]),
        (&old, None, [open, Again::Decided(allow)]),
        // What it may have met would not be there.
        (&strict, Some(&old), [open, Again::Decided(withheld("share.brand"))]),
    ] {
        let fields = [met.clone(), beside(allow)];
        assert_eq!(again(&row, new, known, &fields).as_deref(), Ok(&expected[..]));
    }
    // Another version's verdict: these rules would have allowed it.
    let another = field(THIRD, &["first-party:user.contact.email"], withheld("integrations.share"));
    let expected = Again::Open(Why::Version, allow);
    assert_eq!(again(&row, &old, Some(&old), &[another]), Ok(vec![expected]));
}

const KEEPS_NAMES: &str = "\n[[rule]]\neffect = 'forbid'\nflow = ['share']\nrecipient = ['third-party']\n\
                           category = ['user.name']\nclause = 'share.brand'\n";

/// A rule that keeps a category from meeting behaviour.
fn keeping_apart(category: &str) -> String {
    format!(
        "\n[[rule]]\neffect = 'forbid'\nflow = ['combine']\n\
         recipient = ['service-provider', 'third-party', 'brand']\ncategory = ['{category}']\n\
         with = ['user.behavior']\nclause = 'integrations.combine'\n"
    )
}

#[test]
fn sealed_fields_meet_in_the_request_that_holds_both_and_not_in_the_call() {
    let old = Policy::parse(SHIPPED).unwrap();
    let new = Policy::parse(&format!("{SHIPPED}{}", keeping_apart("user.contact"))).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let sealed = |label: &str| FieldVerdict { access: Access::Sealed, ..field(THIRD, &[label], allow) };
    let fields = [sealed("first-party:user.behavior"), sealed("first-party:user.contact.email")];
    let call = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    let request = Recorded { request: true, ..call };
    let (same, apart) = (Again::Decided(allow), Again::Decided(withheld("integrations.combine")));
    assert_eq!(again(&call, &new, Some(&old), &fields), Ok(vec![same, same]));
    assert_eq!(again(&request, &new, Some(&old), &fields), Ok(vec![apart, apart]));
    assert_eq!(again(&request, &old, Some(&old), &fields), Ok(vec![same, same]));
}

#[test]
fn what_a_partner_may_have_had_before_is_open_where_the_new_policy_would_keep_it_apart() {
    let old = Policy::parse(SHIPPED).unwrap();
    let new = Policy::parse(&format!("{SHIPPED}{}", keeping_apart("user.contact"))).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let row = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    let same = Again::Decided(allow);
    let open = Again::Open(Why::Earlier, withheld("integrations.combine"));
    let behaviour = "first-party:user.behavior.purchase_history";
    for (new, label, had, expected) in [
        (&new, "first-party:user.contact.email", &[behaviour][..], open),
        (&new, behaviour, &["first-party:user.contact"], open),
        (&new, "first-party:user.contact.email", &["first-party:user.name"], same),
        (&new, "first-party:user.device", &[behaviour], same),
        // A partner knows what it sent itself.
        (&new, "first-party:user.contact.email", &["partner:p:user.behavior"], same),
        (&new, "partner:p:user.contact.email", &[behaviour], same),
        (&old, "first-party:user.contact.email", &[behaviour], same),
    ] {
        let fields = [field(THIRD, &[label], allow)];
        let mut answers = again(&row, new, Some(&old), &fields).unwrap();
        assert_eq!(answers, [same]);
        let labels = had.iter().map(|label| (label.parse().unwrap(), THIRD)).collect();
        let had = Had { labels, ..Had::default() };
        across(&row, new, Some(&old), &fields, &mut answers, &had).unwrap();
        assert_eq!(answers, [expected], "{label} after {had:?}");
    }
}

#[test]
fn what_left_by_a_declassification_that_is_another_now_is_open() {
    let old = Policy::parse(SHIPPED).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let gone = Verdict { decision: Decision::Transform, ..allow };
    let row = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    let with = |from: &str, to: &str| {
        assert!(SHIPPED.contains(from));
        Policy::parse(&SHIPPED.replace(from, to)).unwrap()
    };
    let number = with("\"number-to-country\"", "\"code-to-country\"");
    let wider = with("from = \"user.contact.phone_number\"", "from = \"user.contact\"");
    let another = "name = 'bought-to-id'\nform = 'pseudonym'\nfrom = 'user.behavior'\n\
                   to = 'user.unique_id'\nclause = 'use.brand-directed'\nlifts = []\n";
    let more = Policy::parse(&format!("{SHIPPED}\n[[declassify]]\n{another}")).unwrap();
    let country = "first-party:user.contact.address.country";
    let bought = "first-party:user.behavior";
    let (country_code, pseudonym) = (Some(Transform::CountryCode), Some(Transform::Pseudonym));
    let decided = Again::Decided(allow);
    let open = Again::Open(Why::Form, allow);
    for (new, known, label, form, by, expected) in [
        (&old, true, country, country_code, Some("number-to-country"), decided),
        (&old, false, country, country_code, Some("number-to-country"), decided),
        // A row of before says by what, and not in which form.
        (&old, true, country, None, Some("number-to-country"), decided),
        (&number, true, country, country_code, Some("number-to-country"), open),
        (&wider, true, country, country_code, Some("number-to-country"), open),
        (&more, true, bought, pseudonym, None, open),
        (&more, true, bought, None, None, open),
        (&more, true, bought, Some(Transform::Day), None, decided),
        (&old, true, bought, pseudonym, None, decided),
    ] {
        let mut field = field(THIRD, &[label], gone);
        field.basis.form = form;
        field.basis.declassified = by.map(Into::into);
        let again = again(&row, new, known.then_some(&old), &[field]);
        assert_eq!(again, Ok(vec![expected]), "{label} {form:?} {by:?}");
    }
    // What goes as it is has no form.
    let as_it_is = field(THIRD, &[bought], allow);
    assert_eq!(again(&row, &more, Some(&old), &[as_it_is]), Ok(vec![decided]));
}

#[test]
fn what_a_partner_has_in_a_form_that_counts_as_less_no_more_is_met_by_what_comes() {
    let old = Policy::parse(SHIPPED).unwrap();
    let new = Policy::parse(&SHIPPED.replace("\"coordinate-to-place\"", "\"place-to-place\"")).unwrap();
    let place = |labels: &[&str], of: &str| {
        let gone = Verdict { decision: Decision::Transform, ..Verdict::allow(clause("share.brand")) };
        let mut field = field(PROVIDER, labels, gone);
        field.basis.declassified = Some(of.into());
        field
    };
    let rounded = place(&["first-party:user.location.imprecise"], "coordinate-to-place");
    let row = row(Flow::Share, "analytics", &[Fact::BrandDirected, Fact::Engaged]);
    let page = field(PROVIDER, &["first-party:user.behavior"], Verdict::allow(clause("share.brand")));
    let apart = withheld("cookies.third-party-analytics");
    for (policy, known, had, expected) in [
        (&old, Some(&old), Some(&rounded), Again::Decided(page.verdict)),
        (&new, Some(&old), Some(&rounded), Again::Open(Why::Earlier, apart)),
        (&new, Some(&old), None, Again::Decided(page.verdict)),
        // It had its label back then.
        (&new, Some(&new), Some(&rounded), Again::Decided(page.verdict)),
        // What the rule spoke of is not known any more.
        (&new, None, Some(&rounded), Again::Open(Why::Earlier, page.verdict)),
    ] {
        let mut noted = Had::default();
        had.iter().for_each(|field| noted.note(policy, known, field));
        let fields = [page.clone()];
        let mut answers = again(&row, policy, known, &fields).unwrap();
        across(&row, policy, known, &fields, &mut answers, &noted).unwrap();
        assert_eq!(answers, [expected], "{known:?}");
    }
}

#[test]
fn what_was_made_of_something_declassified_is_open_where_the_rule_is_another() {
    let with = Policy::parse(SHIPPED).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(SHIPPED.contains(from));
        Policy::parse(&SHIPPED.replace(from, to)).unwrap()
    };
    let without = changed("\"number-to-country\"", "\"code-to-country\"");
    let wider = changed("from = \"user.contact.phone_number\"", "from = \"user.contact\"");
    let row = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    let allow = Verdict::allow(clause("integrations.share"));
    let (decided, open) = (Again::Decided(allow), Again::Open(Why::Form, allow));
    for (old, new, expected) in [
        (Some(&with), &with, decided),
        (None, &with, decided),
        (Some(&with), &without, open),
        (Some(&with), &wider, open),
        (Some(&without), &with, open),
        (None, &without, open),
        // It had its label back then, and would now.
        (Some(&without), &without, decided),
    ] {
        let mut field = field(THIRD, &["first-party:user.contact.address.country"], allow);
        field.basis.declassified_within = ["number-to-country".into()].into();
        assert_eq!(again(&row, new, old, &[field]), Ok(vec![expected]));
    }
}

#[test]
fn what_met_and_may_meet_no_more_flips_with_the_later_field() {
    let old = Policy::parse(SHIPPED).unwrap();
    let new = Policy::parse(&format!("{SHIPPED}{}", keeping_apart("user.account"))).unwrap();
    let facts = [Fact::BrandDirected, Fact::Engaged];
    let allow = Verdict::allow(clause("integrations.share"));
    let fields = [
        field(THIRD, &["first-party:user.behavior"], allow),
        field(THIRD, &["partner:p:user.account"], allow),
        field(THIRD, &["first-party:user.name"], allow),
    ];
    let shared = row(Flow::Decide, "essential", &facts);
    let (same, apart) = (Again::Decided(allow), Again::Decided(withheld("integrations.combine")));
    assert_eq!(again(&shared, &old, Some(&old), &fields), Ok(vec![same, same, same]));
    assert_eq!(again(&shared, &new, Some(&old), &fields), Ok(vec![same, apart, same]));
    // Whether it was granted hangs on a policy that nobody has any more.
    let open = Again::Open(Why::Granted, withheld("integrations.combine"));
    assert_eq!(again(&shared, &old, None, &fields), Ok(vec![same, open, same]));
    let given = Verdict::allow(clause("share.brand"));
    let returned = [field(BRAND, &["first-party:user.behavior", "partner:p:user.account"], given)];
    let row = row(Flow::Return, "essential", &facts);
    assert_eq!(again(&row, &new, Some(&old), &returned), Ok(vec![apart]));
    assert_eq!(again(&row, &old, Some(&old), &returned), Ok(vec![Again::Decided(given)]));
}

/// As in a call: the partner's own gives way, wherever it is declared; and in a request each that may not meet another.
#[test]
fn what_gives_way_in_a_call_is_what_came_from_the_partner_and_in_a_request_both() {
    let old = Policy::parse(SHIPPED).unwrap();
    let new = Policy::parse(&format!("{SHIPPED}{}", keeping_apart("user.account"))).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let tier = FieldVerdict {
        field: "/partner/member/tier".into(),
        ..field(THIRD, &["partner:p:user.account"], allow)
    };
    let fields = [tier, field(THIRD, &["first-party:user.behavior"], allow)];
    let (same, apart) = (Again::Decided(allow), Again::Decided(withheld("integrations.combine")));
    let call = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    assert_eq!(again(&call, &new, Some(&old), &fields), Ok(vec![apart, same]));
    let request = Recorded { request: true, ..call };
    assert_eq!(again(&request, &new, Some(&old), &fields), Ok(vec![apart, apart]));
}

#[test]
fn what_another_plugin_returned_is_open_where_the_brands_own_use_is_decided_otherwise() {
    let old = Policy::parse(SHIPPED).unwrap();
    let unused = "\n[[rule]]\neffect = 'forbid'\nflow = ['return']\nrecipient = ['brand']\n\
                  category = ['user.telemetry']\nclause = 'share.brand'\n";
    let new = Policy::parse(&format!("{SHIPPED}{unused}")).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let (score, page) = (["first-party:user.telemetry"], ["first-party:user.behavior"]);
    let returned = |labels: &[&str]| FieldVerdict {
        field: "/returned/scorer/verdict".into(),
        ..field(THIRD, labels, allow)
    };
    let fields = [returned(&score), returned(&page), field(THIRD, &score, allow)];
    let call = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
    let (same, open) = (Again::Decided(allow), Again::Open(Why::Returned, allow));
    assert_eq!(again(&call, &new, Some(&old), &fields), Ok(vec![open, same, same]));
    assert_eq!(again(&call, &old, Some(&old), &fields), Ok(vec![same, same, same]));
}

/// A consumer's refusal came first; what nothing withholds any more may still not meet what else was there.
#[test]
fn what_would_go_now_and_may_not_meet_what_is_there_is_no_flip() {
    let old = Policy::parse(SHIPPED).unwrap();
    let heard =
        SHIPPED.replace("when = [\"opt-out.location\"]", "when = [\"opt-out.location\", \"opt-out.sms\"]");
    let apart = Policy::parse(&format!("{heard}{}", keeping_apart("user.location"))).unwrap();
    let heard = Policy::parse(&heard).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let row = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged, Fact::OptOutLocation]);
    let (same, stays) = (Again::Decided(allow), withheld("integrations.combine"));
    let place =
        |origin: &str| field(THIRD, &[&format!("{origin}:user.location")], withheld("choice.location"));
    for (new, origin, expected) in [
        (&heard, "first-party", same),
        (&apart, "first-party", Again::Decided(stays)),
        // Whether it may meet the partner's own hangs on the brand's grant.
        (&heard, "partner:p", Again::Open(Why::Granted, stays)),
    ] {
        let fields = [field(THIRD, &["first-party:user.behavior"], allow), place(origin)];
        let again = again(&row, new, Some(&old), &fields);
        assert_eq!(again.as_deref(), Ok(&[same, expected][..]), "{origin}");
    }
}

#[test]
fn of_a_combination_every_pair_is_asked() {
    let policy = Policy::parse(SHIPPED).unwrap();
    let (tier, bought) = ("partner:p:user.account", "first-party:user.behavior");
    let recorded = Verdict::allow(clause("integrations.combine"));
    let granted = &[Fact::BrandDirected, Fact::CombineGranted][..];
    for (facts, labels, expected) in [
        (granted, &[tier, bought][..], recorded),
        (&[Fact::BrandDirected][..], &[tier, bought], withheld("integrations.combine")),
        (granted, &[tier, bought, "partner:q:user.account"], withheld("integrations.onward")),
    ] {
        let row = row(Flow::Combine, "marketing", facts);
        let again = again(&row, &policy, None, &[field(THIRD, labels, recorded)]);
        assert_eq!(again, Ok(vec![Again::Decided(expected)]), "{labels:?}");
    }
}
