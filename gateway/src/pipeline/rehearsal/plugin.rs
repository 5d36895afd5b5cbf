//! A component that can be rehearsed, and what it declares.

use std::sync::Arc;

use super::super::grant::{GrantEntry, GrantMap, carried, declared};
use super::case::ConnectionCase;
use crate::boundary::{Release, combine_key, grant_key};
use crate::manifest;
use crate::plugin_host::{HostError, LoadedRelease};

/// Why a component cannot be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// It could not be published either.
    #[error("the component could not be published:\n{}", problems.iter().map(|problem| format!("- {problem}")).collect::<Vec<_>>().join("\n"))]
    Component {
        /// All that is wrong.
        problems: Vec<manifest::Problem>,
    },
    /// The sandbox does not take it.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// A component, ready to be called.
pub struct RehearsedPlugin {
    pub(super) release: Arc<Release>,
    pub(super) loaded: LoadedRelease,
}

impl RehearsedPlugin {
    /// One that was published.
    pub(in crate::pipeline) fn published(release: Arc<Release>, loaded: LoadedRelease) -> Self {
        Self { release, loaded }
    }

    /// SHA-256 of the component.
    pub fn digest(&self) -> [u8; 32] {
        self.release.digest
    }

    /// Takes out of a connection's grant what this release does not declare: nothing of it would be granted either were
    /// the release switched to.
    pub fn keep_declared(&self, connection: &mut ConnectionCase) {
        if let Some(grant) = &mut connection.grant {
            *grant = carried(grant, |key| declared(&self.release, key));
        }
    }

    /// The manifest's name and version.
    pub fn named(&self) -> (&str, String) {
        let plugin = &self.release.manifest.plugin;
        (&plugin.name, plugin.version.to_string())
    }
}

/// Everything that a release declares.
pub(super) fn full_grant(release: &Release) -> GrantMap {
    let hooks = release.hooks.iter().map(|hook| {
        let fields = hook.fields.iter().map(|field| GrantEntry::from(field.name.to_string()));
        (grant_key(&hook.trigger), fields.collect())
    });
    let combinations = release.combinations.iter().map(|combination| {
        let of = combination.of.iter().map(|part| GrantEntry::from(part.text.clone()));
        (combine_key(combination), of.collect())
    });
    hooks.chain(combinations).collect()
}
