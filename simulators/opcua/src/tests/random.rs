//! Whatever comes in, the server answers or refuses, and goes on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use longshore_sim_world::{Clock, World};

use crate::binary::Writer;
use crate::channel::Channel;
use crate::core::{Core, Session};
use crate::node_id::NodeId;
use crate::scenario::Scenario;
use crate::service::Service;
use crate::subscription::Subscription;
use crate::time::Now;

const TEXT: &str = "
objects:
  - name: O
    variables:
      - {name: A, value: [1, 2, 3], writable: true}
      - {name: B, value: text, writable: true}
    methods: [{name: M, inputs: [{name: x, type: double}]}]
";

fn server(now: Now) -> (Core, u32) {
    let scenario = Scenario::parse("test", TEXT).expect("a scenario");
    let world = World::new(&scenario.world, Clock::manual()).expect("a world");
    let mut core = Core::new(scenario, &world).expect("a server");
    let number = core.number();
    core.sessions.insert(
        number,
        Session {
            connection: 1,
            activated: true,
            timeout: Duration::from_secs(60),
            last: now.instant,
            publish: VecDeque::new(),
            rests: BTreeMap::new(),
        },
    );
    (core, number)
}

/// A request with a right header, and anything behind it.
fn request(random: &mut fastrand::Rng, id: u32, session: u32) -> Vec<u8> {
    let mut w = Writer::default();
    w.node_id(&NodeId::standard(id));
    w.node_id(&NodeId::number(1, session));
    w.i64(0);
    w.u32(7);
    w.u32(0);
    w.nothing();
    w.u32(0);
    w.no_structure();
    for _ in 0..random.usize(..20) {
        match random.u8(..10) {
            0 => w.node_id(&NodeId::text(
                1,
                ["O", "O.A", "O.B", "O.M"][random.usize(..4)],
            )),
            1 => w.string(["", "0", "1:2", "2:1", "1:18446744073709551615"][random.usize(..5)]),
            2 => w.u32(random.u32(..20)),
            3 => w.f64([0.0, -1.0, f64::NAN, f64::INFINITY, 100.0][random.usize(..5)]),
            4 => w.u32(random.u32(..)),
            5 => w.nothing(),
            6 => w.no_structure(),
            7 => w.u8(random.u8(..)),
            8 => w.length(1),
            // An array of Bytes with dimensions that do not fit.
            _ => w.bytes.extend([
                0xC3, 1, 0, 0, 0, 9, 2, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
            ]),
        }
    }
    w.bytes
}

/// All services but CloseSession, which would end the test's reach.
const REQUESTS: [u32; 24] = [
    422, 428, 461, 467, 479, 527, 533, 554, 560, 566, 631, 673, 712, 751, 763, 769, 781, 787, 793,
    799, 826, 832, 841, 847,
];

#[test]
fn requests_of_any_content_are_answered_or_refused() {
    let now = Now::read();
    let (mut core, session) = server(now);
    let mut random = fastrand::Rng::with_seed(4840);
    for round in 0..30_000_u32 {
        // One that the small numbers of requests hit now and then; the others
        // would only grow in number.
        core.subscriptions.retain(|number, _| *number == 5);
        core.subscriptions
            .entry(5)
            .or_insert_with(|| Subscription::new(session, Duration::from_secs(1), now.instant));
        core.sessions.retain(|number, _| *number == session);
        let id = REQUESTS[random.usize(..REQUESTS.len())];
        let body = request(&mut random, id, session);
        core.request(1, round, &body, now);
        core.tick(now);
        let later = Service::from_request(id) == Some(Service::Publish);
        assert!(later || !core.out.is_empty(), "no answer to {body:02x?}");
        core.out.clear();
    }
    assert!(core.record.counts.len() >= REQUESTS.len());
}

#[test]
fn bytes_of_any_content_break_no_more_than_their_connection() {
    let now = Now::read();
    let mut random = fastrand::Rng::with_seed(4841);
    for _ in 0..3_000 {
        let mut channel = Channel::new(1);
        for _ in 0..random.usize(1..6) {
            let kind = [b"HELF", b"OPNF", b"MSGF", b"MSGC", b"CLOF", b"XYZF"][random.usize(..6)];
            let body: Vec<u8> = (0..random.usize(..80)).map(|_| random.u8(..4)).collect();
            let size = (8 + body.len()) as u32;
            let space = channel.space();
            space.extend_from_slice(kind);
            space.extend_from_slice(&size.to_le_bytes());
            space.extend_from_slice(&body);
        }
        while let Ok(Some(_)) = channel.next(now) {}
    }
}
