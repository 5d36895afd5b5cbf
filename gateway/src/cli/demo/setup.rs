//! The demo's world, written through the API: who there is, what is published, what is switched on.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Keys;
use crate::cli::CliError;
use crate::cli::client::{Client, segment};
use crate::cli::plugin::{BuiltPlugin, new_key, read_component};
use crate::manifest::ReleaseSigningKey;
use crate::pipeline::{BrandInput, ConnectionInput, ContractInput, GrantEntry, PartnerInput};

/// A brand of the demo.
pub(super) struct Brand {
    pub(super) name: &'static str,
    display_name: &'static str,
    /// Plugins that are on, every declared field granted.
    pub(super) on: &'static [&'static str],
}

/// A partner of the demo.
pub(super) struct Partner {
    pub(super) name: &'static str,
    display_name: &'static str,
    region: &'static str,
    pub(super) domain: &'static str,
    pub(super) plugin: &'static str,
    /// In which demos it is there.
    pub(super) scope: Scope,
    /// With one it is a service provider for its plugin's purpose; without, a third party.
    contract: Option<Terms>,
}

/// How much a demo shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// The main job: what an event shares.
    Base,
    /// And what a partner sends, combined and refused.
    Members,
    /// And every other sample plugin.
    All,
}

/// What a contract of the demo says, beside its partner's purpose.
struct Terms {
    purpose: &'static str,
    onward_transfer: bool,
}

/// The plugin that answers, and its slot.
pub(super) const SLOT_PLUGIN: &str = "chat-button";
pub(super) const SLOT: &str = "chat-button";
/// The event type that the slot's decision takes.
pub(super) const SLOT_EVENT: &str = "page.viewed";

pub(super) const BRANDS: [Brand; 3] = [
    Brand {
        name: "northside-motors",
        display_name: "Northside Motors",
        on: &["adf-lead", SLOT_PLUGIN, MEMBERS_PLUGIN, "visit-note"],
    },
    Brand {
        name: "city-dental",
        display_name: "City Dental",
        on: &["transcript-quality", SLOT_PLUGIN, "visit-note", "reply-length"],
    },
    Brand { name: "first-bank", display_name: "First Bank", on: &["identity-sync", "page-metrics"] },
];

pub(super) const PARTNERS: [Partner; 8] = [
    Partner {
        name: "acme-crm",
        display_name: "Acme CRM",
        region: "US",
        domain: super::PARTNER_DOMAIN,
        plugin: "adf-lead",
        scope: Scope::Base,
        contract: None,
    },
    Partner {
        name: "engage",
        display_name: "Engage",
        region: "US",
        domain: "engage.example",
        plugin: "chat-button",
        scope: Scope::Base,
        contract: Some(Terms { purpose: "personalize.content.limited", onward_transfer: true }),
    },
    Partner {
        name: "clarity",
        display_name: "Clarity",
        region: "EU",
        domain: "clarity.example",
        plugin: "transcript-quality",
        scope: Scope::Base,
        contract: Some(Terms { purpose: "essential.service.operations.improve", onward_transfer: false }),
    },
    Partner {
        name: "gold-club",
        display_name: "Gold Club",
        region: "US",
        domain: "gold-club.example",
        plugin: MEMBERS_PLUGIN,
        scope: Scope::Members,
        contract: Some(Terms {
            purpose: "marketing.advertising.first_party.targeted",
            onward_transfer: true,
        }),
    },
    Partner {
        name: "tally",
        display_name: "Tally",
        region: "US",
        domain: "tally.example",
        plugin: "page-metrics",
        scope: Scope::All,
        contract: Some(Terms { purpose: "analytics.reporting.content_performance", onward_transfer: true }),
    },
    Partner {
        name: "ident",
        display_name: "Ident",
        region: "US",
        domain: "ident.example",
        plugin: "identity-sync",
        scope: Scope::All,
        contract: Some(Terms { purpose: "essential.service.operations.support", onward_transfer: true }),
    },
    Partner {
        name: "front-desk",
        display_name: "Front Desk",
        region: "US",
        domain: "front-desk.example",
        plugin: "visit-note",
        scope: Scope::All,
        contract: None,
    },
    Partner {
        name: "measure",
        display_name: "Measure",
        region: "EU",
        domain: "measure.example",
        plugin: "reply-length",
        scope: Scope::All,
        contract: Some(Terms { purpose: "essential.service.operations.improve", onward_transfer: false }),
    },
];

/// The plugin that hears from its partner, its slot, and the event type that the slot's decision takes.
pub(super) const MEMBERS_PLUGIN: &str = "loyalty-offer";
pub(super) const MEMBERS_SLOT: &str = "coupon-banner";
pub(super) const MEMBERS_EVENT: &str = "purchase.completed";
/// The brand that has it on.
pub(super) const MEMBERS_BRAND: &str = "northside-motors";

/// The plugins of a demo.
pub(super) fn plugins(scope: Scope) -> impl Iterator<Item = &'static str> {
    PARTNERS.iter().filter(move |partner| partner.scope <= scope).map(|partner| partner.plugin)
}

/// Whether a brand has the slot on.
pub(super) fn has_slot(brand: &str) -> bool {
    BRANDS.iter().any(|known| known.name == brand && known.on.contains(&SLOT_PLUGIN))
}

/// What the world's setting up leaves for later.
pub(super) struct World {
    /// The document that switches the members' plugin on, and the secret that its partner signs with.
    pub(super) members: Option<(ConnectionInput, String)>,
}

