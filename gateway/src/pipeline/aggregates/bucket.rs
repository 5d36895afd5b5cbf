//! One bucket: the events of one type that one brand's consumers sent on one day. It is counted once, and
//! all its questions are answered from that one count: were each counted when it is first asked, two of them
//! could stand before and after one consumer's opt-out, and differ by that consumer.
//!
//! Invariant: what is kept of a count is only what may be told: a question one of whose groups has fewer
//! than K consumers has no answer at all, so that no group is the difference of others and their total.
//! Invariant: a consumer is in one group of a dimension. Groups are disjoint and together the whole, so they
//! say of nobody that they are in two.

use std::collections::{BTreeMap, HashMap};

use gateway_policy::Aggregation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::question::{Measurable, Measure, dimensions, key, label, measures, occurrence};
use crate::boundary::{Countable, Moment, PolicyBook, Subject};
use crate::catalogue::{EventType, FieldPath, OTHER};
use crate::store::Digest;

/// The name of the only group of a question without a dimension.
const ALL: &str = "all";

/// The answers of a bucket, as they are kept for good.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Frozen {
    answers: BTreeMap<String, Answer>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    /// Consumers behind the smallest group.
    least: u32,
    groups: Vec<(String, f64)>,
}

impl Frozen {
    /// The answer, where at least `k` consumers are behind each of its numbers.
    pub(super) fn answer(self, key: &str, k: u32) -> Option<Vec<(String, f64)>> {
        let mut answers = self.answers;
        answers.remove(key).filter(|answer| answer.least >= k).map(|answer| answer.groups)
    }
}

/// A bucket that is being counted.
pub(super) struct Bucket<'c> {
    rule: Aggregation,
    occurrence: Countable,
    fields: Vec<MeasureField<'c>>,
    dimensions: Vec<Dimension<'c>>,
    /// By [`Consumer::person_id`](crate::pipeline::consumers::Consumer::person_id).
    consumers: HashMap<Digest, Contribution>,
}

struct MeasureField<'c> {
    path: &'c FieldPath,
    minimum: f64,
    maximum: f64,
    countable: Countable,
    /// The number of the dimension whose groups are its units.
    unit: Option<usize>,
}

struct Dimension<'c> {
    path: &'c FieldPath,
    groups: &'c [Box<str>],
    countable: Countable,
}

/// What one consumer adds.
struct Contribution {
    events: u32,
    /// For each dimension the consumer's one group: by number, the last is [`OTHER`].
    groups: Vec<usize>,
    /// For each field: how many values, and their sum.
    sums: Vec<(u32, f64)>,
}

impl<'c> Bucket<'c> {
    /// An empty one; none where the type's labels do not read.
    pub(super) fn new(
        kind: &'c EventType,
        rule: Aggregation,
        book: &PolicyBook,
        moment: Moment,
    ) -> Option<Self> {
        let countable = |label| Countable::new(book, label, moment);
        let fields = measures(kind).map(|Measurable { field, minimum, maximum, unit }| {
            let countable = countable(label(field)?);
            let unit = match unit {
                None => None,
                Some(unit) => Some(dimensions(kind).position(|(field, _)| field.path.as_str() == unit)?),
            };
            Some(MeasureField { path: &field.path, minimum, maximum, countable, unit })
        });
        let dimensions = dimensions(kind).map(|(field, groups)| {
            Some(Dimension { path: &field.path, groups, countable: countable(label(field)?) })
        });
        Some(Self {
            rule,
            occurrence: countable(occurrence()?),
            fields: fields.collect::<Option<_>>()?,
            dimensions: dimensions.collect::<Option<_>>()?,
            consumers: HashMap::new(),
        })
    }

    /// Whether the consumer's share is used up, so that further events need not be read.
    pub(super) fn has_enough_of(&self, person: &Digest) -> bool {
        self.consumers.get(person).is_some_and(|known| known.events >= self.rule.clip)
    }

