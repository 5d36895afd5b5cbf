//! Asks for the statistics that its settings name, and tells its partner what it heard: for the gateway's tests of the
//! ways in which numbers over many would isolate one. `hostile` cannot: its purpose is none that statistics are for.

use plugin_sdk::aggregates::{Group, Measure, Question};
use plugin_sdk::events::PageViewed;
use plugin_sdk::{Event, Failure, Outcome, Request, Share, json};
use serde::Deserialize;

/// The plugin.
pub struct Nosy;

/// What to ask: `schemas/settings.json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Settings {
    /// In this order.
    #[serde(default)]
    pub questions: Vec<Asked>,
}

/// One question.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    measure: String,
    event: String,
    day: String,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

impl Asked {
    fn question(&self) -> Option<Question> {
        let all = [Measure::Events, Measure::Consumers, Measure::Sum, Measure::Average];
        let measure = all.into_iter().find(|measure| measure.as_str() == self.measure)?;
        let question = Question::new(measure, &self.event, &self.day);
        let question = self.field.iter().fold(question, |question, field| question.of(field));
        Some(self.by.iter().fold(question, |question, by| question.by(by)))
    }
}

/// `GROUP=NUMBER` for each group, or `-` where there is no answer.
fn told(answer: Option<Vec<Group>>) -> String {
    let Some(groups) = answer else { return "-".to_owned() };
    let groups: Vec<String> = groups.iter().map(|group| format!("{}={}", group.name, group.value)).collect();
    groups.join(" ")
}

impl Share for Nosy {
    type Event = PageViewed;
    type Settings = Settings;

    fn on_event(event: Event<PageViewed, Settings>) -> Result<Outcome, Failure> {
        let answers = event.settings.questions.iter().map(|asked| asked.question()?.ask().ok());
        let heard: Vec<String> = answers.map(told).collect();
        let body = json::object().with("heard", heard.join("; ").as_str());
        Ok(Outcome::new().deliver(Request::to("heard").body(body)))
    }
}

plugin_sdk::export!(Nosy: share);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_whole_and_none_as_none() {
        let group = |name: &str, value| Group { name: name.into(), value };
        assert_eq!(told(Some(vec![group("desktop", 20.0), group("phone", 21.0)])), "desktop=20 phone=21");
        assert_eq!(told(None), "-");
    }
}
