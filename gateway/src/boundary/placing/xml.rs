//! A strict reader of a small part of XML 1.0 that checks where fields stand. Elements, attributes, text,
//! the five named and the numeric character references, and before the root the XML declaration and
//! `<?adf …?>`: nothing else. A document it passes is well-formed XML, so every parser finds the same
//! elements in it; CDATA, comments, DTDs and other instructions are refused rather than understood.

use memchr::memchr3;

use super::error::Fault;
use super::render::FieldSpan;
use super::runs::FieldWalk;

/// Elements inside each other.
const MAX_DEPTH: usize = 64;

/// XML 1.0 §2.2, production `Char`.
pub(super) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Checks that `text` is one XML document of the part above and that each field stands in the text of
/// an element or, unless it is a list, in a quoted attribute value.
pub(super) fn check(text: &str, fields: &[FieldSpan]) -> Result<(), Fault> {
    if let Some(at) = foreign_character(text) {
        return Err(Fault::Malformed { at, rule: "a character that XML 1.0 does not have" });
    }
    let mut reader = Reader { text, pos: 0, walk: FieldWalk::new(fields) };
    reader.prolog()?;
    reader.root()?;
    reader.space();
    if reader.pos < text.len() {
        return Err(reader.fault("something follows the root element"));
    }
    reader.walk.end()
}

/// Where the first character stands that is not a `Char`. Only two kinds of byte can begin one: a C0
/// control, and 0xEF, which begins U+FFFE and U+FFFF.
fn foreign_character(text: &str) -> Option<usize> {
    let mut from = 0_usize;
    loop {
        let rest = text.get(from..)?;
        let at = control_or_ef(rest.as_bytes())?;
        let c = rest.get(at..)?.chars().next()?;
        if !is_char(c) {
            return Some(from.saturating_add(at));
        }
        from = from.saturating_add(at).saturating_add(c.len_utf8());
    }
}

/// Where the first such byte stands. Runs without one are passed over many bytes at a time: the loop over a piece has
/// no exit, so that it becomes vector instructions.
fn control_or_ef(bytes: &[u8]) -> Option<usize> {
    const PIECE: usize = 64;
    let is = |byte: &u8| *byte < 0x20 || *byte == 0xef;
    let (pieces, _) = bytes.as_chunks::<PIECE>();
    let clean = pieces.iter().take_while(|piece| !piece.iter().fold(false, |any, byte| any | is(byte)));
    let from = clean.count().saturating_mul(PIECE);
    bytes.get(from..)?.iter().position(is).map(|at| from.saturating_add(at))
}

struct Reader<'t> {
    text: &'t str,
    pos: usize,
    walk: FieldWalk<'t>,
}

impl<'t> Reader<'t> {
    /// The XML declaration, only at the very beginning, then white space and `<?adf …?>`.
    fn prolog(&mut self) -> Result<(), Fault> {
        if self.take("<?xml") {
            self.declaration()?;
        }
        loop {
            self.space();
            if !self.take("<?") {
                return Ok(());
            }
            let target = self.name()?;
            if !target.eq_ignore_ascii_case("adf") {
                return Err(self.fault(
                    "a processing instruction other than `adf`, or an XML declaration not at the beginning",
                ));
            }
            let Some(length) = self.rest().find("?>") else {
                return Err(self.fault("a processing instruction is not closed"));
            };
            let content = self.rest().get(..length).unwrap_or_default();
            if !content.is_empty() && !content.starts_with([' ', '\t', '\r', '\n']) {
                return Err(self.fault("white space is missing in a processing instruction"));
            }
            self.forward(length.saturating_add(2));
        }
    }

    /// `version="1.0"`, then at most `encoding="UTF-8"` and `standalone`. Another encoding would have the
    /// partner read other characters than were checked.
    fn declaration(&mut self) -> Result<(), Fault> {
        let allowed: [(&str, &[&str], bool); 3] = [
            ("version", &["1.0"], true),
            ("encoding", &["utf-8"], false),
            ("standalone", &["yes", "no"], false),
        ];
        for (name, values, required) in allowed {
            let before = self.pos;
            let spaced = self.space();
            if !spaced || !self.take(name) {
                if required {
                    return Err(self.fault("the XML declaration has no version"));
                }
                self.pos = before;
                continue;
            }
            self.equals()?;
            let quote = self.quote()?;
            let Some(length) = self.rest().find(char::from(quote)) else {
                return Err(self.fault("a quoted value is not closed"));
            };
            let value = self.rest().get(..length).unwrap_or_default();
            if !values.iter().any(|one| value.eq_ignore_ascii_case(one)) {
                return Err(self.fault("the XML declaration is not version 1.0 in UTF-8"));
            }
            self.forward(length.saturating_add(1));
        }
        self.space();
        if self.take("?>") { Ok(()) } else { Err(self.fault("the XML declaration is not closed")) }
    }