    /// Counts one event of a consumer, in the order of acceptance.
    pub(super) fn add(&mut self, person: Digest, data: &Value, subject: Subject<'_>) {
        if !subject.engaged || self.has_enough_of(&person) || !self.occurrence.counts(subject) {
            return;
        }
        let Self { fields, dimensions, consumers, .. } = self;
        // The group is that of the consumer's first event: of all the day, whatever devices follow.
        let known = consumers.entry(person).or_insert_with(|| Contribution {
            events: 0,
            groups: dimensions.iter().map(|dimension| dimension.group(data, subject)).collect(),
            sums: vec![(0, 0.0); fields.len()],
        });
        known.events += 1;
        for (field, (count, sum)) in fields.iter().zip(&mut known.sums) {
            let value = field.path.select(data).first().and_then(|value| value.as_f64());
            if let Some(value) = value.filter(|value| value.is_finite())
                && field.countable.counts(subject)
                && field.unit.is_none_or(|unit| {
                    // Amounts of the consumer's one unit alone: of another they are no part of that group's sum.
                    let (dimension, group) = (dimensions.get(unit), known.groups.get(unit).copied());
                    dimension.is_some_and(|dimension| {
                        let of_event = dimension.group(data, subject);
                        Some(of_event) == group && of_event < dimension.groups.len()
                    })
                })
            {
                *count += 1;
                *sum += value.clamp(field.minimum, field.maximum);
            }
        }
    }

    /// The answers that may be told.
    pub(super) fn freeze(self) -> Frozen {
        let mut frozen = Frozen::default();
        let by_none = (None, vec![Box::from(ALL)]);
        let by_each = self.dimensions.iter().map(|dimension| {
            let names = dimension.groups.iter().cloned().chain([Box::from(OTHER)]);
            (Some(dimension.path.as_str()), names.collect())
        });
        for (at, (by, names)) in std::iter::once(by_none).chain(by_each).enumerate() {
            // Number 0 is the question without a dimension.
            let group = |one: &Contribution| {
                at.checked_sub(1).and_then(|dimension| one.groups.get(dimension)).copied().unwrap_or(0)
            };
            let mut put = |measure, field: Option<&str>, tallies: &[Tally]| {
                if let Some(answer) = self.answer(measure, &names, tallies) {
                    frozen.answers.insert(key(measure, field, by), answer);
                }
            };
            let mut tallies = vec![Tally::default(); names.len()];
            for one in self.consumers.values() {
                Tally::add(&mut tallies, group(one), one.events, 0.0);
            }
            put(Measure::Events, None, &tallies);
            put(Measure::Consumers, None, &tallies);
            for (index, field) in self.fields.iter().enumerate() {
                if field.unit.is_some_and(|unit| at != unit + 1) {
                    continue;
                }
                let mut tallies = vec![Tally::default(); names.len()];
                for one in self.consumers.values() {
                    if let Some((values @ 1.., sum)) = one.sums.get(index) {
                        Tally::add(&mut tallies, group(one), *values, *sum);
                    }
                }
                put(Measure::Sum, Some(field.path.as_str()), &tallies);
                put(Measure::Average, Some(field.path.as_str()), &tallies);
            }
        }
        frozen
    }

    fn answer(&self, measure: Measure, names: &[Box<str>], tallies: &[Tally]) -> Option<Answer> {
        let least = tallies.iter().map(|tally| tally.consumers).filter(|consumers| *consumers > 0).min()?;
        if least < self.rule.k {
            return None;
        }
        let groups =
            names.iter().zip(tallies).filter(|(_, tally)| tally.consumers > 0).map(|(name, tally)| {
                let number = match measure {
                    Measure::Events => tally.values,
                    Measure::Consumers => f64::from(tally.consumers),
                    Measure::Sum => tally.sum,
                    Measure::Average => tally.sum / tally.values,
                };
                (name.to_string(), number)
            });
        Some(Answer { least, groups: groups.collect() })
    }
}

impl Dimension<'_> {
    /// Where the value may not be counted, the consumer is among the others and not left out: groups and
    /// total are over the same consumers.
    fn group(&self, data: &Value, subject: Subject<'_>) -> usize {
        let value = self.path.select(data).first().and_then(|value| value.as_str());
        value
            .filter(|_| self.countable.counts(subject))
            .and_then(|value| self.groups.iter().position(|name| **name == *value))
            .unwrap_or(self.groups.len())
    }
}

/// What is behind one number.
#[derive(Clone, Default)]
struct Tally {
    consumers: u32,
    /// Events, or values of a field.
    values: f64,
    sum: f64,
}

