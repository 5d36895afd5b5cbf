//! Whom a decision is about: the consumer's choices, the conditions of collection, and the facts that follow.

use gateway_policy::{Choices, Conditions, CookieClass, Fact, Facts, Partner, PermissionScope, Purpose};

/// A consumer at the moment of a decision, with the conditions under which the value was collected.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What held at collection.
    pub conditions: &'a Conditions,
    /// What the consumer chose, as it stands now; none: it could not be read, and everything is withheld.
    pub choices: Option<&'a Choices>,
    /// Whether the consumer has engaged with the brand.
    pub engaged: bool,
}

/// What is known of the integration at the moment of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Integration<'a> {
    /// The plugin's name: what opt-outs and permissions speak of.
    pub plugin: &'a str,
    /// The plugin's purpose.
    pub purpose: Purpose,
    /// The partner's record.
    pub partner: &'a Partner,
    /// Whether the brand has it switched on.
    pub switched_on: bool,
    /// Whether the brand marks the slot promotional.
    pub promotional: bool,
    /// Whether the endpoint reaches the consumer by SMS.
    pub by_sms: bool,
}

/// The facts that do not depend on a field's label.
pub fn base_facts(subject: Subject<'_>, integration: Integration<'_>) -> Facts {
    let Some(choices) = subject.choices else { return Facts::unknown() };
    let conditions = subject.conditions;
    let opt_out = &choices.opt_out;
    let refused = |plugin: &str| opt_out.integrations.contains(plugin);
    let permitted =
        |scope: &dyn Fn(&PermissionScope) -> bool| choices.permissions.iter().any(|p| scope(&p.scope));
    let cookie = |class| conditions.cookies.contains(&class);
    let other_purpose = !conditions.is_for(integration.purpose);
    [
        (
            Fact::OptOutIntegration,
            refused(integration.plugin) || conditions.through.iter().any(|via| refused(via)),
        ),
        (Fact::OptOutAll, opt_out.all_integrations),
        (Fact::OptOutMarketing, opt_out.marketing),
        (Fact::OptOutSms, opt_out.sms),
        (Fact::OptOutSale, opt_out.sale),
        (Fact::OptOutCookies, opt_out.cookies),
        (Fact::OptOutLocation, opt_out.location),
        (
            Fact::PermissionIntegration,
            permitted(&|s| matches!(s, PermissionScope::Integration(name) if name == integration.plugin)),
        ),
        (
            Fact::PermissionPurpose,
            // A permission names one purpose; it does not reach those below it that the consumer never saw.
            permitted(&|s| matches!(s, PermissionScope::Purpose(key) if key == integration.purpose.as_str())),
        ),
        (Fact::Dnt, conditions.dnt),
        (Fact::Gpc, conditions.gpc),
        (Fact::CookiesStrictlyNecessary, cookie(CookieClass::StrictlyNecessary)),
        (Fact::CookiesPerformance, cookie(CookieClass::Performance)),
        (Fact::CookiesFunctionality, cookie(CookieClass::Functionality)),
        (Fact::Engaged, subject.engaged),
        (Fact::InConversation, conditions.in_conversation),
        (Fact::ConsumerInArea, conditions.region.consumer_in_area()),
        (Fact::PartnerInArea, integration.partner.region.partner_in_area()),
        (Fact::Consideration, integration.partner.gives_consideration(integration.purpose)),
        (Fact::BrandDirected, integration.switched_on),
        (Fact::LimitPending, choices.limit_pending),
        (Fact::DeletionPending, choices.deletion_pending),
        (Fact::ChannelSms, integration.by_sms),
        (Fact::SlotPromotional, integration.promotional),
        (Fact::OtherPurpose, other_purpose),
    ]
    .into_iter()
    .fold(Facts::none(), |facts, (fact, value)| facts.with(fact, value))
}