    fn root(&mut self) -> Result<(), Fault> {
        let mut open: Vec<&'t str> = Vec::new();
        if !self.take("<") {
            return Err(self.fault("the root element is missing"));
        }
        loop {
            // Behind `<` of a start tag, inside the document.
            if open.len() >= MAX_DEPTH {
                return Err(self.fault("elements are nested too deeply"));
            }
            let name = self.name()?;
            if !self.attributes()? {
                open.push(name);
            }
            loop {
                if open.is_empty() {
                    return Ok(());
                }
                self.content()?;
                if !self.take("</") {
                    break;
                }
                let name = self.name()?;
                self.space();
                if open.pop() != Some(name) || !self.take(">") {
                    return Err(self.fault("an end tag does not match its start tag"));
                }
            }
            // Not an end tag, so a start tag, or something that `name` refuses: `<!`, `<?`.
            if !self.take("<") {
                return Err(self.fault("an element is not closed"));
            }
        }
    }

    /// Attributes and the end of a start tag; whether the element is empty.
    fn attributes(&mut self) -> Result<bool, Fault> {
        let mut names: Vec<&'t str> = Vec::new();
        loop {
            let spaced = self.space();
            let empty = self.take("/>");
            if empty || self.take(">") {
                // Sorting beats comparing each with each once a tag has more than a handful.
                names.sort_unstable();
                if names.iter().zip(names.iter().skip(1)).any(|(one, next)| one == next) {
                    return Err(self.fault("an element has the same attribute twice"));
                }
                return Ok(empty);
            }
            if !spaced {
                return Err(self.fault("white space is missing before an attribute"));
            }
            names.push(self.name()?);
            self.equals()?;
            let quote = self.quote()?;
            self.characters(Some(quote))?;
            if self.pos >= self.text.len() {
                return Err(self.fault("a quoted value is not closed"));
            }
            // Both quotes are one byte long.
            self.forward(1);
        }
    }

    fn content(&mut self) -> Result<(), Fault> {
        self.characters(None)
    }

    /// Text up to `<`, or an attribute value up to its quote.
    fn characters(&mut self, quote: Option<u8>) -> Result<(), Fault> {
        let start = self.walk.start(self.pos);
        loop {
            let rest = self.rest();
            let special = memchr3(quote.unwrap_or(b']'), b'<', b'&', rest.as_bytes());
            let length = special.unwrap_or(rest.len());
            self.forward(length);
            match self.rest().chars().next() {
                Some('&') => {
                    let from = self.pos;
                    self.reference()?;
                    self.walk.escape(from, self.pos)?;
                }
                Some(']') => {
                    if self.rest().starts_with("]]>") {
                        return Err(self.fault("`]]>` stands in text"));
                    }
                    self.forward(1);
                }
                Some('<') if quote.is_some() => return Err(self.fault("`<` stands in an attribute value")),
                _ => return self.walk.run(start, self.pos, quote.is_none()),
            }
        }
    }

    fn reference(&mut self) -> Result<(), Fault> {
        // The longest, `&#x10FFFF;`, has ten bytes; leading zeros may make it longer.
        let Some(length) = self.rest().bytes().take(16).position(|byte| byte == b';') else {
            return Err(self.fault("`&` does not begin a reference; write `&amp;`"));
        };
        let name = self.rest().get(1..length).unwrap_or_default();
        let known = match name.strip_prefix('#') {
            Some(number) => {
                let (digits, radix) =
                    number.strip_prefix('x').map_or((number, 10), |hexadecimal| (hexadecimal, 16));
                digits.chars().all(|c| c.is_digit(radix))
                    && u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).is_some_and(is_char)
            }
            None => matches!(name, "lt" | "gt" | "amp" | "quot" | "apos"),
        };
        if !known {
            return Err(self.fault("a reference to an unknown entity or character"));
        }
        self.forward(length.saturating_add(1));
        Ok(())
    }

    /// XML 1.0 (fifth edition) §2.3, production `Name`.
    fn name(&mut self) -> Result<&'t str, Fault> {
        let rest = self.rest();
        // As a rule a name is ASCII.
        let plain = rest.bytes().position(|byte| !is_plain_in_name(byte)).unwrap_or(rest.len());
        let length = match rest.as_bytes().get(plain) {
            Some(128..) => rest.find(|c| !is_name_char(c)).unwrap_or(rest.len()),
            _ => plain,
        };
        let name = rest.get(..length).unwrap_or_default();
        if !name.chars().next().is_some_and(is_name_start) {
            return Err(self.fault(
                "not the name of an element or attribute (CDATA, comments, DTDs and instructions are refused)",
            ));
        }
        self.forward(length);
        Ok(name)
    }

    fn equals(&mut self) -> Result<(), Fault> {
        self.space();
        if !self.take("=") {
            return Err(self.fault("`=` is missing"));
        }
        self.space();
        Ok(())
    }

    fn quote(&mut self) -> Result<u8, Fault> {
        match self.rest().bytes().next() {
            Some(quote @ (b'"' | b'\'')) => {
                self.forward(1);
                Ok(quote)
            }
            _ => Err(self.fault("a value is not quoted")),
        }
    }

    /// Skips white space; whether there was any.
    fn space(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.len().saturating_sub(rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
        self.forward(length);
        length > 0
    }

    fn take(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.forward(expected.len());
        }
        found
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn forward(&mut self, bytes: usize) {
        self.pos = self.pos.saturating_add(bytes);
    }

    fn fault(&self, rule: &'static str) -> Fault {
        Fault::Malformed { at: self.pos, rule }
    }
}

