//! A rehearsal: one call of a plugin by the functions of production, from a case instead of the store, and with
//! nothing sent and nothing kept. The boundary decides, the sandbox runs, the boundary checks; only what stands
//! around them (who the consumer is, what was received before) comes from the case.

mod case;
mod plugin;
mod replies;
mod told;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use gateway_policy::{Choices, Conditions, Flow, Label, Recipient};
use serde_json::Value;

pub use case::{
    Case, CaseProblem, ConnectionCase, IdentityCase, PartnerCase, ReceivedCase, ScriptedReply, read_case,
};
pub use plugin::{RehearsalError, RehearsedPlugin};
pub use told::{RehearsedCall, differences};

use self::case::{CHOICES, CONNECTION, EVENT, MESSAGE};
use self::plugin::full_grant;
use self::replies::ScriptedPartner;
use self::told::RehearsedFailure;
pub(super) use self::told::{RehearsedRequest, RehearsedReturn, fields};
use super::control::check_connection;
use super::documents::Secrets;
use super::event::{self, Event};
use super::failed::Failed;
use super::gateway::Gateway;
use super::grant::granted;
use super::model::{ConnectionInput, PartnerInput};
use super::registry::{partner_record, rfc3339};
use crate::boundary::{
    Checked, Connection, Crossing, EventView, Exposed, Hook, Memory, MemoryAfter, MessageView, Moment,
    PlannedDelivery, PolicyBook, Recalled, Received, Release, Subject, Trigger, Violation, from_decide,
    from_share, grant_key, recall, toward_partner, toward_plugin, toward_receive,
};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::manifest::{self, Endpoint};
use crate::plugin_host::{Budget, Call, Exchanger, HostError, PluginHost};
use crate::store::crypto::{MasterKey, format_uid};

/// The brand of an event that names none.
const BRAND: &str = "rehearsal";
/// Milliseconds for a decision whose manifest names no deadline.
const DECIDE_MS: u32 = 100;

/// What rehearsals need: the catalogue, the policy in force, the sandbox.
pub struct Rehearsal {
    catalogue: Catalogue,
    book: Arc<PolicyBook>,
    host: PluginHost,
    clock: Clock,
    /// Of pseudonyms, which are of use nowhere else: the same each time, so that a case has one outcome.
    master: MasterKey,
}

/// What one call's decisions are made by.
pub(super) struct Setting {
    book: Arc<PolicyBook>,
    connection: Connection,
    hook: usize,
    conditions: Conditions,
    choices: Choices,
    engaged: bool,
    moment: Moment,
    /// What the partner received, which only grows.
    exposed: Mutex<Exposed>,
}

impl Setting {
    fn subject<'a>(&'a self, conditions: &'a Conditions) -> Subject<'a> {
        Subject { conditions, choices: Some(&self.choices), engaged: self.engaged }
    }

    fn declared(&self) -> Option<&Hook> {
        self.connection.release.hooks.get(self.hook)
    }

    fn is_sealed(&self, path: &str) -> bool {
        self.declared().is_some_and(|hook| hook.is_sealed(path))
    }

    fn exposed(&self) -> Exposed {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in that the partner is about to receive these labels.
    fn expose<'l>(&self, labels: impl Iterator<Item = &'l Label> + Clone, conditions: &Conditions) {
        let (partner, purpose) = (&self.connection.partner.name, self.connection.release.purpose);
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((next, _)) = exposed.with(partner, purpose, labels, conditions) {
            *exposed = next;
        }
    }

    /// Decides about a request as its first try would be; what keeps it here is the ledger's code.
    fn toward_partner(
        &self,
        planned: &PlannedDelivery,
        subject: Subject<'_>,
    ) -> Result<(), Cow<'static, str>> {
        let exposed = self.exposed();
        let toward = toward_partner(
            &self.book,
            &self.connection.partner,
            Some(&self.connection),
            |_, _| None,
            planned,
            &exposed,
            subject,
            self.moment,
            format!("msg_{}", format_uid(&Default::default())),
        );
        match toward.request {
            Ok(_) => {
                let labels = planned.carried.iter().flat_map(|carried| carried.labels.iter());
                self.expose(labels, &planned.conditions);
                Ok(())
            }
            Err(stays) => Err(stays.code().into()),
        }
    }
}

