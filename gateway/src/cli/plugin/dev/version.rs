//! Versions of what is published while a plugin is being written: pre-releases, so that the release itself comes after
//! all of them.

use semver::{BuildMetadata, Prerelease, Version};

/// What stands before the number.
const DEV: &str = "dev";

/// The next version of a plugin whose manifest says `manifest`, beside those that are published: `1.2.0-dev.N`, or
/// where 1.2.0 is out the next patch that is not; of a pre-release `1.2.0-beta.1.dev.N`.
pub(super) fn next<'v>(manifest: &Version, published: impl Iterator<Item = &'v Version> + Clone) -> Version {
    let mut base = Version { build: BuildMetadata::EMPTY, ..manifest.clone() };
    while base.pre.is_empty() && published.clone().any(|known| known.cmp_precedence(&base).is_eq()) {
        base.patch += 1;
    }
    let before = if base.pre.is_empty() { format!("{DEV}.") } else { format!("{}.{DEV}.", base.pre) };
    let number = |known: &Version| {
        let same = (known.major, known.minor, known.patch) == (base.major, base.minor, base.patch);
        known.pre.as_str().strip_prefix(&before).filter(|_| same)?.parse::<u64>().ok()
    };
    let last = published.filter_map(number).max().unwrap_or(0);
    // Of identifiers that are valid already.
    let pre = Prerelease::new(&format!("{before}{}", last.saturating_add(1))).unwrap_or(Prerelease::EMPTY);
    Version { pre, ..base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_later_than_what_is_published_and_earlier_than_the_release() {
        for (manifest, published, expected) in [
            ("1.2.0", &[][..], "1.2.0-dev.1"),
            ("1.2.0", &["1.1.0", "2.0.0"], "1.2.0-dev.1"),
            ("1.2.0", &["1.2.0-dev.1", "1.2.0-dev.10", "1.2.0-dev.9"], "1.2.0-dev.11"),
            ("1.2.0", &["1.2.0"], "1.2.1-dev.1"),
            ("1.2.0", &["1.2.0", "1.2.1", "1.2.2-dev.4"], "1.2.2-dev.5"),
            ("1.2.0+local", &["1.2.0+other"], "1.2.1-dev.1"),
            ("1.2.0-beta.1", &["1.2.0-beta.1", "1.2.0-beta.1.dev.2"], "1.2.0-beta.1.dev.3"),
            ("1.2.0", &["1.2.0-dev.x", "1.2.0-devil.7"], "1.2.0-dev.1"),
        ] {
            let published: Vec<Version> = published.iter().map(|text| text.parse().unwrap()).collect();
            let next = next(&manifest.parse().unwrap(), published.iter());
            assert_eq!(next.to_string(), expected, "{manifest} beside {published:?}");
            assert!(!published.contains(&next));
        }
    }
}
