//! The ledger, as auditors and brands read it.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_policy::{
    Access, Category, Decision, Facts, FieldVerdict, Flow, KeptApart, Label, Purpose, Reason, Recipient,
    Standing, Transform,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::consumers::subject_digest;
use super::error::Refusal;
use super::gateway::Gateway;
use super::model::{Caller, FlowFilter, FlowResultView, FlowView, Page, Role, SpentView};
use super::registry::{parse_rfc3339_ms, rfc3339};
use crate::store::crypto::{format_digest, format_uid, parse_uid};
use crate::store::{FlowQuery, FlowRecord, Stage};

/// Rows of a page, where not said otherwise, and at most.
const PAGE: (u32, u32) = (100, 1000);

fn bad(parameter: &str, detail: impl Into<String>) -> Refusal {
    Refusal::invalid(format!("query parameter {parameter}"), "", detail)
}

/// The page size asked for.
///
/// # Errors
/// [`Refusal::Invalid`] outside 1 to 1000.
pub(super) fn page_size(limit: Option<u32>) -> Result<u32, Refusal> {
    match limit {
        None => Ok(PAGE.0),
        Some(limit) if (1..=PAGE.1).contains(&limit) => Ok(limit),
        Some(_) => Err(bad("limit", format!("must be 1 to {}", PAGE.1))),
    }
}

impl Gateway {
    /// Rows of the ledger, newest first. A brand sees its own.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] names the parameter; [`Refusal::Forbidden`] for another brand.
    pub async fn flows(&self, filter: &FlowFilter, caller: &Caller) -> Result<Page<FlowView>, Refusal> {
        let limit = page_size(filter.limit)?;
        let Some(query) = self.query(filter, caller, limit).await? else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let rows = self.store.flows(&query).await?;
        let next = (rows.len() > limit as usize)
            .then(|| rows.get(limit as usize - 1).map(|row| format_uid(&row.id)))
            .flatten();
        Ok(Page { items: rows.iter().take(limit as usize).map(view).collect(), next })
    }

    /// One row of the ledger.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for a row of another brand.
    pub async fn flow(&self, id: &str, caller: &Caller) -> Result<FlowView, Refusal> {
        let missing = || Refusal::NotFound { what: "flow with this id".into() };
        let row = self.store.flow(&parse_uid(id).ok_or_else(missing)?).await?.ok_or_else(missing)?;
        match caller.role {
            Role::Auditor => Ok(view(&row)),
            Role::Brand if caller.brand.as_deref() == Some(&row.brand) => Ok(view(&row)),
            _ => Err(missing()),
        }
    }

    /// None where nothing can match: a consumer that the brand never met.
    async fn query(
        &self,
        filter: &FlowFilter,
        caller: &Caller,
        limit: u32,
    ) -> Result<Option<FlowQuery>, Refusal> {
        let brand = match (caller.role, &caller.brand) {
            (Role::Auditor, _) => filter.brand.clone(),
            (Role::Brand, Some(own)) => match &filter.brand {
                Some(other) if other != own => {
                    return Err(Refusal::Forbidden {
                        message: "a brand key reads its own brand's flows only".into(),
                    });
                }
                _ => Some(own.clone()),
            },
            _ => return Err(Refusal::Forbidden { message: "flows are for auditors and brands".into() }),
        };
        let time = |name: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| parse_rfc3339_ms(text).ok_or_else(|| bad(name, "must be an RFC 3339 time")))
                .transpose()
        };
        let mut linked = Vec::new();
        let consumer = match &filter.consumer {
            None => None,
            Some(named) => match (parse_uid(named), &brand) {
                (Some(pseudonym), _) => Some(pseudonym),
                (None, None) => {
                    return Err(bad("consumer", "needs `brand` beside it, or the ledger's pseudonym"));
                }
                (None, Some(brand)) => {
                    let subject = subject_digest(&self.master, brand, named);
                    match self.store.consumer(brand, &subject).await? {
                        Some(record) => {
                            let others = self.consumers.linked_with(&*self.store, brand, &subject).await?;
                            linked.extend(others.into_iter().map(|other| other.pseudonym));
                            Some(record.pseudonym)
                        }
                        None => return Ok(None),
                    }
                }
            },
        };
        let flow = filter.flow.as_deref().map(|key| {
            Flow::parse(key).ok_or_else(|| {
                bad("flow", format!("must be one of {}", Flow::ALL.map(Flow::as_str).join(", ")))
            })
        });
        let stage = filter.stage.as_deref().map(|key| {
            Stage::ALL.into_iter().find(|stage| stage.as_str() == key).ok_or_else(|| {
                bad("stage", format!("must be one of {}", Stage::ALL.map(Stage::as_str).join(", ")))
            })
        });
        if let Some(verdict) = &filter.verdict
            && ![Decision::Allow, Decision::Transform, Decision::Withhold]
                .iter()
                .any(|d| d.as_str() == verdict)
        {
            return Err(bad("verdict", "must be allow, transform or withhold"));
        }
        if let Some(category) = &filter.category {
            Category::parse(category).map_err(|error| bad("category", error.to_string()))?;
        }
        let before = filter
            .cursor
            .as_deref()
            .map(|text| parse_uid(text).ok_or_else(|| bad("cursor", "is not one that a page gave")));
        Ok(Some(FlowQuery {
            brand,
            consumer,
            linked,
            plugin: filter.plugin.clone(),
            partner: filter.partner.clone(),
            category: filter.category.clone(),
            flow: flow.transpose()?,
            stage: stage.transpose()?,
            verdict: filter.verdict.clone(),
            from_ms: time("from", &filter.from)?,
            until_ms: time("until", &filter.until)?,
            before: before.transpose()?,
            // One more than the page, to know whether there is another.
            limit: limit + 1,
        }))
    }
}

