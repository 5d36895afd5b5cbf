//! What a demo shows beside what flowed: an offer that combines, a combination that is refused, an opt-out.

use std::io::Write as _;
use std::path::Path;

use gateway_tests::events::{event, with};
use gateway_tests::{child, world};
use serde_json::{Value, json};

use crate::{demo, reconciled};

/// What a demo prints.
fn printed(arguments: &[&str], input: Option<&Path>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = child::command(dir.path());
    command.args(["demo", "--once"]).args(arguments);
    if let Some(input) = input {
        command.arg("--input").arg(input);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Looks for each part behind the one before it.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not where it should be: {text}"));
        rest = &rest[at + part.len()..];
    }
}

const OFFER: [&str; 3] = [
    "1. A combined offer. After a purchase the banner offers 5 % for everybody",
    "% for members. The answer carries partner:gold-club:user.account",
    "first-party:user.behavior.purchase_history",
];
const REFUSED: [&str; 2] = [
    "2. A combination that is not granted.",
    "/total (first-party:user.behavior.purchase_history) would meet loyalty-offer `decide coupon-banner` /partner/member/tier (partner:gold-club:user.account) (clause:integrations.combine)",
];
const OPT_OUT: &str = "3. An opt-out. The member opts out of loyalty-offer, and the next answer is none";

/// Without `--input`, with it, and with `--all`; on real events where they are.
#[test]
fn a_combined_offer_a_refused_combination_and_an_opt_out_are_shown_in_this_order() {
    let plain = printed(&[], None);
    let with_input = demo::runs().into_iter().map(|run| run.text.as_str());
    let with_all = reconciled::runs().iter().map(|run| run.text.as_str());
    for text in with_all.chain(with_input).chain([plain.as_str()]) {
        let last = ["\"failed\":0},\"violations\":0"];
        let parts = [&["What flowed"][..], &OFFER[..], &REFUSED[..], &[OPT_OUT][..], &last[..]].concat();
        assert_in_order(text, &parts);
    }
}

/// One purchase in the input, and whether two of the scenes can be played on it.
#[test]
fn a_scene_that_no_purchase_fits_is_said_to_be_left_out_and_the_others_are_shown() {
    let bought = event(
        "purchase.completed",
        world::NORTHSIDE,
        "ada-1",
        json!({ "order": "o-1", "items": [{ "name": "Van", "quantity": 1 }], "total": 640, "currency": "EUR" }),
    );
    let with_dnt = with(bought.clone(), [("dnt", json!(true))]);
    let elsewhere = with(bought.clone(), [("brand", json!(world::DENTAL))]);
    let inside_with_gpc = with(bought, [("region", json!("EU")), ("gpc", json!(true))]);
    const OF_NONE: &str = "Left out: no purchase in the input fits.";
    let left_out =
        [&["1. A combined offer.", OF_NONE][..], &REFUSED[..], &["3. An opt-out.", OF_NONE][..]].concat();
    let played = [&OFFER[..], &REFUSED[..], &[OPT_OUT][..]].concat();
    for (arguments, purchase, parts) in [
        (&[][..], &with_dnt, &left_out),
        (&["--all"][..], &elsewhere, &left_out),
        (&[][..], &inside_with_gpc, &played),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{purchase}").unwrap();
        let text = printed(arguments, Some(file.path()));
        assert_in_order(&text, parts);
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["events"], &last["violations"]), (&json!(1), &json!(0)), "{purchase}");
    }
}
