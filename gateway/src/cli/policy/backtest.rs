//! `gateway policy backtest`: the whole ledger decided again from recorded facts. It reads the store
//! itself, page by page, and writes nothing; rows of one shape with the same facts are decided once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{Again, Facts, Flow, Policy as Rules, Purpose, Recipient, Recorded, Verdict};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::output::{self, FormatArgs, Table};
use super::super::progress::Progress;
use super::super::{CliError, assemble};
use super::{rules, words};
use crate::config::Config;
use crate::store::crypto::format_uid;
use crate::store::{Digest, FlowGroup, FlowShape, Store, StoreError, Uid};

pub(super) const HELP: &str = "\
Reads the database of the configuration; a gateway may run beside it. A verdict is decided again from what its
row recorded; where something else than its own labels decided (what it met, another version of the policy), and
the new policy would allow it, it is counted as open.

Example:
  gateway policy backtest policies/platform-2027-01-01.toml --config gateway.toml --format json";

/// Rows of a page.
const PAGE: u32 = 100_000;
/// Shapes and facts of which the answer is remembered; beyond it the memory starts anew.
const REMEMBERED: usize = 500_000;
/// Flows named for each kind of flip.
const EXAMPLES: usize = 3;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Backtest {
    /// The policy as it would be
    new: PathBuf,
    /// The configuration of the gateway whose ledger it is
    #[arg(long, env = "GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What flips alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kind {
    /// The field would be allowed that was withheld.
    opens: bool,
    old: String,
    new: String,
    flow: Flow,
    recipient: Recipient,
}

/// How much of one kind.
#[derive(Default)]
struct Count {
    fields: u64,
    rows: u64,
    examples: Vec<Uid>,
}

/// What is found in the ledger.
#[derive(Default)]
struct Findings {
    rows: u64,
    fields: u64,
    /// Fields on which something else than their own labels decided.
    open: u64,
    /// Rows with at least one flip.
    flipped: u64,
    kinds: BTreeMap<Kind, Count>,
}

/// What becomes of one row: the same for all of its shape with its facts.
struct Outcome {
    fields: u64,
    open: u64,
    /// How many fields flip, by kind.
    flips: Vec<(Kind, u64)>,
}

impl Backtest {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let new = rules(Some(&self.new))?;
        let config = Config::load(self.config.as_deref())?;
        let path = config.database_path();
        if !path.exists() {
            return Err(CliError::FellShort(format!("there is no database {}", path.display())));
        }
        let known = known(&config)?;
        let store = assemble::open_store(&config).await?;
        let started = Instant::now();
        let found = read(&store, &new, &known).await;
        store.close().await;
        let found = found.map_err(|error| CliError::FellShort(error.to_string()))?;
        let seconds = started.elapsed().as_secs_f64();
        if self.format.json() {
            return output::json(&found.as_json(&new, seconds));
        }
        output::line(&found.as_text(&new, seconds))
    }
}

/// The policies in force, by the digest that rows name.
fn known(config: &Config) -> Result<HashMap<Digest, Rules>, CliError> {
    let texts = assemble::policies(config.policies_dir.as_deref())?;
    let parse =
        |text: &String| Rules::parse(text).map(|rules| (Sha256::digest(text.as_bytes()).into(), rules));
    texts.iter().map(parse).collect::<Result<_, _>>().map_err(|error| CliError::FellShort(error.to_string()))
}

/// Decides every row of the ledger again.
async fn read(
    store: &dyn Store,
    new: &Rules,
    known: &HashMap<Digest, Rules>,
) -> Result<Findings, StoreError> {
    let mut found = Findings::default();
    let mut shapes: HashMap<i64, Arc<FlowShape>> = HashMap::new();
    let mut outcomes: HashMap<(i64, u64), Outcome> = HashMap::new();
    let (mut after, mut progress) = (0, None);
    loop {
        let page = store.ledger_after(after, PAGE).await?;
        let Some(last) = page.last else { return Ok(found) };
        let total = u64::try_from(page.end).unwrap_or_default();
        let progress = progress.get_or_insert_with(|| Progress::bar(total, "deciding the ledger again"));
        if outcomes.len() > REMEMBERED {
            outcomes.clear();
        }
        for group in &page.groups {
            let outcome = match outcomes.entry((group.shape, group.facts)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let shape = shape(store, &mut shapes, group.shape).await?;
                    unknown.insert(Outcome::of(&shape, group.facts, new, known)?)
                }
            };
            found.add(outcome, group);
        }
        progress.advance(u64::try_from(last - after).unwrap_or_default());
        after = last;
    }
}

