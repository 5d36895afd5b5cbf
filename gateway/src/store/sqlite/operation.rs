//! What can be asked of the writer, and what it answers. It runs nothing.

use tokio::sync::oneshot;

use super::super::{
    Acceptance, ApiKeyRecord, AttemptResult, CallRecord, Change, ConsumerRecord, Deferral, Digest, Document,
    DocumentKind, Exposure, FlowRecord, FlowResult, LinkedChoices, NewEvent, NewMessage, ReleaseRecord,
    StoreError, Uid,
};

/// A flow with the digest of its shape, computed by the caller so that the writer need not.
pub(super) struct Shaped {
    pub(super) flow: FlowRecord,
    pub(super) digest: Digest,
}

/// One operation: all of it or nothing. The first five kinds come thousands a second and are written many
/// at once; the others one by one.
pub(super) enum Operation {
    Consumer(ConsumerRecord),
    Accept(Vec<NewEvent>),
    /// An event together with the call that decided about it.
    Decided {
        event: Box<[NewEvent; 1]>,
        call: CallRecord,
        flows: Vec<Shaped>,
    },
    Call {
        call: CallRecord,
        flows: Vec<Shaped>,
    },
    Attempt {
        delivery: Uid,
        attempt: u32,
        flow: Shaped,
    },
    Result(AttemptResult),
    /// A row by itself.
    Flow {
        flow: Shaped,
        exposures: Vec<Exposure>,
    },
    FlowResult {
        flow: Uid,
        result: FlowResult,
    },
    Drop {
        delivery: Uid,
        attempt: u32,
        flow: Shaped,
    },
    Defer {
        deferral: Deferral,
        flows: Vec<Shaped>,
    },
    TakeMessage(NewMessage),
    DeferMessage {
        message: Uid,
        attempt: u32,
        due_ms: i64,
        flows: Vec<Shaped>,
    },
    Resend {
        brand: String,
        delivery: Uid,
        now_ms: i64,
        change: Change,
    },
    /// Rows of the ledger that no call made.
    Flows {
        flows: Vec<Shaped>,
        change: Option<Change>,
    },
    Aggregates(super::aggregates::Write),
    Disclosures {
        write: super::disclosures::Write,
        change: Change,
    },
    PutDocument {
        document: Document,
        change: Change,
    },
    DeleteDocument {
        kind: DocumentKind,
        scope: String,
        name: String,
        change: Change,
    },
    PutRelease {
        release: ReleaseRecord,
        change: Change,
    },
    PutKey {
        key: ApiKeyRecord,
        change: Change,
    },
    RevokeKey {
        id: String,
        change: Change,
    },
    PutChoices {
        brand: String,
        subject: Digest,
        choices: String,
        change: Change,
    },
    PutLinkedChoices(LinkedChoices),
}

impl Operation {
    /// What it is about, for an error.
    pub(super) fn subject(&self) -> &'static str {
        match self {
            Self::Consumer(_) => "consumer",
            Self::Accept(_) | Self::Decided { .. } => "event",
            Self::Call { .. } => "call",
            Self::Attempt { .. } | Self::Drop { .. } | Self::Resend { .. } => "delivery",
            Self::Result(_) => "result of an attempt",
            Self::Flow { .. } => "flow",
            Self::FlowResult { .. } => "result of an exchange",
            Self::Defer { .. } => "work",
            Self::TakeMessage(_) | Self::DeferMessage { .. } => "message",
            Self::Flows { .. } => "flow",
            Self::Aggregates(_) => "aggregate",
            Self::Disclosures { .. } => "disclosure",
            Self::PutDocument { .. } | Self::DeleteDocument { .. } => "document",
            Self::PutRelease { .. } => "release",
            Self::PutKey { .. } | Self::RevokeKey { .. } => "key",
            Self::PutChoices { .. } | Self::PutLinkedChoices(_) => "choices",
        }
    }

    /// Roughly the rows that it writes: a group ends when it has enough.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Accept(events) => events.iter().map(|event| 1 + event.work.len()).sum(),
            Self::Decided { flows, .. } => 4 + flows.len(),
            Self::Call { call, flows } => 1 + flows.len() + call.deliveries.len() + call.returns.len(),
            Self::PutLinkedChoices(linked) => 1 + 2 * linked.choices.len(),
            Self::Flows { flows, .. } => 1 + flows.len(),
            Self::PutRelease { release, .. } => 1 + release.component.len() / 4096,
            _ => 2,
        }
    }
}

/// What the writer answers, by the kind of operation.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Whether(bool),
    Accepted(Vec<Acceptance>),
    Consumer(ConsumerRecord),
}

pub(super) type Outcome = Result<Answer, StoreError>;

/// An operation with where its outcome goes.
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) reply: oneshot::Sender<Outcome>,
}
