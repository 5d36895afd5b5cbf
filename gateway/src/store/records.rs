//! The records of the store. What can identify a consumer is in here only as ciphertext or keyed digest.

use gateway_policy::{FieldVerdict, Flow, Recipient};
use serde::{Deserialize, Serialize};

/// SHA-256, or an HMAC-SHA-256 where it says keyed.
pub type Digest = [u8; 32];

/// 48 bits of milliseconds since the Unix epoch, then 80 random bits: sorts by time.
pub type Uid = [u8; 16];

/// Kinds of documents of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// scope: empty; name: the brand.
    Brand,
    /// scope: empty; name: the partner.
    Partner,
    /// scope: the partner; name: the contract.
    Contract,
    /// scope: the brand; name: the plugin.
    Connection,
    /// scope: the plugin; name: the digest of a release that is withdrawn or blocked.
    ReleaseStatus,
}

/// A document of the control plane.
#[derive(Clone, Debug)]
pub struct Document {
    pub kind: DocumentKind,
    pub scope: String,
    pub name: String,
    /// JSON.
    pub body: String,
    /// Encrypted under the master key; a connection's secrets.
    pub secret: Option<Vec<u8>>,
    /// What a connection is known by from its switching on until its deletion; where it is on already, the offer is
    /// passed over.
    pub connection: Option<Uid>,
}

/// Who changed the control plane, and when.
#[derive(Clone, Debug)]
pub struct Change {
    pub at_ms: i64,
    /// The id of the API key, or `command-line`.
    pub actor: String,
    /// A short phrase: `put partner acme-crm`. Never a consumer's value.
    pub what: String,
}

/// A release with its bytes.
#[derive(Clone, Debug)]
pub struct ReleaseRecord {
    pub meta: ReleaseMeta,
    pub component: Vec<u8>,
}

/// A release.
#[derive(Clone, Debug)]
pub struct ReleaseMeta {
    pub digest: Digest,
    pub plugin: String,
    pub version: String,
    pub partner: String,
    /// The embedded manifest, JSON.
    pub manifest: String,
    /// The embedded provenance, JSON; none where the component has none.
    pub provenance: Option<String>,
    pub size: u64,
    pub published_ms: i64,
    /// The partner's public key that signed it, in its text form.
    pub signed_by: String,
    /// Its signature, in its text form.
    pub signature: String,
    /// Parts of the interface that it imports: a JSON array.
    pub interfaces: String,
}

/// An API key. The secret itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    pub id: String,
    /// SHA-256 of the secret (256 random bits, so no salt is needed).
    pub secret_digest: Digest,
    /// `operator`, `source`, `brand`, `partner` or `auditor`.
    pub role: String,
    pub brand: Option<String>,
    pub partner: Option<String>,
    pub created_ms: i64,
}

/// A consumer of a brand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Row number; 0 in an offer.
    pub id: i64,
    pub brand: String,
    /// Keyed digest of (brand, subject).
    pub subject: Digest,
    /// Random; the ledger's only name for the consumer.
    pub pseudonym: Uid,
    /// The consumer's data key under the master key.
    pub wrapped_key: Vec<u8>,
    pub engaged: bool,
}

/// What linked consumers chose: written at once, so that no choice of one is ever without the others'.
#[derive(Clone, Debug)]
pub struct LinkedChoices {
    pub brand: String,
    /// The digest that stands for all of them: that of one of them.
    pub person: Digest,
    /// For each of them, by keyed digest of (brand, subject): a JSON document.
    pub choices: Vec<(Digest, String)>,
    pub change: Change,
}

/// What somebody chose, or as whom they are linked, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedChoices {
    pub brand: String,
    /// Keyed digest of (brand, subject).
    pub subject: Digest,
    /// Grows with every change.
    pub version: i64,
}

/// An event to be stored.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub uid: Uid,
    /// Keyed digest of (brand, source, id): what makes an event the same.
    pub key: Digest,
    /// Keyed digest of the body: what makes a repetition a duplicate rather than a conflict.
    pub body: Digest,
    pub consumer: i64,
    pub brand: String,
    pub kind: String,
    pub accepted_ms: i64,
    /// The whole event, encrypted under the consumer's key; its place is `event/<uid>`.
    pub payload: Vec<u8>,
    /// Whether the event engages the consumer with the brand.
    pub engages: bool,
    /// Plugins whose connections have work with it.
    pub work: Vec<String>,
}