fn is_plain_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'.')
}

fn is_name_start(c: char) -> bool {
    matches!(c,
        ':' | '_' | 'A'..='Z' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}'
        | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}'
        | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_plain_documents() {
        for text in [
            "<a/>",
            "<a></a>",
            "<a b='1' c=\"2\" />",
            "<?xml version=\"1.0\"?><a/>",
            "<?xml version='1.0' encoding='UTF-8' standalone=\"yes\" ?>\n<?adf version=\"1.0\"?>\n<adf></adf>\n",
            "<?xml version=\"1.0\" standalone='no'?><a/>",
            "<?ADF VERSION \"1.0\"?><a/>",
            "<a>x &lt; &#65;&#x42; ] ]] y<b/>z</a >",
            "<ünder:größe xmlns:ünder='u'>ß</ünder:größe>",
        ] {
            assert_eq!(check(text, &[]), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_a_foreign_character_wherever_it_stands() {
        for foreign in ["\u{b}", "\u{fffe}", "\u{ffff}"] {
            for at in 0..200 {
                let before = "x".repeat(at) + &"\n\u{f000}y".repeat(at % 5);
                let text = format!("<a>{before}{foreign}</a>");
                let at = before.len() + 3;
                let fault = Fault::Malformed { at, rule: "a character that XML 1.0 does not have" };
                assert_eq!(check(&text, &[]), Err(fault), "{text}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_well_formed_or_not_needed() {
        let deep = format!("{}{}", "<a>".repeat(MAX_DEPTH + 1), "</a>".repeat(MAX_DEPTH + 1));
        for text in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>text",
            "text<a/>",
            "<a b=1/>",
            "<a b='<'/>",
            "<a b='1' b='2'/>",
            "<a b='1'\n b='2' />",
            "<a b='1'c='2'/>",
            "<a b/>",
            "<a b='1/>",
            "<a>&nbsp;</a>",
            "<a>&#0;</a>",
            "<a>&#xD800;</a>",
            "<a>&#+65;</a>",
            "<a>&#;</a>",
            "<a>& b</a>",
            "<a>&lt</a>",
            "<a>]]></a>",
            "<a><![CDATA[x]]></a>",
            "<a><!-- x --></a>",
            "<!-- x --><a/>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>",
            "<?php x?><a/>",
            "<?xml-stylesheet href='x'?><a/>",
            "<a><?adf version=\"1.0\"?></a>",
            "<a/><?adf version=\"1.0\"?>",
            " <?xml version=\"1.0\"?><a/>",
            "<?xml version=\"1.1\"?><a/>",
            "<?xml version=\"1.0\" encoding=\"UTF-7\"?><a/>",
            "<?xml encoding=\"UTF-8\"?><a/>",
            "<?xml version=\"1.0\"encoding=\"UTF-8\"?><a/>",
            "<?xml version=\"1.0\"?><?xml version=\"1.0\"?><a/>",
            "\u{feff}<a/>",
            "<a>\u{1}</a>",
            "<a>\u{ffff}</a>",
            "< a/>",
            "<a></ a>",
            "<1a/>",
            deep.as_str(),
        ] {
            assert!(matches!(check(text, &[]), Err(Fault::Malformed { .. })), "{text}");
        }
    }

    proptest! {
        /// An independent reader finds no fault in anything that this one passes.
        #[test]
        fn what_it_passes_another_reader_reads(
            tokens in proptest::collection::vec(prop_oneof![
                Just("<a>"), Just("</a>"), Just("<b "), Just("c='"), Just("'"), Just("\""), Just("/>"), Just(">"),
                Just("<"), Just("&amp;"), Just("&"), Just("#65;"), Just("x"), Just(" "), Just("]]>"), Just("<!--"),
                Just("-->"), Just("<![CDATA["), Just("<?adf ?>"), Just("<?xml version='1.0'?>"), Just("="),
            ], 0..10)
        ) {
            let text = tokens.concat();
            if check(&text, &[]).is_ok() {
                let mut reader = quick_xml::Reader::from_str(&text);
                reader.config_mut().check_end_names = true;
                loop {
                    match reader.read_event() {
                        Ok(quick_xml::events::Event::Eof) => break,
                        Ok(quick_xml::events::Event::CData(_) | quick_xml::events::Event::Comment(_)
                            | quick_xml::events::Event::DocType(_)) => prop_assert!(false, "{text}"),
                        Ok(_) => {}
                        Err(error) => prop_assert!(false, "{text}: {error}"),
                    }
                }
            }
        }
    }
}