impl Rehearsal {
    /// With this catalogue, policy and sandbox.
    pub fn new(
        catalogue: Catalogue,
        book: impl Into<Arc<PolicyBook>>,
        host: PluginHost,
        clock: Clock,
    ) -> Self {
        Self { catalogue, book: book.into(), host, clock, master: MasterKey::from_bytes([0; 32]) }
    }

    /// With what a gateway has; nothing of its store.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let (catalogue, book) = (gateway.catalogue.clone(), Arc::clone(&gateway.book));
        Self::new(catalogue, book, gateway.host.clone(), gateway.clock.clone())
    }

    /// Checks a component as publication does, and makes it ready to be called.
    ///
    /// # Errors
    /// [`RehearsalError`], with everything that is wrong with it.
    pub async fn plugin(&self, component: &[u8]) -> Result<RehearsedPlugin, RehearsalError> {
        let refused = |problems| RehearsalError::Component { problems };
        let found = manifest::review(component, &self.catalogue).map_err(refused)?;
        let loaded = self.host.load(found.digest, component).await?;
        // What a review passed fits the catalogue.
        let release = Release::new(found.digest, found.manifest, &self.catalogue)
            .map_err(|_| HostError::Internal { doing: "reading a reviewed manifest" })?;
        Ok(RehearsedPlugin { release: Arc::new(release), loaded })
    }

    /// Runs one case.
    ///
    /// # Errors
    /// Everything that is wrong with the case; `name` is what it is called.
    pub async fn run(
        &self,
        plugin: &RehearsedPlugin,
        case: Case,
        name: &str,
    ) -> Result<RehearsedCall, Vec<CaseProblem>> {
        let file = |file: &str| if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
        let now_ms = self.clock.now_ms();
        let mut problems = Vec::new();
        let event = case.event.as_deref().map(|text| self.event(text, now_ms));
        let event = event.transpose().unwrap_or_else(|found| {
            problems.extend(found.into_iter().map(|problem| CaseProblem::of(&file(EVENT), problem)));
            None
        });
        let hook = match self.hook(plugin, &case, event.as_ref()) {
            Ok(hook) => hook,
            Err(detail) if problems.is_empty() => {
                let (of, pointer) = if event.is_some() { (EVENT, "/type") } else { (MESSAGE, "") };
                problems.push(CaseProblem::new(&file(of), pointer, detail));
                0
            }
            Err(_) => 0,
        };
        let (connection, found) = self.connection(
            plugin,
            &case.connection,
            &case.event.as_deref().map_or_else(|| BRAND.to_owned(), brand_of),
        );
        problems.extend(found.into_iter().map(|problem| CaseProblem::of(&file(CONNECTION), problem)));
        if let Some(problem) = choices_problem(&case.choices) {
            problems.push(CaseProblem::new(&file(CHOICES), &problem, PERMISSION_RULE));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let exposed = exposed(&connection, case.connection.had.as_ref());
        // Of a message nothing else is known: the partner made it from what it had.
        let conditions = event.as_ref().map(|event| event.conditions.clone());
        let conditions = conditions.or_else(|| exposed.conditions.clone()).unwrap_or_default();
        let setting = Arc::new(Setting {
            book: Arc::clone(&self.book),
            connection,
            hook,
            conditions,
            choices: case.choices.clone(),
            engaged: case.connection.engaged || event.as_ref().is_some_and(|event| event.engages),
            moment: self.book.moment(now_ms, now_ms),
            exposed: Mutex::new(exposed),
        });
        match event {
            Some(event) => Ok(self.about_event(plugin, &setting, case, event, now_ms).await),
            None => self.about_message(plugin, &setting, case, &file(MESSAGE), now_ms).await,
        }
    }

    fn event(&self, text: &[u8], now_ms: i64) -> Result<Event, Vec<super::Problem>> {
        match event::parse(text, false, &brand_of(text), true, &self.catalogue, now_ms) {
            Ok(mut events) => events.pop().ok_or_else(Vec::new),
            Err(super::Refusal::Invalid { problems, .. }) => Err(problems),
            Err(other) => Err(vec![super::Problem { pointer: String::new(), detail: other.to_string() }]),
        }
    }

    /// The hook that a case calls, by its index.
    fn hook(&self, plugin: &RehearsedPlugin, case: &Case, event: Option<&Event>) -> Result<usize, String> {
        let hooks = &plugin.release.hooks;
        let declared = || {
            let keys = hooks.iter().map(|hook| grant_key(&hook.trigger)).collect::<Vec<_>>().join(", ");
            format!("the plugin declares: {keys}")
        };
        let fits = |hook: &Hook| match (&hook.trigger, event) {
            (Trigger::Message, None) => true,
            (Trigger::Event(kind) | Trigger::Slot { event: kind, .. }, Some(event)) => **kind == *event.kind,
            _ => false,
        };
        if let Some(named) = &case.hook {
            let found = hooks.iter().position(|hook| grant_key(&hook.trigger) == *named && fits(hook));
            return found.ok_or_else(|| format!("calls no hook {named:?}; {}", declared()));
        }
        let mut fitting = hooks.iter().enumerate().filter(|(_, hook)| fits(hook));
        let expected = |(_, hook): &(usize, &Hook)| case.expects.as_ref() == Some(&grant_key(&hook.trigger));
        let is_expected = fitting.clone().find(expected);
        match (is_expected.or_else(|| fitting.next()), fitting.next().filter(|_| is_expected.is_none())) {
            (Some((index, _)), None) => Ok(index),
            (None, _) => Err(format!("calls none of the plugin's hooks; {}", declared())),
            (Some(_), Some(_)) => {
                Err(format!("calls more than one hook; name one with --hook; {}", declared()))
            }
        }
    }

    /// The connection of a case, and everything wrong with it.
    fn connection(
        &self,
        plugin: &RehearsedPlugin,
        case: &ConnectionCase,
        brand: &str,
    ) -> (Connection, Vec<super::Problem>) {
        let release = &plugin.release;
        let declared = &release.manifest;
        let mut secrets = case.secrets.clone();
        for name in declared.settings.iter().flat_map(|settings| &settings.secrets) {
            secrets.entry(name.clone()).or_insert_with(|| "a secret".to_owned());
        }
        let input = ConnectionInput {
            release: declared.plugin.version.to_string(),
            grant: case.grant.clone().unwrap_or_else(|| full_grant(release)),
            settings: case.settings.clone().unwrap_or_else(|| Value::Object(Default::default())),
            secrets: secrets.clone(),
            promotional: case.promotional.clone(),
            rotate_inbound_secret: false,
            follow: Default::default(),
        };
        let kept = Secrets { named: secrets, signing: String::new(), inbound: Vec::new() };
        let problems = check_connection(release, &input, &kept);
        let domains = || declared.endpoint.iter().map(domain).collect::<BTreeSet<_>>().into_iter().collect();
        let partner = PartnerInput {
            display_name: declared.plugin.partner.clone(),
            region: case.partner.region.clone().unwrap_or_else(|| "US".to_owned()),
            domains: case.partner.domains.clone().unwrap_or_else(domains),
            consideration: case.partner.consideration,
            webhook_keys: Vec::new(),
            release_keys: Vec::new(),
        };
        let partner = partner_record(&declared.plugin.partner, &partner, &case.contracts);
        let grant = granted(&input.grant, &self.master, brand, &partner.name);
        let connection = Connection::new(
            &self.book,
            brand.into(),
            Arc::clone(release),
            Arc::new(partner),
            &grant,
            input.promotional.into_iter().collect(),
            input.settings,
        );
        connection.note_derivable(&self.book, &[&connection], |_| false);
        (connection, problems)
    }

    async fn about_event(
        &self,
        plugin: &RehearsedPlugin,
        setting: &Arc<Setting>,
        case: Case,
        event: Event,
        now_ms: i64,
    ) -> RehearsedCall {
        let Some(hook) = setting.declared() else {
            return told(setting, "failed:internal", Recipient::Brand);
        };
        let connection = &setting.connection;
        let subject = setting.subject(&setting.conditions);
        let identity = case.connection.identity.clone().unwrap_or_else(identity);
        let data = Arc::new(event.data);
        let received = received(&connection.release, case.connection.received.as_ref(), &setting.conditions);
        let recalled = recalled(plugin, setting, case.connection.memory.as_ref());
        let view = EventView {
            id: &identity.event,
            kind: &event.kind,
            time: &event.time,
            consumer: &identity.consumer,
            accepted_ms: now_ms,
            data: &data,
            received: received.as_ref(),
            onward: &[],
            exposed: &setting.exposed(),
            memory: recalled.as_ref(),
        };
        let toward =
            toward_plugin(&self.book, connection, setting.hook, hook, &view, subject, setting.moment);
        let mut told = told(setting, "ran", toward.recipient);
        told.fields = fields(&toward.verdicts);
        let input = match toward.input {
            Ok(input) => input,
            Err(not_run) => {
                told.outcome = not_run.code().into();
                return told;
            }
        };
        let readable = toward.crossing.readable(hook).collect::<Vec<_>>();
        setting.expose(readable.iter(), toward.crossing.conditions());
        let partner = Arc::new(ScriptedPartner::new(setting, toward.crossing, case.replies));
        let exchanger = plugin.loaded.imports_exchange().then(|| Arc::clone(&partner) as Arc<dyn Exchanger>);
        if let Trigger::Slot { slot, .. } = &hook.trigger {
            let allowed = u64::from(hook.deadline_ms.unwrap_or(DECIDE_MS));
            let budget = Budget::within(std::time::Duration::from_millis(allowed));
            let call = self.host.decide(&plugin.loaded, slot, input, budget, exchanger).await;
            self.end(setting, told, &partner, call, |crossing, answer| {
                from_decide(&self.book, connection, crossing, subject, setting.moment, answer)
            })
        } else {
            let call = self.host.share(&plugin.loaded, input, Budget::default(), exchanger).await;
            self.end(setting, told, &partner, call, |crossing, outcome| {
                let exposed = setting.exposed();
                from_share(&self.book, connection, crossing, &exposed, subject, setting.moment, outcome)
            })
        }
    }

    async fn about_message(
        &self,
        plugin: &RehearsedPlugin,
        setting: &Arc<Setting>,
        case: Case,
        file: &str,
        now_ms: i64,
    ) -> Result<RehearsedCall, Vec<CaseProblem>> {
        let text = case.message.unwrap_or_default();
        let _: serde_json::Map<String, Value> =
            case::document(file, &text).map_err(|problem| vec![problem])?;
        let body = String::from_utf8(text).map_err(|_| vec![CaseProblem::new(file, "", "must be UTF-8")])?;
        let Some(hook) = setting.declared() else {
            return Ok(told(setting, "failed:internal", Recipient::Brand));
        };
        let (connection, subject) = (&setting.connection, setting.subject(&setting.conditions));
        let identity = case.connection.identity.clone().unwrap_or_else(identity);
        let recalled = recalled(plugin, setting, case.connection.memory.as_ref());
        let time = rfc3339(now_ms);
        let view = MessageView {
            id: &identity.event,
            time: &time,
            handle: &identity.consumer,
            body: &body,
            accepted_ms: now_ms,
            exposed: &setting.exposed(),
            memory: recalled.as_ref(),
        };
        let toward =
            toward_receive(&self.book, connection, setting.hook, hook, &view, subject, setting.moment);
        let mut told = told(setting, RECEIVED, Recipient::Brand);
        told.fields = fields(&toward.verdicts);
        let input = match toward.input {
            Ok(input) => input,
            Err(not_run) => {
                told.outcome = not_run.code().into();
                return Ok(told);
            }
        };
        let partner = ScriptedPartner::new(setting, toward.crossing, Vec::new());
        let call = self.host.receive(&plugin.loaded, input, Budget::default()).await;
        let mut told = self.end(setting, told, &partner, call, |crossing, outcome| {
            let exposed = setting.exposed();
            from_share(&self.book, connection, crossing, &exposed, subject, setting.moment, outcome)
        });
        if told.outcome == RECEIVED && !told.returned.as_ref().is_some_and(RehearsedReturn::has_any) {
            let withheld = told.returned.as_ref().is_some_and(|returned| !returned.fields.is_empty());
            told.outcome = if withheld { "withheld" } else { "nothing-received" }.to_owned();
        }
        Ok(told)
    }

    /// Judges what a call gave back.
    fn end<T>(
        &self,
        setting: &Setting,
        mut told: RehearsedCall,
        partner: &ScriptedPartner,
        mut call: Call<T>,
        check: impl FnOnce(&Crossing, &T) -> Result<Checked, Violation>,
    ) -> RehearsedCall {
        let (mut crossing, exchanges) = partner.end();
        told.exchanges = exchanges;
        let used = std::mem::take(&mut call.memory);
        if used.touched {
            crossing.touch_memory();
        }
        told.fuel = call.fuel_used;
        told.memory_bytes = call.memory_bytes;
        told.log = call.logs.into_iter().map(Into::into).collect();
        told.log_dropped = call.logs_dropped;
        told.log_cut = call.logs_cut;
        let checked = match &call.result {
            Ok(answer) => check(&crossing, answer).map_err(|violation| {
                told.failure = Some(RehearsedFailure::of(violation.to_string()));
                Failed::of_violation(violation)
            }),
            Err(error) => {
                told.failure = Some(RehearsedFailure::of_call(error));
                Err(Failed::of_call(error))
            }
        };
        let kept = checked.is_ok().then_some(used);
        told.memory = match crossing.memory_after(&setting.connection, kept) {
            MemoryAfter::Unchanged => None,
            MemoryAfter::Replaced(memory) => serde_json::to_value(&*memory).ok(),
            MemoryAfter::Forgotten => Some("forgotten".into()),
        };
        match checked {
            Err(Failed { code, .. }) => told.outcome = code,
            Ok(checked) => self.tell(setting, &mut told, checked),
        }
        told
    }

    fn tell(&self, setting: &Setting, told: &mut RehearsedCall, checked: Checked) {
        if !checked.verdicts.is_empty() {
            let value = checked.returned.map(|returned| returned.release().value);
            told.returned = Some(RehearsedReturn {
                value: value.unwrap_or_else(|| Value::Object(Default::default())),
                fields: fields(&checked.verdicts),
            });
        }
        // As in production all of them are taken in before the first is decided about.
        for planned in &checked.deliveries {
            let labels = planned.carried.iter().flat_map(|carried| carried.labels.iter());
            setting.expose(labels, &planned.conditions);
        }
        for planned in &checked.deliveries {
            let outcome = match setting.toward_partner(planned, setting.subject(&planned.conditions)) {
                Ok(()) => Cow::Borrowed("sent"),
                Err(code) => code,
            };
            told.requests.push(RehearsedRequest::of(planned, outcome, |path| setting.is_sealed(path)));
        }
    }
}

