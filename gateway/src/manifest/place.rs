//! Where in a file something stands, with the line itself, so that a problem can be shown as compilers show theirs.

use std::ops::Range;

use serde::Serialize;

/// Octets from the start of a text.
pub(super) type Span = Range<usize>;

/// Characters of a line that are shown.
const MAX_SHOWN: usize = 100;
/// Characters before the place that are shown where the line is longer.
const SHOWN_BEFORE: usize = 40;

/// A place in a plugin's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Relative to the plugin's directory.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    #[serde(skip)]
    excerpt: Excerpt,
}

/// A line, or the part of it around the place, without anything that a terminal would obey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Characters before the place.
    before: usize,
    /// Characters of the place.
    width: usize,
}

impl Place {
    /// The place of `span` in the text of a file.
    pub(super) fn of(file: &str, text: &str, span: &Span) -> Self {
        let start = boundary(text, span.start);
        let before = text.get(..start).unwrap_or_default();
        let first = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let rest = text.get(first..).unwrap_or_default();
        let shown = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let column = text.get(first..start).unwrap_or_default().chars().count();
        let spanned = text.get(start..boundary(text, span.end).max(start)).unwrap_or_default();
        let width = spanned.lines().next().unwrap_or_default().chars().count();
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            column: column.saturating_add(1),
            excerpt: Excerpt::cut(shown, column, width),
        }
    }

    /// The line with its number, and what is meant underlined.
    pub(super) fn drawn(&self) -> String {
        let Excerpt { text, before, width } = &self.excerpt;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        format!("{margin} |\n{number} | {text}\n{margin} | {}{}", " ".repeat(*before), "^".repeat(*width))
    }

    /// Columns that the line's number takes.
    pub(super) fn margin(&self) -> usize {
        self.line.to_string().len()
    }
}

impl Excerpt {
    fn cut(line: &str, column: usize, width: usize) -> Self {
        let skipped = if line.chars().count() > MAX_SHOWN { column.saturating_sub(SHOWN_BEFORE) } else { 0 };
        let text: String = line.chars().skip(skipped).take(MAX_SHOWN).map(shown).collect();
        let (length, before) = (text.chars().count(), column.saturating_sub(skipped));
        Self {
            text: text.trim_end().to_owned(),
            before,
            width: width.min(length.saturating_sub(before)).max(1),
        }
    }
}

/// Control and direction characters would move a terminal's cursor, or turn the line around.
fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        _ if super::check::is_disguise(c) => '\u{fffd}',
        _ => c,
    }
}

/// The nearest boundary of a character at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_and_shown_without_what_a_terminal_obeys() {
        for (text, span, line, column, drawn) in [
            ("a = 1\nb = 2", 6..7, 2, 1, "  |\n2 | b = 2\n  | ^"),
            ("ä = é\r\n", 5..7, 1, 5, "  |\n1 | ä = é\n  |     ^"),
            ("\u{1b}[2Jx", 4..5, 1, 5, "  |\n1 | \u{fffd}[2Jx\n  |     ^"),
            ("\tx = \"a\nb\"", 5..10, 1, 6, "  |\n1 |  x = \"a\n  |      ^^"),
            ("", 0..0, 1, 1, "  |\n1 | \n  | ^"),
            ("é", 1..9, 1, 1, "  |\n1 | é\n  | ^"),
        ] {
            let place = Place::of("f", text, &span);
            assert_eq!((place.line, place.column), (line, column), "{text:?}");
            assert_eq!(place.drawn(), drawn, "{text:?}");
        }
        let long = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let place = Place::of("f", &long, &(500..501));
        assert_eq!(place.column, 501);
        assert!(place.drawn().len() < 3 * MAX_SHOWN, "{}", place.drawn());
    }
}
