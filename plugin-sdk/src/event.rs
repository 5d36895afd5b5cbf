//! The event that a hook gets. It holds what the gateway let through and nothing else.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Failure, Sealed, bindings::types};

/// An event about one consumer of one brand, as this plugin may see it.
///
/// Withheld and never provided look the same: a field of [`data`](Self::data) that is `None`. A
/// plugin that can do without a field works for more consumers.
#[derive(Clone, Debug)]
pub struct Event<D, S> {
    /// Keyed for this connection; the same through retries, so a partner can tell a repeat by it.
    pub id: String,
    /// CloudEvents `type`.
    pub kind: String,
    /// RFC 3339, in the gateway's form. A plugin has no other clock.
    pub time: String,
    /// The partner's pseudonym for the consumer at this brand, where granted.
    pub consumer: Option<String>,
    /// The readable fields.
    pub data: D,
    /// The connection's settings; the manifest's schema has been checked.
    pub settings: S,
    sealed: Vec<String>,
}

impl<D, S> Event<D, S> {
    /// The sealed field at `path`, written as the manifest declares it; `None` where the event
    /// does not have it for this plugin.
    pub fn sealed(&self, path: &str) -> Option<Sealed> {
        self.sealed.iter().find(|have| *have == path).cloned().map(Sealed)
    }

    /// An event for a plugin's own tests.
    pub fn sample(data: D, settings: S) -> Self
    where
        D: EventType,
    {
        Self {
            id: "evt-sample".into(),
            kind: D::TYPE.into(),
            time: "2017-11-02T09:06:01Z".into(),
            consumer: None,
            data,
            settings,
            sealed: Vec::new(),
        }
    }

    /// The sample with these sealed fields.
    #[must_use]
    pub fn with_sealed(mut self, paths: &[&str]) -> Self {
        self.sealed = paths.iter().map(|path| (*path).to_owned()).collect();
        self
    }
}

impl<D: EventData, S: DeserializeOwned> Event<D, S> {
    pub(crate) fn from_wire(event: types::Event) -> Result<Self, Failure> {
        let types::Event { id, kind, time, consumer, fields, sealed, settings } = event;
        let data = D::parse(&kind, &fields)?;
        let settings = serde_json::from_str(&settings).map_err(|error| {
            unreadable("the settings are not of the type that the plugin expects", &error)
        })?;
        Ok(Self { id, kind, time, consumer, data, settings, sealed })
    }
}