impl Tally {
    fn add(tallies: &mut [Self], group: usize, values: u32, sum: f64) {
        if let Some(tally) = tallies.get_mut(group) {
            tally.consumers = tally.consumers.saturating_add(1);
            tally.values += f64::from(values);
            tally.sum += sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_policy::{Choices, Conditions, CookieClass};
    use serde_json::json;

    use super::*;
    use crate::catalogue::Catalogue;

    const K: u32 = 3;

    /// The answers of a bucket to which `add` adds events: (consumer, data, conditions, choices, engaged).
    fn frozen(add: impl FnOnce(&mut dyn FnMut(i64, Value, Conditions, Choices, bool))) -> Frozen {
        frozen_of("page.viewed", add)
    }

    fn frozen_of(
        kind: &str,
        add: impl FnOnce(&mut dyn FnMut(i64, Value, Conditions, Choices, bool)),
    ) -> Frozen {
        let catalogue = Catalogue::embedded().unwrap();
        let book = PolicyBook::shipped().unwrap();
        let now = 1_772_499_600_000;
        let rule = Aggregation { k: K, queries_per_day: 100, clip: 4 };
        let kind = catalogue.event_type(kind).unwrap();
        let mut bucket = Bucket::new(kind, rule, &book, book.moment(now, now)).unwrap();
        add(&mut |consumer, data, conditions, choices, engaged| {
            let subject = Subject { conditions: &conditions, choices: Some(&choices), engaged };
            let mut person = [0; 32];
            person[..8].copy_from_slice(&consumer.to_be_bytes());
            bucket.add(person, &data, subject);
        });
        bucket.freeze()
    }

    fn page(device: &str, seconds: i64) -> Value {
        json!({"url": "u", "device_type": device, "seconds_on_page": seconds})
    }

    fn plain(consumers: &[(i64, &str, i64)]) -> Frozen {
        frozen(|add| {
            for (consumer, device, seconds) in consumers {
                add(*consumer, page(device, *seconds), Conditions::default(), Choices::default(), true);
            }
        })
    }

    fn told(frozen: Frozen, key: &str) -> Option<Vec<(String, f64)>> {
        frozen.answer(key, K)
    }

    fn groups(groups: &[(&str, f64)]) -> Option<Vec<(String, f64)>> {
        Some(groups.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect())
    }

    #[test]
    fn there_is_an_answer_from_k_consumers_on() {
        let two = [(1, "phone", 10), (2, "phone", 20), (2, "phone", 30)];
        assert_eq!(told(plain(&two), "events"), None);
        let three = [two.as_slice(), &[(3, "phone", 40)]].concat();
        for (key, number) in [
            ("events", 4.0),
            ("consumers", 3.0),
            ("sum /seconds_on_page", 100.0),
            ("average /seconds_on_page", 25.0),
        ] {
            assert_eq!(told(plain(&three), key), groups(&[("all", number)]), "{key}");
        }
        assert_eq!(plain(&three).answer("events", K + 1), None, "the number in force now holds too");
    }

    #[test]
    fn one_small_group_takes_the_answer_of_all_groups() {
        let mut consumers = Vec::new();
        for at in 0..3 {
            consumers.extend([(at, "phone", 1), (10 + at, "desktop", 1)]);
        }
        assert_eq!(
            told(plain(&consumers), "events by /device_type"),
            groups(&[("desktop", 3.0), ("phone", 3.0)])
        );
        for lone in ["tablet", "the refrigerator of J. Doe"] {
            let with = [consumers.as_slice(), &[(99, lone, 1)]].concat();
            for key in [
                "events by /device_type",
                "consumers by /device_type",
                "sum /seconds_on_page by /device_type",
            ] {
                assert_eq!(told(plain(&with), key), None, "{lone} {key}");
            }
            assert_eq!(told(plain(&with), "consumers"), groups(&[("all", 7.0)]));
        }
    }

    #[test]
    fn a_consumer_is_in_one_group_however_many_devices_they_use() {
        let mut consumers = Vec::new();
        for at in 0..3 {
            consumers.extend([(at, "phone", 1), (10 + at, "desktop", 1)]);
        }
        consumers.push((0, "desktop", 1));
        assert_eq!(
            told(plain(&consumers), "events by /device_type"),
            groups(&[("desktop", 3.0), ("phone", 4.0)])
        );
        assert_eq!(
            told(plain(&consumers), "consumers by /device_type"),
            groups(&[("desktop", 3.0), ("phone", 3.0)])
        );
    }

    #[test]
    fn one_consumer_adds_no_more_than_the_clip_and_no_more_than_the_bounds() {
        let mut consumers = vec![(1, "phone", 0), (2, "phone", 0)];
        consumers.extend((0..1000).map(|_| (3, "phone", 604_800)));
        assert_eq!(told(plain(&consumers), "events"), groups(&[("all", 6.0)]));
        assert_eq!(told(plain(&consumers), "sum /seconds_on_page"), groups(&[("all", 4.0 * 3600.0)]));
        let many_of_one: Vec<_> = (0..1000).map(|_| (3, "phone", 1)).collect();
        assert_eq!(told(plain(&many_of_one), "events"), None);
    }

    #[test]
    fn who_may_not_be_counted_is_not() {
        let opted = |change: fn(&mut Choices)| {
            let mut choices = Choices::default();
            change(&mut choices);
            choices
        };
        let with = |change: fn(&mut Conditions)| {
            let mut conditions = Conditions::default();
            change(&mut conditions);
            conditions
        };
        let (fine, open) = (with(|_| {}), opted(|_| {}));
        for (name, conditions, choices, engaged, expected) in [
            ("engaged", fine.clone(), open.clone(), true, true),
            ("not engaged", fine.clone(), open.clone(), false, false),
            ("all integrations", fine.clone(), opted(|c| c.opt_out.all_integrations = true), true, false),
            (
                "any integration: the answer is the same whoever asks",
                fine.clone(),
                opted(|c| {
                    c.opt_out.integrations.insert("adf-lead".into());
                }),
                true,
                false,
            ),
            ("refused cookies", fine.clone(), opted(|c| c.opt_out.cookies = true), true, false),
            ("performance", with(|c| c.cookies = vec![CookieClass::Performance]), open.clone(), true, true),
            ("necessary", with(|c| c.cookies = vec![CookieClass::StrictlyNecessary]), open, true, false),
        ] {
            let answers = frozen(|add| {
                for consumer in 0..2 {
                    add(consumer, page("phone", 1), Conditions::default(), Choices::default(), true);
                }
                add(2, page("phone", 1), conditions, choices, engaged);
            });
            assert_eq!(told(answers, "consumers").is_some(), expected, "{name}");
        }
    }

    #[test]
    fn amounts_are_summed_by_their_currency_and_not_over_them() {
        let purchases = |purchases: &[(i64, Option<&str>, i64)]| {
            frozen_of("purchase.completed", |add| {
                for (consumer, currency, total) in purchases {
                    let data = json!({ "total": total, "currency": currency });
                    add(*consumer, data, Conditions::default(), Choices::default(), true);
                }
            })
        };
        let mut all: Vec<_> = (0..3).map(|at| (at, Some("USD"), 10)).collect();
        all.extend((10..13).map(|at| (at, Some("EUR"), 100)));
        // In another currency than the consumer's own, and in none that is known.
        all.extend([(0, Some("EUR"), 7_000), (20, Some("XXX"), 9_000), (21, None, 9_000), (0, None, 9_000)]);
        for (key, expected) in [
            ("sum /total", None),
            ("average /total", None),
            ("sum /total by /currency", groups(&[("EUR", 300.0), ("USD", 30.0)])),
            ("average /total by /currency", groups(&[("EUR", 100.0), ("USD", 10.0)])),
        ] {
            assert_eq!(told(purchases(&all), key), expected, "{key}");
        }
        all.push((30, Some("CHF"), 5));
        assert_eq!(told(purchases(&all), "sum /total by /currency"), None, "one of them would be seen");
    }

    #[test]
    fn a_field_that_few_consumers_have_has_no_sum() {
        let answers = frozen(|add| {
            for consumer in 0..3 {
                let data = if consumer == 0 { json!({"url": "u"}) } else { page("phone", 7) };
                add(consumer, data, Conditions::default(), Choices::default(), true);
            }
        });
        assert_eq!(answers.answers.keys().collect::<Vec<_>>(), ["consumers", "events"]);
    }
}
