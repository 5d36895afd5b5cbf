//! Builds the statement that answers a question about the ledger. It only reads.

use sqlx::sqlite::Sqlite;
use sqlx::{QueryBuilder, SqliteConnection};

use super::super::crypto::uid_floor;
use super::super::{FlowQuery, FlowRecord, FlowShape, LedgerPage, LedgerRow, StoreError, Uid};
use super::errors::unavailable;
use super::rows;

/// How far an id's time may be from its row's.
const SLACK_MS: i64 = 60 * 60 * 1000;

const FROM: &str =
    " FROM flows f JOIN flow_shapes s ON s.id = f.shape LEFT JOIN flow_results r ON r.flow = f.id";

/// The flows that the query names, newest first.
pub(super) async fn flows(
    connection: &mut SqliteConnection,
    query: &FlowQuery,
) -> Result<Vec<FlowRecord>, StoreError> {
    let fetched = statement(query).build().persistent(false).fetch_all(connection).await;
    fetched.map_err(|error| unavailable("read flows", &error))?.iter().map(rows::flow).collect()
}

/// One flow.
pub(super) async fn flow(
    connection: &mut SqliteConnection,
    id: &Uid,
) -> Result<Option<FlowRecord>, StoreError> {
    let mut builder = QueryBuilder::<Sqlite>::new("SELECT ");
    builder.push(rows::FLOW).push(FROM).push(" WHERE f.id = ").push_bind(id.as_slice());
    let fetched = builder.build().fetch_optional(connection).await;
    fetched.map_err(|error| unavailable("read a flow", &error))?.as_ref().map(rows::flow).transpose()
}

/// Rows after a position, by shape and facts. The ledger only grows at its end, so pages are disjoint.
pub(super) async fn ledger_after(
    connection: &mut SqliteConnection,
    after: i64,
    limit: u32,
) -> Result<LedgerPage, StoreError> {
    let failed = |error: sqlx::Error| unavailable("read the ledger", &error);
    let end: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM flows")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let last: Option<i64> =
        sqlx::query_scalar("SELECT max(seq) FROM (SELECT seq FROM flows WHERE seq > ? ORDER BY seq LIMIT ?)")
            .bind(after)
            .bind(limit)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    let Some(through) = last else { return Ok(LedgerPage { groups: Vec::new(), last, end }) };
    let groups = sqlx::query(
        "SELECT g.shape, g.facts, g.rows, f.id FROM (SELECT shape, facts, count(*) AS rows, min(seq) AS first \
         FROM flows WHERE seq > ? AND seq <= ? GROUP BY shape, facts) g JOIN flows f ON f.seq = g.first \
         ORDER BY g.first",
    )
    .bind(after)
    .bind(through)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    Ok(LedgerPage { groups: groups.iter().map(rows::flow_group).collect::<Result<_, _>>()?, last, end })
}

/// Rows after a position, each by itself.
pub(super) async fn ledger_rows_after(
    connection: &mut SqliteConnection,
    after: i64,
    limit: u32,
) -> Result<Vec<LedgerRow>, StoreError> {
    let fetched =
        sqlx::query("SELECT seq, id, at_ms, shape, facts FROM flows WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind(after)
            .bind(limit)
            .fetch_all(connection)
            .await;
    fetched.map_err(|error| unavailable("read the ledger", &error))?.iter().map(rows::ledger_row).collect()
}

/// Every shape.
pub(super) async fn flow_shapes(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    let fetched = sqlx::query_scalar("SELECT id FROM flow_shapes ORDER BY id").fetch_all(connection).await;
    fetched.map_err(|error| unavailable("read the shapes of flows", &error))
}

/// What the rows of a shape have in common.
pub(super) async fn flow_shape(
    connection: &mut SqliteConnection,
    shape: i64,
) -> Result<Option<FlowShape>, StoreError> {
    let fetched = sqlx::query(
        "SELECT stage, flow, recipient, partner, policy, purpose, outcome, verdicts FROM flow_shapes WHERE id = ?",
    )
    .bind(shape)
    .fetch_optional(connection)
    .await;
    fetched.map_err(|error| unavailable("read a shape", &error))?.as_ref().map(rows::flow_shape).transpose()
}

fn statement(query: &FlowQuery) -> QueryBuilder<Sqlite> {
    let mut builder = QueryBuilder::<Sqlite>::new("SELECT ");
    builder.push(rows::FLOW).push(FROM).push(" WHERE true");
    // The flow's own columns: an index on (brand, id) or (consumer, id), or on id, in the answer's order.
    if let Some(brand) = &query.brand {
        builder.push(" AND f.brand = ").push_bind(brand.clone());
    }
    if let Some(consumer) = &query.consumer {
        builder.push(" AND f.consumer IN (").push_bind(consumer.to_vec());
        for linked in &query.linked {
            builder.push(", ").push_bind(linked.to_vec());
        }
        builder.push(")");
    }
    if let Some(before) = &query.before {
        builder.push(" AND f.id < ").push_bind(before.to_vec());
    }
    // The time decides; the id, which starts with it, keeps the scan short.
    if let Some(from) = query.from_ms {
        builder.push(" AND f.at_ms >= ").push_bind(from);
        if let Some(floor) = uid_floor(from.saturating_sub(SLACK_MS)) {
            builder.push(" AND f.id >= ").push_bind(floor.to_vec());
        }
    }
    if let Some(until) = query.until_ms {
        builder.push(" AND f.at_ms < ").push_bind(until);
        if let Some(floor) = uid_floor(until.saturating_add(SLACK_MS)) {
            builder.push(" AND f.id < ").push_bind(floor.to_vec());
        }
    }
    // What stands in the shape.
    for (column, value) in [
        (" AND s.plugin = ", query.plugin.as_deref()),
        (" AND s.partner = ", query.partner.as_deref()),
        (" AND s.flow = ", query.flow.map(gateway_policy::Flow::as_str)),
        (" AND s.stage = ", query.stage.map(super::super::Stage::as_str)),
    ] {
        if let Some(value) = value {
            builder.push(column).push_bind(value.to_owned());
        }
    }
    if query.category.is_some() || query.verdict.is_some() {
        // Category and verdict speak of the same field.
        builder.push(" AND f.shape IN (SELECT c.shape FROM flow_shape_categories c WHERE true");
        if let Some(category) = &query.category {
            builder.push(" AND (c.category = ").push_bind(category.clone());
            // `.` and `/` are neighbours: from `a.` to below `a/` is all that begins with `a.`.
            builder.push(" OR (c.category >= ").push_bind(format!("{category}."));
            builder.push(" AND c.category < ").push_bind(format!("{category}/")).push("))");
        }
        if let Some(verdict) = &query.verdict {
            builder.push(" AND c.decision = ").push_bind(verdict.clone());
        }
        builder.push(")");
    }
    builder.push(" ORDER BY f.id DESC LIMIT ").push_bind(query.limit);
    builder
}
