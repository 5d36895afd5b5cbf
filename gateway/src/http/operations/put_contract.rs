//! `PUT /v1/partners/{partner}/contracts/{contract}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{ContractInput, Role};

/// Create or replace a contract with a partner
///
/// For what a valid contract covers, the partner is a service provider; otherwise a third party (clause
/// transfer.contract). Contracts are judged at the moment of each decision, so one that has expired
/// covers nothing, queued work included.
#[utoipa::path(
    put,
    path = "/v1/partners/{partner}/contracts/{contract}",
    tag = "control plane",
    params(
        ("partner" = String, Path, description = "The partner's name"),
        ("contract" = String, Path, description = "The contract's name"),
    ),
    request_body(
        content = ContractInput,
        example = json!({
            "purposes": ["essential.service.operations.improve"],
            "categories": ["user.content.private"],
            "onward_transfer": true,
            "expires": "2027-03-01T00:00:00Z"
        })
    ),
    responses(
        (status = 200, description = "The contract as it is now", body = ContractInput),
        (status = 404, description = "There is no such partner", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn put_contract(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments((partner, contract)): Segments<(String, String)>,
    Document(input): Document<ContractInput>,
) -> Result<Json<ContractInput>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.put_contract(&partner, &contract, input, &caller.key).await })
        .await
        .map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_put_contract>(routes!(put_contract), &[Role::Operator], Scope::None)
}
