//! `gateway policy backtest` over the ledger of a running gateway: what it lists is what flips, row by row.

use std::collections::BTreeMap;

use gateway::boundary::PolicyBook;
use gateway_tests::{TestGateway, child, events, world};
use serde_json::{Value, json};

/// What tells how to reach somebody stays with the brand and its service providers.
const STRICTER: &str = "\n[[rule]]\neffect = 'forbid'\nflow = ['share']\nrecipient = ['third-party']\n\
                        category = ['user.contact']\nclause = 'share.content'\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_flow_that_flips_is_listed_with_its_fields_and_no_other() {
    let gateway = TestGateway::demo().await;
    for (brand, subject) in [(world::NORTHSIDE, "ada"), (world::NORTHSIDE, "ben"), (world::DENTAL, "cleo")] {
        gateway.source(brand).await.post_event(&events::chat_ended(brand, subject)).await.expect(202);
    }
    gateway.settled().await;
    let dir = tempfile::tempdir().unwrap();
    let (own, new, list) =
        (dir.path().join("own.toml"), dir.path().join("new.toml"), dir.path().join("flips.jsonl"));
    std::fs::write(&own, format!("database = {:?}\n", gateway.database())).unwrap();
    std::fs::write(&new, format!("{}{STRICTER}", PolicyBook::SHIPPED)).unwrap();
    let output = tokio::process::Command::from(child::command(dir.path()))
        .args(["policy", "backtest", "--format", "json", "--config"])
        .args([&own, &new])
        .arg("--list")
        .arg(&list)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();

    let rows = gateway.auditor().await.flows("").await;
    let reaches = |field: &&Value| {
        let labels = field["labels"].as_array().unwrap().iter().zip(field["standing"].as_array().unwrap());
        let contact = labels.filter(|(label, _)| label.as_str().unwrap().contains(":user.contact"));
        field["decision"] == "allow"
            && contact.into_iter().any(|(_, standing)| standing["recipient"] == "third-party")
    };
    let expected: BTreeMap<String, Vec<&Value>> = rows
        .iter()
        .filter(|row| row["flow"] == "share")
        .map(|row| (row, row["fields"].as_array().unwrap().iter().filter(reaches).collect::<Vec<_>>()))
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(row, fields)| (row["id"].as_str().unwrap().to_owned(), fields))
        .collect();
    // A call and a delivery of each of the two, whose partner is a third party.
    assert_eq!(expected.len(), 4, "{rows:?}");

    let lines = std::fs::read_to_string(&list).unwrap();
    let listed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&told["listed"], &told["rows_that_flip"]), (&json!(listed.len()), &json!(4)), "{told}");
    let listed: BTreeMap<String, &Value> =
        listed.iter().map(|line| (line["id"].as_str().unwrap().to_owned(), line)).collect();
    assert_eq!(listed.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (id, fields) in &expected {
        let told = listed[id]["fields"].as_array().unwrap();
        let names = |fields: &mut dyn Iterator<Item = &Value>| -> Vec<Value> {
            fields.map(|field| field["field"].clone()).collect()
        };
        assert_eq!(names(&mut told.iter()), names(&mut fields.iter().copied()), "{}", listed[id]);
        for field in told {
            assert_eq!(
                (&field["to"], &field["open"]),
                (&json!("withhold: clause:share.content"), &json!(null))
            );
        }
    }
}
