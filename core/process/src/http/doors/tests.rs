use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    strangers: 4,
    address: 3,
    identity: 2,
    stranger_wait: Duration::from_secs(10),
    known_wait: Duration::from_secs(90),
    young: Duration::from_secs(1),
};

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn enter(doors: &mut Doors, last: u8, now: Instant) -> Ticket {
    match doors.knock(address(last), now) {
        Knock::In(ticket) | Knock::Instead { ticket, .. } => ticket,
        Knock::Refused(why) => panic!("refused: {why}"),
    }
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn silent_strangers_keep_nobody_out() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let silent: Vec<_> = (0..4).map(|n| enter(&mut doors, n, start)).collect();
    let refused = Knock::Refused(Full::Strangers);
    assert_eq!(doors.knock(address(9), start), refused, "they are young");
    assert_eq!(doors.ready(start), after(start, 1), "so it waits outside");
    let now = after(start, 1);
    assert_eq!(doors.ready(now), now);
    let Knock::Instead { ticket, of } = doors.knock(address(9), now) else {
        panic!("the oldest makes room");
    };
    assert_eq!(of, silent[0]);
    assert_eq!(doors.known(ticket, "admin", now), Welcome::Stays);
    assert_eq!(doors.count(), (4, 3), "it takes no place of a stranger");
}

#[test]
fn who_shook_hands_and_asks_for_nothing_makes_room_however_young() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let crowd: Vec<_> = (0..3).map(|_| enter(&mut doors, 1, start)).collect();
    doors.shook(crowd[1]);
    doors.shook(crowd[2]);
    doors.begins(crowd[1]);
    let Knock::Instead { of, .. } = doors.knock(address(1), start) else {
        panic!("one that waits makes room");
    };
    assert_eq!(of, crowd[2], "not one at its handshake, nor one that asks");
    let refused = Knock::Refused(Full::Address);
    assert_eq!(doors.knock(address(1), start), refused);
}

#[test]
fn an_address_has_its_share_and_displaces_only_itself() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let other = enter(&mut doors, 1, start);
    for _ in 0..3 {
        enter(&mut doors, 2, start);
    }
    assert_eq!(
        doors.knock(address(2), start),
        Knock::Refused(Full::Address)
    );
    let Knock::Instead { of, .. } = doors.knock(address(2), after(start, 2)) else {
        panic!("one of the same address makes room");
    };
    assert_ne!(of, other);
    let net = |text: &str| block(text.parse().unwrap());
    assert_eq!(net("2001:db8::1"), net("2001:db8::2:0:0:1"));
    assert_ne!(net("2001:db8::1"), net("2001:db8:0:1::1"));
    assert_eq!(net("::ffff:192.0.2.1"), address(1));
}

#[test]
fn who_waits_without_a_request_goes_and_who_is_busy_stays() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let silent = enter(&mut doors, 1, start);
    let watching = enter(&mut doors, 2, start);
    let idle = enter(&mut doors, 3, start);
    doors.known(watching, "kubectl", start);
    doors.known(idle, "hub", start);
    doors.begins(watching);
    assert_eq!(doors.next_overdue(), Some(after(start, 10)));
    assert_eq!(doors.overdue(after(start, 9)), []);
    assert_eq!(doors.overdue(after(start, 10)), [silent]);
    doors.begins(idle);
    doors.ends(idle, after(start, 50));
    assert_eq!(doors.overdue(after(start, 139)), []);
    assert_eq!(doors.overdue(after(start, 140)), [idle]);
    assert_eq!(doors.next_overdue(), None, "a watch is not idle");
    doors.ends(watching, after(start, 1000));
    assert_eq!(doors.overdue(after(start, 1090)), [watching]);
    assert_eq!(doors.count(), (0, 0));
}

#[test]
fn an_identity_has_its_share() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let mine: Vec<_> = (0..3).map(|_| enter(&mut doors, 1, start)).collect();
    doors.known(mine[0], "evil", start);
    doors.known(mine[1], "evil", start);
    doors.begins(mine[0]);
    assert_eq!(
        doors.known(mine[2], "evil", start),
        Welcome::Instead(mine[1])
    );
    doors.begins(mine[2]);
    let one_more = enter(&mut doors, 1, start);
    assert_eq!(doors.known(one_more, "evil", start), Welcome::Goes);
    doors.left(one_more);
    doors.left(one_more);
    let good = enter(&mut doors, 1, start);
    assert_eq!(doors.known(good, "good", start), Welcome::Stays);
}

#[test]
fn a_house_full_of_idle_guests_lets_the_next_one_in() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let mut tickets = Vec::new();
    for n in 0..8 {
        let ticket = enter(&mut doors, n, start);
        doors.known(ticket, &format!("node {n}"), start);
        tickets.push(ticket);
    }
    doors.begins(tickets[0]);
    assert_eq!(doors.ready(start), start);
    let Knock::Instead { of, .. } = doors.knock(address(9), start) else {
        panic!("an idle one makes room");
    };
    assert_eq!(of, tickets[1]);
}

/// Whatever comes in whatever order, no bound is passed and no count is lost.
#[test]
fn no_order_of_events_passes_a_bound() {
    let start = Instant::now();
    let mut doors = Doors::new(LIMITS);
    let (mut inside, mut seed) = (Vec::<Ticket>::new(), 7_u64);
    for step in 0..20_000_u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (what, which) = ((seed >> 33) % 6, (seed >> 40) as usize);
        let now = start + Duration::from_millis(step * 200);
        let picked = inside.get(which % inside.len().max(1)).copied();
        match (what, picked) {
            (0 | 1, _) => match doors.knock(address((which % 5) as u8), now) {
                Knock::In(ticket) => inside.push(ticket),
                Knock::Instead { ticket, of } => {
                    inside.retain(|one| *one != of);
                    inside.push(ticket);
                }
                Knock::Refused(_) => {}
            },
            (2, Some(ticket)) => match doors.known(ticket, ["a", "b", "c"][which % 3], now) {
                Welcome::Stays => {}
                Welcome::Instead(of) => inside.retain(|one| *one != of),
                Welcome::Goes => {
                    doors.left(ticket);
                    inside.retain(|one| *one != ticket);
                }
            },
            (3, Some(ticket)) => doors.begins(ticket),
            (4, Some(ticket)) => doors.ends(ticket, now),
            (5, Some(ticket)) => {
                doors.left(ticket);
                inside.retain(|one| *one != ticket);
            }
            _ => {}
        }
        for gone in doors.overdue(now) {
            inside.retain(|one| *one != gone);
        }
        let (all, strangers) = doors.count();
        assert_eq!(all, inside.len());
        assert!(all <= LIMITS.connections && strangers <= LIMITS.strangers);
        assert!(doors.by_address.values().all(|n| *n <= LIMITS.address));
        assert!(doors.by_identity.values().all(|n| *n <= LIMITS.identity));
        let waiting = doors.waiting[STRANGERS].len() + doors.waiting[KNOWN].len();
        let idle = doors.guests.values().filter(|guest| guest.busy == 0);
        assert_eq!(waiting, idle.count());
    }
}
