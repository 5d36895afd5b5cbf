//! What a consumer's choices look like, for the API's documentation only: the policy's crate is pure and
//! knows no documentation. A test holds both against each other.

use std::collections::BTreeSet;

use utoipa::ToSchema;

/// What a consumer chose at one brand. What is left out is: not refused, not permitted.
#[derive(ToSchema)]
#[schema(as = Choices)]
#[allow(dead_code)] // It is its schema.
pub(super) struct ChoicesSchema {
    #[schema(required = false)]
    opt_out: OptOutsSchema,
    #[schema(required = false)]
    permissions: Vec<PermissionSchema>,
    /// A request to limit awaits the brand's word: third parties get nothing (clause rights.limit).
    #[schema(required = false)]
    limit_pending: bool,
    /// A request to delete awaits the brand's word: third parties get nothing (clause rights.delete).
    #[schema(required = false)]
    deletion_pending: bool,
}

/// Refusals.
#[derive(ToSchema)]
#[schema(as = OptOuts)]
#[allow(dead_code)] // It is its schema.
struct OptOutsSchema {
    /// Every integration, later ones included (clause integrations.opt-out).
    #[schema(required = false)]
    all_integrations: bool,
    /// Integrations by plugin name (clause integrations.opt-out).
    #[schema(required = false)]
    integrations: BTreeSet<String>,
    /// Purposes under `marketing` (clause choice.marketing).
    #[schema(required = false)]
    marketing: bool,
    /// SMS (clause choice.sms).
    #[schema(required = false)]
    sms: bool,
    /// Sale or anything like it (clause share.no-sale).
    #[schema(required = false)]
    sale: bool,
    /// Cookies that are not strictly necessary (clause choice.cookies).
    #[schema(required = false)]
    cookies: bool,
    /// Location (clause choice.location).
    #[schema(required = false)]
    location: bool,
}

/// A permission with its evidence.
#[derive(ToSchema)]
#[schema(as = Permission)]
#[allow(dead_code)] // It is its schema.
struct PermissionSchema {
    r#for: PermissionScopeSchema,
    /// The words that the consumer saw.
    wording: String,
    /// Who recorded it.
    actor: String,
    /// RFC 3339; set by the gateway.
    #[schema(required = false)]
    at: String,
}

/// What a permission covers.
#[derive(ToSchema)]
#[schema(as = PermissionScope, rename_all = "snake_case")]
#[allow(dead_code)] // It is its schema.
enum PermissionScopeSchema {
    /// One integration, by plugin name.
    Integration(String),
    /// One data use.
    Purpose(String),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_policy::{Choices, Permission, PermissionScope};
    use serde_json::Value;
    use utoipa::PartialSchema;

    use super::*;

    fn properties(schema: impl serde::Serialize) -> BTreeSet<String> {
        let schema = serde_json::to_value(schema).unwrap();
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    fn members(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_has_the_fields_of_the_type() {
        let permission = |scope| Permission { scope, wording: "w".into(), actor: "a".into(), at: "t".into() };
        let choices = Choices {
            permissions: vec![
                permission(PermissionScope::Integration("p".into())),
                permission(PermissionScope::Purpose("p".into())),
            ],
            ..Choices::default()
        };
        let wire = serde_json::to_value(choices).unwrap();
        assert_eq!(properties(ChoicesSchema::schema()), members(&wire));
        assert_eq!(properties(OptOutsSchema::schema()), members(&wire["opt_out"]));
        assert_eq!(properties(PermissionSchema::schema()), members(&wire["permissions"][0]));
        let scopes = serde_json::to_value(PermissionScopeSchema::schema()).unwrap();
        for (form, permission) in [(0, 0), (1, 1)] {
            let wire = members(&wire["permissions"][permission]["for"]);
            assert_eq!(members(&scopes["oneOf"][form]["properties"]), wire);
        }
    }
}