/// The ledger's code of a message that was taken in.
const RECEIVED: &str = "received";

const PERMISSION_RULE: &str = "must say it: a permission needs its wording and who recorded it";

/// Where a permission lacks what the API asks for.
fn choices_problem(choices: &Choices) -> Option<String> {
    let lacks = |text: &str| text.trim().is_empty();
    choices.permissions.iter().enumerate().find_map(|(index, permission)| {
        let key = if lacks(&permission.wording) {
            "wording"
        } else if lacks(&permission.actor) {
            "actor"
        } else {
            return None;
        };
        Some(format!("/permissions/{index}/{key}"))
    })
}

fn told(setting: &Setting, outcome: &str, recipient: Recipient) -> RehearsedCall {
    RehearsedCall {
        hook: setting.declared().map(|hook| grant_key(&hook.trigger)).unwrap_or_default(),
        outcome: outcome.to_owned(),
        recipient: recipient.as_str().to_owned(),
        fields: BTreeMap::new(),
        returned: None,
        requests: Vec::new(),
        exchanges: Vec::new(),
        memory: None,
        failure: None,
        log: Vec::new(),
        log_dropped: 0,
        log_cut: 0,
        fuel: 0,
        memory_bytes: 0,
    }
}

/// The brand that an event names.
fn brand_of(event: &[u8]) -> String {
    let event = serde_json::from_slice::<Value>(event).unwrap_or_default();
    event.get("brand").and_then(Value::as_str).unwrap_or(BRAND).to_owned()
}

