//! `GET /v1/brands/{brand}/aggregates`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::extract::{Identity, Json, Parameters, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{AggregateQuery, AggregateView, Role};

/// Ask about a brand's consumers
///
/// A count, sum or average over at least as many distinct, engaged consumers as the policy says (clause
/// share.aggregate), of one type of event on one day. Each question has one answer for good, whoever asks.
/// Questions of a key are counted. A question without an answer gets 404 and no word of why: too few
/// consumers, a day that is not over, an unknown field and a used-up budget look the same.
#[utoipa::path(
    get,
    path = "/v1/brands/{brand}/aggregates",
    tag = "ledger",
    params(("brand" = String, Path, description = "The brand's name"), AggregateQuery),
    responses(
        (status = 200, description = "The answer", body = AggregateView),
        (status = 404, description = "There is no answer to this question", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
async fn get_aggregate(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(brand): Segments<String>,
    Parameters(query): Parameters<AggregateQuery>,
) -> Result<Json<AggregateView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.aggregate(&brand, query, &caller).await }).await.map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_get_aggregate>(
        routes!(get_aggregate),
        &[Role::Auditor, Role::Brand],
        Scope::Brand,
    )
}
