//! The URL of a request: host labels from settings, path segments from the plugin or settings. It resolves
//! no name; whether an address may be reached is for the room that connects.

use super::error::{Place, PlacingError};
use super::render::{Encoding, SEGMENT, render};
use super::{MAX_SEGMENT_BYTES, Placement};
use crate::boundary::Part;
use crate::manifest::Endpoint;
use crate::manifest::url_template::{LabelPiece, SegmentPiece, UrlTemplate, is_host_label};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use url::{Host, Url};

pub(super) fn assemble<'p>(
    slots: &'p [(String, Vec<Part>)],
    placement: &Placement<'_, '_>,
    placed: &mut Vec<&'p str>,
) -> Result<Url, PlacingError> {
    let endpoint = placement.endpoint;
    let template = UrlTemplate::parse(&endpoint.url)
        .map_err(|_| super::manifest_fault(endpoint, "its URL is not a valid https template"))?;
    refuse_unknown_slots(slots, &template, endpoint)?;

    let host = host(&template, placement)?;
    let mut text = format!("https://{host}");
    for piece in &template.path {
        text.push('/');
        match piece {
            SegmentPiece::Literal(segment) => text.push_str(segment),
            SegmentPiece::Slot(slot) => {
                let value = match slots.iter().find(|(name, _)| name == slot) {
                    Some((_, parts)) => {
                        let place = Place::PathSlot(slot.clone());
                        render(parts, Encoding::Single, &place, placement.values, placed)?.text
                    }
                    None => setting(placement.settings, slot)
                        .ok_or_else(|| PlacingError::SlotMissing { slot: slot.clone() })?,
                };
                push_segment(&mut text, slot, &value)?;
            }
        }
    }
    if template.path.is_empty() {
        text.push('/');
    }
    // The parser must find what was meant, and nothing to normalise: else its reading differs from ours.
    Url::parse(&text)
        .ok()
        .filter(|url| url.as_str() == text && url.host() == Some(Host::Domain(&host)))
        .ok_or_else(|| super::manifest_fault(endpoint, "its URL does not survive parsing"))
}

/// Each slot of the request must be one of the path's, once. Host slots are the settings' alone.
fn refuse_unknown_slots(
    slots: &[(String, Vec<Part>)],
    template: &UrlTemplate,
    endpoint: &Endpoint,
) -> Result<(), PlacingError> {
    let bad = |(index, (name, _)): &(usize, &(String, Vec<Part>))| {
        !template.path_slots().any(|slot| slot == name)
            || slots.iter().take(*index).any(|(earlier, _)| earlier == name)
    };
    match slots.iter().enumerate().filter(bad).count() {
        0 => Ok(()),
        count => Err(PlacingError::SlotsNotDeclared { endpoint: endpoint.name.clone(), count }),
    }
}

fn host(template: &UrlTemplate, placement: &Placement<'_, '_>) -> Result<String, PlacingError> {
    let mut host = String::new();
    for piece in &template.host {
        if !host.is_empty() {
            host.push('.');
        }
        match piece {
            LabelPiece::Literal(label) => host.push_str(label),
            LabelPiece::Slot(slot) => {
                let label = setting(placement.settings, slot)
                    .ok_or_else(|| PlacingError::SlotMissing { slot: slot.clone() })?;
                if !is_host_label(&label) {
                    let endpoint = placement.endpoint.name.clone();
                    return Err(PlacingError::HostLabel { slot: slot.clone(), endpoint });
                }
                host.push_str(&label);
            }
        }
    }
    if is_registered(&host, placement.domains) {
        Ok(host)
    } else {
        Err(PlacingError::DomainNotRegistered { endpoint: placement.endpoint.name.clone() })
    }
}

/// Whether `host` is one of the partner's registered domains or below one.
pub fn is_registered(host: &str, domains: &[String]) -> bool {
    domains.iter().any(|domain| is_under(host, domain))
}

/// Whether `host` is `domain` or below it, whole labels compared.
fn is_under(host: &str, domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    !domain.is_empty()
        && host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A setting as text: a string or a number.
fn setting(settings: &Value, name: &str) -> Option<String> {
    match settings.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One segment, encoded. Encoding alone would do for a server that splits the path before it decodes;
/// many decode first. So what would be `..` or another line after decoding is refused, not encoded.
fn push_segment(out: &mut String, slot: &str, value: &str) -> Result<(), PlacingError> {
    let refuse = |rule| Err(PlacingError::Segment { slot: slot.to_owned(), rule });
    if value.is_empty() {
        return refuse("is empty");
    }
    if value.chars().any(|c| c.is_control()) {
        return refuse("holds a control character");
    }
    if value.split(['/', '\\']).any(|piece| piece == "." || piece == "..") {
        return refuse("is or holds a `.` or `..` segment");
    }
    let before = out.len();
    out.extend(utf8_percent_encode(value, SEGMENT));
    if out.len().saturating_sub(before) > MAX_SEGMENT_BYTES {
        return Err(PlacingError::TooLong {
            place: Place::PathSlot(slot.to_owned()),
            limit: MAX_SEGMENT_BYTES,
        });
    }
    Ok(())
}