/// What became of an event offered to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Stored; the row numbers of its work, in the order of [`NewEvent::work`].
    New { work: Vec<i64> },
    /// The same event with the same body was there.
    Duplicate,
    /// The same event with another body was there; nothing of the batch is stored.
    Conflict,
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct EventRecord {
    pub uid: Uid,
    pub key: Digest,
    pub consumer: i64,
    pub brand: String,
    pub kind: String,
    pub accepted_ms: i64,
    pub payload: Vec<u8>,
}

/// What is known of an event by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    pub uid: Uid,
    /// The keyed digest of what was sent.
    pub body: Digest,
    pub accepted_ms: i64,
}

/// One event's work for one connection.
#[derive(Clone, Debug)]
pub struct WorkRecord {
    pub id: i64,
    pub plugin: String,
    pub attempt: u32,
    pub event: EventRecord,
}

/// Which crossing of the boundary a flow is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Toward a plugin: what it may read or place.
    Call,
    /// Toward a partner's endpoint: one attempt.
    Delivery,
    /// Toward the brand: what a plugin returned.
    Return,
    /// From a partner: what its message brought of a consumer.
    Receive,
    /// Toward a partner's endpoint, during a call that waits for the answer.
    Exchange,
    /// Toward whoever asked for a statistic: the answer, or that there is none.
    Aggregate,
    /// Toward an authority: an export.
    Disclose,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 7] = [
        Self::Call,
        Self::Delivery,
        Self::Return,
        Self::Receive,
        Self::Exchange,
        Self::Aggregate,
        Self::Disclose,
    ];

    /// The key that the ledger and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Delivery => "delivery",
            Self::Return => "return",
            Self::Receive => "receive",
            Self::Exchange => "exchange",
            Self::Aggregate => "aggregate",
            Self::Disclose => "disclose",
        }
    }
}

/// One row of the ledger. It holds no value of a consumer.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Made at `at_ms` (at most an hour apart): the order of ids is the order of the ledger.
    pub id: Uid,
    pub at_ms: i64,
    pub stage: Stage,
    pub flow: Flow,
    pub recipient: Recipient,
    pub brand: String,
    pub plugin: String,
    pub partner: String,
    pub release: Digest,
    /// SHA-256 of the policy file in force.
    pub policy: Digest,
    pub purpose: String,
    /// The consumer's pseudonym.
    pub consumer: Uid,
    pub event: Uid,
    pub event_type: String,
    pub verdicts: Vec<FieldVerdict>,
    /// [`gateway_policy::Facts::to_bits`] of what held.
    pub facts: u64,
    /// A stable code: `ran`, `not-run:required-withheld`, `refused:undeclared-field`, `failed:out-of-fuel`,
    /// `attempt`, `withheld`, `returned`, …
    pub outcome: String,
    /// Where it goes: the endpoint; for a decision's call the slot; for an aggregate the question; for an export the
    /// authority.
    pub endpoint: Option<String>,
    pub delivery: Option<Uid>,
    pub attempt: u32,
    /// Digest of what crossed, keyed with the consumer's key.
    pub payload: Option<Digest>,
    pub fuel: u64,
    /// Wall-clock time of the call, in microseconds.
    pub micros: u64,
    /// Bytes of linear memory of the call's instance, at its largest.
    pub memory: u64,
    /// Budgets of which the call used most, or all: name, used, allowed.
    pub spent: Vec<(String, u64, u64)>,
    /// What came of an attempt, once known. Ignored when written.
    pub result: Option<FlowResult>,
}

/// Rows of the ledger that stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPage {
    pub groups: Vec<FlowGroup>,
    /// The position of the last row of the page; none: there are no more.
    pub last: Option<i64>,
    /// The position of the ledger's last row.
    pub end: i64,
}

