//! XML bodies in which fields stand as text or attribute content. Well-formed by construction; no DTD, CDATA or comments.

use crate::{Field, Parts, Sealed};

/// What may stand in an element or attribute: text, which is escaped, or a field, which the
/// gateway escapes.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Escaped when it is written.
    Text(&'a str),
    /// Filled in and escaped by the gateway.
    Field(Field),
}

/// An XML 1.0 document being written. Names of elements and attributes are the plugin's own; only
/// content may come from an event.
///
/// ```
/// use plugin_sdk::{Field, Parts, xml::Xml};
///
/// let mut xml = Xml::document();
/// xml.open("lead", &[("interest", "buy")]);
/// xml.leaf("comments", &[], "Tom & Jerry");
/// xml.leaf("email", &[], Field::at("/contact/email"));
/// xml.close();
/// assert_eq!(
///     Parts::from(xml).to_string(),
///     r#"<?xml version="1.0" encoding="UTF-8"?><lead interest="buy"><comments>Tom &amp; Jerry</comments><email>{/contact/email}</email></lead>"#
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Xml {
    parts: Parts,
    open: Vec<&'static str>,
}

impl Xml {
    /// Starts with the XML declaration.
    pub fn document() -> Self {
        Self { parts: Parts::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#), open: Vec::new() }
    }

    /// A processing instruction, such as `<?adf version="1.0"?>`.
    pub fn instruction(&mut self, target: &'static str, data: &'static str) {
        let out = self.parts.tail();
        out.push_str("<?");
        out.push_str(target);
        out.push(' ');
        out.push_str(data);
        out.push_str("?>");
    }

    /// Opens an element, to be closed by [`close`](Self::close).
    pub fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.start(name, attributes);
        self.open.push(name);
    }

    /// Closes the element opened last; without one, nothing happens.
    pub fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.end(name);
        }
    }

    /// An element with content and no elements in it.
    pub fn leaf<'a>(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        content: impl Into<Content<'a>>,
    ) {
        self.start(name, attributes);
        self.content(content);
        self.end(name);
    }

    /// The same where there is something to say: a field that was withheld or never provided
    /// leaves no empty element behind.
    pub fn leaf_some<'a>(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        content: Option<impl Into<Content<'a>>>,
    ) {
        if let Some(content) = content {
            self.leaf(name, attributes, content);
        }
    }

    /// Content of the element that is open.
    pub fn content<'a>(&mut self, content: impl Into<Content<'a>>) {
        match content.into() {
            Content::Text(text) => escape_into(self.parts.tail(), text),
            Content::Field(field) => self.parts.field(field),
        }
    }

    fn start(&mut self, name: &str, attributes: &[(&'static str, &str)]) {
        let out = self.parts.tail();
        out.push('<');
        out.push_str(name);
        for (attribute, value) in attributes {
            out.push(' ');
            out.push_str(attribute);
            out.push_str("=\"");
            escape_into(out, value);
            out.push('"');
        }
        out.push('>');
    }

    fn end(&mut self, name: &str) {
        let out = self.parts.tail();
        out.push_str("</");
        out.push_str(name);
        out.push('>');
    }
}

/// Closes what is still open.
impl From<Xml> for Parts {
    fn from(mut xml: Xml) -> Self {
        while !xml.open.is_empty() {
            xml.close();
        }
        xml.parts
    }
}

/// Escapes text for element content and for attributes in double quotes (XML 1.0 §2.4, §3.3.3).
/// A character that XML 1.0 cannot hold (§2.2) becomes U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text);
    out
}

fn escape_into(out: &mut String, text: &str) {
    let mut rest = text;
    // Whole runs at a time, found by their bytes: most text has nothing to escape.
    while let Some((plain, special)) =
        first_to_escape(rest.as_bytes()).and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(plain);
        let mut chars = special.chars();
        if let Some(c) = chars.next() {
            match replacement(c) {
                Some(replacement) => out.push_str(replacement),
                None => out.push(c),
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Where the first byte is that may need escaping.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let (eights, _) = bytes.as_chunks::<8>();
    let from = eights.iter().take_while(|eight| is_plain(**eight)).count() * 8;
    bytes.get(from..)?.iter().position(|byte| may_need_escape(*byte)).map(|at| from + at)
}

/// Whether none of eight bytes may need escaping: asked of all at once, because a sandbox has no vector instructions.
fn is_plain(eight: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let bytes = u64::from_ne_bytes(eight);
    // A zero byte borrows from the one above it, which sets a high bit that was not set.
    let has_zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGH;
    let control = bytes.wrapping_sub(0x20 * ONES) & !bytes & HIGH;
    // `"` and `&` differ in one bit, `<` and `>` in another.
    let quote_or_and = has_zero((bytes | (0x04 * ONES)) ^ (0x26 * ONES));
    let angle = has_zero((bytes | (0x02 * ONES)) ^ (0x3e * ONES));
    let high = has_zero(bytes ^ (0xef * ONES));
    control | quote_or_and | angle | high == 0
}

/// 0xEF begins U+F000 to U+FFFF, so U+FFFE and U+FFFF too.
fn may_need_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'&' | b'<' | b'>' | b'"' | 0xef)
}

fn replacement(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        // Written raw they would come back as a line feed, and in attributes as a space.
        '\r' => Some("&#13;"),
        '\n' => Some("&#10;"),
        '\t' => Some("&#9;"),
        '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => Some("\u{fffd}"),
        _ => None,
    }
}

impl<'a> From<&'a str> for Content<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Content<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<Field> for Content<'_> {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

impl From<Sealed> for Content<'_> {
    fn from(sealed: Sealed) -> Self {
        Self::Field(sealed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_leaves_no_way_out_of_text_or_attribute() {
        let cases = [
            ("plain", "plain"),
            ("a<b>&\"c\"", "a&lt;b&gt;&amp;&quot;c&quot;"),
            ("]]>", "]]&gt;"),
            ("a\r\n\tb", "a&#13;&#10;&#9;b"),
            ("\u{0}\u{b}\u{ffff}", "\u{fffd}\u{fffd}\u{fffd}"),
            ("Zürich 😀 \u{f000}\u{fffd}<", "Zürich 😀 \u{f000}\u{fffd}&lt;"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected, "{text:?}");
        }
    }

    #[test]
    fn eight_bytes_at_once_are_judged_as_each_by_itself() {
        for byte in 0..=255_u8 {
            for other in [b'a', 0x20, 0x7f, 0x80, 0xff] {
                for at in 0..8 {
                    let mut eight = [other; 8];
                    eight[at] = byte;
                    assert_eq!(is_plain(eight), !may_need_escape(byte), "{byte:#x} at {at} among {other:#x}");
                }
            }
        }
    }

    #[test]
    fn what_is_open_is_closed_at_the_end() {
        let mut xml = Xml::document();
        xml.open("a", &[("b", "\"<")]);
        xml.open("c", &[]);
        xml.leaf_some("d", &[], None::<&str>);
        assert!(Parts::from(xml).to_string().ends_with(r#"<a b="&quot;&lt;"><c></c></a>"#));
    }
}
