//! Rows as a gateway wrote them, and what the command finds under another policy.

use gateway_policy::{Access, Basis, Clause, Fact, FieldVerdict, Label, Reason, Standing};

use super::*;
use crate::boundary::PolicyBook;
use crate::store::crypto::new_uid;
use crate::store::{CallRecord, FlowRecord, SqliteStore};

const NOW: i64 = 1_700_000_000_000;

fn row(at: i64, facts: &[Fact], fields: &[(&str, Verdict)]) -> FlowRecord {
    let verdict = |(category, verdict): &(&str, Verdict)| FieldVerdict {
        field: "/field".into(),
        access: Access::Read,
        labels: [format!("first-party:{category}").parse::<Label>().unwrap()].into(),
        verdict: *verdict,
        basis: Basis::of([Standing { recipient: Recipient::ThirdParty, onward: false }]),
    };
    FlowRecord {
        id: new_uid(NOW + at),
        at_ms: NOW + at,
        stage: Stage::Call,
        flow: Flow::Share,
        recipient: Recipient::ThirdParty,
        brand: "north".into(),
        plugin: "adf-lead".into(),
        partner: "acme-crm".into(),
        release: [1; 32],
        policy: Sha256::digest(PolicyBook::SHIPPED).into(),
        purpose: "essential.service.operations.support".into(),
        consumer: [2; 16],
        event: [3; 16],
        event_type: "chat.ended".into(),
        verdicts: fields.iter().map(verdict).collect(),
        facts: facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)).to_bits(),
        outcome: "ran".into(),
        endpoint: None,
        delivery: None,
        attempt: 0,
        payload: None,
        fuel: 0,
        micros: 0,
        memory: 0,
        spent: vec![],
        result: None,
    }
}