/// What the rows of a shape have in common, read once.
async fn shape(
    store: &dyn Store,
    shapes: &mut HashMap<i64, Arc<FlowShape>>,
    id: i64,
) -> Result<Arc<FlowShape>, StoreError> {
    if let Some(shape) = shapes.get(&id) {
        return Ok(Arc::clone(shape));
    }
    let shape = Arc::new(store.flow_shape(id).await?.ok_or(StoreError::Damaged("shape of flows"))?);
    shapes.insert(id, Arc::clone(&shape));
    Ok(shape)
}

impl Outcome {
    fn of(
        shape: &FlowShape,
        facts: u64,
        new: &Rules,
        known: &HashMap<Digest, Rules>,
    ) -> Result<Self, StoreError> {
        let purpose = Purpose::parse(&shape.purpose).map_err(|_| StoreError::Damaged("shape of flows"))?;
        let recorded =
            Recorded { flow: shape.flow, partner: &shape.partner, purpose, facts: Facts::from_bits(facts) };
        let old = known.get(&shape.policy);
        let mut outcome = Self { fields: 0, open: 0, flips: Vec::new() };
        let again = recorded
            .decide_again(new, old, &shape.verdicts)
            .map_err(|_| StoreError::Damaged("shape of flows: how recipients stood"))?;
        for (field, again) in shape.verdicts.iter().zip(again) {
            outcome.fields += 1;
            match again {
                Again::Open => outcome.open += 1,
                Again::Decided(verdict) if verdict.allows() == field.verdict.allows() => {}
                Again::Decided(verdict) => outcome.flip(shape, field.verdict, verdict),
            }
        }
        Ok(outcome)
    }

    fn flip(&mut self, shape: &FlowShape, old: Verdict, new: Verdict) {
        let kind = Kind {
            opens: new.allows(),
            old: words::verdict(old),
            new: words::verdict(new),
            flow: shape.flow,
            recipient: shape.recipient,
        };
        match self.flips.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, fields)) => *fields += 1,
            None => self.flips.push((kind, 1)),
        }
    }
}

impl Findings {
    fn add(&mut self, outcome: &Outcome, group: &FlowGroup) {
        self.rows += group.rows;
        self.fields += outcome.fields * group.rows;
        self.open += outcome.open * group.rows;
        if !outcome.flips.is_empty() {
            self.flipped += group.rows;
        }
        for (kind, fields) in &outcome.flips {
            let count = self.kinds.entry(kind.clone()).or_default();
            count.fields += fields * group.rows;
            count.rows += group.rows;
            if count.examples.len() < EXAMPLES {
                count.examples.push(group.example);
            }
        }
    }

    fn summary(&self, new: &Rules, seconds: f64) -> String {
        format!(
            "{} rows with {} fields decided again under policy {} of {} in {seconds:.2} s; {} rows flip, {} \
             fields are open",
            self.rows,
            self.fields,
            new.name(),
            new.effective(),
            self.flipped,
            self.open,
        )
    }

    fn as_text(&self, new: &Rules, seconds: f64) -> String {
        let mut lines = vec![self.summary(new, seconds)];
        let mut table =
            Table::new(&["old", "new", "flow", "recipient", "fields", "rows", "flows, for example"]);
        for (kind, count) in &self.kinds {
            let examples: Vec<String> = count.examples.iter().map(format_uid).collect();
            table.row([
                kind.old.clone(),
                kind.new.clone(),
                kind.flow.as_str().to_owned(),
                kind.recipient.as_str().to_owned(),
                count.fields.to_string(),
                count.rows.to_string(),
                examples.join(" "),
            ]);
        }
        lines.push(if table.is_empty() { "nothing flips".to_owned() } else { table.render() });
        lines.join("\n")
    }

