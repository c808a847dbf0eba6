use super::*;

fn key(property: &str) -> Key {
    Key {
        device: DeviceName::new("default", "d").unwrap(),
        kind: RowKind::Desired,
        name: property.into(),
    }
}

fn ask(saving: &mut Saving, number: u64, rows: &[(&str, &str)]) {
    let ask = Ask {
        number,
        device: 0,
        name: key("").device,
        changes: Vec::new(),
    };
    let rows = rows
        .iter()
        .map(|(name, json)| (key(name), (*json).to_owned()));
    saving.ask(ask, rows);
}

fn owners(batch: &Batch) -> Vec<u64> {
    batch.asks.iter().map(|ask| ask.number).collect()
}

fn no() -> Result<(), Arc<str>> {
    Err("full".into())
}

#[test]
fn what_comes_while_the_store_is_busy_is_one_batch_and_each_row_of_it_is_written_once() {
    let mut saving = Saving::default();
    ask(&mut saving, 1, &[("a", "1")]);
    assert_eq!(owners(saving.begin(vec![], true).unwrap()), [1]);
    ask(&mut saving, 2, &[("a", "2"), ("b", "2")]);
    ask(&mut saving, 3, &[("a", "3")]);
    assert!(saving.begin(vec![], true).is_none(), "busy");
    assert_eq!(owners(&saving.end(&Ok(()), 0).unwrap()), [1]);
    let batch = saving.begin(vec![], true).unwrap();
    assert_eq!(owners(batch), [2, 3]);
    let rows: Vec<_> = batch.asked.values().map(String::as_str).collect();
    assert_eq!(rows, ["3", "2"]);
    saving.end(&Ok(()), 0).unwrap();
    assert!(saving.begin(vec![], true).is_none(), "nothing is left");
}

#[test]
fn a_fact_that_the_store_refuses_comes_again_and_an_ask_does_not() {
    let mut saving = Saving::default();
    saving.fact(key("a"));
    ask(&mut saving, 1, &[("b", "1")]);
    saving.begin(vec![], true).unwrap();
    saving.end(&no(), 100).unwrap();
    assert_eq!(saving.refusal().map(|why| &**why), Some("full"));
    assert!(!saving.takes_facts(100) && saving.takes_facts(100 + PAUSE_MS));
    assert_eq!(saving.due(), Some(100 + PAUSE_MS));
    // Asks do not wait for the pause: they want an answer.
    ask(&mut saving, 2, &[]);
    let batch = saving.begin(vec![], false).unwrap();
    assert_eq!((owners(batch), batch.facts.len()), (vec![2], 0));
    saving.end(&no(), 200).unwrap();
    let batch = saving.begin(vec![], true).unwrap();
    assert_eq!((owners(batch), &*batch.facts), (vec![], &[key("a")][..]));
    saving.end(&Ok(()), 300).unwrap();
    assert_eq!(
        (saving.len(), saving.refusal(), saving.due()),
        (0, None, None)
    );
}

#[test]
fn an_ask_supersedes_the_fact_unless_it_is_refused() {
    let mut saving = Saving::default();
    saving.fact(key("a"));
    ask(&mut saving, 1, &[("a", "1")]);
    let batch = saving.begin(vec![], true).unwrap();
    assert_eq!((batch.asked.len(), batch.facts.len()), (1, 0));
    saving.end(&no(), 0).unwrap();
    assert!(saving.is_dirty(&key("a")));
    ask(&mut saving, 2, &[("a", "2")]);
    saving.begin(vec![], true).unwrap();
    saving.end(&Ok(()), 0).unwrap();
    saving.settle(&key("a"));
    assert_eq!(saving.len(), 0);
}

#[test]
fn a_device_is_forgotten_before_its_name_has_rows_again() {
    let mut saving = Saving::default();
    saving.fact(key("a"));
    saving.forget("default/d".to_owned());
    assert!(!saving.is_dirty(&key("a")), "its row goes with it");
    let batch = saving.begin(vec![], true).unwrap();
    assert_eq!(
        (&*batch.forgotten, batch.facts.len()),
        (&["default/d".to_owned()][..], 0)
    );
    saving.end(&no(), 0).unwrap();
    // The store is left alone with facts, yet somebody asks for the new one.
    ask(&mut saving, 1, &[("a", "1")]);
    let batch = saving.begin(vec![], false).unwrap();
    assert_eq!((batch.asked.len(), batch.forgotten.len()), (1, 1));
}

#[test]
fn there_is_room_for_so_many_asks() {
    let mut saving = Saving::default();
    for number in 0..MOST_ASKS as u64 {
        assert!(saving.has_room());
        ask(&mut saving, number, &[("a", "1")]);
    }
    assert!(!saving.has_room());
    saving.begin(vec![], true).unwrap();
    assert!(saving.has_room(), "the store has those");
}
