//! Exports to an authority (clauses share.legal.i to share.legal.v): one person asks, another approves with
//! another key, and only then is there an export, of the scope that was asked for and of nothing else.
//!
//! Invariant: each step is in the record of changes, and an export is in the ledger, before anybody hears
//! of it. No plugin is part of it.

mod export;
mod kept;
mod view;

use std::collections::BTreeSet;

use gateway_policy::Category;
use serde::{Deserialize, Serialize};

pub use self::view::{
    ApprovalInput, DisclosureExport, DisclosureInput, DisclosureReason, DisclosureStep, DisclosureView,
    ExportedEvent, ExportedKept,
};
use super::error::{Problem, Refusal};
use super::gateway::Gateway;
use super::model::Caller;
use super::registry::rfc3339;
use crate::store::crypto::{format_uid, new_uid, parse_uid};
use crate::store::{Approval, DisclosureRecord, Uid};

/// Milliseconds for which an approval holds: 30 days.
const APPROVAL_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Characters of a name or a reference.
const MAX_TEXT: usize = 200;

/// What was asked, as it is stored: the consumer by pseudonym.
#[derive(Serialize, Deserialize)]
struct Asked {
    consumer: String,
    reason: DisclosureReason,
    scope: BTreeSet<String>,
    authority: String,
    reference: String,
    person: String,
}

/// Who approved, as it is stored.
#[derive(Serialize, Deserialize)]
struct Approved {
    person: String,
}

/// A request, opened.
struct Disclosure {
    record: DisclosureRecord,
    asked: Asked,
    approved: Option<Approved>,
}

/// The place of what was asked: associated data of its encryption.
fn asked_place(id: &Uid) -> String {
    format!("disclosure/{}", format_uid(id))
}

/// The place of who approved.
fn approval_place(id: &Uid) -> String {
    format!("disclosure/{}/approval", format_uid(id))
}

impl Gateway {
    /// Asks for an export of a consumer's data to an authority; nothing is exported before it is approved.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand or consumer; [`Refusal::Invalid`] names every member that
    /// says nothing, or that the taxonomy and the catalogue do not know.
    pub async fn request_disclosure(
        &self,
        brand: &str,
        input: DisclosureInput,
        caller: &Caller,
    ) -> Result<DisclosureView, Refusal> {
        self.platform_brand(brand)?;
        let mut wrong = Vec::new();
        for (name, text) in
            [("authority", &input.authority), ("reference", &input.reference), ("person", &input.person)]
        {
            wrong.extend(check_text(name, text));
        }
        if input.scope.is_empty() {
            let detail = "names nothing; name data categories or event types".into();
            wrong.push(Problem { pointer: "/scope".into(), detail });
        }
        for (index, name) in input.scope.iter().enumerate() {
            if Category::parse(name).is_err() && self.catalogue.event_type(name).is_none() {
                let detail = "is neither a data category of the taxonomy nor an event type of the catalogue";
                wrong.push(Problem { pointer: format!("/scope/{index}"), detail: detail.into() });
            }
        }
        if !wrong.is_empty() {
            return Err(Refusal::Invalid { what: "the disclosure".into(), problems: wrong });
        }
        let consumer = self
            .consumers
            .find(&*self.store, &self.master, brand, &input.consumer)
            .await?
            .ok_or_else(|| Refusal::NotFound { what: "consumer with this id at this brand".into() })?;
        let now_ms = self.clock.now_ms();
        let id = new_uid(now_ms);
        let asked = Asked {
            consumer: format_uid(&consumer.pseudonym),
            reason: input.reason,
            scope: input.scope,
            authority: input.authority.trim().to_owned(),
            reference: input.reference.trim().to_owned(),
            person: input.person.trim().to_owned(),
        };
        let record = DisclosureRecord {
            id,
            brand: brand.to_owned(),
            subject: consumer.subject,
            requested_ms: now_ms,
            requester: caller.key.clone(),
            body: self.sealed(&asked_place(&id), &asked)?,
            approval: None,
        };
        let what = format!(
            "request disclosure {} of consumer {} ({})",
            format_uid(&id),
            asked.consumer,
            asked.reason.clause()
        );
        self.store.put_disclosure(record.clone(), self.change(&caller.key, what)).await?;
        Ok(self.disclosure_view(&Disclosure { record, asked, approved: None }))
    }

