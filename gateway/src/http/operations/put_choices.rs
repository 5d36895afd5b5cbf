//! `PUT /v1/brands/{brand}/consumers/{consumer}/choices`.

use axum::extract::State;
use gateway_policy::Choices;
use utoipa_axum::routes;

use super::choices_schema::ChoicesSchema;
use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::Role;

/// Replace a consumer's choices
///
/// They take effect on the next decision anywhere, work already queued included. A permission needs its
/// wording and who recorded it; one that is left out is withdrawn, and one whose own thing is refused ends, for
/// good. Linked ids get the same choices. An opt-out of SMS that is put here is this consumer's, whatever the number; one
/// that a keyword made is the number's, whoever is met with it. A plugin is named only once it is published: under a name
/// misspelt a choice would protect nobody. A key of role source may only tighten: refuse more, permit less.
#[utoipa::path(
    put,
    path = "/v1/brands/{brand}/consumers/{consumer}/choices",
    tag = "consumers",
    params(
        ("brand" = String, Path, description = "The brand's name"),
        ("consumer" = String, Path, description = "The `subject` of the consumer's events, percent-encoded"),
    ),
    request_body(
        content = ChoicesSchema,
        example = json!({
            "opt_out": {"integrations": ["adf-lead"], "marketing": true},
            "permissions": [{
                "for": {"integration": "transcript-quality"},
                "wording": "Clarity may read this chat to rate our service.",
                "actor": "agent-7"
            }]
        })
    ),
    responses((status = 200, description = "The choices as they are now", body = ChoicesSchema)),
)]
async fn put_choices(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((brand, consumer)): Segments<(String, String)>,
    Document(choices): Document<Choices>,
) -> Result<Json<Choices>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.put_choices(&brand, &consumer, choices, &caller).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_put_choices>(routes!(put_choices), &[Role::Brand, Role::Source], Scope::Brand)
}
