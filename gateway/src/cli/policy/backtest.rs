//! `gateway policy backtest`: the whole ledger decided again from recorded facts. It reads the store
//! itself, page by page, and writes nothing; rows of one shape with the same facts are decided once.

mod listed;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{Again, Facts, Flow, Had, Policy as Rules, Purpose, Recipient, Recorded, Verdict};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::listed::Listing;
use super::super::output::{self, FormatArgs, Table};
use super::super::progress::Progress;
use super::super::{CliError, assemble};
use super::{rules, words};
use crate::config::Config;
use crate::store::crypto::format_uid;
use crate::store::{Digest, FlowShape, Stage, Store, StoreError, Uid};

pub(super) const HELP: &str = "\
Reads the database of the configuration; a gateway may run beside it. A verdict is decided again from what its
row recorded. What hangs on something that rows do not record is listed as open, with what it would become:
  met      withheld for what it met, in its call or at the partner, and the new policy says otherwise of that: a row
           names one such pair, and there may have been others
  granted  it met something in its call or request: whether the brand had granted that combination
  earlier  it may not meet something of which the consumer's partner has received: whether it had it before
  form     it left in a form, or was made of what did, by a declassification that is another now: the label of
           what there was
  version  another version of the policy decided
  refused  a call was refused for what its requests would have brought together, and the new policy says
           otherwise of that
Where the policy in whose days a row was written is among the configuration's, and says of what may meet what the
new one says, nothing of that is open, but for `form` and what a partner has by it (`earlier`). What derives from
other fields keeps the labels that it had, but for `form`.

What flips is counted by kind, with three flows of each. --list writes every flow that flips, or of which something is
open, to a file: one JSON object a line, with each such field.

Examples:
  gateway policy backtest policies/platform-2027-01-01.toml --config gateway.toml --format json
  gateway policy backtest policies/platform-2027-01-01.toml --list flips.jsonl";

