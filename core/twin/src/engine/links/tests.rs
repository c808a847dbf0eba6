use super::*;

fn info(name: &str, protocol: &str, pushes: bool) -> MapperInfo {
    MapperInfo {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        pushes,
    }
}

/// One mapper, and where bugs are told.
fn one() -> (Links, Arc<Dangling>) {
    let dangling = Arc::new(Dangling::default());
    let links = Links::new(vec![info("m", "modbus", false)], dangling.clone());
    (links, dangling)
}

/// A mapper that died and is back.
fn back_again() -> Links {
    let (mut links, _) = one();
    links.up(0);
    links.down(0, "killed".into(), false, 10_000);
    links.up(0);
    links
}

#[test]
fn one_that_starts_in_time_is_not_missed() {
    let (mut links, _) = one();
    assert!(!links.is_up(0));
    assert_eq!(links.absent(0).as_deref(), Some("the mapper is starting"));
    assert_eq!(links.outage(0, OUTAGE_MS - 1), None);
    assert_eq!(links.up(0), CameUp::Anew);
    assert!(links.is_up(0) && links.absent(0).is_none());
    assert_eq!(links.outage(0, 10 * OUTAGE_MS), None);
}

#[test]
fn one_that_does_not_start_is_missed_once() {
    let (mut links, _) = one();
    let why = "mapper m: the mapper is starting".to_owned();
    assert_eq!(links.outage(0, OUTAGE_MS), Some(why));
    assert_eq!(links.outage(0, 10 * OUTAGE_MS), None);
    assert_eq!(links.up(0), CameUp::Anew);
}

#[test]
fn one_that_dies_is_missed_after_a_while() {
    let (mut links, _) = one();
    links.up(0);
    links.down(0, "killed".into(), false, 10_000);
    assert_eq!(links.absent(0).as_deref(), Some("killed"));
    assert_eq!(links.outage(0, 9_999 + OUTAGE_MS), None);
    // Dying again does not begin the time anew; the last reason is told.
    links.down(0, "killed twice".into(), false, 11_000);
    let why = "mapper m: killed twice".to_owned();
    assert_eq!(links.outage(0, 10_000 + OUTAGE_MS), Some(why));
    assert_eq!(links.outage(0, 99_000), None);
    // From here on it is a new absence.
    links.down(0, "still".into(), false, 20_000);
    assert!(links.outage(0, 20_000 + OUTAGE_MS).is_some());
}

#[test]
fn being_up_again_means_little_until_a_device_is_heard_of() {
    let mut links = back_again();
    assert!(links.is_up(0));
    let why = "mapper m: killed".to_owned();
    assert_eq!(links.outage(0, 10_000 + OUTAGE_MS), Some(why));

    let mut links = back_again();
    links.heard(0);
    assert_eq!(links.outage(0, 10_000 + OUTAGE_MS), None);
    // Its next death is missed from then on.
    links.down(0, "killed".into(), false, 20_000);
    assert_eq!(links.outage(0, 19_999 + OUTAGE_MS), None);
    assert!(links.outage(0, 20_000 + OUTAGE_MS).is_some());
}

#[test]
fn a_late_reading_does_not_make_up_for_a_mapper_that_is_gone() {
    let (mut links, _) = one();
    links.up(0);
    links.down(0, "killed".into(), false, 10_000);
    links.heard(0);
    assert!(!links.is_up(0));
    assert!(links.outage(0, 10_000 + OUTAGE_MS).is_some());
}

#[test]
fn another_version_takes_over_unless_it_takes_too_long() {
    let (mut links, _) = one();
    links.up(0);
    links.down(0, "renewed".into(), true, 10_000);
    assert_eq!(links.up(0), CameUp::HandedOver);
    // Coming up is told once.
    assert_eq!(links.up(0), CameUp::Anew);

    links.down(0, "renewed".into(), true, 20_000);
    assert!(links.outage(0, 20_000 + OUTAGE_MS).is_some());
    assert_eq!(links.up(0), CameUp::Anew);

    links.down(0, "renewed".into(), true, 30_000);
    links.down(0, "killed".into(), false, 30_001);
    assert_eq!(links.up(0), CameUp::Anew);
}

