//! The compiled policy held against the reference.

use gateway_policy::{Category, Decision, Fact, Facts, Policy, Purpose, Reason, Verdict};

use crate::{Question, broken, provided_by};

/// What the compiled policy says.
fn ask(policy: &Policy, question: &Question) -> Verdict {
    let purpose = Purpose::parse(question.purpose).unwrap();
    let category = Category::parse(question.category).unwrap();
    let decision = match question.with {
        None => policy.compile(question.flow, question.recipient, purpose, category),
        Some(with) => {
            policy.compile_combination(question.recipient, purpose, category, Category::parse(with).unwrap())
        }
    };
    decision.decide(question.facts)
}

/// Whether both say the same, for the same reason: what is allowed is allowed by the clause that
/// provides for it, what is withheld by a clause that is broken. Where facts of `unknown` are open, what
/// is allowed must be allowed however they turn out, and a clause that is named broken however they do.
pub fn agree(policy: &Policy, question: &Question, unknown: &[Fact]) -> Result<Decision, String> {
    let open = Question {
        facts: unknown.iter().fold(question.facts, |facts, fact| facts.without_knowing(*fact)),
        ..*question
    };
    let verdict = ask(policy, &open);
    for complete in question.completions(unknown) {
        let (broken, provided) = (broken(&complete), provided_by(&complete));
        let right = match (verdict.decision, verdict.reason) {
            (Decision::Allow, Reason::Clause(clause)) => {
                let named = provided == Some(clause.as_str());
                broken.is_empty() && (named || (provided.is_some() && !unknown.is_empty()))
            }
            (Decision::Withhold, Reason::NoPermit) => provided.is_none(),
            (Decision::Withhold, Reason::MissingFact) => !unknown.is_empty(),
            // Where nothing provides for such a flow, it does not matter what forbids it too.
            (Decision::Withhold, Reason::Clause(clause)) => {
                provided.is_none() || broken.contains(&clause.as_str())
            }
            _ => false,
        };
        if !right {
            let clauses = match (broken.as_slice(), provided) {
                (_, None) => "provide for no such flow".to_owned(),
                ([], Some(clause)) => format!("allow it ({clause})"),
                (broken, _) => format!("are broken: {}", broken.join(", ")),
            };
            return Err(format!(
                "{complete}\n  unknown: {unknown:?}\n  the policy: {} ({})\n  the clauses {clauses}",
                verdict.decision.as_str(),
                verdict.reason
            ));
        }
    }
    Ok(verdict.decision)
}

/// The same disagreement with as few facts, and keys as high up, as show it.
pub fn shrink(policy: &Policy, question: Question, unknown: &[Fact]) -> String {
    let (mut question, mut unknown) = (question, unknown.to_vec());
    let mut words = agree(policy, &question, &unknown).err().unwrap_or_default();
    loop {
        let smaller = smaller(&question, &unknown);
        let next = smaller.into_iter().find_map(|(question, unknown)| {
            agree(policy, &question, &unknown).err().map(|words| (question, unknown, words))
        });
        match next {
            Some(found) => (question, unknown, words) = found,
            None => return words,
        }
    }
}

fn smaller(question: &Question, unknown: &[Fact]) -> Vec<(Question, Vec<Fact>)> {
    let fewer = |facts: Facts, fact: Fact| facts.with(fact, false);
    let mut all: Vec<(Question, Vec<Fact>)> = Vec::new();
    for fact in unknown {
        all.push((*question, unknown.iter().copied().filter(|other| other != fact).collect()));
    }
    for fact in question.facts.iter() {
        all.push((Question { facts: fewer(question.facts, fact), ..*question }, unknown.to_vec()));
    }
    let above = |key: &'static str| key.rsplit_once('.').map(|(above, _)| above);
    if let Some(purpose) = above(question.purpose) {
        all.push((Question { purpose, ..*question }, unknown.to_vec()));
    }
    if let Some(category) = above(question.category) {
        all.push((Question { category, ..*question }, unknown.to_vec()));
    }
    if let Some(with) = question.with.and_then(above) {
        all.push((Question { with: Some(with), ..*question }, unknown.to_vec()));
    }
    all
}
