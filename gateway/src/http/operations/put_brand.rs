//! `PUT /v1/brands/{brand}`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::document::Document;
use crate::http::extract::{Identity, Json, Segments};
use crate::http::problem::ProblemDetails;
use crate::http::routes::{Operation, Scope};
use crate::pipeline::{BrandInput, BrandView, Role};

/// Create or replace a brand
///
/// The change is recorded with the key that made it.
#[utoipa::path(
    put,
    path = "/v1/brands/{brand}",
    tag = "control plane",
    params(("brand" = String, Path, description = "The brand's name: lower-case letters, digits, hyphens")),
    request_body(content = BrandInput, example = json!({"display_name": "Northside Motors"})),
    responses((status = 200, description = "The brand as it is now", body = BrandView)),
)]
async fn put_brand(
    State(api): State<Api>,
    Identity(caller): Identity,
    Segments(brand): Segments<String>,
    Document(input): Document<BrandInput>,
) -> Result<Json<BrandView>, ProblemDetails> {
    api.complete(|gateway| async move { gateway.put_brand(&brand, input, &caller.key).await }).await.map(Json)
}

pub(in crate::http) fn operation() -> Operation {
    Operation::new::<__path_put_brand>(routes!(put_brand), &[Role::Operator], Scope::None)
}
