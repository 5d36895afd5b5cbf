//! `gateway policy backtest`: the whole ledger decided again from recorded facts. It reads the store
//! itself, page by page, and writes nothing into it; rows of one shape with the same facts are decided once.

mod listed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{
    Again, Compiled, Facts, Flow, Had, Policy as Rules, Purpose, Recipient, Recorded, Verdict, Why,
};
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
  returned another plugin returned it, and whether the brand itself may use it is decided otherwise
  refused  a call was refused for what its requests would have brought together, and the new policy says
           otherwise of that
Where the policy in whose days a row was written is among the configuration's, and says of what may meet what the
new one says, nothing of that is open, but for `form` and what a partner has by it (`earlier`). What derives from
other fields keeps the labels that it had, but for `form`. How aggregates are made is not decided again;
`gateway policy diff` tells where that differs.

What flips is counted by kind, with three flows of each. --list writes every flow that flips, or of which something is
open, to a file: one JSON object a line, with each such field.

Examples:
  gateway policy backtest policies/platform-2027-01-01.toml --config gateway.toml --format json
  gateway policy backtest policies/platform-2027-01-01.toml --list flips.jsonl";

/// Rows of a page.
const PAGE: u32 = 20_000;
/// Shapes and facts that are counted before they are decided about; beyond it they are at once.
const REMEMBERED: usize = 100_000;
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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    /// What was decided, and what would be; none: a call was refused for what its requests would bring together.
    verdicts: Option<(Verdict, Verdict)>,
    flow: Flow,
    recipient: Recipient,
}

impl Kind {
    /// Whether something would be allowed that was not; what was decided, and what would be.
    fn words(&self) -> (bool, String, String) {
        match self.verdicts {
            Some((old, new)) => (new.allows(), words::verdict(old), words::verdict(new)),
            None => (true, REFUSED.0.to_owned(), "-".to_owned()),
        }
    }
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
    /// What is open of a kind, where something is, and what flips.
    kinds: HashMap<(Option<&'static str>, Kind), Count>,
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
        let told = self.decide(&store, &Versions::of(&new, &known), listing).await;
        store.close().await;
        output::line(&told?)
    }

