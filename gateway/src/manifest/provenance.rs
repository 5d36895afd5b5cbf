//! Where a component comes from, as its build says: a second custom section beside the manifest. It is its partner's
//! own statement; nothing is decided by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::component::{EmbedError, MAX_COMPONENT_BYTES, Outline, append_section};
use super::problem::Problem;

/// The custom section of the outer component that holds the provenance.
pub const PROVENANCE_SECTION: &str = "integration-provenance";
/// Octets of that section's content.
pub const MAX_PROVENANCE_BYTES: usize = 4 * 1024;

/// The language that a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Rust,
    JavaScript,
    Python,
}

impl Language {
    /// As the provenance writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }
}

/// What a component was built from. Of JavaScript and Python two builds differ, as their tools keep a running
/// interpreter; by this they can be told to be of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    pub language: Language,
    /// SHA-256 over the source tree, in lower-case hexadecimal.
    pub source: String,
    /// SHA-256 of the lock file, in lower-case hexadecimal.
    pub lock: String,
    /// Versions of what built it, by name.
    pub tools: BTreeMap<String, String>,
}

impl Provenance {
    /// JSON without spaces, keys sorted.
    pub fn canonical(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value.sort_all_objects();
        value.to_string()
    }

    fn is_well_formed(&self) -> bool {
        let digest = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        digest(&self.source)
            && digest(&self.lock)
            && self.tools.iter().all(|(name, version)| plain(name) && plain(version))
    }
}

/// Appends the provenance to the outer component, as its only section of that name.
///
/// # Errors
/// See [`EmbedError`].
pub fn embed_provenance(component: &[u8], provenance: &Provenance) -> Result<Vec<u8>, EmbedError> {
    let outline = Outline::read(component);
    if outline.malformed {
        return Err(EmbedError::Malformed);
    }
    if !outline.provenances.is_empty() || outline.nested_provenances > 0 {
        return Err(EmbedError::AlreadyEmbedded);
    }
    let text = provenance.canonical();
    let bytes = append_section(component, PROVENANCE_SECTION, text.as_bytes());
    if text.len() > MAX_PROVENANCE_BYTES || bytes.len() > MAX_COMPONENT_BYTES {
        return Err(EmbedError::TooLarge);
    }
    Ok(bytes)
}

/// The provenance of a component that a build of this machine made; `None` where it has none that can be read.
pub fn provenance_of(component: &[u8]) -> Option<Provenance> {
    read_provenance(&Outline::read(component)).ok().flatten()
}

/// At most one, of the outer component, small and well-formed.
pub(super) fn read_provenance(outline: &Outline<'_>) -> Result<Option<Provenance>, Problem> {
    if outline.nested_provenances > 0 {
        return Err(Problem::new(
            "nested-provenance",
            "component",
            format!("a module or component inside holds a `{PROVENANCE_SECTION}` section"),
            "keep one, of the outer component",
        ));
    }
    let text = match outline.provenances.as_slice() {
        [] => return Ok(None),
        [text] => *text,
        _ => {
            return Err(Problem::new(
                "several-provenances",
                "component",
                format!("the component has more than one `{PROVENANCE_SECTION}` section"),
                "embed the provenance once",
            ));
        }
    };
    let read = (text.len() <= MAX_PROVENANCE_BYTES).then(|| serde_json::from_slice::<Provenance>(text).ok());
    match read.flatten().filter(Provenance::is_well_formed) {
        Some(provenance) => Ok(Some(provenance)),
        None => Err(Problem::new(
            "bad-provenance",
            "component",
            format!(
                "the `{PROVENANCE_SECTION}` section is not JSON of at most {MAX_PROVENANCE_BYTES} bytes with `language`, \
                 `source`, `lock` and `tools`"
            ),
            "embed it with `gateway plugin build`, or leave it out",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::component::tests::{COMPONENT_HEADER, around_module, built, found, section_named};
    use super::super::component::{inspect, leb128};
    use super::*;

    const SHARE_AND_DECIDE: &str =
        "include integration:plugin/share-plugin@0.1.0; include integration:plugin/decide-plugin@0.1.0;";

    fn provenance() -> Provenance {
        Provenance {
            language: Language::Python,
            source: "a".repeat(64),
            lock: "0".repeat(64),
            tools: BTreeMap::from([("python".to_owned(), "3.11.2".to_owned())]),
        }
    }

    #[test]
    fn what_is_embedded_is_what_is_read() {
        let plain = built(SHARE_AND_DECIDE);
        assert_eq!(inspect(&plain).unwrap().provenance, None);
        let bytes = embed_provenance(&plain, &provenance()).unwrap();
        assert_eq!(inspect(&bytes).unwrap().provenance, Some(provenance()));
        assert_eq!(provenance_of(&bytes), Some(provenance()));
        assert_eq!(embed_provenance(&bytes, &provenance()), Err(EmbedError::AlreadyEmbedded));
        assert_eq!(embed_provenance(b"\0asm", &provenance()), Err(EmbedError::Malformed));
        let mut long = provenance();
        long.tools.insert("x".into(), "1".repeat(MAX_PROVENANCE_BYTES));
        assert_eq!(embed_provenance(&plain, &long), Err(EmbedError::TooLarge));
    }

    #[test]
    fn what_no_build_embeds_is_refused() {
        let plain = built(SHARE_AND_DECIDE);
        let good = provenance().canonical();
        let one = section_named(PROVENANCE_SECTION, good.as_bytes());
        let nested = around_module(&one);
        let mut component = vec![4];
        component.extend(leb128(nested.len()));
        component.extend_from_slice(&nested);
        assert!(nested.starts_with(COMPONENT_HEADER));
        let long = format!("{good}{}", " ".repeat(MAX_PROVENANCE_BYTES));
        let cases: [(&str, Vec<u8>); 7] = [
            ("several-provenances", [one.as_slice(), &one].concat()),
            ("nested-provenance", component),
            ("bad-provenance", section_named(PROVENANCE_SECTION, b"{}")),
            ("bad-provenance", section_named(PROVENANCE_SECTION, b"\xff")),
            ("bad-provenance", section_named(PROVENANCE_SECTION, long.as_bytes())),
            (
                "bad-provenance",
                section_named(PROVENANCE_SECTION, good.replace(&"a".repeat(64), "A").as_bytes()),
            ),
            ("bad-provenance", section_named(PROVENANCE_SECTION, good.replace("python", "cobol").as_bytes())),
        ];
        for (code, more) in cases {
            let codes: Vec<_> =
                found(&[plain.as_slice(), &more].concat()).into_iter().map(|(code, _)| code).collect();
            assert_eq!(codes, [code]);
        }
    }
}
