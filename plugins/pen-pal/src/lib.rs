//! Does with a partner's message what its settings say: returns it, remembers it, never ends, has no time. For the
//! gateway's tests alone.

use plugin_sdk::events::ChatEnded;
use plugin_sdk::{Event, Failure, Message, Outcome, Receive, Request, Share, json, memory};
use serde::{Deserialize, Serialize};

/// The plugin.
pub struct PenPal;

/// What to do: `schemas/settings.json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Settings {
    /// Empty: return what the message says.
    #[serde(default)]
    pub behaviour: String,
}

/// A message.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Letter {
    /// About whom.
    #[serde(default)]
    pub member: Member,
}

/// A consumer, as the partner knows it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Member {
    /// What the partner says.
    #[serde(default)]
    pub says: String,
}

/// What is returned: `schemas/said.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// What it was told, or remembers.
    pub said: String,
}

/// The same as a JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Dialled {
    /// The digits of what it was told.
    pub said: u64,
}

/// The other field of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Also {
    /// What it was told.
    pub also: String,
}

const KEY: &str = "kept";
const SLOW: u64 = 20_000_000;
const LATER_SECONDS: u32 = 600;

fn recalled() -> Said {
    Said { said: memory::get(KEY).unwrap_or_else(|| "nothing".to_owned()) }
}

impl Share for PenPal {
    type Event = ChatEnded;
    type Settings = Settings;

    /// Tells the partner under which pseudonym it may write; keeps the name, or returns what is kept.
    fn on_event(event: Event<ChatEnded, Settings>) -> Result<Outcome, Failure> {
        match event.settings.behaviour.as_str() {
            "recall" => return Outcome::new().returning(&recalled()),
            "later" => return Err(Failure::later(LATER_SECONDS, "the line is busy")),
            "remember" => {
                let contact = event.data.contact.as_ref();
                let first =
                    contact.and_then(|contact| contact.name.as_ref()).and_then(|name| name.first.clone());
                memory::set(KEY, &first.unwrap_or_default())?;
            }
            _ => {}
        }
        let Some(consumer) = event.sealed("consumer") else { return Ok(Outcome::new()) };
        Ok(Outcome::new().deliver(Request::to("members").body(json::object().with("ref", consumer))))
    }
}

impl Receive for PenPal {
    type Message = Letter;
    type Settings = Settings;

    fn on_message(message: Message<Letter, Settings>) -> Result<Outcome, Failure> {
        let said = message.body.member.says;
        match message.settings.behaviour.as_str() {
            "loop" => loop {
                std::hint::black_box(0);
            },
            // Some hundred milliseconds: within its budget, and not quick.
            "slow" => {
                std::hint::black_box(
                    (0..SLOW).fold(1_u64, |x, n| std::hint::black_box(x.wrapping_mul(31).wrapping_add(n))),
                );
                Outcome::new().returning(&Said { said })
            }
            "unavailable" => Err(Failure::Unavailable("not now".to_owned())),
            "also" => Outcome::new().returning(&Also { also: said }),
            "dial" => {
                let digits: String = said.chars().filter(char::is_ascii_digit).collect();
                let said = digits.parse().map_err(|_| Failure::rejected("there is nothing to dial"))?;
                Outcome::new().returning(&Dialled { said })
            }
            "remember" => {
                memory::set(KEY, &said)?;
                Ok(Outcome::new())
            }
            "recall" => Outcome::new().returning(&recalled()),
            "answer" => Ok(Outcome::new()
                .deliver(Request::to("members").body(json::object().with("said", said.as_str())))),
            _ => Outcome::new().returning(&Said { said }),
        }
    }
}

plugin_sdk::export!(PenPal: share, receive);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_returned_or_remembered() {
        let letter = |says: &str| Letter { member: Member { says: says.to_owned() } };
        let answer = |behaviour: &str, says| {
            PenPal::on_message(Message::sample(letter(says), Settings { behaviour: behaviour.to_owned() }))
                .unwrap()
        };
        assert_eq!(answer("", "gold").returns(), r#"{"said":"gold"}"#);
        assert_eq!(answer("dial", "+1 212").returns(), r#"{"said":1212}"#);
        assert_eq!(answer("recall", "gold").returns(), r#"{"said":"nothing"}"#);
        answer("remember", "silver");
        assert_eq!(answer("recall", "gold").returns(), r#"{"said":"silver"}"#);
    }
}
