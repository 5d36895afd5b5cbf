//! A consumer's choices: what they opted out of, and what they permitted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Purpose;

/// What a consumer chose at one brand. The default is: nothing refused, nothing permitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Refusals.
    #[serde(default)]
    pub opt_out: OptOuts,
    /// Permissions; each needs its wording and who recorded it.
    #[serde(default)]
    pub permissions: Vec<Permission>,
    /// A request to limit awaits the brand's word (clause rights.limit).
    #[serde(default)]
    pub limit_pending: bool,
    /// A request to delete awaits the brand's word (clause rights.delete).
    #[serde(default)]
    pub deletion_pending: bool,
}

/// Refusals (clauses Choices and integrations.opt-out).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptOuts {
    /// Every integration, later ones included.
    #[serde(default)]
    pub all_integrations: bool,
    /// Integrations by plugin name.
    #[serde(default)]
    pub integrations: BTreeSet<String>,
    /// Clause choice.marketing.
    #[serde(default)]
    pub marketing: bool,
    /// Clause choice.sms.
    #[serde(default)]
    pub sms: bool,
    /// Sale or anything like it.
    #[serde(default)]
    pub sale: bool,
    /// Clause choice.cookies.
    #[serde(default)]
    pub cookies: bool,
    /// Clause choice.location.
    #[serde(default)]
    pub location: bool,
}

/// What a permission covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionScope {
    /// One integration, by plugin name.
    Integration(String),
    /// One data use.
    Purpose(String),
}

/// A consumer's permission and its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// What it covers.
    #[serde(rename = "for")]
    pub scope: PermissionScope,
    /// The words that the consumer saw.
    pub wording: String,
    /// Who recorded it.
    pub actor: String,
    /// When, RFC 3339; set by the gateway.
    #[serde(default)]
    pub at: String,
}

impl OptOuts {
    /// Refuses what either refuses.
    fn join(&mut self, other: &Self) {
        self.all_integrations |= other.all_integrations;
        self.integrations.extend(other.integrations.iter().cloned());
        self.marketing |= other.marketing;
        self.sms |= other.sms;
        self.sale |= other.sale;
        self.cookies |= other.cookies;
        self.location |= other.location;
    }
}

impl Choices {
    /// Refuses, beside its own, what `other` refuses or awaits. What it permits stays as it is.
    pub fn join_refusals(&mut self, other: &Self) {
        self.opt_out.join(&other.opt_out);
        self.limit_pending |= other.limit_pending;
        self.deletion_pending |= other.deletion_pending;
    }

    /// Ends each permission whose own thing is refused, the most restrictive choice being the one that counts: so
    /// it does not come back when the refusal is reversed, and has to be given anew.
    pub fn end_refused_permissions(&mut self) {
        let out = &self.opt_out;
        self.permissions.retain(|permission| match &permission.scope {
            PermissionScope::Integration(name) => !out.all_integrations && !out.integrations.contains(name),
            PermissionScope::Purpose(key) => {
                let under = |above: &[&str]| {
                    let purpose = Purpose::parse(key);
                    purpose.is_ok_and(|purpose| {
                        above
                            .iter()
                            .any(|above| Purpose::parse(above).is_ok_and(|above| purpose.is_under(above)))
                    })
                };
                !(out.marketing && under(&["marketing"])
                    || out.sms && key.ends_with(".sms")
                    || out.sale && under(&["marketing", "sales", "third_party_sharing"]))
            }
        });
    }

    /// Keeps the permissions that `other` has too, whoever recorded them and in whatever words.
    pub fn keep_permissions_of(&mut self, other: &Self) {
        self.permissions.retain(|own| other.permissions.iter().any(|known| known.scope == own.scope));
    }

