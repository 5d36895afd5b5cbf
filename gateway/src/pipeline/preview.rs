//! The preview: what a brand reads before it switches on, and what the newest events would have sent.
//! It runs no plugin and moves no value.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use gateway_policy::{
    Access, Aggregation, Category, Contract, Flow, Label, LabelSet, Origin, Purpose, Recipient, Transform,
};

use super::accept::StoredEvent;
use super::control::find_release;
use super::error::Refusal;
use super::gateway::Gateway;
use super::identity::Identity;
use super::publish::declared_field;
use super::registry::LiveRelease;
use super::switch_model::{
    Preview, PreviewCounts, PreviewEndpoint, PreviewField, PreviewHook, PreviewMemory,
};
use crate::boundary::{
    Connection, Exposed, Grant, Hook, HookField, Moment, Path, Subject, answers_kept_apart, combine_key,
    grant_key, labels_of_returned, returned_category, toward_plugin,
};
use crate::manifest::returned_by;
use crate::store::Uid;

/// Events that a preview looks at.
const EVENTS: u32 = 100;

impl Gateway {
    /// What would flow, to whom, under which contract and clause. Where the plugin is on at the brand, under
    /// its grant; else as if every declared field were granted.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown brand, plugin, release or partner.
    pub async fn preview(
        &self,
        brand: &str,
        plugin: &str,
        release: Option<&str>,
    ) -> Result<Preview, Refusal> {
        self.platform_brand(brand)?;
        let registry = self.registry.load_full();
        let on = registry.connection(brand, plugin);
        let current = on.map(|live| live.written.document.release.as_str());
        let live: &LiveRelease = find_release(&registry, plugin, release.or(current))?;
        let partner = registry
            .partners
            .get(&live.meta.partner)
            .ok_or_else(|| Refusal::NotFound { what: format!("partner {}", live.meta.partner) })?;
        let grant: Grant = match on {
            Some(on) => on.written.document.grant(&self.master, brand, &partner.record.name),
            None => live
                .release
                .hooks
                .iter()
                .map(|hook| {
                    (
                        grant_key(&hook.trigger),
                        hook.fields.iter().map(|field| field.name.to_string()).collect(),
                    )
                })
                .collect(),
        };
        let promotional: HashSet<String> = on.map(|on| on.connection.promotional.clone()).unwrap_or_default();
        let connection = Connection::new(
            &self.book,
            brand.into(),
            Arc::clone(&live.release),
            Arc::clone(&partner.record),
            &grant,
            promotional,
            serde_json::json!({}),
        );
        connection.note_partners(&registry.partner_records());
        let others = registry.connections.get(brand).into_iter().flatten();
        let others = others.filter(|(name, _)| *name != plugin).map(|(_, live)| &live.connection);
        let connections: Vec<&Connection> = others.chain([&connection]).collect();
        let now_ms = self.clock.now_ms();
        let moment = self.book.moment(now_ms, now_ms);
        let mut hooks: Vec<PreviewHook> = live
            .release
            .hooks
            .iter()
            .enumerate()
            .map(|(index, hook)| self.preview_hook(&connection, &connections, index, hook, moment))
            .collect();
        let remembers = match &live.loaded {
            Some(loaded) => loaded.imports_memory(),
            None => self.load_release(&live.meta.digest).await.is_some_and(|loaded| loaded.imports_memory()),
        };
        let last_events = self.preview_events(brand, &connection, on.map(|on| on.id), &mut hooks).await?;
        let manifest = &live.release.manifest;
        let endpoints: Vec<PreviewEndpoint> = manifest
            .endpoint
            .iter()
            .map(|endpoint| PreviewEndpoint {
                name: endpoint.name.clone(),
                method: endpoint.method.clone(),
                url: endpoint.url.clone(),
                channel: endpoint.channel.map(|channel| format!("{channel:?}").to_lowercase()),
                reply: endpoint.reply.clone(),
            })
            .collect();
        let mut preview = Preview {
            plugin: plugin.to_owned(),
            version: live.meta.version.clone(),
            partner: live.meta.partner.clone(),
            purpose: manifest.plugin.purpose.clone(),
            privacy_policy: manifest.plugin.privacy_policy.clone(),
            sentences: Vec::new(),
            hooks,
            endpoints,
            memory: remembers.then(|| PreviewMemory {
                max_bytes: self.host.memory_bytes(),
                labels: may_remember(&connection),
            }),
            last_events,
        };
        let asks_nothing = answers_kept_apart(&self.book, &connection, &connections, moment);
        let asks_nothing = asks_nothing.into_iter().map(|Path { from, with, reason }| {
            format!("A call that reads {from} may ask nothing where it would meet {with} ({reason}).")
        });
        let granted = connection.granted_combinations().map(combine_key).collect::<BTreeSet<_>>();
        let combines = manifest.combine.iter().zip(&live.release.combinations);
        let combines = combines
            .map(|(declared, combination)| {
                let key = combine_key(combination);
                let of = declared.of.join(" and ");
                let (into, why) = (&declared.into, &declared.why);
                if granted.contains(&key) {
                    format!("It combines {of} in {into} ({why}).")
                } else {
                    format!(
                        "It would combine {of} in {into} ({why}); that is not granted, so they do not meet."
                    )
                }
            })
            .chain(asks_nothing)
            .collect();
        preview.sentences =
            sentences(&preview, &partner.record.display_name, partner.record.region.as_str(), combines);
        Ok(preview)
    }