/// Writes all of it, with the plugins that were built.
pub(super) async fn world(operator: &Client, keys: &Keys, built: &[BuiltPlugin]) -> Result<World, CliError> {
    let mut world = World { members: None };
    for brand in &BRANDS {
        let input = BrandInput { display_name: brand.display_name.to_owned(), platform: false };
        operator.put(&format!("/v1/brands/{}", segment(brand.name)), &input).await?;
    }
    let mut releases: BTreeMap<&str, Value> = BTreeMap::new();
    for partner in &PARTNERS {
        let path = built.iter().find(|plugin| plugin.name == partner.plugin).map(|plugin| &plugin.path);
        let (Some(path), Some(key)) = (path, keys.partner(partner.name)) else { continue };
        let (_, signing_key) = new_key()?;
        write_partner(operator, partner, &signing_key).await?;
        let component = read_component(path)?;
        let release = operator.with_key(key.clone()).publish(component, &signing_key).await?;
        releases.insert(partner.plugin, release);
    }
    for brand in &BRANDS {
        let Some(key) = keys.brand(brand.name) else { continue };
        let client = operator.with_key(key.clone());
        for plugin in brand.on {
            let Some(release) = releases.get(plugin) else { continue };
            let path = format!("/v1/brands/{}/connections/{}", segment(brand.name), segment(plugin));
            let document = connection(plugin, brand, release)?;
            let view = client.put(&path, &document).await?;
            if *plugin == MEMBERS_PLUGIN
                && let Some(secret) = view.get("inbound_secret").and_then(Value::as_str)
            {
                world.members = Some((document, secret.to_owned()));
            }
        }
    }
    Ok(world)
}

async fn write_partner(
    operator: &Client,
    partner: &Partner,
    signing_key: &ReleaseSigningKey,
) -> Result<(), CliError> {
    let path = format!("/v1/partners/{}", segment(partner.name));
    let input = PartnerInput {
        display_name: partner.display_name.to_owned(),
        region: partner.region.to_owned(),
        domains: vec![partner.domain.to_owned()],
        consideration: false,
        webhook_keys: vec![],
        release_keys: vec![signing_key.public()],
    };
    operator.put(&path, &input).await?;
    if let Some(terms) = &partner.contract {
        let input = ContractInput {
            purposes: vec![terms.purpose.to_owned()],
            // Whatever the plugin declares is about the consumer.
            categories: vec!["user".to_owned()],
            onward_transfer: terms.onward_transfer,
            consideration: false,
            expires: None,
        };
        operator.put(&format!("{path}/contracts/demo"), &input).await?;
    }
    Ok(())
}

/// The switch, with every declared field granted.
fn connection(plugin: &str, brand: &Brand, release: &Value) -> Result<ConnectionInput, CliError> {
    let mut grant: BTreeMap<String, BTreeSet<GrantEntry>> = BTreeMap::new();
    for (hook, fields) in release.get("hooks").and_then(Value::as_object).into_iter().flatten() {
        let names = fields.as_array().into_iter().flatten().filter_map(|field| field.get("field")?.as_str());
        grant.insert(hook.clone(), names.map(|name| GrantEntry::Whole(name.to_owned())).collect());
    }
    for (key, of) in release.get("combinations").and_then(Value::as_object).into_iter().flatten() {
        let names = of.as_array().into_iter().flatten().filter_map(Value::as_str);
        grant.insert(key.clone(), names.map(|name| GrantEntry::Whole(name.to_owned())).collect());
    }
    let key = || Ok::<_, CliError>(BTreeMap::from([("api-key".to_owned(), random_secret()?)]));
    let (settings, secrets) = match plugin {
        "adf-lead" => {
            (json!({ "host": "leads", "dealer": "4711", "vendor-name": brand.display_name }), key()?)
        }
        "page-metrics" => (json!({ "host": "api", "site": brand.name }), key()?),
        _ => (json!({}), BTreeMap::new()),
    };
    let id = release.get("release").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(ConnectionInput {
        release: id,
        grant,
        settings,
        secrets,
        promotional: BTreeSet::new(),
        rotate_inbound_secret: false,
        follow: Default::default(),
    })
}

/// What the partner would have given the brand: 128 random bits.
fn random_secret() -> Result<String, CliError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::FellShort(format!("no random numbers: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_field_is_granted_under_its_hook() {
        let release = json!({
            "release": "00ff",
            "hooks": { "share chat.ended": [{ "field": "/a", "access": "read" }, { "field": "/b" }] }
        });
        let input = connection("adf-lead", &BRANDS[0], &release).unwrap();
        assert_eq!(input.release, "00ff");
        assert_eq!(
            input.grant["share chat.ended"],
            BTreeSet::from(["/a", "/b"].map(|field| GrantEntry::Whole(field.into())))
        );
        assert!(input.secrets["api-key"].len() >= 20);
    }

    #[test]
    fn what_is_on_has_a_partner() {
        for plugin in BRANDS.iter().flat_map(|brand| brand.on) {
            assert!(PARTNERS.iter().any(|partner| partner.plugin == *plugin), "{plugin}");
        }
    }

    #[test]
    fn what_has_a_partner_is_on() {
        for partner in &PARTNERS {
            assert!(BRANDS.iter().any(|brand| brand.on.contains(&partner.plugin)), "{}", partner.plugin);
        }
    }
}
