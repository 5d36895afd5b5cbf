//! The rules about one flow as Cedar policies, and the questions that the boundary decides as Cedar requests. The
//! text is made of the shipped file's own rules, so that both sides say the same; [`Cedar::agrees`] sees that they do.
//!
//! Categories and purposes are entities below those that stand above them, recipients are principals, and each fact is
//! a Boolean of the context.

use std::collections::HashSet;
use std::fmt::Write as _;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use gateway_policy::{
    Category, Effect, Exception, Fact, Facts, Flow, Policy, Purpose, Recipient, Rule, Scope,
};

/// A policy for one flow, ready to be asked.
pub struct Cedar {
    flow: Flow,
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
}

impl Cedar {
    /// The rules of `policy` about `flow`.
    pub fn new(policy: &Policy, flow: Flow) -> Self {
        let rules = policy.rules().iter().filter(|rule| rule.scope.flow.contains(&flow));
        let text: String = rules.map(|rule| written(rule, flow)).collect();
        let categories: Vec<Category> = Category::all().collect();
        let purposes: Vec<Purpose> = Purpose::all().collect();
        let below = |kind: &str, key: &str, above: Vec<&str>| {
            Entity::new_no_attrs(
                uid(kind, key),
                above.iter().map(|key| uid(kind, key)).collect::<HashSet<_>>(),
            )
        };
        let of_categories = categories.iter().map(|one| {
            let above = categories.iter().filter(|above| *above != one && one.is_under(**above));
            below("Category", one.as_str(), above.map(|above| above.as_str()).collect())
        });
        let of_purposes = purposes.iter().map(|one| {
            let above = purposes.iter().filter(|above| *above != one && one.is_under(**above));
            below("Purpose", one.as_str(), above.map(|above| above.as_str()).collect())
        });
        Self {
            flow,
            policies: text.parse().unwrap(),
            entities: Entities::from_entities(of_categories.chain(of_purposes), None).unwrap(),
            authorizer: Authorizer::new(),
        }
    }

    /// How many policies there are.
    pub fn policies(&self) -> usize {
        self.policies.policies().count()
    }

    /// One question.
    pub fn question(
        &self,
        recipient: Recipient,
        purpose: Purpose,
        category: Category,
        facts: Facts,
    ) -> Request {
        let facts = Fact::ALL
            .iter()
            .map(|fact| (fact.as_str().to_owned(), RestrictedExpression::new_bool(facts.holds(*fact))));
        let purpose = RestrictedExpression::new_entity_uid(uid("Purpose", purpose.as_str()));
        let context = Context::from_pairs(facts.chain([("purpose".to_owned(), purpose)])).unwrap();
        let (principal, action) = (uid("Recipient", recipient.as_str()), uid("Action", self.flow.as_str()));
        Request::new(principal, action, uid("Category", category.as_str()), context, None).unwrap()
    }

    /// Whether it is allowed.
    pub fn allows(&self, question: &Request) -> bool {
        self.authorizer.is_authorized(question, &self.policies, &self.entities).decision() == Decision::Allow
    }

    /// Whether both sides answer every question of these recipients and categories alike under so many drawn sets of
    /// facts, and neither answers all of them alike: how many were asked, and how many were allowed.
    pub fn agrees(
        &self,
        policy: &Policy,
        purposes: &[Purpose],
        categories: &[Category],
        sets: usize,
    ) -> Result<(usize, usize), String> {
        let (mut asked, mut allowed, mut state) = (0, 0, 0x9e37_79b9_7f4a_7c15_u64);
        for set in 0..sets {
            // xorshift64; a choice or a signal holds in one of eight sets or so, so that something is allowed.
            let mut draw = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let (often, seldom) = (draw(), draw() & draw() & draw());
            let holds = |fact: Fact| {
                let bits = if USUAL.contains(&fact) { often | seldom } else { seldom };
                bits >> (fact as u32) & 1 == 1
            };
            let facts = Fact::ALL.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, holds(*fact)));
            for recipient in [Recipient::ServiceProvider, Recipient::ThirdParty] {
                let purpose = purposes[set % purposes.len()];
                for category in categories {
                    let ours =
                        policy.compile(self.flow, recipient, purpose, *category).decide(facts).allows();
                    let theirs = self.allows(&self.question(recipient, purpose, *category, facts));
                    if ours != theirs {
                        let held: Vec<_> = facts.iter().map(Fact::as_str).collect();
                        return Err(format!(
                            "{recipient:?} {purpose} {category} {held:?}: rules {ours}, Cedar {theirs}"
                        ));
                    }
                    asked += 1;
                    allowed += usize::from(ours);
                }
            }
        }
        Ok((asked, allowed))
    }
}

/// Facts without which next to nothing is allowed.
const USUAL: [Fact; 5] = [
    Fact::BrandDirected,
    Fact::Engaged,
    Fact::PermissionIntegration,
    Fact::PermissionPurpose,
    Fact::ContractOnward,
];

fn uid(kind: &str, id: &str) -> EntityUid {
    format!("{kind}::{id:?}").parse().unwrap()
}

/// A rule as Cedar writes it.
fn written(rule: &Rule, flow: Flow) -> String {
    let effect = match rule.effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    };
    let Scope { recipient, category, purpose, when, unless, except, .. } = &rule.scope;
    let recipients: Vec<_> =
        recipient.iter().map(|one| format!("principal == Recipient::{:?}", one.as_str())).collect();
    let mut text = format!(
        "@clause({:?})\n{effect}(principal, action == Action::{:?}, resource)\nwhen {{ ({})",
        rule.clause.as_str(),
        flow.as_str(),
        recipients.join(" || ")
    );
    for part in parts(category, purpose, when, unless) {
        let _ = write!(text, " && {part}");
    }
    for Exception { category, purpose, when, unless } in except {
        let _ = write!(text, " && !({})", parts(category, purpose, when, unless).join(" && "));
    }
    text + " };\n"
}

fn parts(category: &[Category], purpose: &[Purpose], when: &[Fact], unless: &[Fact]) -> Vec<String> {
    let among = |what: &str, kind: &str, keys: Vec<&str>| {
        // One by one: a list would be made anew at each evaluation.
        let keys: Vec<_> = keys.iter().map(|key| format!("{what} in {kind}::{key:?}")).collect();
        (!keys.is_empty()).then(|| format!("({})", keys.join(" || ")))
    };
    let categories = among("resource", "Category", category.iter().map(|key| key.as_str()).collect());
    let purposes = among("context.purpose", "Purpose", purpose.iter().map(|key| key.as_str()).collect());
    let holds = when.iter().map(|fact| format!("context[{:?}]", fact.as_str()));
    let lacks = unless.iter().map(|fact| format!("!context[{:?}]", fact.as_str()));
    categories.into_iter().chain(purposes).chain(holds).chain(lacks).collect()
}
