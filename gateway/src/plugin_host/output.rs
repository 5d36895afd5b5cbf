//! From the interface's types to the boundary's, with the size of everything checked. It may not
//! judge what an answer says: that is the boundary's.

use std::collections::BTreeMap;

use crate::boundary::{Part, PluginInput, PluginMessage, PluginOutcome, PluginRequest};

use super::aggregates::Asking;
use super::bindings;
use super::error::{CallError, Spent};
use super::limits::{LONGEST_WAIT_SECONDS, Limits};

/// A hook's argument, the memory beside it and what its call may ask, from what the boundary permitted; moves, does
/// not copy.
pub(super) fn event(input: PluginInput) -> (bindings::Event, Option<BTreeMap<String, String>>, Asking) {
    let PluginInput { id, kind, time, consumer, fields, sealed, settings, memory, aggregates } = input;
    let event = bindings::Event { id, kind, time, consumer, fields, sealed, settings };
    (event, memory, Asking::new(aggregates))
}

/// How large an input is, in bytes; one that is larger than a plugin is given is refused. `slot` is what `decide` adds.
pub(super) fn check_input(limits: &Limits, input: &PluginInput, slot: &str) -> Result<usize, CallError> {
    let strings = [&input.id, &input.kind, &input.time, &input.fields, &input.settings];
    let strings = strings.into_iter().chain(&input.consumer).chain(&input.sealed);
    let bytes = strings.map(|text| text.len()).fold(slot.len(), usize::saturating_add);
    if bytes > limits.input_bytes {
        return Err(CallError::InputTooLarge { bytes, allowed: limits.input_bytes });
    }
    Ok(bytes)
}

/// The argument of `receive`, as [`event`].
pub(super) fn message(
    message: PluginMessage,
) -> (bindings::Message, Option<BTreeMap<String, String>>, Asking) {
    let PluginMessage { id, time, consumer, body, settings, memory } = message;
    // A message that asks would use up what other calls may ask: so it would tell the partner that the plugin ran.
    (bindings::Message { id, time, consumer, body, settings }, memory, Asking::new(None))
}

/// The same of a message.
pub(super) fn check_message(limits: &Limits, message: &PluginMessage) -> Result<usize, CallError> {
    let strings = [&message.id, &message.time, &message.body, &message.settings];
    let bytes = strings.into_iter().chain(&message.consumer).map(|text| text.len()).sum();
    if bytes > limits.input_bytes {
        return Err(CallError::InputTooLarge { bytes, allowed: limits.input_bytes });
    }
    Ok(bytes)
}

/// An outcome within its limits.
pub(super) fn outcome(limits: &Limits, outcome: bindings::Outcome) -> Result<PluginOutcome, CallError> {
    let bindings::Outcome { deliveries, returns } = outcome;
    let returns = answer(limits, returns)?;
    if deliveries.len() > limits.deliveries {
        return Err(CallError::OutputTooLarge {
            what: "deliveries",
            used: deliveries.len(),
            allowed: limits.deliveries,
        });
    }
    let deliveries = deliveries
        .into_iter()
        .map(|each| request(limits.request_bytes, each).map(|(request, _)| request))
        .collect::<Result<_, _>>()?;
    Ok(PluginOutcome { deliveries, returns })
}

/// How large an outcome is.
pub(super) fn outcome_sizes(limits: &Limits, outcome: &bindings::Outcome) -> Vec<Spent> {
    let number = outcome.deliveries.len() as u64;
    let mut sizes = answer_sizes(limits, &outcome.returns);
    sizes.push(Spent { budget: "deliveries", used: number, allowed: limits.deliveries as u64 });
    sizes
}

/// How large a decision is, or what is returned.
pub(super) fn answer_sizes(limits: &Limits, json: &str) -> Vec<Spent> {
    vec![Spent { budget: "returns", used: json.len() as u64, allowed: limits.returns_bytes as u64 }]
}

/// A decision, or returned fields, within the limit.
pub(super) fn answer(limits: &Limits, json: String) -> Result<String, CallError> {
    if json.len() > limits.returns_bytes {
        return Err(CallError::OutputTooLarge {
            what: "returns",
            used: json.len(),
            allowed: limits.returns_bytes,
        });
    }
    Ok(json)
}

