//! What other plugins return, as an input: `/returned/PLUGIN/leaf`. Whether there is such a plugin, and whether it
//! returns that, is asked when a brand switches on: here its shape is all that can be told.

use super::check::check_name;
use super::problem::Problem;
use crate::catalogue::FieldPath;

/// Where a declared field stands that another plugin of the brand returned of the consumer.
pub const RETURNED: &str = crate::catalogue::RETURNED;

/// The plugin that returns a declared field, and the leaf of what it returns; none: it is no such field.
pub fn returned_by(field: &str) -> Option<(&str, &str)> {
    let rest = field.strip_prefix(RETURNED)?.strip_prefix('/')?;
    rest.find('/').and_then(|end| rest.split_at_checked(end))
}

/// Checks what stands after [`RETURNED`].
pub(super) fn check(plugin: &str, path: &str, at: &str, problems: &mut Vec<Problem>) {
    let declared = format!("{RETURNED}{path}");
    let found = returned_by(&declared).filter(|_| FieldPath::parse(&declared).is_ok());
    match found {
        None => problems.push(Problem::new(
            "bad-path",
            at,
            "this is no leaf of what another plugin returns",
            "write `/returned/PLUGIN/PATH`: the plugin's name, and a path of the schema of what it returns",
        )),
        Some((from, _)) if from == plugin => problems.push(Problem::new(
            "own-return",
            at,
            "a plugin does not get back what it returned itself",
            "keep it in the plugin's memory",
        )),
        Some((from, _)) => check_name(from, at, problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_field_names_a_plugin_and_a_leaf() {
        for (field, found) in [
            ("/returned/scores/chat/score", Some(("scores", "/chat/score"))),
            ("/returned/scores/chat/*/score", Some(("scores", "/chat/*/score"))),
            ("/returned/scores", None),
            ("/returned", None),
            ("/returnedness/scores/a", None),
            ("/partner/scores/a", None),
        ] {
            assert_eq!(returned_by(field), found, "{field}");
        }
    }

    #[test]
    fn what_is_wrong_with_one_is_named() {
        for (path, code) in [
            ("/scores/chat/score", None),
            ("/scores", Some("bad-path")),
            ("/scores/a//b", Some("bad-path")),
            ("/Scores/a", Some("bad-name")),
            ("//a", Some("bad-path")),
            ("/own/a", Some("own-return")),
        ] {
            let mut problems = Vec::new();
            check("own", path, "here", &mut problems);
            assert_eq!(problems.first().map(|problem| problem.code), code, "{path}");
        }
    }
}
