//! Whether and when a page shows its chat button. A few rules over three fields; sends nothing anywhere.

use plugin_sdk::events::PageViewed;
use plugin_sdk::{Decide, Event, Failure, NoSettings};
use serde::Serialize;

/// The plugin.
pub struct ChatButton;

/// The answer: `schemas/button.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Button {
    /// Does the page show the button?
    pub show: bool,
    /// Seconds until it does.
    pub delay_seconds: u32,
    /// Which rule spoke: a word of our own, so that nothing of the page leaves through it.
    pub reason: Reason,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The page has to do with buying.
    Buying,
    /// The consumer has stayed for long.
    Lingering,
    /// The consumer has only just come.
    JustArrived,
    /// No other rule fits.
    Ordinary,
}

/// Words in a page's path that have to do with buying.
const BUYING: [&str; 8] =
    ["contact", "pricing", "quote", "offer", "checkout", "book", "finance", "appointment"];
/// Seconds after which a visit is long.
const LONG: f64 = 60.0;
/// Seconds before which a visit has only begun.
const SHORT: f64 = 5.0;

impl Decide for ChatButton {
    type Event = PageViewed;
    type Settings = NoSettings;
    type Answer = Button;

    fn decide(_slot: &str, event: Event<PageViewed, NoSettings>) -> Result<Button, Failure> {
        Ok(button(&event.data))
    }
}

fn button(page: &PageViewed) -> Button {
    let seconds = page.seconds_on_page;
    let (show, delay_seconds, reason) = if page.url.as_deref().is_some_and(is_about_buying) {
        (true, 5, Reason::Buying)
    } else if seconds.is_some_and(|seconds| seconds >= LONG) {
        (true, 0, Reason::Lingering)
    } else if seconds.is_some_and(|seconds| seconds < SHORT) {
        (false, 0, Reason::JustArrived)
    } else {
        (true, 20, Reason::Ordinary)
    };
    // A button covers more of a small screen.
    let small = matches!(page.device_type.as_deref(), Some("phone" | "mobile"));
    Button { show, delay_seconds: if small { delay_seconds * 2 } else { delay_seconds }, reason }
}

/// Looks at the path alone: a host or a query says nothing about what the page is for.
fn is_about_buying(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    BUYING.iter().any(|word| path.contains(word))
}

plugin_sdk::export!(ChatButton: decide);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_speaks() {
        let cases = [
            (None, None, None, true, 20, Reason::Ordinary),
            (Some("https://a.example/contact"), Some(2.0), None, true, 5, Reason::Buying),
            (Some("https://a.example/contact?x=1"), None, Some("phone"), true, 10, Reason::Buying),
            (Some("https://contact.example/?q=pricing#offer"), Some(130.0), None, true, 0, Reason::Lingering),
            (Some("https://a.example/"), Some(4.9), None, false, 0, Reason::JustArrived),
            (Some("https://a.example/cars"), Some(5.0), Some("phone"), true, 40, Reason::Ordinary),
            (Some("not a url"), None, Some("desktop"), true, 20, Reason::Ordinary),
        ];
        for (url, seconds_on_page, device, show, delay_seconds, reason) in cases {
            let page = PageViewed {
                url: url.map(Into::into),
                seconds_on_page,
                device_type: device.map(Into::into),
                ..PageViewed::default()
            };
            let event = Event::sample(page, NoSettings {});
            let answer = ChatButton::decide("chat-button", event).unwrap();
            assert_eq!(
                answer,
                Button { show, delay_seconds, reason },
                "{url:?} {seconds_on_page:?} {device:?}"
            );
        }
    }
}
