//! What a field may do in a statistic over consumers (clause share.aggregate): be summed, within bounds, or
//! divide consumers into a few groups whose names the schema lists. A field that says neither does neither.

use serde_json::{Map, Value};

/// Groups of a dimension, at most: each must hold many consumers.
const MAX_GROUPS: usize = 12;
/// The group of whoever has another value, or none; no list may name it.
pub const OTHER: &str = "other";

/// What a field may do.
#[derive(Clone, Debug, PartialEq)]
pub enum Statistic {
    /// `"x-measure": {"minimum": 0, "maximum": 3600}`: it may be summed, each value clipped to these bounds. With
    /// `"unit": "/currency"` only together with values of the same unit: for each group of that dimension.
    Measure {
        /// Below it, a value counts as it.
        minimum: f64,
        /// Above it, a value counts as it.
        maximum: f64,
        /// The field that says in what it is measured; none: all values are of one unit.
        unit: Option<Box<str>>,
    },
    /// `"x-dimension": ["desktop", "phone"]`: the values that make groups; all others are [`OTHER`].
    Dimension(Box<[Box<str>]>),
}

impl Statistic {
    /// Reads what a leaf says; `one_value`: the leaf is not in an array.
    ///
    /// # Errors
    /// The keyword at fault, the rule, and the remedy.
    pub(super) fn read(
        leaf: &Map<String, Value>,
        one_value: bool,
    ) -> Result<Option<Self>, (&'static str, &'static str, &'static str)> {
        let wrong = |keyword, message, remedy| Err((keyword, message, remedy));
        let (keyword, types, statistic): (_, &[&str], _) =
            match (leaf.get("x-measure"), leaf.get("x-dimension")) {
                (None, None) => return Ok(None),
                (Some(_), Some(_)) => {
                    return wrong("x-dimension", "a field is a measure or a dimension", "keep one of them");
                }
                (Some(bounds), None) => ("x-measure", &["number", "integer"], measure(bounds)),
                (None, Some(groups)) => ("x-dimension", &["string"], dimension(groups)),
            };
        if !leaf.get("type").and_then(Value::as_str).is_some_and(|name| types.contains(&name)) {
            return wrong(
                keyword,
                "a measure is a number, a dimension a string",
                "correct `type`, or remove it",
            );
        }
        if !one_value {
            return wrong(keyword, "a field of an array has no one value for an event", "remove it");
        }
        match statistic {
            Some(statistic) => Ok(Some(statistic)),
            None => wrong(
                keyword,
                "a measure has `minimum` below `maximum`, and may name its `unit`; a dimension lists 1 to 12 different strings, none `other`",
                "write both bounds, or the list",
            ),
        }
    }
}

fn measure(bounds: &Value) -> Option<Statistic> {
    let bounds = bounds.as_object()?;
    let unit = match bounds.get("unit") {
        None => None,
        Some(unit) => Some(Box::from(unit.as_str()?)),
    };
    let (minimum, maximum) = (bounds.get("minimum")?.as_f64()?, bounds.get("maximum")?.as_f64()?);
    let known = bounds.len() == 2 + usize::from(unit.is_some());
    (known && minimum < maximum).then_some(Statistic::Measure { minimum, maximum, unit })
}

fn dimension(groups: &Value) -> Option<Statistic> {
    let groups: Vec<&str> = groups.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let plain = |(at, name): (usize, &&str)| {
        !name.is_empty() && *name != OTHER && groups.iter().take(at).all(|before| before != name)
    };
    ((1..=MAX_GROUPS).contains(&groups.len()) && groups.iter().enumerate().all(plain))
        .then(|| Statistic::Dimension(groups.into_iter().map(Into::into).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leaf_says_its_bounds_or_its_groups_or_nothing() {
        let read =
            |leaf: Value, one| Statistic::read(leaf.as_object().unwrap(), one).map_err(|fault| fault.0);
        let measure = json!({"minimum": 0, "maximum": 9.5});
        let dimension = |names: &[&str]| json!({ "type": "string", "x-dimension": names });
        assert_eq!(read(json!({"type": "string"}), true), Ok(None));
        assert_eq!(
            read(json!({"type": "number", "x-measure": measure}), true),
            Ok(Some(Statistic::Measure { minimum: 0.0, maximum: 9.5, unit: None }))
        );
        let of_unit = json!({"minimum": 0, "maximum": 9.5, "unit": "/currency"});
        assert_eq!(
            read(json!({"type": "number", "x-measure": of_unit}), true),
            Ok(Some(Statistic::Measure { minimum: 0.0, maximum: 9.5, unit: Some("/currency".into()) }))
        );
        assert_eq!(
            read(dimension(&["a", "b"]), true),
            Ok(Some(Statistic::Dimension(["a".into(), "b".into()].into())))
        );
        for (leaf, one, keyword) in [
            (json!({"type": "number", "x-measure": measure}), false, "x-measure"),
            (json!({"type": "string", "x-measure": measure}), true, "x-measure"),
            (json!({"type": "number", "x-measure": {"minimum": 1, "maximum": 1}}), true, "x-measure"),
            (json!({"type": "number", "x-measure": {"maximum": 1}}), true, "x-measure"),
            (
                json!({"type": "number", "x-measure": {"minimum": 0, "maximum": 1, "unit": 1}}),
                true,
                "x-measure",
            ),
            (
                json!({"type": "number", "x-measure": {"minimum": 0, "maximum": 1, "of": "/a"}}),
                true,
                "x-measure",
            ),
            (json!({"type": "number", "x-dimension": ["a"]}), true, "x-dimension"),
            (json!({"type": "string", "x-dimension": ["a"], "x-measure": measure}), true, "x-dimension"),
            (dimension(&[]), true, "x-dimension"),
            (dimension(&["a", "a"]), true, "x-dimension"),
            (dimension(&["other"]), true, "x-dimension"),
            (dimension(&["a"; 13]), true, "x-dimension"),
        ] {
            assert_eq!(read(leaf.clone(), one), Err(keyword), "{leaf}");
        }
    }
}