    /// Whether `next` only tightens: refuses at least as much and permits no more. What a source may do.
    pub fn tightens_to(&self, next: &Self) -> bool {
        let kept = |was: bool, is: bool| !was || is;
        let (was, is) = (&self.opt_out, &next.opt_out);
        kept(was.all_integrations, is.all_integrations)
            && was.integrations.is_subset(&is.integrations)
            && kept(was.marketing, is.marketing)
            && kept(was.sms, is.sms)
            && kept(was.sale, is.sale)
            && kept(was.cookies, is.cookies)
            && kept(was.location, is.location)
            && kept(self.limit_pending, next.limit_pending)
            && kept(self.deletion_pending, next.deletion_pending)
            && next.permissions.iter().all(|permission| self.permissions.contains(permission))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(scope: PermissionScope) -> Permission {
        Permission { scope, wording: "w".into(), actor: "a".into(), at: "t".into() }
    }

    #[test]
    fn a_permission_ends_with_a_refusal_of_the_same_thing_and_no_other() {
        let integration = |name: &str| PermissionScope::Integration(name.into());
        let purpose = |key: &str| PermissionScope::Purpose(key.into());
        let scopes = [
            integration("adf-lead"),
            integration("chat-button"),
            purpose("marketing.communications.email"),
            purpose("marketing.communications.sms"),
            purpose("essential.service.notifications.sms"),
            purpose("sales"),
            purpose("analytics.reporting"),
        ];
        let out = OptOuts::default;
        for (opt_out, ended) in [
            (out(), &[][..]),
            (OptOuts { all_integrations: true, ..out() }, &[0, 1]),
            (OptOuts { integrations: ["adf-lead".into()].into(), ..out() }, &[0]),
            (OptOuts { marketing: true, ..out() }, &[2, 3]),
            (OptOuts { sms: true, ..out() }, &[3, 4]),
            (OptOuts { sale: true, ..out() }, &[2, 3, 5]),
            (OptOuts { cookies: true, location: true, ..out() }, &[]),
        ] {
            let permissions = scopes.iter().cloned().map(permission).collect();
            let mut choices = Choices { opt_out, permissions, ..Choices::default() };
            let before = choices.clone();
            choices.end_refused_permissions();
            let left =
                scopes.iter().enumerate().filter(|(at, _)| !ended.contains(at)).map(|(_, scope)| scope);
            assert!(choices.permissions.iter().map(|permission| &permission.scope).eq(left), "{choices:?}");
            assert!(before.tightens_to(&choices));
        }
    }

    #[test]
    fn joined_refusals_are_what_either_refused_and_only_common_permissions_are_kept() {
        let integration = |name: &str| permission(PermissionScope::Integration(name.into()));
        let mut choices = Choices {
            opt_out: OptOuts { marketing: true, integrations: ["a".into()].into(), ..OptOuts::default() },
            permissions: vec![integration("a"), integration("b")],
            ..Choices::default()
        };
        let before = choices.clone();
        let other = Choices {
            opt_out: OptOuts { sms: true, integrations: ["b".into()].into(), ..OptOuts::default() },
            permissions: vec![Permission { wording: "other".into(), ..integration("b") }, integration("c")],
            deletion_pending: true,
            ..Choices::default()
        };
        choices.join_refusals(&other);
        assert_eq!(choices.permissions, before.permissions);
        choices.keep_permissions_of(&other);
        assert_eq!(choices.permissions, [integration("b")]);
        assert!(before.tightens_to(&choices));
        assert!(choices.deletion_pending && choices.opt_out.sms && choices.opt_out.marketing);
        assert_eq!(choices.opt_out.integrations, ["a".to_owned(), "b".to_owned()].into());
    }

    #[test]
    fn a_source_may_refuse_more_and_permit_less_but_not_the_reverse() {
        let open = Choices::default();
        let shut = Choices {
            opt_out: OptOuts { all_integrations: true, ..OptOuts::default() },
            ..Choices::default()
        };
        let permitted = Choices {
            permissions: vec![Permission {
                scope: PermissionScope::Integration("adf-lead".into()),
                wording: "w".into(),
                actor: "a".into(),
                at: String::new(),
            }],
            ..Choices::default()
        };
        for (from, to, expected) in [
            (&open, &shut, true),
            (&shut, &open, false),
            (&open, &permitted, false),
            (&permitted, &open, true),
            (&shut, &shut, true),
        ] {
            assert_eq!(from.tightens_to(to), expected);
        }
    }
}