/// What the plugin says went wrong, within its limit: a longer text is cut and says so.
pub(super) fn failure(limits: &Limits, failure: bindings::Failure) -> CallError {
    let cut = |text: String| cut(&text, limits.failure_bytes);
    match failure {
        bindings::Failure::Rejected(text) => CallError::Rejected(cut(text)),
        bindings::Failure::Unavailable(text) => CallError::Unavailable(cut(text)),
        bindings::Failure::Later((seconds, text)) => {
            CallError::Later { seconds: seconds.clamp(1, LONGEST_WAIT_SECONDS), text: cut(text) }
        }
    }
}

/// The longest beginning of `text` that has at most `bytes` bytes and ends between characters.
pub(super) fn truncate(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// `text`, or of a longer one its beginning with a mark that says how much is missing: at most `bytes` bytes in all. The
/// mark says nothing but a length, and of the plugin's own text.
pub(super) fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mark = |missing: usize| format!("… [cut: {missing} bytes more]");
    // No less is missing than there is, so that the mark is no longer than this one.
    let kept = truncate(text, bytes.saturating_sub(mark(text.len()).len()));
    format!("{kept}{}", mark(text.len() - kept.len()))
}

/// A request within its limit, with its size.
pub(super) fn request(most: usize, request: bindings::Request) -> Result<(PluginRequest, usize), CallError> {
    let bindings::Request { endpoint, path, headers, body } = request;
    let request =
        PluginRequest { endpoint, path: named_parts(path), headers: named_parts(headers), body: parts(body) };
    let bytes = request_bytes(&request);
    if bytes > most {
        return Err(CallError::OutputTooLarge { what: "request", used: bytes, allowed: most });
    }
    Ok((request, bytes))
}

fn named_parts(named: Vec<(String, Vec<bindings::Part>)>) -> Vec<(String, Vec<Part>)> {
    named.into_iter().map(|(name, pieces)| (name, parts(pieces))).collect()
}

fn parts(pieces: Vec<bindings::Part>) -> Vec<Part> {
    let part = |piece| match piece {
        bindings::Part::Text(text) => Part::Text(text),
        bindings::Part::Field(path) => Part::Field(path),
    };
    pieces.into_iter().map(part).collect()
}

fn request_bytes(request: &PluginRequest) -> usize {
    let part = |part: &Part| match part {
        Part::Text(text) | Part::Field(text) => text.len(),
    };
    let parts = |parts: &[Part]| parts.iter().map(part).sum::<usize>();
    let named = |named: &[(String, Vec<Part>)]| {
        named.iter().map(|(name, pieces)| name.len() + parts(pieces)).sum::<usize>()
    };
    request.endpoint.len() + named(&request.path) + named(&request.headers) + parts(&request.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failures_text_that_is_cut_says_so() {
        let limits = Limits::default();
        let error = failure(&limits, bindings::Failure::Rejected("x".repeat(2_000)));
        let CallError::Rejected(text) = error else { panic!("{error}") };
        assert_eq!(text.len(), limits.failure_bytes);
        assert!(text.ends_with("x… [cut: 1002 bytes more]"), "{text}");
    }

    #[test]
    fn a_text_that_is_cut_says_how_much_is_missing_within_its_limit() {
        assert_eq!(cut(&"x".repeat(40), 40), "x".repeat(40));
        assert_eq!(cut(&"x".repeat(41), 40), format!("{}… [cut: 25 bytes more]", "x".repeat(16)));
        for length in [41, 99, 100, 1_000, 123_456] {
            let (text, shown) = ("é".repeat(length), cut(&"é".repeat(length), 40));
            let (kept, missing) = shown.split_once("… [cut: ").unwrap();
            let missing: usize = missing.strip_suffix(" bytes more]").unwrap().parse().unwrap();
            assert!(shown.len() <= 40 && text.starts_with(kept), "{shown}");
            assert_eq!(kept.len() + missing, text.len(), "{shown}");
        }
    }
}