/// Budgets of which a call used most, or all.
pub(super) fn spent(row: &FlowRecord) -> Vec<SpentView> {
    let spent = row.spent.iter().cloned();
    spent.map(|(budget, used, allowed)| SpentView { budget, used, allowed }).collect()
}

fn view(row: &FlowRecord) -> FlowView {
    FlowView {
        id: format_uid(&row.id),
        at: rfc3339(row.at_ms),
        stage: row.stage.as_str().to_owned(),
        flow: row.flow.as_str().to_owned(),
        recipient: row.recipient.as_str().to_owned(),
        brand: row.brand.clone(),
        plugin: row.plugin.clone(),
        partner: row.partner.clone(),
        release: format_digest(&row.release),
        policy: format_digest(&row.policy),
        purpose: row.purpose.clone(),
        consumer: format_uid(&row.consumer),
        event: format_uid(&row.event),
        event_type: row.event_type.clone(),
        fields: row.verdicts.iter().map(FlowField::from).collect(),
        facts: Facts::from_bits(row.facts).iter().map(|fact| fact.to_string()).collect(),
        outcome: row.outcome.clone(),
        endpoint: row.endpoint.clone(),
        delivery: row.delivery.as_ref().map(format_uid),
        attempt: (row.stage == Stage::Delivery).then_some(row.attempt),
        payload: row.payload.as_ref().map(format_digest),
        fuel: row.fuel,
        micros: row.micros,
        memory: row.memory,
        spent: spent(row),
        result: row.result.as_ref().map(|result| FlowResultView {
            at: rfc3339(result.at_ms),
            outcome: result.outcome.clone(),
            status: result.status,
            code: result.code.clone(),
        }),
    }
}

/// What a flow says of one field: never its value.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowField {
    /// As the plugin declares it.
    #[schema(value_type = String)]
    pub field: Arc<str>,
    /// `read`, `sealed`, `return`, `memory` or `reply`.
    #[schema(value_type = String)]
    pub access: Access,
    /// `ORIGIN:CATEGORY` of what would leave.
    #[schema(value_type = Vec<String>)]
    pub labels: Arc<[Label]>,
    /// `allow`, `transform` or `withhold`.
    #[schema(value_type = String)]
    pub decision: Decision,
    /// `clause:ID`, `undeclared`, `not-granted`, `no-permit` or `missing-fact`.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// How the recipient stood toward each label, in their order.
    pub standing: Vec<FlowStanding>,
    /// Facts that held for this field, where they are not the row's: it derives from more than the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub facts: Option<Facts>,
    /// Not its own labels decided, but what it would have met, or that the brand itself may not use it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub met: bool,
    /// The form in which the brand's grant lets it go, where it does not go as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub form: Option<Transform>,
    /// The policy's declassification that gave it the labels which it leaves with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub declassified: Option<Arc<str>>,
    /// The declassifications by which what it was made of got its labels.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub declassified_within: BTreeSet<Arc<str>>,
    /// The two labels whose meeting withheld it; of what was allowed into a call, those for which what the call asked
    /// for was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_apart: Option<FlowMeeting>,
}

/// Two labels that may not meet, with all that it was decided by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowMeeting {
    /// The one of the field; of a field that was made of both, either.
    #[schema(value_type = String)]
    pub label: Label,
    /// The other: of what was in the call or request, or of what the partner had.
    #[schema(value_type = String)]
    pub with: Label,
    /// How the recipient stood toward both.
    #[schema(value_type = String)]
    pub recipient: Recipient,
    /// Whether a valid contract covered onward transfer of both.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub onward: bool,
    /// Whether the brand had granted that they meet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub granted: bool,
    /// The plugin's purpose, or the one for which the partner received the other.
    #[schema(value_type = String)]
    pub purpose: Purpose,
    /// What held for both, where that is not what held for the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub facts: Option<Facts>,
}

impl From<&KeptApart> for FlowMeeting {
    fn from(of: &KeptApart) -> Self {
        let KeptApart { label, with, standing, granted, purpose, own_facts: facts } = of.clone();
        let Standing { recipient, onward } = standing;
        Self { label, with, recipient, onward, granted, purpose, facts }
    }
}

/// How a recipient stood toward one label.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct FlowStanding {
    /// `brand`, `service-provider`, `third-party`, `authority` or `consumer`.
    #[schema(value_type = String)]
    pub recipient: Recipient,
    /// Whether a valid contract covered onward transfer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub onward: bool,
}

impl From<&FieldVerdict> for FlowField {
    fn from(of: &FieldVerdict) -> Self {
        let FieldVerdict { field, access, labels, verdict, basis } = of;
        let standing = basis.standing.iter();
        Self {
            field: Arc::clone(field),
            access: *access,
            labels: Arc::clone(labels),
            decision: verdict.decision,
            reason: verdict.reason,
            standing: standing
                .map(|Standing { recipient, onward }| FlowStanding { recipient: *recipient, onward: *onward })
                .collect(),
            facts: basis.own_facts,
            met: basis.met,
            form: basis.form,
            declassified: basis.declassified.clone(),
            declassified_within: basis.declassified_within.clone(),
            kept_apart: basis.kept_apart.as_deref().map(FlowMeeting::from),
        }
    }
}
