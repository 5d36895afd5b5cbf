//! Writes the rows of the ledger. Rows are only ever added: nothing here updates or deletes, and the
//! database's triggers refuse it.
//!
//! Flows repeat: the same release, grant and facts give the same verdicts on the same fields. What repeats
//! is stored once, as a shape, by the digest of its content; a flow's row names its shape and holds the
//! rest. A shape is written with the first flow that has it, in the same transaction.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};
use sqlx::{Arguments, SqliteConnection};

use gateway_policy::{Basis, Facts, FieldVerdict, KeptApart, Standing, Transform};

use super::super::{Digest, FlowRecord, FlowResult, Uid};
use super::apply::State;
use super::bulk::{Bulk, Script};
use super::errors::Trouble;
use super::operation::Shaped;

static ADD_FLOWS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [
        "id", "at_ms", "shape", "brand", "consumer", "event", "facts", "delivery", "attempt", "payload",
        "fuel", "micros", "memory", "spent",
    ];
    Bulk::insert("flows", &columns, "")
});
static ADD_SHAPE_CATEGORIES: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("flow_shape_categories", &["shape", "category", "decision"], ""));

static ADD_RESULTS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("flow_results", &["flow", "at_ms", "outcome", "status", "code"], ""));

/// Puts what came of attempts into the script; void where a row is not there.
pub(super) fn add_results(script: &mut Script, results: &[(&Uid, &FlowResult)]) -> Result<(), Trouble> {
    script.write_each(&ADD_RESULTS, results, |arguments, (flow, result)| {
        arguments.add(flow.as_slice())?;
        arguments.add(result.at_ms)?;
        arguments.add(result.outcome.as_str())?;
        arguments.add(result.status)?;
        arguments.add(result.code.as_deref())
    })
}

/// Computes the digest of the flow's shape.
pub(super) fn shaped(flow: FlowRecord) -> Shaped {
    Shaped { digest: shape_digest(&flow), flow }
}

/// Each part with an end that cannot occur in it, so that no two shapes read the same.
fn shape_digest(flow: &FlowRecord) -> Digest {
    let mut text = String::with_capacity(128 * (4 + flow.verdicts.len()));
    for part in [
        flow.stage.as_str(),
        flow.flow.as_str(),
        flow.recipient.as_str(),
        &flow.plugin,
        &flow.partner,
        &flow.purpose,
        &flow.event_type,
        &flow.outcome,
        flow.endpoint.as_deref().unwrap_or("\u{1}"),
    ] {
        text.push_str(part);
        text.push('\0');
    }
    for FieldVerdict { field, access, labels, verdict, basis } in &flow.verdicts {
        // Writing into a string does not fail.
        let _ = write!(text, "{field}\0{access}\0{}\0{}\0", verdict.decision.as_str(), verdict.reason);
        for label in labels.iter() {
            let _ = write!(text, "{label}\0");
        }
        text.push('\u{1}');
        let Basis { standing, own_facts, met, kept_apart, form, declassified, declassified_within } = basis;
        for Standing { recipient, onward } in standing.iter() {
            let _ = write!(text, "{}\0{onward}\0", recipient.as_str());
        }
        let own_facts = own_facts.map_or(String::new(), |facts| facts.to_bits().to_string());
        let form = form.map_or("", Transform::as_str);
        let _ = write!(text, "{own_facts}\0{met}\0{form}\0{}\0", declassified.as_deref().unwrap_or_default());
        for rule in declassified_within {
            let _ = write!(text, "{rule}\0");
        }
        if let Some(pair) = kept_apart {
            let KeptApart { label, with, standing, granted, purpose, own_facts } = &**pair;
            let Standing { recipient, onward } = standing;
            let own_facts = own_facts.map(Facts::to_bits);
            let recipient = recipient.as_str();
            let _ = write!(
                text,
                "\u{3}{label}\0{with}\0{recipient}\0{onward}\0{granted}\0{purpose}\0{own_facts:?}"
            );
        }
        text.push('\u{2}');
    }
    Sha256::new().chain_update(flow.release).chain_update(flow.policy).chain_update(text).finalize().into()
}

