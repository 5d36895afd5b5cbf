//! The compiled policy against the reference evaluator, on random questions. `POLICY_SEED` repeats a
//! run, `POLICY_CASES` makes it longer or shorter.

mod reference;

use std::sync::LazyLock;

use gateway_policy::{Category, Decision, Fact, Facts, Flow, Policy, Purpose, Reason, Recipient, Verdict};
use reference::Question;

const SHIPPED: &str = include_str!("../../policies/platform-2017-03-01.toml");
const CASES: u64 = 1_000_000;

static CATEGORIES: LazyLock<Vec<Category>> = LazyLock::new(|| Category::all().collect());
static PURPOSES: LazyLock<Vec<Purpose>> = LazyLock::new(|| Purpose::all().collect());

#[test]
fn survey() {
    let policy = Policy::parse(SHIPPED).unwrap();
    let mut seen = std::collections::BTreeMap::<String, (u64, String)>::new();
    let mut random = Random(1);
    for _ in 0..CASES {
        let q = draw(&mut random);
        let verdict = ask(&policy, &q);
        let broken = reference::broken(&q);
        let key = match (verdict.decision, verdict.reason) {
            (Decision::Allow, _) if broken.is_empty() && reference::provided_for(&q) => continue,
            (Decision::Allow, _) => format!("{:?} {:?} allowed but {:?}", q.flow, q.recipient, broken),
            (_, Reason::Clause(c)) if broken.contains(&c.as_str()) => continue,
            (_, Reason::Clause(c)) => format!("{:?} {:?} {c} not in {}", q.flow, q.recipient, if broken.is_empty() {"allowed"} else {"others"}),
            (_, Reason::NoPermit) if !reference::provided_for(&q) => continue,
            (_, r) => format!("{:?} {:?} {r} but {:?}", q.flow, q.recipient, broken),
        };
        let e = seen.entry(key).or_insert((0, q.to_string()));
        e.0 += 1;
        if q.to_string().len() < e.1.len() { e.1 = q.to_string(); }
    }
    let mut all: Vec<_> = seen.into_iter().collect();
    all.sort_by_key(|(k, _)| (k.len(), k.clone()));
    for (k, (n, e)) in all.iter().take(150) {
        println!("{n:7} {k}\n        {e}");
    }
}

fn ask(policy: &Policy, q: &Question) -> Verdict {
    let purpose = Purpose::parse(q.purpose).unwrap();
    let category = Category::parse(q.category).unwrap();
    match q.with {
        None => policy.compile(q.flow, q.recipient, purpose, category).decide(q.facts),
        Some(with) => policy
            .compile_combination(q.recipient, purpose, category, Category::parse(with).unwrap())
            .decide(q.facts),
    }
}

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T { of[(self.next() % of.len() as u64) as usize] }
}

fn draw(random: &mut Random) -> Question {
    let flow = random.pick(&Flow::ALL);
    let mut facts = Facts::none();
    let density = random.pick(&[8, 16, 32]);
    for fact in Fact::ALL { facts = facts.with(*fact, random.next() % density == 0); }
    for f in [Fact::BrandDirected, Fact::CombineGranted, Fact::Engaged, Fact::Aggregated, Fact::ContractOnward] {
        facts = facts.with(f, random.next() % 8 != 0);
    }
    Question {
        flow,
        recipient: random.pick(&Recipient::ALL),
        purpose: random.pick(&PURPOSES).as_str(),
        category: random.pick(&CATEGORIES).as_str(),
        with: (flow == Flow::Combine).then(|| random.pick(&CATEGORIES).as_str()),
        facts,
    }
}
