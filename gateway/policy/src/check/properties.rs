//! Properties: what must hold of a policy, as data beside it, each proved over its whole scope.

use super::Decisions;
use super::cases::untouched;
use super::forms::{FormProperty, Relabelled, Steps};
use super::space::{Example, Place};
use crate::Clause;
use crate::compile::CompiledDecision;
use crate::file::{self, Always, Never};
use crate::policy::{Effect, Policy, PolicyError, Reading, Scope};
use crate::residual::{Case, Residual};

/// A file of properties.
#[derive(Debug, Default)]
pub struct Properties {
    all: Vec<Property>,
    forms: Vec<FormProperty>,
}

/// What must hold, and where.
#[derive(Debug)]
pub(super) struct Property {
    name: String,
    clause: Clause,
    says: String,
    reading: Option<String>,
    demand: Demand,
    pub(super) scope: Scope,
}

/// Of every combination in the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// It is not allowed.
    NeverAllow,
    /// No `permit` matches, whatever the forbids say.
    NeverPermit,
    /// It is allowed.
    AlwaysAllow,
    /// A `forbid` matches, whatever the permits say.
    AlwaysForbid,
    /// No declassification lets it go where a clause withholds it that the declassification does not name.
    NeverLift,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its name.
    pub property: String,
    /// The clause that it keeps.
    pub clause: Clause,
    /// What it says, in plain words.
    pub says: String,
    /// The combination that offends; none: its scope holds no combination, so it says nothing.
    pub example: Option<Example>,
    /// The rule at fault (number, effect); none: no rule speaks where one should.
    pub rule: Option<(usize, Effect)>,
    /// What a form makes of a label, where that is at fault.
    pub relabelled: Option<Relabelled>,
}

pub(super) struct Outcome {
    pub(super) proved: usize,
    pub(super) failures: Vec<Failure>,
    pub(super) left_out: Vec<String>,
}

impl Properties {
    /// Reads a file of properties (TOML): `[[property]]` tables with `name`, `clause`, `says`, a demand
    /// and a scope as rules have it. The demand is `never = "allow"`, `never = "permit"` (no permit
    /// matches, whatever the forbids say), `never = "lift"` (no declassification lets it go where a clause
    /// withholds it that the declassification does not name), `always = "allow"` or `always = "forbid"` (a
    /// forbid matches, whatever the permits say). `reading` names the reading of which it speaks: under the
    /// loose one it is left out. And `[[form]]` tables with `name`, `clause`, `says`, `form`, `category` and
    /// `becomes`: in these forms these categories become that one, and no other category does; without
    /// `becomes` they keep their labels.
    ///
    /// # Errors
    /// [`PolicyError`] for the first thing that the file may not say.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: file::Properties = toml::from_str(text)?;
        let groups = file::Groups { categories: &file.categories, purposes: &file.purposes };
        let mut names = std::collections::HashSet::new();
        let mut named = |name: &str| match names.insert(name.to_owned()) {
            true => Ok(()),
            false => Err(PolicyError::Property {
                property: name.to_owned(),
                problem: "another property has this name".into(),
            }),
        };
        let mut all: Vec<Property> = Vec::with_capacity(file.property.len());
        for written in &file.property {
            named(&written.name)?;
            let refused = |problem| PolicyError::Property { property: written.name.clone(), problem };
            let demand = match (written.never, written.always) {
                (Some(Never::Allow), None) => Demand::NeverAllow,
                (Some(Never::Permit), None) => Demand::NeverPermit,
                (Some(Never::Lift), None) => Demand::NeverLift,
                (None, Some(Always::Allow)) => Demand::AlwaysAllow,
                (None, Some(Always::Forbid)) => Demand::AlwaysForbid,
                _ => return Err(refused("it needs one of `never` and `always`".into())),
            };
            all.push(Property {
                name: written.name.clone(),
                clause: written.clause,
                says: written.says.clone(),
                reading: written.reading.clone(),
                demand,
                scope: written.scope().resolve(&groups).map_err(refused)?,
            });
        }
        let mut forms = Vec::with_capacity(file.form.len());
        for written in &file.form {
            named(&written.name)?;
            let file::Form { name, clause, says, form, .. } = written;
            let refused = |problem| PolicyError::Property { property: name.clone(), problem };
            let (category, becomes) = written.resolve(&groups).map_err(refused)?;
            forms.push(FormProperty {
                name: name.clone(),
                clause: *clause,
                says: says.clone(),
                form: form.clone(),
                category,
                becomes,
            });
        }
        Ok(Self { all, forms })
    }

    /// The names and clauses, in the order of the file; what is said of forms comes last.
    pub fn names(&self) -> impl Iterator<Item = (&str, Clause)> {
        let all = self.all.iter().map(|property| (property.name.as_str(), property.clause));
        all.chain(self.forms.iter().map(|property| (property.name.as_str(), property.clause)))
    }

    pub(super) fn all(&self) -> &[Property] {
        &self.all
    }
}

