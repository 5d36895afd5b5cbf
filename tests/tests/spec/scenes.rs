//! What a demo shows beside what flowed: an offer that combines, a combination that is refused, an opt-out.

use gateway_tests::child;

use crate::reconciled;

/// What a demo prints without anything said.
fn plain() -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = child::command(dir.path()).args(["demo", "--once"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_combined_offer_a_refused_combination_and_an_opt_out_are_shown_in_this_order() {
    let plain = plain();
    let with_all = reconciled::runs().iter().map(|run| run.text.as_str());
    for text in with_all.chain([plain.as_str()]) {
        let mut rest = text;
        for part in [
            "What flowed",
            "1. A combined offer. After a purchase the banner offers 5 % for everybody",
            "% for members. The answer carries partner:gold-club:user.account",
            "first-party:user.behavior.purchase_history",
            "2. A combination that is not granted.",
            "/total (first-party:user.behavior.purchase_history) would meet loyalty-offer `decide coupon-banner` /partner/member/tier (partner:gold-club:user.account) (clause:integrations.combine)",
            "3. An opt-out. The member opts out of loyalty-offer, and the next answer is none",
            "\"failed\":0},\"violations\":0",
        ] {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not where it should be: {text}"));
            rest = &rest[at + part.len()..];
        }
    }
}
