//! From a component to calls that it handles: published, taken over by the connections that follow, switched on at the
//! author's own brand, and told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use reqwest::StatusCode;
use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use super::seconds;
use crate::cli::client::{Client, ClientError, read, segment};
use crate::cli::{CliError, output};
use crate::manifest::{Difference, Provenance, Reach, ReleaseSigningKey};
use crate::pipeline::{GrantMap, RolloutInput, carried};

/// A release as its partner sees it.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    pub(super) version: Version,
    provenance: Option<Value>,
    status: String,
    /// Brands whose calls it handles.
    #[serde(default)]
    brands: BTreeSet<String>,
    hooks: BTreeMap<String, Vec<Declared>>,
    combinations: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
struct Declared {
    field: String,
}

/// A connection, as far as switching it needs.
#[derive(Debug, Deserialize)]
struct Connection {
    version: String,
    grant: GrantMap,
}

impl Published {
    /// Whether it can be taken, and was built from this.
    pub(super) fn is_of(&self, provenance: &Provenance) -> bool {
        let built = serde_json::to_value(provenance).ok();
        self.status == "published" && self.provenance.is_some() && self.provenance == built
    }

    /// What it declares under a key of a grant.
    fn declared(&self, key: &str) -> Option<BTreeSet<&str>> {
        let fields = self.hooks.get(key).map(|fields| fields.iter().map(|of| of.field.as_str()).collect());
        fields.or_else(|| self.combinations.get(key).map(|of| of.iter().map(String::as_str).collect()))
    }
}

/// A brand whose key the author has.
pub(super) struct Brand {
    pub(super) name: String,
    pub(super) client: Client,
}

/// A running gateway.
pub(super) struct Reload {
    /// With the partner's key.
    pub(super) client: Client,
    pub(super) brand: Option<Brand>,
}