#[tokio::test]
async fn every_flip_of_the_ledger_is_listed_both_ways_with_its_clause_and_example() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("gateway.db")).await.unwrap();
    let clause = |id: &str| Clause::parse(id).unwrap();
    let allow = Verdict::allow(clause("integrations.share"));
    let content = Verdict::withhold(Reason::Clause(clause("share.content")));
    let engaged = [Fact::BrandDirected, Fact::Engaged];
    let rows: Vec<FlowRecord> = (0..6)
        .map(|at| match at {
            // Not granted: no policy changes that.
            0 => row(0, &engaged, &[("user.content.private", Verdict::withhold(Reason::NotGranted))]),
            1 | 2 => row(at, &engaged, &[("user.contact.email", allow), ("user.content.private", content)]),
            _ => row(at, &engaged, &[("user.device", allow)]),
        })
        .collect();
    let call = CallRecord { flows: rows.clone(), ..CallRecord::default() };
    assert!(store.record_call(call).await.unwrap());
    let old = Rules::parse(PolicyBook::SHIPPED).unwrap();
    let known = HashMap::from([(rows[0].policy, old)]);
    // Content may go; what tells a device may not.
    let new = PolicyBook::SHIPPED
        .replace("content-needs-permission = \"strict\"", "content-needs-permission = \"loose\"")
        + "\n[[rule]]\neffect = 'forbid'\nflow = ['share']\nrecipient = ['third-party']\n\
           category = ['user.device']\nclause = 'choice.location'\n";
    let new = Rules::parse(&new).unwrap();
    let mut found = read(&store, &Versions::of(&new, &known)).await.unwrap();
    assert_eq!((found.rows, found.fields, found.flipped, found.fields_open), (6, 8, 5, 0));
    let listing = dir.path().join("flips.jsonl");
    let listed =
        Listing::at(&listing).unwrap().write(&store, &mut found, &Versions::of(&new, &known)).await.unwrap();
    let lines = std::fs::read_to_string(&listing).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let flows: Vec<_> = lines.iter().map(|line| line["id"].clone()).collect();
    assert_eq!(flows, rows[1..].iter().map(|row| json!(format_uid(&row.id))).collect::<Vec<_>>());
    assert_eq!((listed, lines[0]["fields"].as_array().unwrap().len()), (5, 1), "{lines:?}");
    let told = found.as_json(&new, 0.0);
    let flips = told["flips"].as_array().unwrap();
    let seen: Vec<_> = flips
        .iter()
        .map(|flip| (flip["from"].as_str().unwrap(), flip["to"].as_str().unwrap(), flip["rows"].as_u64()))
        .collect();
    let expected = [
        ("allow: clause:integrations.share", "withhold: clause:choice.location", Some(3)),
        ("withhold: clause:share.content", "allow: clause:integrations.share", Some(2)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(flips[1]["examples"], json!([format_uid(&rows[1].id)]));
    let shipped = Rules::parse(PolicyBook::SHIPPED).unwrap();
    let same = read(&store, &Versions::of(&shipped, &known)).await.unwrap();
    assert!(same.as_text(&new, 0.0).contains("nothing flips"));
    store.close().await;
}

/// Allowed fields that a new policy would keep from meeting: sealed in one request, in two calls, and a call
/// that was refused.
#[tokio::test]
async fn what_rows_do_not_record_is_listed_as_open_by_what_it_is_and_by_clause() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("gateway.db")).await.unwrap();
    let allow = Verdict::allow(Clause::parse("integrations.share").unwrap());
    let combine = Verdict::withhold(Reason::Clause(Clause::parse("integrations.combine").unwrap()));
    let engaged = [Fact::BrandDirected, Fact::Engaged];
    let (bought, email, tier) = ("user.behavior", "user.contact.email", "user.account");
    let sealed = |mut row: FlowRecord| {
        row.verdicts.iter_mut().for_each(|field| field.access = Access::Sealed);
        row
    };
    let both = [(bought, allow), (email, allow)];
    let delivery = FlowRecord { stage: Stage::Delivery, ..sealed(row(0, &engaged, &both)) };
    let refused = FlowRecord { outcome: REFUSED.0.into(), ..sealed(row(2, &engaged, &[(tier, allow)])) };
    let mut met = row(3, &engaged, &[(tier, combine)]);
    met.verdicts[0].basis.met = true;
    let rows = vec![delivery, row(1, &engaged, &[(email, allow)]), refused, met];
    let policy = rows[0].policy;
    let call = CallRecord { flows: rows, ..CallRecord::default() };
    assert!(store.record_call(call).await.unwrap());
    let known = HashMap::from([(policy, Rules::parse(PolicyBook::SHIPPED).unwrap())]);
    let apart = |category: &str| {
        let rule = format!(
            "\n[[rule]]\neffect = 'forbid'\nflow = ['combine']\nrecipient = ['third-party']\n\
             category = ['{category}']\nwith = ['user.behavior']\nclause = 'cookies.third-party-analytics'\n"
        );
        Rules::parse(&format!("{}{rule}", PolicyBook::SHIPPED)).unwrap()
    };
    let (went, stays) =
        ("allow: clause:integrations.share", "withhold: clause:cookies.third-party-analytics");
    let was = "withhold: clause:integrations.combine";
    for (new, flips, open) in [
        (
            apart(email),
            &[(went, stays, 1)][..],
            // Neither of the two in the request; and the one alone where the partner had nothing of the kind.
            &[("earlier", went, stays, 1)][..],
        ),
        (
            apart(tier),
            &[],
            &[("earlier", went, stays, 2), ("met", was, went, 1), ("refused", REFUSED.0, "-", 1)],
        ),
        (Rules::parse(PolicyBook::SHIPPED).unwrap(), &[], &[]),
    ] {
        let found = read(&store, &Versions::of(&new, &known)).await.unwrap();
        let told = found.as_json(&new, 0.0);
        let of = |list: &str| -> Vec<(String, String, String, u64)> {
            let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let all = told[list].as_array().unwrap().iter();
            all.map(|one| {
                (word(one, "why"), word(one, "from"), word(one, "to"), one["rows"].as_u64().unwrap())
            })
            .collect()
        };
        let owned = |(why, from, to, rows): (&str, &str, &str, u64)| {
            (why.to_owned(), from.to_owned(), to.to_owned(), rows)
        };
        let expected: Vec<_> = flips.iter().map(|(from, to, rows)| owned(("", from, to, *rows))).collect();
        assert_eq!(of("flips"), expected, "{told}");
        let expected: Vec<_> = open.iter().map(|one| owned(*one)).collect();
        assert_eq!(of("open"), expected, "{told}");
        let text = found.as_text(&new, 0.0);
        assert!(open.iter().all(|(why, ..)| text.contains(&format!("\n{why} "))), "{text}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_row_that_does_not_say_how_its_recipient_stood_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("gateway.db")).await.unwrap();
    let allow = Verdict::allow(Clause::parse("integrations.share").unwrap());
    let mut lacking = row(0, &[Fact::BrandDirected], &[("user.device", allow)]);
    lacking.verdicts[0].basis = Basis::default();
    let call = CallRecord { flows: vec![lacking], ..CallRecord::default() };
    assert!(store.record_call(call).await.unwrap());
    let rules = Rules::parse(PolicyBook::SHIPPED).unwrap();
    let error = read(&store, &Versions::of(&rules, &HashMap::new())).await.err().unwrap();
    assert!(error.to_string().contains("how recipients stood"), "{error}");
    store.close().await;
}