#[test]
fn only_one_that_is_not_up_excuses_itself() {
    let (mut links, _) = one();
    let said = |links: &mut Links, why| {
        links
            .excuse(0, why, false, 100)
            .as_deref()
            .map(str::to_owned)
    };
    assert_eq!(said(&mut links, "no file").as_deref(), Some("no file"));
    assert_eq!(said(&mut links, "no file"), None);
    assert_eq!(said(&mut links, ""), None);
    links.up(0);
    assert_eq!(said(&mut links, "nonsense"), None);
    links.down(0, "killed".into(), false, 10_000);
    // Not expected back: it is missed at once, and once only.
    assert!(links.excuse(0, "gave up", true, 10_001).is_some());
    let why = "mapper m: gave up".to_owned();
    assert_eq!(links.outage(0, 10_001), Some(why));
    assert!(links.excuse(0, "for good", true, 10_002).is_some());
    assert_eq!(links.outage(0, 90_000), None);
}

#[test]
fn what_is_under_way_goes_with_the_mapper() {
    let (mut links, dangling) = one();
    assert!(!links.queue(0, 5) && !links.takes_writes(0));
    links.up(0);
    assert!(links.queue(0, 5) && links.takes_writes(0));
    let (a, b) = (links.token(), links.token());
    assert!(a != b);
    assert!(links.sent(0, a, What::Configure(5)) && links.sent(0, b, What::Point(7)));
    assert_eq!((links.holder(a), links.queued(0)), (Some(0), 1));
    assert_eq!(links.ended(0, a), Some(What::Configure(5)));
    assert_eq!(links.ended(0, a), None);
    links.down(0, "killed".into(), false, 1);
    assert_eq!(
        (links.ended(0, b), links.holder(b), links.queued(0)),
        (None, None, 0)
    );
    links.up(0);
    assert!(!links.awaits(0, b));
    assert_eq!(dangling.count(), 0);
}

#[test]
fn so_much_is_under_way_and_no_more() {
    let (mut links, _) = one();
    links.up(0);
    for device in 0..=CONFIGURES_UNDER_WAY as u32 {
        links.queue(0, device);
    }
    let mut tokens = Vec::new();
    while let Some(device) = links.next_to_configure(0) {
        let token = links.token();
        links.sent(0, token, What::Configure(device));
        tokens.push(token);
    }
    assert_eq!((tokens.len(), links.queued(0)), (CONFIGURES_UNDER_WAY, 1));
    links.ended(0, tokens[0]);
    assert_eq!(
        links.next_to_configure(0),
        Some(CONFIGURES_UNDER_WAY as u32)
    );
    let mut first = None;
    while links.takes_writes(0) {
        let token = links.token();
        links.sent(0, token, What::Point(1));
        first = first.or(Some(token));
    }
    links.ended(0, first.unwrap());
    assert!(links.takes_writes(0));
}

#[test]
fn a_mapper_that_is_not_there_is_told() {
    let (mut links, dangling) = one();
    assert!(!links.knows(1, &info("n", "knx", false)));
    assert_eq!(dangling.count(), 0);
    assert!(!links.is_up(1));
    assert_eq!(dangling.count(), 1);
    let token = links.token();
    assert!(!links.sent(0, token, What::Remove));
    assert_eq!(dangling.count(), 2);
}

#[test]
fn a_protocol_finds_its_mapper() {
    let (mut links, _) = one();
    links.know(1, info("modbus", "other", false), 0);
    links.know(2, info("knx", "knx-ip", true), 0);
    assert_eq!(links.of_protocol("modbus"), Some(0));
    assert_eq!(links.of_protocol("knx"), Some(2));
    assert_eq!(links.of_protocol("bacnet"), None);
    assert!(links.pushes("KNX-IP") && !links.pushes("modbus"));
    links.know(0, info("m", "bacnet", false), 0);
    assert_eq!(links.of_protocol("modbus"), Some(1));
    assert!(links.knows(0, &info("m", "bacnet", false)));
}

#[test]
fn what_nobody_looked_at_is_kept_until_somebody_does() {
    let (mut links, _) = one();
    assert!(!links.has_unchecked(0));
    links.leave_unchecked(0, 4);
    links.leave_unchecked(0, 2);
    links.leave_unchecked(0, 3);
    links.checked(0, 3);
    links.up(0);
    assert!(links.has_unchecked(0));
    assert_eq!(links.take_unchecked(0), BTreeSet::from([2, 4]));
    assert!(!links.has_unchecked(0));
}