    fn as_json(&self, new: &Rules, seconds: f64) -> Value {
        let flips: Vec<Value> = self
            .kinds
            .iter()
            .map(|(kind, count)| {
                json!({
                    "from": kind.old,
                    "to": kind.new,
                    "opens": kind.opens,
                    "flow": kind.flow,
                    "recipient": kind.recipient,
                    "fields": count.fields,
                    "rows": count.rows,
                    "examples": count.examples.iter().map(format_uid).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "policy": { "name": new.name(), "effective": new.effective() },
            "rows": self.rows,
            "fields": self.fields,
            "rows_that_flip": self.flipped,
            "fields_open": self.open,
            "seconds": seconds,
            "flips": flips,
        })
    }
}

#[cfg(test)]
mod tests {
    use gateway_policy::{Access, Basis, Clause, Fact, FieldVerdict, Label, Reason, Standing};

    use super::*;
    use crate::boundary::PolicyBook;
    use crate::store::crypto::new_uid;
    use crate::store::{CallRecord, FlowRecord, SqliteStore, Stage};

    const NOW: i64 = 1_700_000_000_000;

    fn row(at: i64, facts: &[Fact], fields: &[(&str, Verdict)]) -> FlowRecord {
        let verdict = |(category, verdict): &(&str, Verdict)| FieldVerdict {
            field: "/field".into(),
            access: Access::Read,
            labels: [format!("first-party:{category}").parse::<Label>().unwrap()].into(),
            verdict: *verdict,
            basis: Basis::of([Standing { recipient: Recipient::ThirdParty, onward: false }]),
        };
        FlowRecord {
            id: new_uid(NOW + at),
            at_ms: NOW + at,
            stage: Stage::Call,
            flow: Flow::Share,
            recipient: Recipient::ThirdParty,
            brand: "north".into(),
            plugin: "adf-lead".into(),
            partner: "acme-crm".into(),
            release: [1; 32],
            policy: Sha256::digest(PolicyBook::SHIPPED).into(),
            purpose: "essential.service.operations.support".into(),
            consumer: [2; 16],
            event: [3; 16],
            event_type: "chat.ended".into(),
            verdicts: fields.iter().map(verdict).collect(),
            facts: facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)).to_bits(),
            outcome: "ran".into(),
            endpoint: None,
            delivery: None,
            attempt: 0,
            payload: None,
            fuel: 0,
            micros: 0,
            memory: 0,
            spent: vec![],
            result: None,
        }
    }

    #[tokio::test]
    async fn every_flip_of_the_ledger_is_listed_both_ways_with_its_clause_and_example() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("gateway.db")).await.unwrap();
        let clause = |id: &str| Clause::parse(id).unwrap();
        let allow = Verdict::allow(clause("integrations.share"));
        let content = Verdict::withhold(Reason::Clause(clause("share.content")));
        let engaged = [Fact::BrandDirected, Fact::Engaged];
        let rows: Vec<FlowRecord> = (0..6)
            .map(|at| match at {
                // Not granted: no policy changes that.
                0 => row(0, &engaged, &[("user.content.private", Verdict::withhold(Reason::NotGranted))]),
                1 | 2 => {
                    row(at, &engaged, &[("user.contact.email", allow), ("user.content.private", content)])
                }
                _ => row(at, &engaged, &[("user.device", allow)]),
            })
            .collect();
        let call = CallRecord { flows: rows.clone(), ..CallRecord::default() };
        assert!(store.record_call(call).await.unwrap());
        let old = Rules::parse(PolicyBook::SHIPPED).unwrap();
        let known = HashMap::from([(rows[0].policy, old)]);
        // Content may go; what tells a device may not.
        let new = PolicyBook::SHIPPED
            .replace("content-needs-permission = \"strict\"", "content-needs-permission = \"loose\"")
            + "\n[[rule]]\neffect = 'forbid'\nflow = ['share']\nrecipient = ['third-party']\n\
               category = ['user.device']\nclause = 'choice.location'\n";
        let new = Rules::parse(&new).unwrap();
        let found = read(&store, &new, &known).await.unwrap();
        assert_eq!((found.rows, found.fields, found.flipped, found.open), (6, 8, 5, 0));
        let told = found.as_json(&new, 0.0);
        let flips = told["flips"].as_array().unwrap();
        let seen: Vec<_> = flips
            .iter()
            .map(|flip| (flip["from"].as_str().unwrap(), flip["to"].as_str().unwrap(), flip["rows"].as_u64()))
            .collect();
        let expected = [
            ("allow: clause:integrations.share", "withhold: clause:choice.location", Some(3)),
            ("withhold: clause:share.content", "allow: clause:integrations.share", Some(2)),
        ];
        assert_eq!(seen, expected);
        assert_eq!(flips[1]["examples"], json!([format_uid(&rows[1].id)]));
        let same = read(&store, &Rules::parse(PolicyBook::SHIPPED).unwrap(), &known).await.unwrap();
        assert!(same.as_text(&new, 0.0).contains("nothing flips"));
        store.close().await;
    }

    #[tokio::test]
    async fn a_row_that_does_not_say_how_its_recipient_stood_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("gateway.db")).await.unwrap();
        let allow = Verdict::allow(Clause::parse("integrations.share").unwrap());
        let mut lacking = row(0, &[Fact::BrandDirected], &[("user.device", allow)]);
        lacking.verdicts[0].basis = Basis::default();
        let call = CallRecord { flows: vec![lacking], ..CallRecord::default() };
        assert!(store.record_call(call).await.unwrap());
        let rules = Rules::parse(PolicyBook::SHIPPED).unwrap();
        let error = read(&store, &rules, &HashMap::new()).await.err().unwrap();
        assert!(error.to_string().contains("how recipients stood"), "{error}");
        store.close().await;
    }
}
