//! The ledger as a backtest reads it.

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
    let shape = store.flow_shape(pages[0].groups[0].shape).await.unwrap().unwrap();
    assert_eq!(
        (shape.flow, shape.recipient, shape.partner.as_str(), shape.policy),
        (rows[0].flow, rows[0].recipient, "acme-crm", rows[0].policy)
    );
    assert_eq!((shape.purpose, shape.verdicts), (rows[0].purpose.clone(), rows[0].verdicts.clone()));
    assert!(store.flow_shape(i64::MAX).await.unwrap().is_none());
}