struct FlowRow<'a>(i64, &'a FlowRecord);

/// Puts the flows into the script; their shapes are written where they are new.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    script: &mut Script,
    state: &mut State,
    flows: &[&Shaped],
) -> Result<(), Trouble> {
    let mut rows = Vec::with_capacity(flows.len());
    for shaped in flows {
        let shape = match state.shape(&shaped.digest) {
            Some(shape) => shape,
            None => {
                let shape = ensure_shape(connection, script, shaped).await?;
                state.remember_shape(shaped.digest, shape);
                shape
            }
        };
        rows.push(FlowRow(shape, &shaped.flow));
    }
    script.write(&ADD_FLOWS, &rows, |arguments, FlowRow(shape, flow)| {
        arguments.add(flow.id.as_slice())?;
        arguments.add(flow.at_ms)?;
        arguments.add(*shape)?;
        arguments.add(flow.brand.as_str())?;
        arguments.add(flow.consumer.as_slice())?;
        arguments.add(flow.event.as_slice())?;
        arguments.add(flow.facts.cast_signed())?;
        arguments.add(flow.delivery.as_ref().map(<[u8; 16]>::as_slice))?;
        arguments.add(flow.attempt)?;
        arguments.add(flow.payload.as_ref().map(<[u8; 32]>::as_slice))?;
        arguments.add(flow.fuel.cast_signed())?;
        arguments.add(flow.micros.cast_signed())?;
        arguments.add(flow.memory.cast_signed())?;
        // Numbers and names: it cannot fail to be written as JSON.
        arguments
            .add((!flow.spent.is_empty()).then(|| serde_json::to_string(&flow.spent).unwrap_or_default()))
    })
}

/// The row of a shape, written where it is new.
async fn ensure_shape(
    connection: &mut SqliteConnection,
    script: &mut Script,
    shaped: &Shaped,
) -> Result<i64, Trouble> {
    script.run(connection).await?;
    let Shaped { flow, digest } = shaped;
    let found = sqlx::query_scalar("SELECT id FROM flow_shapes WHERE digest = ?")
        .bind(digest.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = found {
        return Ok(row);
    }
    let verdicts = serde_json::to_string(&flow.verdicts)
        .map_err(|error| Trouble::Database(sqlx::Error::Encode(error.into())))?;
    let shape: i64 = sqlx::query_scalar(
        "INSERT INTO flow_shapes (digest, stage, flow, recipient, plugin, partner, release, policy, purpose, \
         event_type, endpoint, outcome, verdicts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(digest.as_slice())
    .bind(flow.stage.as_str())
    .bind(flow.flow.as_str())
    .bind(flow.recipient.as_str())
    .bind(&flow.plugin)
    .bind(&flow.partner)
    .bind(flow.release.as_slice())
    .bind(flow.policy.as_slice())
    .bind(&flow.purpose)
    .bind(&flow.event_type)
    .bind(&flow.endpoint)
    .bind(&flow.outcome)
    .bind(verdicts)
    .fetch_one(&mut *connection)
    .await?;

    let mut categories = BTreeSet::new();
    for verdict in &flow.verdicts {
        let decision = verdict.verdict.decision.as_str();
        // A field without a label can still be asked for by its decision.
        categories.extend(verdict.labels.is_empty().then_some(("", decision)));
        categories.extend(verdict.labels.iter().map(|label| (label.category.as_str(), decision)));
    }
    let rows: Vec<_> =
        categories.into_iter().map(|(category, decision)| (shape, category, decision)).collect();
    script.write(&ADD_SHAPE_CATEGORIES, &rows, |arguments, (shape, category, decision)| {
        arguments.add(*shape)?;
        arguments.add(*category)?;
        arguments.add(*decision)
    })?;
    Ok(shape)
}