    /// Decides the ledger again, and says what is found.
    async fn decide(
        &self,
        store: &dyn Store,
        versions: &Versions<'_>,
        listing: Option<Listing>,
    ) -> Result<String, CliError> {
        let (started, new) = (Instant::now(), versions.new.policy());
        let found = read(store, versions).await;
        let mut found = found.map_err(|error| CliError::FellShort(error.to_string()))?;
        let seconds = started.elapsed().as_secs_f64();
        let listed = match listing {
            Some(listing) => Some(listing.write(store, &mut found, versions).await?),
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

/// The policy as it would be, and those by which rows were written, by the digest that rows name.
struct Versions<'p> {
    new: Compiled<'p>,
    known: HashMap<Digest, Compiled<'p>>,
}

impl<'p> Versions<'p> {
    fn of(new: &'p Rules, known: &'p HashMap<Digest, Rules>) -> Self {
        let known = known.iter().map(|(digest, rules)| (*digest, Compiled::of(rules))).collect();
        Self { new: Compiled::of(new), known }
    }
}

/// Decides every row of the ledger again.
async fn read(store: &dyn Store, versions: &Versions<'_>) -> Result<Findings, StoreError> {
    let mut found = Findings::default();
    let mut shapes = Shapes::default();
    // What is written from here on is not looked at: of its shapes it would not be known what they gave to partners.
    let end = store.ledger_after(0, 1).await?.end;
    for shape in store.flow_shapes().await? {
        found.note(&*shapes.get(store, shape).await?, versions);
    }
    let mut alike: HashMap<(i64, u64), Alike> = HashMap::new();
    let (mut after, mut progress) = (0, None);
    loop {
        let left = u32::try_from(end.saturating_sub(after)).unwrap_or(PAGE).min(PAGE);
        let page = store.ledger_after(after, left).await?;
        let Some(last) = page.last.filter(|last| *last <= end) else { break };
        let total = u64::try_from(end).unwrap_or_default();
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
            found.decide(&mut alike, versions)?;
        }
        progress.advance(u64::try_from(last - after).unwrap_or_default());
        (after, found.last) = (last, last);
    }
    found.decide(&mut alike, versions)?;
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
    fn note(&mut self, shape: &FlowShape, versions: &Versions<'_>) {
        if !matches!(shape.flow, Flow::Share | Flow::Decide) {
            return;
        }
        let had = self.had.entry(shape.partner.clone()).or_default();
        let old = versions.known.get(&shape.policy).map(Compiled::policy);
        for field in shape.verdicts.iter().filter(|field| field.verdict.allows()) {
            had.note(versions.new.policy(), old, field);
        }
    }

    /// Decides again what was read.
    fn decide(
        &mut self,
        alike: &mut HashMap<(i64, u64), Alike>,
        versions: &Versions<'_>,
    ) -> Result<(), StoreError> {
        for ((_, facts), rows) in alike.drain() {
            let (again, refused) = self.again(&rows.shape, facts, versions)?;
            self.add(&rows, &again, refused);
        }
        Ok(())
    }

    /// What becomes of the fields of a shape's rows with these facts; and whether a call was refused that might not be.
    fn again(
        &mut self,
        shape: &FlowShape,
        facts: u64,
        versions: &Versions<'_>,
    ) -> Result<(Vec<Again>, bool), StoreError> {
        let recorded = Recorded {
            flow: shape.flow,
            partner: &shape.partner,
            purpose: Purpose::parse(&shape.purpose).map_err(|_| StoreError::Damaged("shape of flows"))?,
            facts: Facts::from_bits(facts),
            request: matches!(shape.stage, Stage::Delivery | Stage::Exchange),
        };
        let (new, old) = (&versions.new, versions.known.get(&shape.policy));
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
        let kind = |verdicts| Kind { verdicts, flow: shape.flow, recipient: shape.recipient };
        let mut found: Vec<((Option<&'static str>, Kind), u64)> = Vec::new();
        for (field, again) in shape.verdicts.iter().zip(again) {
            let Some((new, why)) = again.otherwise_than(field.verdict) else { continue };
            let of = (why.map(Why::as_str), kind(Some((field.verdict, new))));
            match found.iter_mut().find(|(known, _)| *known == of) {
                Some((_, fields)) => *fields += 1,
                None => found.push((of, 1)),
            }
        }
        let open = found.iter().filter(|((why, _), _)| why.is_some());
        self.fields_open += open.map(|(_, fields)| fields).sum::<u64>() * rows.rows;
        self.flipped += if found.iter().any(|((why, _), _)| why.is_none()) { rows.rows } else { 0 };
        if refused {
            found.push(((Some(REFUSED.1), kind(None)), 0));
        }
        found.into_iter().for_each(|(of, fields)| self.kinds.entry(of).or_default().add(rows, fields));
    }

    /// The kinds in order: what is open of them, where something is, and how much.
    fn sorted(&self) -> Vec<(Option<&'static str>, &Kind, &Count)> {
        let mut kinds: Vec<_> = self.kinds.iter().map(|((why, kind), count)| (*why, kind, count)).collect();
        kinds.sort_by_cached_key(|(why, kind, _)| {
            (*why, kind.words(), kind.flow.as_str(), kind.recipient.as_str())
        });
        kinds
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
        let mut open =
            Table::new(&["open", "old", "would be", "flow", "recipient", "fields", "rows", COLUMNS[6]]);
        for (why, kind, count) in self.sorted() {
            let row = count.row(kind);
            match why {
                Some(why) => open.row(std::iter::once(why.to_owned()).chain(row)),
                None => flips.row(row),
            }
        }
        lines.push(if flips.is_empty() { "nothing flips".to_owned() } else { flips.render() });
        if !open.is_empty() {
            lines.push(format!("\n{}", open.render()));
        }
        lines.join("\n")
    }

    fn as_json(&self, new: &Rules, seconds: f64) -> Value {
        let (mut flips, mut open) = (Vec::new(), Vec::new());
        for (why, kind, count) in self.sorted() {
            let mut told = count.as_json(kind);
            match (why, told.as_object_mut()) {
                (Some(why), Some(fields)) => {
                    fields.insert("why".to_owned(), json!(why));
                    open.push(told);
                }
                _ => flips.push(told),
            }
        }
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
        let (_, old, new) = kind.words();
        [
            old,
            new,
            kind.flow.as_str().to_owned(),
            kind.recipient.as_str().to_owned(),
            self.fields.to_string(),
            self.rows.to_string(),
            examples.join(" "),
        ]
    }

    fn as_json(&self, kind: &Kind) -> Value {
        let (opens, old, new) = kind.words();
        json!({
            "from": old,
            "to": new,
            "opens": opens,
            "flow": kind.flow,
            "recipient": kind.recipient,
            "fields": self.fields,
            "rows": self.rows,
            "examples": self.examples.iter().map(format_uid).collect::<Vec<_>>(),
        })
    }
}
