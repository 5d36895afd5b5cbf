//! Sends yesterday's page views to a metrics service: numbers over all visitors, and nothing of one of them.
//! A page view is only the occasion. The request names its day, so sending it again changes nothing.

use plugin_sdk::aggregates::{Group, Measure, NoAnswer, Question};
use plugin_sdk::events::PageViewed;
use plugin_sdk::{Event, Failure, Outcome, Request, Share, json};
use serde::Deserialize;

/// The plugin.
pub struct PageMetrics;

/// `schemas/settings.json`; the host's name is for the gateway.
#[derive(Debug, Deserialize)]
pub struct Settings {
    site: String,
}

const EVENT: &str = "page.viewed";

impl Share for PageMetrics {
    type Event = PageViewed;
    type Settings = Settings;

    fn on_event(event: Event<PageViewed, Settings>) -> Result<Outcome, Failure> {
        let Some(day) = day_before(&event.time) else {
            return Err(Failure::rejected("the event's time is no date"));
        };
        let report = Report::ask(&day, Question::ask);
        Ok(report.map_or_else(Outcome::new, |report| {
            Outcome::new().deliver(report.request(&day, event.settings.site))
        }))
    }
}

/// One day in numbers.
struct Report {
    views: f64,
    visitors: f64,
    /// Seconds on a page, on average; where it has an answer.
    seconds: Option<f64>,
    /// Views by device; none where one of the groups is too small.
    devices: Vec<Group>,
}

impl Report {
    /// None where the day has no answers: it is not over, or too few came, or it was asked for often enough.
    fn ask(day: &str, ask: impl Fn(&Question) -> Result<Vec<Group>, NoAnswer>) -> Option<Self> {
        let question = |measure| Question::new(measure, EVENT, day);
        let one = |question: Question| ask(&question).ok()?.first().map(|group| group.value);
        Some(Self {
            views: one(question(Measure::Events))?,
            visitors: one(question(Measure::Consumers))?,
            seconds: one(question(Measure::Average).of("/seconds_on_page")),
            devices: ask(&question(Measure::Events).by("/device_type")).unwrap_or_default(),
        })
    }

    fn request(self, day: &str, site: String) -> Request {
        let mut devices = json::object();
        for group in &self.devices {
            devices = devices.with(&group.name, group.value);
        }
        let body = json::object()
            .with("views", self.views)
            .with("visitors", self.visitors)
            .with_some("seconds_on_page", self.seconds)
            .with("views_by_device", devices);
        Request::to("days").path("site", site).path("day", day).body(body)
    }
}

/// The day before that of an RFC 3339 time, `YYYY-MM-DD`.
fn day_before(time: &str) -> Option<String> {
    let date = time.get(..10)?;
    let mut parts = date.split('-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (year, month, day) = match (month, day) {
        (1, 1) => (year.checked_sub(1)?, 12, 31),
        (2..=12, 1) => (year, month - 1, days_of(year, month - 1)),
        (1..=12, 2..=31) => (year, month, day - 1),
        _ => return None,
    };
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

plugin_sdk::export!(PageMetrics: share);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yesterday_is_the_day_before_the_events() {
        for (time, expected) in [
            ("2026-03-02T09:00:00Z", Some("2026-03-01")),
            ("2026-03-01T00:00:00Z", Some("2026-02-28")),
            ("2024-03-01T00:00:00Z", Some("2024-02-29")),
            ("2000-03-01T00:00:00Z", Some("2000-02-29")),
            ("1900-03-01T00:00:00Z", Some("1900-02-28")),
            ("2026-01-01T23:59:59Z", Some("2025-12-31")),
            ("2026-05-01T00:00:00Z", Some("2026-04-30")),
            ("2026-13-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(day_before(time).as_deref(), expected, "{time}");
        }
    }

    #[test]
    fn a_report_holds_what_has_an_answer() {
        let group = |name: &str, value| Group { name: name.into(), value };
        let answers = |question: &Question| match question.measure() {
            Measure::Events => Ok(vec![group("all", 60.0)]),
            Measure::Consumers => Ok(vec![group("all", 25.0)]),
            Measure::Sum | Measure::Average => Err(NoAnswer),
        };
        let request = Report::ask("2026-03-01", answers).unwrap().request("2026-03-01", "main".into());
        assert_eq!(
            request.body_parts().to_string(),
            r#"{"views":60,"visitors":25,"views_by_device":{"all":60}}"#
        );
        assert_eq!(request.path_parts("day").unwrap().to_string(), "2026-03-01");
    }

    #[test]
    fn a_day_without_answers_has_no_report() {
        assert!(Report::ask("2026-03-01", |_| Err(NoAnswer)).is_none());
        let event = Event::sample(PageViewed::default(), Settings { site: "main".into() });
        assert!(PageMetrics::on_event(event).unwrap().deliveries().is_empty());
    }
}
