//! A question about a brand's consumers, understood: one of a small closed set, about one closed day. What
//! is not of the set is no question, and nobody is told why.

use std::sync::Arc;

use gateway_policy::{Category, Label, Origin};
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::boundary::AggregateQuestion;
use crate::catalogue::{Catalogue, EventType, Field, Statistic};

const MS_PER_DAY: i64 = 24 * 60 * 60 * 1000;
/// How long after its end a day is still open: what was accepted by its last moment is committed by then.
const SETTLING_MS: i64 = 60 * 60 * 1000;
/// The category of the fact that something happened.
const OCCURRENCE: &str = "user.behavior";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Events,
    Consumers,
    Sum,
    Average,
}

impl Measure {
    /// Every measure.
    pub(super) const ALL: [Self; 4] = [Self::Events, Self::Consumers, Self::Sum, Self::Average];

    /// The word that questions use.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Consumers => "consumers",
            Self::Sum => "sum",
            Self::Average => "average",
        }
    }

    /// Whether it is over a field's values.
    pub(super) fn is_of_field(self) -> bool {
        matches!(self, Self::Sum | Self::Average)
    }
}

/// A UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day(Date);

impl Day {
    /// Reads `YYYY-MM-DD`, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != 10 {
            return None;
        }
        let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok().map(Self)?;
        (day.to_string() == text).then_some(day)
    }

    /// Of a moment.
    pub(super) fn of(ms: i64) -> Self {
        let at = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000));
        Self(at.unwrap_or(OffsetDateTime::UNIX_EPOCH).date())
    }

    /// Its first moment, in milliseconds since the Unix epoch.
    pub(super) fn start_ms(self) -> i64 {
        self.0.midnight().assume_utc().unix_timestamp().saturating_mul(1000)
    }

    /// The first moment after it.
    pub(super) fn end_ms(self) -> i64 {
        self.start_ms().saturating_add(MS_PER_DAY)
    }

    /// Whether nothing can be added to it any more.
    fn is_closed(self, now_ms: i64) -> bool {
        self.end_ms().saturating_add(SETTLING_MS) <= now_ms
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(date) = self;
        write!(f, "{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }
}

/// A question that has an answer if enough consumers are behind it.
pub(super) struct Question<'c> {
    pub(super) measure: Measure,
    pub(super) kind: &'c EventType,
    pub(super) day: Day,
    field: Option<&'c Field>,
    by: Option<&'c Field>,
}

impl<'c> Question<'c> {
    /// None: it is not of the set, or its day is not over.
    pub(super) fn of(asked: &AggregateQuestion, catalogue: &'c Catalogue, now_ms: i64) -> Option<Self> {
        let measure = Measure::ALL.into_iter().find(|measure| measure.as_str() == asked.measure)?;
        let kind = catalogue.event_type(&asked.event)?;
        let day = Day::parse(&asked.day).filter(|day| day.is_closed(now_ms))?;
        let field = match (&asked.field, measure.is_of_field()) {
            (Some(path), true) => {
                let known = measures(kind).find(|known| known.field.path.as_str() == path)?;
                if known.unit.is_some_and(|unit| asked.by.as_deref() != Some(unit)) {
                    return None;
                }
                Some(known.field)
            }
            (None, false) => None,
            _ => return None,
        };
        let by = match &asked.by {
            Some(path) => Some(dimensions(kind).find(|(field, _)| field.path.as_str() == path)?.0),
            None => None,
        };
        Some(Self { measure, kind, day, field, by })
    }

    /// The question's name among those of its bucket.
    pub(super) fn key(&self) -> String {
        let path = |field: &'c Field| field.path.as_str();
        key(self.measure, self.field.map(path), self.by.map(path))
    }

    /// The question in words: what the ledger says of it.
    pub(super) fn text(&self) -> String {
        format!("{} of {} on {}", self.key(), self.kind.name, self.day)
    }

    /// What it is over, each with its label.
    pub(super) fn parts(&self) -> Option<Vec<(Arc<str>, Label)>> {
        let mut parts = vec![(Arc::from(self.measure.as_str()), occurrence()?)];
        for field in self.field.into_iter().chain(self.by) {
            parts.push((Arc::from(field.path.as_str()), label(field)?));
        }
        Some(parts)
    }
}

/// The name of a question among those of its bucket.
pub(super) fn key(measure: Measure, field: Option<&str>, by: Option<&str>) -> String {
    let mut key = measure.as_str().to_owned();
    for (word, path) in [(" ", field), (" by ", by)] {
        if let Some(path) = path {
            key.push_str(word);
            key.push_str(path);
        }
    }
    key
}