/// Rows of a page.
const PAGE: u32 = 100_000;
/// Shapes and facts that are counted before they are decided about; beyond it they are at once.
const REMEMBERED: usize = 500_000;
/// Shapes that are remembered.
const SHAPES: usize = 20_000;
/// Flows named for each kind of flip.
const EXAMPLES: usize = 3;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Backtest {
    /// The policy as it would be
    new: PathBuf,
    /// The configuration of the gateway whose ledger it is
    #[arg(long, env = "GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Write each flow that flips, or of which something is open, to this file too
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
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

/// The rows of one shape with the same facts.
struct Alike {
    shape: Arc<FlowShape>,
    rows: u64,
    examples: Vec<Uid>,
}

/// What became of calls whose requests would have brought together what may not meet, and what is open of them.
const REFUSED: (&str, &str) = ("refused:combination", "refused");

/// What is found in the ledger.
#[derive(Default)]
struct Findings {
    /// The position of the last row that was read.
    last: i64,
    rows: u64,
    fields: u64,
    /// Fields of which rows do not record what it takes.
    fields_open: u64,
    /// Rows with at least one flip.
    flipped: u64,
    flips: BTreeMap<Kind, Count>,
    /// By what is not recorded.
    open: BTreeMap<(&'static str, Kind), Count>,
    /// What each partner may have, by what its rows say.
    had: HashMap<String, Had>,
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
        let listing = self.list.as_deref().map(Listing::at).transpose()?;
        let store = assemble::open_store(&config).await?;
        let told = self.decide(&store, &new, &known, listing).await;
        store.close().await;
        output::line(&told?)
    }

    /// Decides the ledger again, and says what is found.
    async fn decide(
        &self,
        store: &dyn Store,
        new: &Rules,
        known: &HashMap<Digest, Rules>,
        listing: Option<Listing>,
    ) -> Result<String, CliError> {
        let started = Instant::now();
        let found = read(store, new, known).await;
        let mut found = found.map_err(|error| CliError::FellShort(error.to_string()))?;
        let seconds = started.elapsed().as_secs_f64();
        let listed = match listing {
            Some(listing) => Some(listing.write(store, &mut found, new, known).await?),
            None => None,
        };
        if self.format.json() {
            let mut told = found.as_json(new, seconds);
            if let (Some(listed), Some(told)) = (listed, told.as_object_mut()) {
                told.insert("listed".to_owned(), json!(listed));
            }
            return output::pretty(&told);
        }
        let file = self.list.as_deref().unwrap_or(Path::new(""));
        let listed = listed.map(|listed| format!("\n{listed} flows are listed in {}", file.display()));
        Ok(found.as_text(new, seconds) + &listed.unwrap_or_default())
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
    let mut shapes = Shapes::default();
    for shape in store.flow_shapes().await? {
        found.note(&*shapes.get(store, shape).await?, new, known);
    }
    let mut alike: HashMap<(i64, u64), Alike> = HashMap::new();
    let (mut after, mut progress) = (0, None);
    loop {
        let page = store.ledger_after(after, PAGE).await?;
        let Some(last) = page.last else { break };
        let total = u64::try_from(page.end).unwrap_or_default();
        let progress = progress.get_or_insert_with(|| Progress::bar(total, "deciding the ledger again"));
        for group in &page.groups {
            let rows = match alike.entry((group.shape, group.facts)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let shape = shapes.get(store, group.shape).await?;
                    unknown.insert(Alike { shape, rows: 0, examples: Vec::new() })
                }
            };
            rows.rows += group.rows;
            if rows.examples.len() < EXAMPLES {
                rows.examples.push(group.example);
            }
        }
        if alike.len() > REMEMBERED {
            found.decide(&mut alike, new, known)?;
        }
        progress.advance(u64::try_from(last - after).unwrap_or_default());
        (after, found.last) = (last, last);
    }
    found.decide(&mut alike, new, known)?;
    Ok(found)
}

/// What the rows of a shape have in common, as a rule read once.
#[derive(Default)]
struct Shapes(HashMap<i64, Arc<FlowShape>>);

impl Shapes {
    async fn get(&mut self, store: &dyn Store, id: i64) -> Result<Arc<FlowShape>, StoreError> {
        if let Some(shape) = self.0.get(&id) {
            return Ok(Arc::clone(shape));
        }
        let shape = Arc::new(store.flow_shape(id).await?.ok_or(StoreError::Damaged("shape of flows"))?);
        if self.0.len() >= SHAPES {
            self.0.clear();
        }
        self.0.insert(id, Arc::clone(&shape));
        Ok(shape)
    }
}

impl Findings {
    /// Notes what a partner has by the rows of a shape.
    fn note(&mut self, shape: &FlowShape, new: &Rules, known: &HashMap<Digest, Rules>) {
        if !matches!(shape.flow, Flow::Share | Flow::Decide) {
            return;
        }
        let had = self.had.entry(shape.partner.clone()).or_default();
        for field in shape.verdicts.iter().filter(|field| field.verdict.allows()) {
            had.note(new, known.get(&shape.policy), field);
        }
    }

    /// Decides again what was read.
    fn decide(
        &mut self,
        alike: &mut HashMap<(i64, u64), Alike>,
        new: &Rules,
        known: &HashMap<Digest, Rules>,
    ) -> Result<(), StoreError> {
        for ((_, facts), rows) in alike.drain() {
            let (again, refused) = self.again(&rows.shape, facts, new, known)?;
            self.add(&rows, &again, refused);
        }
        Ok(())
    }

    /// What becomes of the fields of a shape's rows with these facts; and whether a call was refused that might not be.
    fn again(
        &mut self,
        shape: &FlowShape,
        facts: u64,
        new: &Rules,
        known: &HashMap<Digest, Rules>,
    ) -> Result<(Vec<Again>, bool), StoreError> {
        let recorded = Recorded {
            flow: shape.flow,
            partner: &shape.partner,
            purpose: Purpose::parse(&shape.purpose).map_err(|_| StoreError::Damaged("shape of flows"))?,
            facts: Facts::from_bits(facts),
            request: matches!(shape.stage, Stage::Delivery | Stage::Exchange),
        };
        let old = known.get(&shape.policy);
        let had = self.had.entry(shape.partner.clone()).or_default();
        let again = recorded.decide_again(new, old, &shape.verdicts).and_then(|mut again| {
            recorded.across_calls(new, old, &shape.verdicts, &mut again, had).map(|()| again)
        });
        let again = again.map_err(|_| StoreError::Damaged("shape of flows: how recipients stood"))?;
        let refused = REFUSED.0 == shape.outcome && !recorded.meets_alike(new, old, &shape.verdicts);
        Ok((again, refused))
    }

    fn add(&mut self, rows: &Alike, again: &[Again], refused: bool) {
        let shape = &*rows.shape;
        self.rows += rows.rows;
        self.fields += again.len() as u64 * rows.rows;
        let kind = |opens: bool, old: String, new: String| Kind {
            opens,
            old,
            new,
            flow: shape.flow,
            recipient: shape.recipient,
        };
        let (mut flips, mut open) = (BTreeMap::<Kind, u64>::new(), BTreeMap::<_, u64>::new());
        for (field, again) in shape.verdicts.iter().zip(again) {
            let old = field.verdict;
            let of = |new: Verdict| kind(new.allows(), words::verdict(old), words::verdict(new));
            match again {
                Again::Open(why, new) => *open.entry((why.as_str(), of(*new))).or_default() += 1,
                Again::Decided(new) if new.allows() == old.allows() => {}
                Again::Decided(new) => *flips.entry(of(*new)).or_default() += 1,
            }
        }
        self.fields_open += open.values().sum::<u64>() * rows.rows;
        self.flipped += if flips.is_empty() { 0 } else { rows.rows };
        if refused {
            open.insert((REFUSED.1, kind(true, shape.outcome.clone(), "-".to_owned())), 0);
        }
        flips.into_iter().for_each(|(kind, fields)| self.flips.entry(kind).or_default().add(rows, fields));
        open.into_iter().for_each(|(kind, fields)| self.open.entry(kind).or_default().add(rows, fields));
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
            self.fields_open,
        )
    }

    fn as_text(&self, new: &Rules, seconds: f64) -> String {
        const COLUMNS: [&str; 7] =
            ["old", "new", "flow", "recipient", "fields", "rows", "flows, for example"];
        let mut lines = vec![self.summary(new, seconds)];
        let mut flips = Table::new(&COLUMNS);
        self.flips.iter().for_each(|(kind, count)| flips.row(count.row(kind)));
        lines.push(if flips.is_empty() { "nothing flips".to_owned() } else { flips.render() });
        let mut open =
            Table::new(&["open", "old", "would be", "flow", "recipient", "fields", "rows", COLUMNS[6]]);
        for ((why, kind), count) in &self.open {
            let [old, new, flow, recipient, fields, rows, examples] = count.row(kind);
            open.row([(*why).to_owned(), old, new, flow, recipient, fields, rows, examples]);
        }
        if !open.is_empty() {
            lines.push(format!("\n{}", open.render()));
        }
        lines.join("\n")
    }

    fn as_json(&self, new: &Rules, seconds: f64) -> Value {
        let flips: Vec<Value> = self.flips.iter().map(|(kind, count)| count.as_json(kind)).collect();
        let open: Vec<Value> = self
            .open
            .iter()
            .map(|((why, kind), count)| {
                let mut open = count.as_json(kind);
                if let Some(fields) = open.as_object_mut() {
                    fields.insert("why".to_owned(), json!(why));
                }
                open
            })
            .collect();
        json!({
            "policy": { "name": new.name(), "effective": new.effective() },
            "rows": self.rows,
            "fields": self.fields,
            "rows_that_flip": self.flipped,
            "fields_open": self.fields_open,
            "seconds": seconds,
            "flips": flips,
            "open": open,
        })
    }
}