fn identity() -> IdentityCase {
    IdentityCase { event: "rehearsed-event".to_owned(), consumer: "rehearsed-consumer".to_owned() }
}

/// The part of an endpoint's host that stands in its manifest.
fn domain(endpoint: &Endpoint) -> String {
    let host = endpoint.url.trim_start_matches("https://").split(['/', '?', ':']).next().unwrap_or_default();
    let fixed = host.rsplit_once('}').map_or(host, |(_, fixed)| fixed);
    fixed.trim_start_matches('.').to_owned()
}

/// What the partner has before the call.
fn exposed(connection: &Connection, case: Option<&case::HadCase>) -> Exposed {
    let nothing = Exposed::default();
    let Some(case) = case else { return nothing };
    let (partner, purpose) = (&connection.partner.name, connection.release.purpose);
    let had = nothing.with(partner, purpose, case.labels.iter(), &case.conditions);
    had.map_or(nothing, |(had, _)| had)
}

/// What was received, each leaf with the label of its schema.
fn received(
    release: &Release,
    case: Option<&case::ReceivedCase>,
    conditions: &Conditions,
) -> Option<Received> {
    let case = case?;
    let hook = release.hooks.iter().find(|hook| hook.flow == Flow::Receive)?;
    let mut labels = case.labels.clone();
    for field in &hook.fields {
        if field.path.as_ref().is_some_and(|path| path.is_present(&case.value)) {
            let known = labels.entry(field.name.to_string()).or_default();
            field.labels.iter().for_each(|label| known.insert(label.clone()));
        }
    }
    let conditions = conditions.clone();
    Some(Received { value: case.value.clone(), labels, conditions, ..Received::default() })
}

/// What the call may have of the memory; none where the plugin does not ask for it.
fn recalled(
    plugin: &RehearsedPlugin,
    setting: &Setting,
    case: Option<&case::MemoryCase>,
) -> Option<Recalled> {
    if !plugin.loaded.imports_memory() {
        return None;
    }
    let memory = case.and_then(|case| {
        let entries: BTreeMap<&String, String> =
            case.entries.iter().map(|(key, value)| (key, value.to_string())).collect();
        let document = serde_json::json!({
            "entries": entries, "labels": case.labels, "conditions": setting.conditions,
        });
        serde_json::from_value::<Memory>(document).ok().map(Arc::new)
    });
    let subject = setting.subject(&setting.conditions);
    Some(recall(&setting.book, &setting.connection, setting.hook, memory, subject, setting.moment))
}