/// A field that may be summed.
pub(super) struct Measurable<'c> {
    pub(super) field: &'c Field,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    /// The dimension whose groups are its units; then it is summed for each of them and not over them.
    pub(super) unit: Option<&'c str>,
}

/// Fields that may be summed.
pub(super) fn measures(kind: &EventType) -> impl Iterator<Item = Measurable<'_>> {
    kind.fields.iter().filter_map(|field| match &field.statistic {
        Some(Statistic::Measure { minimum, maximum, unit }) => {
            Some(Measurable { field, minimum: *minimum, maximum: *maximum, unit: unit.as_deref() })
        }
        _ => None,
    })
}

/// Fields that make groups, with the groups' names.
pub(super) fn dimensions(kind: &EventType) -> impl Iterator<Item = (&Field, &[Box<str>])> {
    kind.fields.iter().filter_map(|field| match &field.statistic {
        Some(Statistic::Dimension(groups)) => Some((field, &**groups)),
        _ => None,
    })
}

/// The label of the fact that an event happened.
pub(super) fn occurrence() -> Option<Label> {
    Category::parse(OCCURRENCE).ok().map(Label::first_party)
}

/// The label of a field.
pub(super) fn label(field: &Field) -> Option<Label> {
    let category = Category::parse(&field.category).ok()?;
    let origin = if field.public { Origin::Public } else { Origin::FirstParty };
    Some(Label { category, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-03T01:00:00Z: the second of March is closed from here on.
    const NOW: i64 = 1_772_499_600_000;

    fn asked(
        measure: &str,
        event: &str,
        field: Option<&str>,
        day: &str,
        by: Option<&str>,
    ) -> AggregateQuestion {
        AggregateQuestion {
            measure: measure.into(),
            event: event.into(),
            field: field.map(Into::into),
            day: day.into(),
            by: by.map(Into::into),
        }
    }

    #[test]
    fn a_question_is_one_of_a_small_set_about_a_closed_day() {
        let catalogue = Catalogue::embedded().unwrap();
        let page = "page.viewed";
        let device = Some("/device_type");
        let seconds = Some("/seconds_on_page");
        for (measure, event, field, day, by, expected) in [
            ("events", page, None, "2026-03-02", None, Some("events of page.viewed on 2026-03-02")),
            (
                "average",
                page,
                seconds,
                "2026-03-02",
                device,
                Some("average /seconds_on_page by /device_type of page.viewed on 2026-03-02"),
            ),
            ("median", page, seconds, "2026-03-02", None, None),
            ("sum", page, None, "2026-03-02", None, None),
            ("events", page, seconds, "2026-03-02", None, None),
            // Free text, content, an array's items, what is not there.
            ("events", page, None, "2026-03-02", Some("/url"), None),
            ("sum", "survey.completed", Some("/rating"), "2026-03-02", None, None),
            ("sum", "purchase.completed", Some("/items/*/quantity"), "2026-03-02", None, None),
            // Amounts of one currency each.
            ("sum", "purchase.completed", Some("/total"), "2026-03-02", None, None),
            ("average", "purchase.completed", Some("/total"), "2026-03-02", None, None),
            (
                "sum",
                "purchase.completed",
                Some("/total"),
                "2026-03-02",
                Some("/currency"),
                Some("sum /total by /currency of purchase.completed on 2026-03-02"),
            ),
            ("events", "page.closed", None, "2026-03-02", None, None),
            // Open, not a day, a range, two spellings of one day.
            ("events", page, None, "2026-03-03", None, None),
            ("events", page, None, "2026-02-30", None, None),
            ("events", page, None, "2026-03-01/2026-03-02", None, None),
            ("events", page, None, "2026-3-2", None, None),
            ("events", page, None, "+026-03-02", None, None),
            ("events", page, None, "", None, None),
        ] {
            let question = asked(measure, event, field, day, by);
            let text = Question::of(&question, &catalogue, NOW).map(|question| question.text());
            assert_eq!(text.as_deref(), expected, "{question:?}");
        }
        let open = asked("events", page, None, "2026-03-02", None);
        assert!(Question::of(&open, &catalogue, NOW - 1).is_none(), "the hour of settling is not over");
    }

    #[test]
    fn a_day_has_its_bounds() {
        let day = Day::of(NOW);
        assert_eq!(day.to_string(), "2026-03-03");
        assert_eq!((day.start_ms(), day.end_ms()), (NOW - 3_600_000, NOW + 23 * 3_600_000));
    }
}