impl Count {
    fn add(&mut self, alike: &Alike, fields: u64) {
        self.fields += fields * alike.rows;
        self.rows += alike.rows;
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(alike.examples.iter().take(room));
    }

    fn row(&self, kind: &Kind) -> [String; 7] {
        let examples: Vec<String> = self.examples.iter().map(format_uid).collect();
        [
            kind.old.clone(),
            kind.new.clone(),
            kind.flow.as_str().to_owned(),
            kind.recipient.as_str().to_owned(),
            self.fields.to_string(),
            self.rows.to_string(),
            examples.join(" "),
        ]
    }

    fn as_json(&self, kind: &Kind) -> Value {
        json!({
            "from": kind.old,
            "to": kind.new,
            "opens": kind.opens,
            "flow": kind.flow,
            "recipient": kind.recipient,
            "fields": self.fields,
            "rows": self.rows,
            "examples": self.examples.iter().map(format_uid).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use gateway_policy::{Access, Basis, Clause, Fact, FieldVerdict, Label, Reason, Standing};

    use super::*;
    use crate::boundary::PolicyBook;
    use crate::store::crypto::new_uid;
    use crate::store::{CallRecord, FlowRecord, SqliteStore};

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
        let mut found = read(&store, &new, &known).await.unwrap();
        assert_eq!((found.rows, found.fields, found.flipped, found.fields_open), (6, 8, 5, 0));
        let listing = dir.path().join("flips.jsonl");
        let listed = Listing::at(&listing).unwrap().write(&store, &mut found, &new, &known).await.unwrap();
        let lines = std::fs::read_to_string(&listing).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let flows: Vec<_> = lines.iter().map(|line| line["id"].clone()).collect();
        assert_eq!(flows, rows[1..].iter().map(|row| json!(format_uid(&row.id))).collect::<Vec<_>>());
        assert_eq!((listed, lines[0]["fields"].as_array().unwrap().len()), (5, 1), "{lines:?}");
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

    /// Allowed fields that a new policy would keep from meeting: sealed in one request, in two calls, and a call
    /// that was refused.
    #[tokio::test]
    async fn what_rows_do_not_record_is_listed_as_open_by_what_it_is_and_by_clause() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("gateway.db")).await.unwrap();
        let allow = Verdict::allow(Clause::parse("integrations.share").unwrap());
        let combine = Verdict::withhold(Reason::Clause(Clause::parse("integrations.combine").unwrap()));
        let engaged = [Fact::BrandDirected, Fact::Engaged];
        let (bought, email, tier) = ("user.behavior", "user.contact.email", "user.account");
        let sealed = |mut row: FlowRecord| {
            row.verdicts.iter_mut().for_each(|field| field.access = Access::Sealed);
            row
        };
        let both = [(bought, allow), (email, allow)];
        let delivery = FlowRecord { stage: Stage::Delivery, ..sealed(row(0, &engaged, &both)) };
        let refused = FlowRecord { outcome: REFUSED.0.into(), ..sealed(row(2, &engaged, &[(tier, allow)])) };
        let mut met = row(3, &engaged, &[(tier, combine)]);
        met.verdicts[0].basis.met = true;
        let rows = vec![delivery, row(1, &engaged, &[(email, allow)]), refused, met];
        let policy = rows[0].policy;
        let call = CallRecord { flows: rows, ..CallRecord::default() };
        assert!(store.record_call(call).await.unwrap());
        let known = HashMap::from([(policy, Rules::parse(PolicyBook::SHIPPED).unwrap())]);
        let apart = |category: &str| {
            let rule = format!(
                "\n[[rule]]\neffect = 'forbid'\nflow = ['combine']\nrecipient = ['third-party']\n\
                 category = ['{category}']\nwith = ['user.behavior']\nclause = 'cookies.third-party-analytics'\n"
            );
            Rules::parse(&format!("{}{rule}", PolicyBook::SHIPPED)).unwrap()
        };
        let (went, stays) =
            ("allow: clause:integrations.share", "withhold: clause:cookies.third-party-analytics");
        let was = "withhold: clause:integrations.combine";
        for (new, flips, open) in [
            (
                apart(email),
                &[(went, stays, 1)][..],
                // The other of the two in the request might have gone, had the partner nothing of the kind.
                &[("earlier", went, stays, 2)][..],
            ),
            (
                apart(tier),
                &[],
                &[("earlier", went, stays, 2), ("met", was, went, 1), ("refused", REFUSED.0, "-", 1)],
            ),
            (Rules::parse(PolicyBook::SHIPPED).unwrap(), &[], &[]),
        ] {
            let found = read(&store, &new, &known).await.unwrap();
            let told = found.as_json(&new, 0.0);
            let of = |list: &str| -> Vec<(String, String, String, u64)> {
                let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
                let all = told[list].as_array().unwrap().iter();
                all.map(|one| {
                    (word(one, "why"), word(one, "from"), word(one, "to"), one["rows"].as_u64().unwrap())
                })
                .collect()
            };
            let owned = |(why, from, to, rows): (&str, &str, &str, u64)| {
                (why.to_owned(), from.to_owned(), to.to_owned(), rows)
            };
            let expected: Vec<_> =
                flips.iter().map(|(from, to, rows)| owned(("", from, to, *rows))).collect();
            assert_eq!(of("flips"), expected, "{told}");
            let expected: Vec<_> = open.iter().map(|one| owned(*one)).collect();
            assert_eq!(of("open"), expected, "{told}");
            let text = found.as_text(&new, 0.0);
            assert!(open.iter().all(|(why, ..)| text.contains(&format!("\n{why} "))), "{text}");
        }
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