/// Rows of one shape with the same facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowGroup {
    /// For [`super::Store::flow_shape`].
    pub shape: i64,
    /// [`gateway_policy::Facts::to_bits`] of what held.
    pub facts: u64,
    /// How many.
    pub rows: u64,
    /// The first of them.
    pub example: Uid,
}

/// A row of the ledger, as one of its shape and facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    pub position: i64,
    pub id: Uid,
    pub at_ms: i64,
    /// For [`super::Store::flow_shape`].
    pub shape: i64,
    /// [`gateway_policy::Facts::to_bits`] of what held.
    pub facts: u64,
}

/// What rows of the ledger have in common, as far as it can be decided again.
#[derive(Clone, Debug)]
pub struct FlowShape {
    pub stage: Stage,
    pub flow: Flow,
    pub recipient: Recipient,
    pub partner: String,
    /// SHA-256 of the policy file in force.
    pub policy: Digest,
    pub purpose: String,
    /// The code of what came of it.
    pub outcome: String,
    pub verdicts: Vec<FieldVerdict>,
}

/// What came of a delivery attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowResult {
    pub at_ms: i64,
    /// `delivered`, `retry`, `dead` …
    pub outcome: String,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// Host-side code, where there was no status or it was refused.
    pub code: Option<String>,
}

/// What a call leaves behind, committed at once.
#[derive(Clone, Debug, Default)]
pub struct CallRecord {
    /// The work that it does; none for a decision.
    pub work: Option<i64>,
    pub flows: Vec<FlowRecord>,
    pub deliveries: Vec<NewDelivery>,
    pub returns: Vec<NewReturn>,
    pub decision: Option<DecisionRecord>,
    /// Log and failure texts, encrypted under the consumer's key; place `log/<flow id>`.
    pub log: Option<NewLog>,
    /// What the plugin remembers from now on; none: as before. Not where its connection is deleted meanwhile.
    pub memory: Option<NewMemory>,
    /// What the partner now has received of the consumer; what is known already is passed over.
    pub exposures: Vec<Exposure>,
    /// The partner's message that it works on; where that is done already, nothing is written.
    pub message: Option<Uid>,
    /// What the plugin has received of the consumer from now on; not where its connection is deleted meanwhile.
    pub received: Option<NewReceived>,
}

/// One thing that a partner received of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub consumer: i64,
    pub partner: String,
    /// In lines: a purpose and a label received for it, or a set of collection conditions as JSON.
    pub what: String,
}

/// Work that is put off.
#[derive(Clone, Debug)]
pub struct Deferral {
    pub work: i64,
    /// Calls made for it.
    pub attempt: u32,
    pub due_ms: i64,
    /// Why.
    pub flows: Vec<FlowRecord>,
    /// What the partner now has received of the consumer, by the call that came to nothing.
    pub exposures: Vec<Exposure>,
}

/// A partner's message to be taken, with the work that it is.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Keyed digest of (brand, plugin, `webhook-id`): what makes a message the same.
    pub key: Digest,
    pub message: MessageRecord,
}

/// A partner's message that is to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecord {
    pub uid: Uid,
    pub brand: String,
    pub plugin: String,
    /// [`Document::connection`] of the connection that it was sent to.
    pub connection: Uid,
    pub at_ms: i64,
    pub attempt: u32,
    /// Its body, encrypted under the master key; place `message/<uid>`.
    pub payload: Vec<u8>,
}

/// What a plugin has received of a consumer from its partner.
#[derive(Clone, Debug)]
pub struct NewReceived {
    pub consumer: i64,
    /// [`Document::connection`].
    pub connection: Uid,
    /// JSON of the values with their labels and conditions, encrypted; place `received/<connection>`.
    pub payload: Vec<u8>,
}

/// What is kept of a consumer beside events.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// (partner, what).
    pub exposures: Vec<(String, String)>,
    /// ([`Document::connection`], payload).
    pub received: Vec<(Uid, Vec<u8>)>,
}

/// What a plugin remembers about a consumer, in place of what it remembered before.
#[derive(Clone, Debug)]
pub struct NewMemory {
    pub consumer: i64,
    /// [`Document::connection`].
    pub connection: Uid,
    /// Entries, labels and conditions, encrypted under the consumer's key; place `memory/<consumer>/<connection>`.
    /// None: nothing is remembered any more.
    pub payload: Option<Vec<u8>>,
}