pub(super) fn prove(
    policy: &Policy,
    properties: &Properties,
    decisions: &Decisions<'_>,
    steps: &Steps<'_, '_>,
    visited: &mut u64,
) -> Outcome {
    let mut outcome = Outcome { proved: 0, failures: Vec::new(), left_out: Vec::new() };
    let mut refuted = Vec::with_capacity(properties.all.len() + properties.forms.len());
    for property in &properties.all {
        let reading = property.reading.as_ref().map(|name| policy.reading(name));
        if reading == Some(Some(Reading::Loose)) {
            outcome.left_out.push(property.name.clone());
            continue;
        }
        refuted.push(match property.demand {
            Demand::NeverLift => steps.refuted(property, visited),
            _ => property.refuted(decisions, visited),
        });
    }
    refuted.extend(properties.forms.iter().map(|property| property.refuted(policy)));
    outcome.proved = refuted.iter().filter(|failure| failure.is_none()).count();
    outcome.failures = refuted.into_iter().flatten().collect();
    outcome
}

impl Property {
    fn refuted(&self, decisions: &Decisions<'_>, visited: &mut u64) -> Option<Failure> {
        let mut about_nothing = true;
        let mut known = std::collections::HashSet::new();
        for (place, index) in &decisions.places {
            let Some(decision) = decisions.distinct.get(*index) else { continue };
            for case in place.cases(&self.scope) {
                about_nothing = false;
                // Places with one decision stand or fall together.
                if !known.insert((*index, case)) {
                    continue;
                }
                if let Some((offending, rule)) = self.demand.offended(decision, case, visited) {
                    return Some(self.failure(Some((place, offending)), rule));
                }
            }
        }
        about_nothing.then(|| self.failure(None, None))
    }

    fn failure(&self, at: Option<(&Place<'_>, Case)>, rule: Option<(usize, Effect)>) -> Failure {
        Failure {
            property: self.name.clone(),
            clause: self.clause,
            says: self.says.clone(),
            example: at.map(|(place, case)| place.example(case)),
            rule,
            relabelled: None,
        }
    }

    /// It fails by what a declassification does in a combination; none: it says nothing.
    pub(super) fn failure_of(&self, at: Option<(super::Example, Relabelled)>) -> Failure {
        let (example, relabelled) = at.unzip();
        Failure { example, relabelled, ..self.failure(None, None) }
    }
}

type Offence = (Case, Option<(usize, Effect)>);

impl Demand {
    /// A case within `case` where the decision is not as demanded, with the rule at fault.
    fn offended(self, decision: &CompiledDecision, case: Case, visited: &mut u64) -> Option<Offence> {
        let (forbids, permits) = (&decision.forbids, &decision.permits);
        let meeting = |rules: &'_ [Residual]| -> Vec<Residual> {
            rules.iter().filter(|residual| case.meets(residual.case)).copied().collect()
        };
        match self {
            Self::NeverPermit => {
                *visited += 1;
                let permit = meeting(permits).first().copied()?;
                Some((case.and(permit.case), Some((permit.rule.into(), Effect::Permit))))
            }
            Self::NeverAllow => meeting(permits).into_iter().find_map(|permit| {
                let allowed = untouched(forbids.iter(), case.and(permit.case), visited)?;
                Some((allowed, Some((permit.rule.into(), Effect::Permit))))
            }),
            Self::AlwaysForbid => untouched(forbids.iter(), case, visited).map(|open| (open, None)),
            Self::AlwaysAllow => match meeting(forbids).first() {
                Some(forbid) => {
                    *visited += 1;
                    Some((case.and(forbid.case), Some((forbid.rule.into(), Effect::Forbid))))
                }
                None => untouched(permits.iter(), case, visited).map(|open| (open, None)),
            },
            // About two decisions, which `Steps` knows.
            Self::NeverLift => None,
        }
    }
}
