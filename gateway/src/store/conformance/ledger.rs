//! The ledger as a backtest reads it.

use gateway_policy::{Facts, KeptApart, Purpose, Recipient, Standing};

use super::*;

pub(super) async fn the_ledger_is_read_by_shape_and_facts(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let empty = store.ledger_after(0, 10).await.unwrap();
    assert_eq!(empty, LedgerPage { groups: Vec::new(), last: None, end: 0 });
    let of = |facts, plugin: &str, at| FlowRecord {
        facts,
        plugin: plugin.into(),
        ..flow(&consumer, &[1; 16], NOW + at)
    };
    let rows = [of(1, "a", 0), of(2, "a", 1), of(1, "a", 2), of(1, "b", 3), of(u64::MAX, "b", 4)];
    let flows = CallRecord { flows: rows.to_vec(), ..CallRecord::default() };
    assert!(store.record_call(flows).await.unwrap());
    let (mut pages, mut after) = (Vec::new(), 0);
    loop {
        let page = store.ledger_after(after, 3).await.unwrap();
        let Some(last) = page.last else { break };
        after = last;
        pages.push(page);
    }
    let seen: Vec<Vec<(u64, u64, Uid)>> = pages
        .iter()
        .map(|page| page.groups.iter().map(|group| (group.facts, group.rows, group.example)).collect())
        .collect();
    let expected =
        [vec![(1, 2, rows[0].id), (2, 1, rows[1].id)], vec![(1, 1, rows[3].id), (u64::MAX, 1, rows[4].id)]];
    assert_eq!(seen, expected);
    assert!(pages.iter().all(|page| page.end == after));
    let (mut each, mut after) = (Vec::new(), 0);
    while let Some(last) = {
        each.extend(store.ledger_rows_after(after, 3).await.unwrap());
        each.last().map(|row: &LedgerRow| row.position).filter(|last| *last > after)
    } {
        after = last;
    }
    let told: Vec<(Uid, i64, u64)> = each.iter().map(|row| (row.id, row.at_ms, row.facts)).collect();
    assert_eq!(told, rows.each_ref().map(|row| (row.id, row.at_ms, row.facts)));
    assert_eq!(each[0].shape, pages[0].groups[0].shape);
    let shape = store.flow_shape(pages[0].groups[0].shape).await.unwrap().unwrap();
    assert_eq!(
        (shape.flow, shape.recipient, shape.partner.as_str(), shape.policy),
        (rows[0].flow, rows[0].recipient, "acme-crm", rows[0].policy)
    );
    assert_eq!((shape.purpose, shape.verdicts), (rows[0].purpose.clone(), rows[0].verdicts.clone()));
    assert!(store.flow_shape(i64::MAX).await.unwrap().is_none());
    let shapes = store.flow_shapes().await.unwrap();
    assert!(shapes.len() == 2 && shapes.contains(&pages[0].groups[0].shape), "{shapes:?}");
}

pub(super) async fn rows_that_met_other_labels_are_of_another_shape(store: &dyn Store) {
    let consumer = consumer(store, "north", 1).await;
    let of = |with: &str, own_facts: Option<Facts>| {
        let mut row = flow(&consumer, &[1; 16], NOW);
        let pair = KeptApart {
            label: "first-party:user.name".parse().unwrap(),
            with: with.parse().unwrap(),
            standing: Standing { recipient: Recipient::ThirdParty, onward: false },
            granted: false,
            purpose: Purpose::parse("essential").unwrap(),
            own_facts,
        };
        row.verdicts[0].basis.kept_apart = Some(pair.into());
        row
    };
    let tier = "partner:acme-crm:user.account";
    let rows = [of(tier, None), of("first-party:user.behavior", None), of(tier, Some(Facts::none()))];
    let flows = CallRecord { flows: rows.to_vec(), ..CallRecord::default() };
    assert!(store.record_call(flows).await.unwrap());
    for row in rows {
        assert_eq!(store.flow(&row.id).await.unwrap().unwrap().verdicts, row.verdicts);
    }
}