/// Log and failure texts of a call.
#[derive(Clone, Debug)]
pub struct NewLog {
    pub flow: Uid,
    pub consumer: i64,
    pub text: Vec<u8>,
}

/// A request for the outbox.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub id: Uid,
    pub consumer: i64,
    pub brand: String,
    pub plugin: String,
    pub event: Uid,
    pub endpoint: String,
    /// The planned request with its labels, encrypted; place `delivery/<id>`.
    pub payload: Vec<u8>,
    pub due_ms: i64,
    /// Attempts whose rows are among the flows of the same call: none, or the first.
    pub attempt: u32,
}

/// A delivery of the outbox.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    pub id: Uid,
    pub consumer: i64,
    pub brand: String,
    pub plugin: String,
    pub event: Uid,
    pub endpoint: String,
    pub payload: Vec<u8>,
    pub state: DeliveryState,
    /// Attempts made.
    pub attempt: u32,
    pub due_ms: i64,
    /// The last result's code or status, or why it was dropped.
    pub last: Option<String>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// To be sent, or sent again.
    Pending,
    /// The partner took it.
    Delivered,
    /// The retries are used up, or it can never work; it can be sent again.
    Dead,
    /// Withheld before it was sent; it can be tried again, under a new decision.
    Dropped,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptResult {
    pub delivery: Uid,
    pub flow: Uid,
    pub result: FlowResult,
    pub state: DeliveryState,
    /// When to try again, for [`DeliveryState::Pending`].
    pub due_ms: i64,
}

/// Returned fields of one call.
#[derive(Clone, Debug)]
pub struct NewReturn {
    pub flow: Uid,
    pub consumer: i64,
    pub brand: String,
    pub plugin: String,
    pub event: Uid,
    /// JSON of the returned fields with labels and conditions, encrypted; place `return/<flow id>`.
    pub payload: Vec<u8>,
    pub at_ms: i64,
}

/// Stored returned fields.
#[derive(Clone, Debug)]
pub struct ReturnRecord {
    /// Position in the brand's feed.
    pub position: i64,
    pub flow: Uid,
    /// Whose call it was.
    pub release: Digest,
    pub consumer: i64,
    pub brand: String,
    pub plugin: String,
    pub event: Uid,
    pub payload: Vec<u8>,
    pub at_ms: i64,
}

/// The recorded answer of a decision.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    pub event_key: Digest,
    pub slot: String,
    pub consumer: i64,
    pub event: Uid,
    /// The answer, encrypted; place `decision/<event uid>`.
    pub payload: Vec<u8>,
}

/// A request for an export to an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisclosureRecord {
    pub id: Uid,
    pub brand: String,
    /// Keyed digest of (brand, subject).
    pub subject: Digest,
    pub requested_ms: i64,
    /// The key that asked.
    pub requester: String,
    /// What was asked, encrypted under the master key; place `disclosure/<id>`.
    pub body: Vec<u8>,
    pub approval: Option<Approval>,
}

/// The second person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub at_ms: i64,
    /// The key that approved: not the one that asked.
    pub approver: String,
    /// Who approved, encrypted under the master key; place `disclosure/<id>/approval`.
    pub body: Vec<u8>,
}

/// What to look for in the ledger. Empty: everything.
#[derive(Clone, Debug, Default)]
pub struct FlowQuery {
    pub brand: Option<String>,
    pub consumer: Option<Uid>,
    /// Others whose rows count as the consumer's: those linked with it.
    pub linked: Vec<Uid>,
    pub plugin: Option<String>,
    pub partner: Option<String>,
    /// A category; also matches what stands below it.
    pub category: Option<String>,
    pub flow: Option<Flow>,
    pub stage: Option<Stage>,
    /// `allow`, `transform` or `withhold`: rows with at least one such verdict.
    pub verdict: Option<String>,
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Rows older than this one.
    pub before: Option<Uid>,
    pub limit: u32,
}