    fn preview_hook(
        &self,
        connection: &Connection,
        connections: &[&Connection],
        index: usize,
        hook: &Hook,
        moment: Moment,
    ) -> PreviewHook {
        let fields = hook
            .fields
            .iter()
            .enumerate()
            .map(|(at, field)| {
                let own = connection.labels_at(index, at, moment);
                let onward = labels_of_returned(&self.book, connection, connections, &field.name, moment);
                let labels = own.iter().chain(onward.iter()).cloned().collect::<Vec<_>>();
                let mut preview =
                    self.preview_field(connection, hook.flow, field, (index, at), &labels, moment);
                if let Some(category) = returned_category(connections, &field.name) {
                    preview.declared.category = category.to_string();
                }
                preview
            })
            .collect();
        let returns = hook
            .returns
            .iter()
            .flat_map(|schema| schema.leaves())
            .map(|(path, category)| (path.to_string(), category.clone()))
            .collect();
        PreviewHook { hook: grant_key(&hook.trigger), fields, returns }
    }

    fn preview_field(
        &self,
        connection: &Connection,
        flow: Flow,
        field: &HookField,
        (index, at): (usize, usize),
        labels: &[Label],
        moment: Moment,
    ) -> PreviewField {
        let Moment { current, now_ms, .. } = moment;
        let form = connection.transform(index, at);
        let counts_as = form.and_then(|_| connection.labels_at(index, at, moment).first());
        let (partner, purpose) = (&connection.partner, connection.release.purpose);
        let mut recipient = Recipient::ServiceProvider;
        let (mut allowed_by, mut withheld_by) = (BTreeSet::new(), BTreeSet::new());
        let mut contracts = BTreeSet::new();
        for label in labels {
            let standing = partner.standing(purpose, label.category, now_ms);
            if flow == Flow::Receive {
                recipient = Recipient::Brand;
            } else if standing.recipient == Recipient::ThirdParty {
                recipient = Recipient::ThirdParty;
            }
            let covers = |contract: &Contract| contract.covers(purpose, label.category, now_ms);
            contracts.extend(
                partner.contracts.iter().find(|(_, contract)| covers(contract)).map(|(name, _)| name.clone()),
            );
            let to = if flow == Flow::Receive { Recipient::Brand } else { standing.recipient };
            let compiled =
                current.and_then(|version| self.book.compiled(version, flow, to, purpose, label.category));
            if let Some(compiled) = compiled {
                allowed_by.extend(compiled.permitting_clauses().map(|clause| clause.as_str().to_owned()));
                withheld_by.extend(compiled.forbidding_clauses().map(|clause| clause.as_str().to_owned()));
            }
        }
        PreviewField {
            declared: declared_field(field),
            granted: connection.grants(index, at),
            form: form.map(|form| form.as_str().to_owned()),
            counts_as: counts_as.map(|label| label.category.to_string()),
            recipient: recipient.as_str().to_owned(),
            contract: (recipient != Recipient::ThirdParty && !contracts.is_empty())
                .then(|| contracts.into_iter().collect::<Vec<_>>().join(", ")),
            allowed_by: allowed_by.into_iter().collect(),
            withheld_by: withheld_by.into_iter().collect(),
            would_allow: 0,
            would_withhold: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// Decides about the newest events as if they came in now, and counts.
    async fn preview_events(
        &self,
        brand: &str,
        connection: &Connection,
        id: Option<Uid>,
        hooks: &mut [PreviewHook],
    ) -> Result<PreviewCounts, Refusal> {
        let kinds: BTreeSet<String> =
            connection.release.hooks.iter().map(|hook| hook.event().to_owned()).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        let mut counts = PreviewCounts::default();
        for record in self.store.recent_events(brand, &kinds, EVENTS).await? {
            let consumer = self.consumers.by_id(&*self.store, &self.master, record.consumer).await?;
            let event = self.open_event(&consumer, &record)?;
            let stored = StoredEvent::new(record.uid, record.key, record.accepted_ms, event);
            counts.events += 1;
            let choices = consumer.choices();
            let subject = Subject {
                conditions: &stored.event.conditions,
                choices: Some(&choices),
                engaged: consumer.engaged(),
            };
            let moment = self.book.moment(stored.accepted_ms, self.clock.now_ms());
            let identity = Identity::default();
            for ((index, hook), preview) in connection.release.hooks.iter().enumerate().zip(hooks.iter_mut())
            {
                if hook.event() != stored.event.kind {
                    continue;
                }
                let exposed = Exposed::default();
                self.look_up_returned(&consumer, hook).await?;
                let received = id.and_then(|id| consumer.received(&id));
                let given = self.given(&consumer, hook);
                let onward = given.view();
                let view = identity.view(&stored, received.as_deref(), &onward, &exposed);
                let toward = toward_plugin(&self.book, connection, index, hook, &view, subject, moment);
                counts.calls += usize::from(toward.input.is_ok());
                for verdict in &toward.verdicts {
                    let Some(field) =
                        preview.fields.iter_mut().find(|field| *field.declared.field == *verdict.field)
                    else {
                        continue;
                    };
                    if verdict.verdict.allows() {
                        field.would_allow += 1
                    } else {
                        field.would_withhold += 1
                    }
                    *field.reasons.entry(verdict.verdict.reason.to_string()).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }
}

/// The labels that a memory may come to have under the grant: of what is readable, of messages, and of replies, which
/// carry what was sealed in their requests.
fn may_remember(connection: &Connection) -> LabelSet {
    let manifest = &connection.release.manifest;
    let replies: Vec<Category> = manifest
        .endpoint
        .iter()
        .filter_map(|endpoint| endpoint.reply.as_deref())
        .filter_map(|key| Category::parse(key).ok())
        .collect();
    let hooks = connection.release.hooks.iter().enumerate();
    let mut labels: LabelSet = hooks
        .flat_map(|(index, hook)| hook.fields.iter().enumerate().map(move |(at, field)| (index, at, field)))
        .filter(|(index, at, field)| {
            connection.grants(*index, *at) && (field.access != Access::Sealed || !replies.is_empty())
        })
        .flat_map(|(index, at, _)| connection.labels(index, at).cloned())
        .collect();
    let own = || Origin::Partner(connection.partner.name.as_str().into());
    labels.extend(replies.into_iter().map(|category| Label { category, origin: own() }));
    labels
}

/// In what form a field goes, after its name.
fn in_form(field: &PreviewField) -> String {
    let form = field.form.as_deref().and_then(Transform::parse);
    form.map(|form| format!(", {},", form.in_words())).unwrap_or_default()
}

/// The whole of it in plain words.
fn sentences(preview: &Preview, partner: &str, region: &str, combines: Vec<String>) -> Vec<String> {
    let mut text = vec![format!(
        "{} of {partner} ({region}) would work for the purpose {}; what {partner} does with the data is governed by {}.",
        preview.plugin, preview.purpose, preview.privacy_policy
    )];
    for hook in &preview.hooks {
        if hook.hook == "receive" {
            let accepted = hook.fields.iter().filter(|field| field.granted);
            let names = accepted.map(|field| field.declared.field.clone()).collect::<Vec<_>>();
            if !names.is_empty() {
                text.push(format!(
                    "{partner} may send it messages, each about one consumer, and hears of none what came of it."
                ));
                text.push(format!(
                    "{partner} sends {} of a consumer, which is kept for that consumer at this brand alone.",
                    names.join(", ")
                ));
            }
            continue;
        }
        let when = match hook.hook.split_once(' ') {
            Some(("decide", slot)) => format!("When the slot {slot} asks"),
            Some((_, event)) => format!("On each {event}"),
            None => hook.hook.clone(),
        };
        for (access, verb) in [("read", "reads"), ("sealed", "forwards, without being able to read it,")] {
            let of: Vec<&PreviewField> =
                hook.fields.iter().filter(|field| field.granted && field.declared.access == access).collect();
            if !of.is_empty() {
                let names = of
                    .iter()
                    .map(|field| {
                        format!("{}{} ({})", field.declared.field, in_form(field), field.declared.why)
                    })
                    .collect::<Vec<_>>();
                text.push(format!("{when}, it {verb} {}.", names.join(", ")));
            }
        }
        for field in hook.fields.iter().filter(|field| field.granted) {
            let standing = match &field.contract {
                Some(contract) => format!("as a service provider under contract {contract}"),
                None => "as a third party, without a contract".to_owned(),
            };
            let seen = field.would_allow + field.would_withhold;
            let of_events = if seen == 0 {
                "none of the newest events has it".to_owned()
            } else {
                format!("of the newest {seen} events with it, {} would have been given", field.would_allow)
            };
            let name = &field.declared.field;
            if let Some((from, _)) = returned_by(name) {
                text.push(if field.declared.category.is_empty() {
                    format!("{name} is not there: {from} is not on at the brand, or returns no such field.")
                } else {
                    format!(
                        "{name} is what {from} returned last of the consumer; it goes on only where all may go that it was made from."
                    )
                });
            }
            text.push(format!("{partner} gets {name}{} {standing}; {of_events}.", in_form(field)));
            if let Some(counts_as) = field.counts_as.as_ref().filter(|key| **key != field.declared.category) {
                text.push(format!(
                    "In that form {name} counts as {counts_as}, no longer as {}.",
                    field.declared.category
                ));
            }
        }
        if !hook.returns.is_empty() {
            let names = hook.returns.keys().cloned().collect::<Vec<_>>().join(", ");
            text.push(format!("{when}, it gives back {names}."));
        }
    }
    for endpoint in &preview.endpoints {
        text.push(format!("Requests go to {} ({} {}).", endpoint.name, endpoint.method, endpoint.url));
    }
    if Purpose::parse(&preview.purpose).is_ok_and(Aggregation::serves) {
        text.push(format!(
            "It may ask for statistics over many consumers at once, which {partner} then has; they say nothing of one of them."
        ));
    }
    for endpoint in &preview.endpoints {
        if let Some(category) = &endpoint.reply {
            text.push(format!(
                "While it works, it may ask {} and wait for what {partner} answers ({category}).",
                endpoint.name
            ));
        }
    }
    if let Some(memory) = &preview.memory {
        let labels = memory.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        text.push(format!(
            "It may remember up to {} bytes of each consumer between its calls, for this brand alone, until it is switched off: {labels}.",
            memory.max_bytes
        ));
    }
    if combines.is_empty() {
        text.push("It combines nothing with the partner's own data.".to_owned());
    }
    text.extend(combines);
    text
}