impl Reload {
    /// Every release of a plugin; none where nothing of it is published.
    pub(super) async fn releases(&self, plugin: &str) -> Result<Vec<Published>, CliError> {
        let path = format!("/v1/plugins/{}/releases", segment(plugin));
        match self.client.get(&path, &[]).await {
            Ok(answer) => read(answer),
            Err(ClientError::Refused(refused)) if refused.status == StatusCode::NOT_FOUND => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes a component.
    pub(super) async fn publish(
        &self,
        component: Vec<u8>,
        signing_key: &ReleaseSigningKey,
    ) -> Result<Published, CliError> {
        read(self.client.publish(component, signing_key).await?)
    }

    /// Switches the author's brand to the release, where it does not run there already, and says who runs it and who
    /// does not. `built` is when its build ended.
    pub(super) async fn settle(&self, plugin: &str, version: &str, built: Instant) -> Result<(), CliError> {
        let mut releases = self.releases(plugin).await?;
        if let Some(brand) = &self.brand {
            let new = releases.iter().find(|release| release.version.to_string() == version);
            if let Some(new) = new.filter(|new| !new.brands.contains(&brand.name)) {
                self.switch(brand, plugin, new).await?;
                releases = self.releases(plugin).await?;
            }
        }
        let took = built.elapsed();
        let is_new = |release: &&Published| release.version.to_string() == version;
        let brands: Vec<&str> =
            releases.iter().filter(is_new).flat_map(|new| &new.brands).map(String::as_str).collect();
        if !brands.is_empty() {
            let brands = brands.join(", ");
            output::line(&format!(
                "calls are handled by {version} at {brands}, {} after the build",
                seconds(took)
            ))?;
        }
        let others = releases.iter().filter(|release| !is_new(release));
        let keeping: Vec<(&str, &Version)> = others
            .flat_map(|other| other.brands.iter().map(|brand| (brand.as_str(), &other.version)))
            .collect();
        if brands.is_empty() && keeping.is_empty() {
            output::line(&format!(
                "{version} is published, and no brand runs {plugin}; a brand switches it on with PUT /v1/brands/BRAND/connections/{plugin}"
            ))?;
        }
        for (brand, old) in keeping {
            self.tell_kept(plugin, brand, &old.to_string(), version).await?;
        }
        Ok(())
    }

    async fn switch(&self, brand: &Brand, plugin: &str, new: &Published) -> Result<(), CliError> {
        let path = format!("/v1/brands/{}/connections/{}", segment(&brand.name), segment(plugin));
        let connection: Connection = read(brand.client.get(&path, &[]).await?)?;
        let version = new.version.to_string();
        let found = self.difference(plugin, &connection.version, &version).await?;
        let grant = if found.reach == Reach::Wider {
            output::line(&format!(
                "{version} gets more than {}; {} keeps its grant:\n{}",
                connection.version,
                brand.name,
                wider(&found)
            ))?;
            Some(carried(&connection.grant, |key| new.declared(key)))
        } else {
            None
        };
        let input = RolloutInput { release: version, percent: 100, grant, settings: None };
        brand.client.put(&format!("{path}/rollout"), &input).await?;
        Ok(())
    }

    /// Why a brand did not take the release over, and what it would run to do so.
    async fn tell_kept(&self, plugin: &str, brand: &str, old: &str, new: &str) -> Result<(), CliError> {
        let found = self.difference(plugin, old, new).await?;
        let command = format!("gateway plugin rollout {brand} {plugin} {new} --percent 100");
        let text = if found.reach == Reach::Wider {
            format!(
                "{brand} keeps {old} until it agrees, because {new} gets more:\n{}\nthe brand agrees with\n  {command} --grant GRANT.json",
                wider(&found)
            )
        } else {
            format!("{brand} keeps {old}; to have {new}, the brand runs\n  {command}")
        };
        output::line(&text)
    }

    async fn difference(&self, plugin: &str, old: &str, new: &str) -> Result<Difference, CliError> {
        let path = format!("/v1/plugins/{}/releases/{}/diff", segment(plugin), segment(new));
        read(self.client.get(&path, &[("from", old.to_owned())]).await?)
    }
}

/// What a difference has that makes it wider, a line each.
fn wider(found: &Difference) -> String {
    let lines = found.changes.iter().filter(|change| change.reach == Reach::Wider);
    lines.map(|change| format!("  {}: {}", change.at, change.what)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_grant_is_carried_as_far_as_the_release_declares_it() {
        let release: Published = read(json!({
            "version": "1.0.0-dev.1", "provenance": null, "status": "published",
            "hooks": { "share chat.ended": [{ "field": "/contact/email" }, { "field": "/new" }] },
            "combinations": {
                "combine offer": ["/a", "/b"], "combine narrower": ["/a"], "combine wider": ["/a", "/b"],
            },
        }))
        .unwrap();
        let grant: GrantMap = serde_json::from_value(json!({
            "share chat.ended": ["/contact/email", "/gone"],
            "share page.viewed": ["/url"],
            "combine offer": ["/a", "/b"],
            "combine narrower": ["/a", "/b"],
            "combine wider": ["/a"],
        }))
        .unwrap();
        let expected = json!({
            "share chat.ended": ["/contact/email"], "combine offer": ["/a", "/b"], "combine narrower": ["/a"],
        });
        assert_eq!(
            serde_json::to_value(carried(&grant, |key| release.declared(key))).unwrap(),
            sorted(expected)
        );
    }

    /// In the order of a map's keys.
    fn sorted(value: Value) -> Value {
        let map: BTreeMap<String, Value> = serde_json::from_value(value).unwrap();
        serde_json::to_value(map).unwrap()
    }

    #[test]
    fn only_what_is_wider_is_told_as_such() {
        let found: Difference = read(json!({ "reach": "wider", "changes": [
            { "at": "share chat.ended", "reach": "wider", "what": "reads /contact/email" },
            { "at": "plugin", "reach": "equal", "what": "another summary" },
        ] }))
        .unwrap();
        assert_eq!(wider(&found), "  share chat.ended: reads /contact/email");
    }
}
