//! Scores a finished chat. Returns three figures to the brand; delivers nothing.

use plugin_sdk::events::{ChatEnded, Turn};
use plugin_sdk::{Event, Failure, NoSettings, Outcome, Share, budget};
use serde::Serialize;

/// The plugin.
pub struct TranscriptQuality;

/// What the brand gets: `schemas/quality.json`.
#[derive(Debug, Serialize)]
struct Returned {
    quality: Quality,
}

/// The figures; what cannot be told is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quality {
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// How often the agent spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_turns: Option<u32>,
    /// The consumer's questions that got no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u32>,
    /// There was more of the chat than could be looked at: the other figures are those of its beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Fuel that is left for the answer: some hundred times what that takes.
const RESERVE: u64 = 5_000_000;

/// Points for answering every question.
const ANSWERS: u32 = 60;
/// Points for speaking as often as the consumer.
const PRESENCE: u32 = 20;
/// Points for the agent's having the last word; half where the consumer has it.
const LAST_WORD: u32 = 20;

impl Share for TranscriptQuality {
    type Event = ChatEnded;
    type Settings = NoSettings;

    fn on_event(event: Event<ChatEnded, NoSettings>) -> Result<Outcome, Failure> {
        match judge(event.data.transcript.as_deref().unwrap_or_default()) {
            Some(quality) => Outcome::new().returning(&Returned { quality }),
            None => Ok(Outcome::new()),
        }
    }
}

/// `None` where no speaker is known.
fn judge(turns: &[Turn]) -> Option<Quality> {
    let (mut agent_turns, mut consumer_turns) = (0, 0);
    let (mut questions, mut open) = (0, 0);
    let mut texts = false;
    let mut agent_last = None;
    let mut partial = false;
    for turn in turns {
        if budget::left().fuel < RESERVE {
            partial = true;
            break;
        }
        let Some(speaker) = turn.speaker.as_deref() else { continue };
        let text = turn.text.as_deref();
        texts |= text.is_some();
        let text = text.unwrap_or_default();
        let consumer = speaker == "consumer";
        agent_last = Some(!consumer);
        if consumer {
            consumer_turns += 1;
            if text.contains('?') {
                questions += 1;
                open += 1;
            }
        } else {
            agent_turns += 1;
            if states_something(text) {
                open = 0;
            }
        }
    }
    let agent_last = agent_last?;
    if !texts {
        return Some(Quality { agent_turns: Some(agent_turns), partial, ..Quality::default() });
    }
    let part =
        |points: u32, of: u32, whole: u32| (points * of.min(whole)).checked_div(whole).unwrap_or(points);
    let score = part(ANSWERS, questions - open, questions)
        + part(PRESENCE, agent_turns, consumer_turns)
        + if agent_last { LAST_WORD } else { LAST_WORD / 2 };
    Some(Quality { score: Some(score), agent_turns: Some(agent_turns), unanswered: Some(open), partial })
}

/// Is there a sentence in it that is not a question?
fn states_something(text: &str) -> bool {
    text.split_inclusive(['.', '!', '?'])
        .any(|sentence| !sentence.ends_with('?') && sentence.contains(char::is_alphanumeric))
}

plugin_sdk::export!(TranscriptQuality: share);

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(said: &[(&str, &str)]) -> Vec<Turn> {
        said.iter()
            .map(|(speaker, text)| Turn {
                speaker: (!speaker.is_empty()).then(|| (*speaker).into()),
                text: (!text.is_empty()).then(|| (*text).into()),
                at: None,
            })
            .collect()
    }

    #[test]
    fn questions_stay_open_until_the_agent_states_something() {
        let (c, a) = ("consumer", "agent");
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<(u32, u32, u32)>);
        let cases: [Case<'_>; 7] = [
            (&[], None),
            (&[("", "no speaker?")], None),
            (&[(c, "Do you have vans?"), (a, "Yes, two.")], Some((100, 1, 0))),
            (&[(c, "Do you have vans?"), (a, "Which day?")], Some((40, 1, 1))),
            (&[(c, "Do you have vans?"), (a, "Sure. Which day?")], Some((100, 1, 0))),
            (&[(c, "Vans?"), (c, "Cars?"), (a, "Both"), (c, "And bikes?")], Some((40 + 6 + 10, 1, 1))),
            (&[(c, "Hello"), (c, "Bye")], Some((60 + 10, 0, 0))),
        ];
        for (said, expected) in cases {
            let quality = judge(&turns(said));
            let figures = quality.map(|q| (q.score.unwrap(), q.agent_turns.unwrap(), q.unanswered.unwrap()));
            assert_eq!(figures, expected, "{said:?}");
        }
    }

    #[test]
    fn without_texts_only_the_turns_are_counted() {
        let event = Event::sample(
            ChatEnded { transcript: Some(turns(&[("consumer", ""), ("agent", "")])), ..ChatEnded::default() },
            NoSettings {},
        );
        let outcome = TranscriptQuality::on_event(event).unwrap();
        assert_eq!(outcome.returns(), r#"{"quality":{"agent_turns":1}}"#);
        assert!(outcome.deliveries().is_empty());
    }

    #[test]
    fn with_little_fuel_left_the_figures_are_those_of_the_beginning() {
        let left = budget::left();
        budget::sample(budget::Left { fuel: RESERVE - 1, ..left });
        assert_eq!(judge(&turns(&[("agent", "Hello.")])), None, "nothing was looked at");
        budget::sample(left);
        assert!(!judge(&turns(&[("agent", "Hello.")])).unwrap().partial);
    }

    #[test]
    fn without_a_transcript_nothing_is_returned() {
        let outcome =
            TranscriptQuality::on_event(Event::sample(ChatEnded::default(), NoSettings {})).unwrap();
        assert_eq!(outcome.returns(), "{}");
    }
}