/// A Rust type for the fields of one event type.
///
/// [`events`](crate::events) has one for each type of the gateway's catalogue. For a type that an
/// operator has added, or to parse only what is needed, a plugin brings its own:
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Parked { #[serde(default)] bay: Option<String> }
///
/// impl plugin_sdk::EventType for Parked { const TYPE: &str = "car.parked"; }
/// ```
///
/// Beside the event's own fields stand those that the manifest declares from elsewhere: what the partner sent,
/// under `partner` (`/partner/member/tier`), and what another plugin of the brand returned, under `returned` and
/// that plugin's name (`/returned/transcript-quality/score`).
///
/// ```
/// use plugin_sdk::{EventData, EventType, events::ChatEnded};
/// use serde::Deserialize;
///
/// #[derive(Default, Deserialize)]
/// #[serde(default)]
/// struct Scored { returned: Others }
///
/// #[derive(Default, Deserialize)]
/// #[serde(default, rename_all = "kebab-case")]
/// struct Others { transcript_quality: Quality }
///
/// #[derive(Default, Deserialize)]
/// #[serde(default)]
/// struct Quality { score: Option<u32> }
///
/// impl EventType for Scored { const TYPE: &str = ChatEnded::TYPE; }
///
/// let fields = r#"{"returned": {"transcript-quality": {"score": 71}}}"#;
/// let chat = Scored::parse("chat.ended", fields)?;
/// assert_eq!(chat.returned.transcript_quality.score, Some(71));
/// # Ok::<(), plugin_sdk::Failure>(())
/// ```
pub trait EventType: DeserializeOwned {
    /// CloudEvents `type`.
    const TYPE: &str;
}

/// What a hook takes: one event type, or several ([`one_of!`](crate::one_of)).
pub trait EventData: Sized {
    /// Reads the fields of an event of type `kind` from JSON text.
    ///
    /// # Errors
    /// [`Failure::Rejected`] where the type is another, or the fields do not have its shape.
    fn parse(kind: &str, fields: &str) -> Result<Self, Failure>;
}

impl<T: EventType> EventData for T {
    fn parse(kind: &str, fields: &str) -> Result<Self, Failure> {
        if kind != T::TYPE {
            return Err(not_handled(kind));
        }
        serde_json::from_str(fields)
            .map_err(|error| unreadable("the fields are not of the event type's shape", &error))
    }
}

/// The failure for an event type that the plugin does not handle.
#[doc(hidden)]
pub fn not_handled(kind: &str) -> Failure {
    Failure::rejected(format!("this plugin does not handle events of type `{kind}`"))
}

/// Serde's messages can repeat a value, so only the place is told.
pub(crate) fn unreadable(what: &str, error: &serde_json::Error) -> Failure {
    Failure::rejected(format!("{what} (line {}, column {})", error.line(), error.column()))
}

/// For a plugin that has no settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NoSettings {}

/// Declares a type for a hook that takes events of several types.
///
/// ```
/// use plugin_sdk::{EventData, events::{ChatEnded, SurveyCompleted}};
///
/// plugin_sdk::one_of! {
///     /// What this plugin listens to.
///     pub enum Heard { ChatEnded, SurveyCompleted }
/// }
///
/// let heard = Heard::parse("survey.completed", r#"{"rating": 2}"#)?;
/// assert!(matches!(heard, Heard::SurveyCompleted(survey) if survey.rating == Some(2.0)));
/// assert!(Heard::parse("chat.message", "{}").is_err());
/// # Ok::<(), plugin_sdk::Failure>(())
/// ```
#[macro_export]
macro_rules! one_of {
    ($(#[$attribute:meta])* $vis:vis enum $name:ident { $($event:ident),+ $(,)? }) => {
        $(#[$attribute])*
        $vis enum $name {
            $(
                #[doc = concat!("A [`", stringify!($event), "`].")]
                $event($event),
            )+
        }

        impl $crate::EventData for $name {
            fn parse(kind: &str, fields: &str) -> ::std::result::Result<Self, $crate::Failure> {
                $(
                    if kind == <$event as $crate::EventType>::TYPE {
                        return <$event as $crate::EventData>::parse(kind, fields).map(Self::$event);
                    }
                )+
                ::std::result::Result::Err($crate::__not_handled(kind))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{ChatEnded, PageViewed};

    fn wire(kind: &str, fields: &str, settings: &str) -> types::Event {
        types::Event {
            id: "e".into(),
            kind: kind.into(),
            time: "2017-11-02T09:06:01Z".into(),
            consumer: None,
            fields: fields.into(),
            sealed: vec!["/contact/email".into()],
            settings: settings.into(),
        }
    }

    #[test]
    fn every_field_may_be_absent() {
        let event = Event::<ChatEnded, NoSettings>::from_wire(wire("chat.ended", "{}", "{}")).unwrap();
        assert_eq!(event.data, ChatEnded::default());
    }

    #[test]
    fn fields_are_where_the_schema_has_them() {
        let fields = r#"{"contact":{"name":{"first":"Ada"}},"transcript":[{"text":"a"},{}],"visit":{"location":{"city":"Z"}}}"#;
        let data = Event::<ChatEnded, NoSettings>::from_wire(wire("chat.ended", fields, "{}")).unwrap().data;
        assert_eq!(data.contact.unwrap().name.unwrap().first.as_deref(), Some("Ada"));
        assert_eq!(data.transcript.map(|turns| turns.len()), Some(2));
        assert_eq!(data.visit.unwrap().location.unwrap().city.as_deref(), Some("Z"));
    }

    #[test]
    fn a_sealed_field_is_there_only_if_the_gateway_says_so() {
        let event = Event::<ChatEnded, NoSettings>::from_wire(wire("chat.ended", "{}", "{}")).unwrap();
        assert_eq!(
            event.sealed("/contact/email").map(|field| field.path().to_owned()).as_deref(),
            Some("/contact/email")
        );
        assert!(event.sealed("/contact/phone").is_none());
    }

    #[test]
    fn another_type_or_shape_is_rejected_without_repeating_a_value() {
        let cases =
            [("page.viewed", r#"{"url": 51525354}"#), ("chat.ended", r#"{"conversation": 51525354}"#)];
        for (kind, fields) in cases {
            let failure = Event::<ChatEnded, NoSettings>::from_wire(wire(kind, fields, "{}")).unwrap_err();
            assert!(matches!(&failure, Failure::Rejected(text) if !text.contains("51525354")), "{failure:?}");
        }
        let failure =
            Event::<PageViewed, NoSettings>::from_wire(wire("page.viewed", "{}", "51525354")).unwrap_err();
        assert!(!failure.to_string().contains("51525354"));
    }
}
