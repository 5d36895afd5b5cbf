//! Statistics over the brand's consumers, for plugins whose purpose is metrics, training or improvement: the
//! gateway refuses a plugin of another purpose that asks.
//!
//! A question is about one type of event on one UTC day that ended an hour ago or earlier. Its answer is the
//! same for good, is over enough distinct consumers, and says nothing of one of them; so it adds no label to
//! what comes out of the call. Questions of a day are counted: ask for what a report needs, once.
//!
//! ```no_run
//! use plugin_sdk::aggregates::{Measure, Question};
//!
//! let by_device = Question::new(Measure::Events, "page.viewed", "2026-03-02").by("/device_type");
//! if let Ok(groups) = by_device.ask() {
//!     let views: f64 = groups.iter().map(|group| group.value).sum();
//! }
//! ```

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Events.
    Events,
    /// Distinct consumers.
    Consumers,
    /// A field's values together.
    Sum,
    /// A field's values on average.
    Average,
}

impl Measure {
    /// The interface's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Consumers => "consumers",
            Self::Sum => "sum",
            Self::Average => "average",
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    measure: Measure,
    event: String,
    field: Option<String>,
    day: String,
    by: Option<String>,
}

/// One number of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `all`, or the group of the question's dimension.
    pub name: String,
    /// The number.
    pub value: f64,
}

/// There is no answer. Why is nobody's to know: the day may not be over, or too few consumers behind it, or
/// the day's questions used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no answer to this question")
    }
}

impl std::error::Error for NoAnswer {}

impl Question {
    /// About events of a type on a day, `YYYY-MM-DD`.
    pub fn new(measure: Measure, event: impl Into<String>, day: impl Into<String>) -> Self {
        Self { measure, event: event.into(), field: None, day: day.into(), by: None }
    }

    /// Over the values of this field: what [`Measure::Sum`] and [`Measure::Average`] need.
    #[must_use]
    pub fn of(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// A number for each group that this field's values make.
    #[must_use]
    pub fn by(mut self, field: impl Into<String>) -> Self {
        self.by = Some(field.into());
        self
    }

    /// What is counted; for tests.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// The day; for tests.
    pub fn day(&self) -> &str {
        &self.day
    }

    /// Asks the gateway. Outside of it, as in native tests, nothing has an answer.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn ask(&self) -> Result<Vec<Group>, NoAnswer> {
        let Self { measure, event, field, day, by } = self;
        let answer = query(measure.as_str(), event, field.as_deref(), day, by.as_deref());
        Ok(answer.map_err(|_| NoAnswer)?.into_iter().map(|(name, value)| Group { name, value }).collect())
    }
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::aggregates::integration::plugin::aggregates::query;

#[cfg(not(target_arch = "wasm32"))]
fn query(
    _measure: &str,
    _event: &str,
    _field: Option<&str>,
    _day: &str,
    _by: Option<&str>,
) -> Result<Vec<(String, f64)>, String> {
    Err(NoAnswer.to_string())
}