    /// A request as it stands: what the second person reads before approving it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn show_disclosure(&self, brand: &str, id: &str) -> Result<DisclosureView, Refusal> {
        Ok(self.disclosure_view(&self.disclosure(brand, id).await?))
    }

    /// The second person's approval; it holds for 30 days.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for the key or the person that asked;
    /// [`Refusal::Conflict`] where it is approved already.
    pub async fn approve_disclosure(
        &self,
        brand: &str,
        id: &str,
        input: ApprovalInput,
        caller: &Caller,
    ) -> Result<DisclosureView, Refusal> {
        if let Some(problem) = check_text("person", &input.person) {
            return Err(Refusal::Invalid { what: "the approval".into(), problems: vec![problem] });
        }
        let mut disclosure = self.disclosure(brand, id).await?;
        if disclosure.record.requester == caller.key {
            let message =
                "the key that asked cannot approve; a second person approves with a key of their own";
            return Err(Refusal::Forbidden { message: message.into() });
        }
        if same_person(&disclosure.asked.person, &input.person) {
            let message = "the person who asked cannot approve; a second person has to";
            return Err(Refusal::Forbidden { message: message.into() });
        }
        let uid = disclosure.record.id;
        let approved = Approved { person: input.person.trim().to_owned() };
        let approval = Approval {
            at_ms: self.clock.now_ms(),
            approver: caller.key.clone(),
            body: self.sealed(&approval_place(&uid), &approved)?,
        };
        let change = self.change(&caller.key, format!("approve disclosure {}", format_uid(&uid)));
        if !self.store.approve_disclosure(brand, &uid, approval.clone(), change).await? {
            let message = "this disclosure is approved already; ask for another one".into();
            return Err(Refusal::Conflict { message });
        }
        disclosure.record.approval = Some(approval);
        disclosure.approved = Some(approved);
        Ok(self.disclosure_view(&disclosure))
    }

    async fn disclosure(&self, brand: &str, id: &str) -> Result<Disclosure, Refusal> {
        let missing = || Refusal::NotFound { what: "disclosure with this id at this brand".into() };
        let uid = parse_uid(id).ok_or_else(missing)?;
        let record = self.store.disclosure(brand, &uid).await?.ok_or_else(missing)?;
        let asked = self.unsealed(&asked_place(&uid), &record.body)?;
        let approved = match &record.approval {
            Some(approval) => Some(self.unsealed(&approval_place(&uid), &approval.body)?),
            None => None,
        };
        Ok(Disclosure { record, asked, approved })
    }

    fn sealed<T: Serialize>(&self, place: &str, value: &T) -> Result<Vec<u8>, Refusal> {
        let text = serde_json::to_vec(value).map_err(|_| Refusal::Internal)?;
        self.master.seal(place, &text).map_err(|_| Refusal::Internal)
    }

    fn unsealed<T: serde::de::DeserializeOwned>(&self, place: &str, sealed: &[u8]) -> Result<T, Refusal> {
        let text = self.master.open(place, sealed).map_err(|_| Refusal::Internal)?;
        serde_json::from_slice(&text).map_err(|_| Refusal::Internal)
    }

    fn disclosure_view(&self, disclosure: &Disclosure) -> DisclosureView {
        let Disclosure { record, asked, approved } = disclosure;
        let approval = record.approval.as_ref().zip(approved.as_ref());
        DisclosureView {
            id: format_uid(&record.id),
            brand: record.brand.clone(),
            consumer: asked.consumer.clone(),
            reason: asked.reason,
            clause: asked.reason.clause().to_owned(),
            scope: asked.scope.clone(),
            authority: asked.authority.clone(),
            reference: asked.reference.clone(),
            state: disclosure.state(self.clock.now_ms()).as_str().to_owned(),
            requested: DisclosureStep {
                person: asked.person.clone(),
                key: record.requester.clone(),
                at: rfc3339(record.requested_ms),
            },
            approved: approval.map(|(approval, approved)| DisclosureStep {
                person: approved.person.clone(),
                key: approval.approver.clone(),
                at: rfc3339(approval.at_ms),
            }),
            expires: approval.map(|(approval, _)| rfc3339(approval.at_ms + APPROVAL_MS)),
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Approved,
    Expired,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Expired => "expired",
        }
    }
}

impl Disclosure {
    fn state(&self, now_ms: i64) -> State {
        match &self.record.approval {
            None => State::Pending,
            Some(approval) if now_ms < approval.at_ms + APPROVAL_MS => State::Approved,
            Some(_) => State::Expired,
        }
    }
}

/// One line that says something.
fn check_text(name: &str, text: &str) -> Option<Problem> {
    let good =
        !text.trim().is_empty() && text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    (!good).then(|| Problem {
        pointer: format!("/{name}"),
        detail: format!("must be one line of 1 to {MAX_TEXT} characters"),
    })
}

/// Whether two names are of one person: case and spaces make no difference.
fn same_person(one: &str, other: &str) -> bool {
    let plain = |name: &str| {
        let words: Vec<String> = name.split_whitespace().map(str::to_lowercase).collect();
        words.join(" ")
    };
    plain(one) == plain(other)
}
