//! What devices do that the specification does not have, and that it costs no value.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use longshore_sdk::{CommandKind, Protocol, Reason, SampleValue, Status};
use serde_json::{Value, json};

use super::{
    odd::{Act, Odd, Registers},
    rig::Rig,
};
use crate::Modbus;

fn points(addresses: &[u16]) -> Vec<(u32, &'static str, Value)> {
    let point = |at: &u16| {
        (
            u32::from(*at),
            "INT",
            json!({"address": format!("hr:{at}")}),
        )
    };
    addresses.iter().map(point).collect()
}

fn value_of(at: u32) -> SampleValue {
    SampleValue::Int(100 + i64::from(at))
}

async fn discover(odd: &Odd, registers: &str) -> (usize, Vec<String>, Vec<String>) {
    let request = json!({"url": odd.url(), "units": 1, "registers": registers, "timeoutMs": 60});
    let found = Modbus::default()
        .discover(request.as_object().expect("an object"))
        .await
        .expect("the bus is there");
    let names = found.devices.iter().flat_map(|device| &device.properties);
    let names = names.map(|property| property.name.clone()).collect();
    (found.devices.len(), names, found.notes)
}

/// Registers 10 to 12 are not there. Whatever the device says to that, and be it
/// nothing: what is there is read, nobody is offline, and it is not asked for again
/// all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_costs_no_neighbour_whatever_the_device_says_to_it() {
    for says in [Some(1), Some(2), Some(3), Some(4), Some(6), Some(16), None] {
        let registers = Registers::new(60);
        let odd = Odd::start(move |asked| {
            let is_hole = asked.pdu[0] == 3 && asked.span().any(|at| (10..13).contains(&at));
            match (is_hole, says) {
                (false, _) => asked.answered(&registers.answer(asked)),
                (true, Some(code)) => asked.refused(code),
                (true, None) => Vec::new(),
            }
        });
        let rig = Rig::new();
        let protocol = json!({"url": odd.url(), "timeoutMs": 100});
        rig.configure(1, &protocol, 50, &points(&[0, 5, 11, 20, 40]));
        for at in [0, 5, 20, 40] {
            rig.wait_value(at, &value_of(at));
        }
        rig.wait("the hole to be told", |record| !record.bad.is_empty());
        rig.wait_samples(20, 5);
        let before = odd.requests(3).len();
        rig.wait_samples(20, 10);
        let each = (odd.requests(3).len() - before) as f64 / 10.0;
        assert!(each <= 6.0, "{says:?}: {each} requests in each period");
        rig.look(|record| {
            assert_eq!(record.outages, 0, "{says:?}: {:?}", record.logs);
            let of_others = record.bad.iter().find(|(point, ..)| *point != 11);
            assert_eq!(of_others, None, "{says:?}");
            let (_, reason, message) = &record.bad[0];
            assert_eq!(*reason, Some(Reason::Refused), "{message}");
            assert!(
                message.contains("holding register 11 (0x000B on the wire)"),
                "{message}"
            );
            let told = record
                .logs
                .iter()
                .filter(|line| line.contains("read in parts"));
            let told: Vec<_> = told.collect();
            assert_eq!(told.len(), 1, "{says:?}: {told:?}");
            assert!(told[0].contains("`gapFill: 0`") && told[0].contains("`maxRegisters`"));
        });
        rig.stop();
        let (devices, names, notes) = discover(&odd, "hr:0-29").await;
        assert_eq!((devices, names.len()), (1, 27), "{says:?}: {names:?}");
        assert!(!names.contains(&"holding11".to_owned()));
        let is_told = notes
            .iter()
            .any(|note| note.contains("3 of the holding registers"));
        assert_eq!(is_told, says.is_none(), "{notes:?}");
    }
}

/// At most ten registers in one request, and no word about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_found_out() {
    for says in [Some(3), Some(2), None] {
        let registers = Registers::new(60);
        let odd = Odd::start(move |asked| match says {
            _ if asked.pdu[0] != 3 || asked.span().len() <= 10 => {
                asked.answered(&registers.answer(asked))
            }
            Some(code) => asked.refused(code),
            None => Vec::new(),
        });
        let rig = Rig::new();
        let all: Vec<u16> = (0..60).collect();
        rig.configure(
            1,
            &json!({"url": odd.url(), "timeoutMs": 60}),
            50,
            &points(&all),
        );
        for at in 0..60 {
            rig.wait_value(at, &value_of(at));
        }
        rig.wait_samples(0, 10);
        let before = odd.requests(3).len();
        rig.wait_samples(0, 10);
        let each = (odd.requests(3).len() - before) as f64 / 10.0;
        assert!(
            (6.0..=15.0).contains(&each),
            "{says:?}: {each} in each period"
        );
        rig.look(|record| {
            assert_eq!(record.bad, [], "{says:?}");
            assert_eq!(record.outages, 0);
        });
    }
}

/// One unit behind a gateway that is dead is offline as ever, and soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_unit_is_not_taken_for_a_hole() {
    let odd = Odd::start(|_| Vec::new());
    let rig = Rig::new();
    let begin = Instant::now();
    rig.configure(
        1,
        &json!({"url": odd.url(), "timeoutMs": 100}),
        50,
        &points(&[0, 5, 20]),
    );
    rig.wait_online(1, false);
    assert!(begin.elapsed() < Duration::from_secs(5));
    rig.look(|record| assert!(record.online[&1].1.contains("within 100 ms")));
    assert_eq!(discover(&odd, "hr:0-9").await.0, 0);
}

/// The device hangs up behind each answer, says more than it should, or answers
/// only every third time: each block is read all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_hangs_up_is_read_without_a_gap() {
    type Manner = fn(u32, Vec<Act>) -> Vec<Act>;
    let manners: [(&str, Manner); 4] = [
        ("closes", |_, mut acts| {
            acts.push(Act::Close);
            acts
        }),
        ("two more bytes", |_, mut acts| {
            acts.push(Act::Send(vec![0, 0]));
            acts
        }),
        ("a text behind", |_, mut acts| {
            acts.push(Act::Send(b"OK, that was all of it\r\n".to_vec()));
            acts
        }),
        ("closes in place of each third", |count, acts| {
            if count % 3 == 2 {
                vec![Act::Close]
            } else {
                acts
            }
        }),
    ];
    for (name, manner) in manners {
        let registers = Registers::new(200);
        let count = AtomicU32::new(0);
        let odd = Odd::start(move |asked| {
            let count = count.fetch_add(1, Ordering::Relaxed);
            manner(count, asked.answered(&registers.answer(asked)))
        });
        let rig = Rig::new();
        let places = [0, 40, 80, 120];
        rig.configure(
            1,
            &json!({"url": odd.url(), "timeoutMs": 500}),
            50,
            &points(&places),
        );
        for at in places {
            rig.wait_samples(u32::from(at), 15);
        }
        let written = rig.write(1, 0, SampleValue::Int(7));
        let is_done = written.status == Status::Ok;
        assert!(
            is_done || name.starts_with("closes in"),
            "{name}: {written:?}"
        );
        rig.look(|record| {
            assert_eq!(record.bad, [], "{name}");
            assert_eq!(record.outages, 0, "{name}: {:?}", record.logs);
            let samples: Vec<_> = places.map(|at| record.counts[&u32::from(at)]).to_vec();
            let (most, least) = (samples.iter().max(), samples.iter().min());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 3)
            );
        });
        rig.stop();
        if name == "closes" {
            let (devices, names, _) = discover(&odd, "hr:0-9").await;
            assert_eq!((devices, names.len()), (1, 10));
        }
    }
}

/// A write that went out is not sent twice, whatever becomes of the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_is_sent_once() {
    let registers = Registers::new(10);
    let odd = Odd::start(move |asked| {
        let answer = registers.answer(asked);
        if asked.pdu[0] == 6 {
            vec![Act::Close]
        } else {
            asked.answered(&answer)
        }
    });
    let rig = Rig::new();
    rig.configure(1, &json!({"url": odd.url()}), 50, &points(&[0]));
    rig.wait_samples(0, 3);
    let written = rig.write(1, 0, SampleValue::Int(7));
    assert!(
        !matches!(written.status, Status::Ok | Status::Refused),
        "{written:?}"
    );
    rig.wait_value(0, &SampleValue::Int(7));
    assert_eq!(odd.requests(6).len(), 1);
}

/// `close` makes room for others: the connection is not there between two cycles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_closed_as_the_device_wants_it() {
    for (close, each) in [("afterCycle", 1), ("afterRequest", 3), ("never", 0)] {
        let plc = super::rig::simulator().start().await;
        let rig = Rig::new();
        let protocol = json!({"url": format!("tcp://{}", plc.addr()), "close": close});
        let three = [(1, "hr:0"), (2, "ir:0"), (3, "co:0:4")];
        let three = three.map(|(id, at)| (id, "INT", json!({"address": at})));
        rig.configure(1, &protocol, 200, &three);
        rig.wait_samples(1, 2);
        let before = plc.line().connections;
        rig.wait_samples(3, 5);
        let connections = plc.line().connections - before;
        let range = each * 4..=each * 6 + 1;
        assert!(range.contains(&connections), "{close}: {connections}");
        rig.look(|record| assert_eq!((record.outages, record.bad.len()), (0, 0)));
        if close != "never" {
            let deadline = Instant::now() + Duration::from_secs(10);
            while plc.line().open > 0 {
                assert!(Instant::now() < deadline, "{close}: it stays open");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

/// A gateway that numbers its answers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_a_gateway_are_told_and_may_be_anything() {
    let registers = Registers::new(10);
    let odd = Odd::start(move |asked| {
        let answer = registers.answer(asked);
        asked.framed(asked.transaction.swap_bytes() | 0x4000, asked.unit, &answer)
    });
    let rig = Rig::new();
    let protocol = json!({"url": odd.url(), "timeoutMs": 100});
    rig.configure(1, &protocol, 50, &points(&[0]));
    rig.wait_online(1, false);
    rig.look(|record| {
        let message = &record.online[&1].1;
        assert!(message.contains("answers bear transaction "), "{message}");
        assert!(message.contains(", not ") && message.contains("`anyTransactionId: true`"));
        assert!(!record.values.contains_key(&0));
    });
    rig.stop();
    let rig = Rig::new();
    let protocol = json!({"url": odd.url(), "timeoutMs": 100, "anyTransactionId": true});
    rig.configure(1, &protocol, 50, &points(&[0]));
    rig.wait_samples(0, 10);
    rig.write_ok(1, 0, SampleValue::Int(3));
    rig.look(|record| assert_eq!((record.outages, record.bad.len()), (0, 0)));
}

/// With any transaction a late answer must not become that of the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_any_transaction_a_late_answer_is_nobody_s() {
    let registers = Registers::new(200);
    let count = AtomicU32::new(0);
    let odd = Odd::start(move |asked| {
        if count.fetch_add(1, Ordering::Relaxed) % 7 == 6 {
            // No sleep for luck: the answer comes behind the timeout of 100 ms.
            std::thread::sleep(Duration::from_millis(150));
        }
        asked.framed(9, asked.unit, &registers.answer(asked))
    });
    let rig = Rig::new();
    let protocol = json!({"url": odd.url(), "timeoutMs": 100, "anyTransactionId": true});
    rig.configure(1, &protocol, 40, &points(&[0, 100]));
    rig.wait_samples(0, 25);
    rig.wait_samples(100, 25);
    rig.look(|record| {
        for at in [0, 100] {
            let all: Vec<_> = record.history[&at].iter().cloned().collect();
            assert_eq!(all, [format!("{:?}", value_of(at))]);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_another_unit_are_told_once() {
    let registers = Registers::new(10);
    let odd =
        Odd::start(move |asked| asked.framed(asked.transaction, 255, &registers.answer(asked)));
    let rig = Rig::new();
    rig.configure(1, &json!({"url": odd.url(), "unit": 3}), 50, &points(&[0]));
    rig.wait_samples(0, 5);
    rig.look(|record| {
        let told = record
            .logs
            .iter()
            .filter(|line| line.contains("answers to unit 3 bear unit 255"));
        assert_eq!(told.count(), 1, "{:?}", record.logs);
    });
}

/// What the device answers to a write is what it has done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_taken_at_its_word() {
    let registers = Registers::new(10);
    let held = registers.clone();
    let odd = Odd::start(move |asked| {
        let answer = registers.answer(asked);
        match asked.pdu[0] {
            // It takes 100 at most.
            6 if asked.pdu[2] == 1 && registers.get(1) > 100 => {
                registers.set(1, 100);
                asked.answered(&[6, 0, 1, 0, 100])
            }
            // It answers another address.
            6 if asked.pdu[2] == 2 => asked.answered(&[6, 0, 0, asked.pdu[3], asked.pdu[4]]),
            // It sends the whole of function 16 back.
            16 => asked.answered(asked.pdu),
            _ => asked.answered(&answer),
        }
    });
    let rig = Rig::new();
    let mut all = points(&[1, 2]);
    all.push((3, "INT", json!({"address": "hr:3", "rawType": "int32"})));
    rig.configure(1, &json!({"url": odd.url()}), 50, &all);
    let clamped = rig.write(1, 1, SampleValue::Int(106));
    assert_eq!(clamped.status, Status::Refused, "{clamped:?}");
    assert!(
        clamped
            .message
            .contains("the device took 100 in place of 106"),
        "{clamped:?}"
    );
    rig.write_ok(1, 1, SampleValue::Int(99));
    rig.write_ok(1, 2, SampleValue::Int(7));
    rig.write_ok(1, 3, SampleValue::Int(70_000));
    assert_eq!(
        (held.get(1), held.get(2), held.get(4)),
        (99, 7, 70_000_u32 as u16)
    );
    assert_eq!((odd.requests(6).len(), odd.requests(16).len()), (3, 1));
}

/// Busy is asked again, at work is awaited; neither is written more often than need be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_busy_or_at_work_is_awaited() {
    let registers = Registers::new(10);
    let count = AtomicU32::new(0);
    let begun = std::sync::Mutex::new(None::<(Instant, u16)>);
    let odd = Odd::start(move |asked| match (asked.pdu[0], asked.pdu[2]) {
        (6, 1) if count.fetch_add(1, Ordering::Relaxed) < 2 => asked.refused(6),
        (6, 2) => {
            let value = u16::from_be_bytes([asked.pdu[3], asked.pdu[4]]);
            *begun.lock().expect("no panic") = Some((Instant::now(), value));
            asked.refused(5)
        }
        (3, 2) => {
            let begun = begun.lock().expect("no panic");
            if let Some((at, value)) = *begun
                && at.elapsed() > Duration::from_millis(200)
            {
                registers.set(2, value);
            }
            asked.answered(&registers.answer(asked))
        }
        // Never done.
        (6, 3) => asked.refused(5),
        _ => asked.answered(&registers.answer(asked)),
    });
    let rig = Rig::new();
    rig.configure(
        1,
        &json!({"url": odd.url(), "timeoutMs": 600}),
        0,
        &points(&[1, 2, 3]),
    );
    rig.write_ok(1, 1, SampleValue::Int(5));
    assert_eq!(odd.requests(6).len(), 3);
    rig.write_ok(1, 2, SampleValue::Int(6));
    assert_eq!(odd.requests(6).len(), 4);
    let pending = rig.write(1, 3, SampleValue::Int(6));
    assert!(
        !matches!(pending.status, Status::Ok | Status::Refused),
        "{pending:?}"
    );
    assert!(pending.message.contains("exception 5"), "{pending:?}");
    assert_eq!(odd.requests(6).len(), 5);
}

/// Function 22 is refused by any code, or nothing is said to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bits_are_written_whatever_a_device_says_to_function_22() {
    for says in [Some(1), Some(2), Some(3), Some(4), None] {
        let registers = Registers::new(10);
        let held = registers.clone();
        let odd = Odd::start(move |asked| match (asked.pdu[0], says) {
            (0x16, Some(code)) => asked.refused(code),
            (0x16, None) => Vec::new(),
            _ => asked.answered(&registers.answer(asked)),
        });
        let rig = Rig::new();
        let bit = json!({"address": "hr:1.9"});
        let by = |function: &str| json!({"address": "hr:1.10", "writeFunction": function});
        let all = [
            (1, "BOOLEAN", bit),
            (2, "BOOLEAN", by("multiple")),
            (3, "BOOLEAN", by("mask")),
        ];
        rig.configure(1, &json!({"url": odd.url(), "timeoutMs": 100}), 0, &all);
        rig.write_ok(1, 1, SampleValue::Bool(true));
        assert_eq!(held.get(1), 101 | 1 << 9, "{says:?}");
        rig.write_ok(1, 1, SampleValue::Bool(false));
        assert_eq!(
            odd.requests(0x16).len(),
            1,
            "{says:?}: it is not tried again"
        );
        rig.write_ok(1, 2, SampleValue::Bool(true));
        assert_eq!((held.get(1), odd.requests(16).len()), (101 | 1 << 10, 1));
        let only = rig.write(1, 3, SampleValue::Bool(false));
        assert_ne!(only.status, Status::Ok, "mask forbids the others");
        assert_eq!((odd.requests(6).len(), odd.requests(16).len()), (2, 1));
    }
}

/// Twelve settings that a device takes only together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_that_belong_together_are_written_together() {
    let registers = Registers::new(20);
    let held = registers.clone();
    let odd = Odd::start(move |asked| {
        let is_whole = asked.pdu[0] == 16 && asked.span() == (3..15);
        match asked.pdu[0] {
            6 | 16 if !is_whole => asked.refused(4),
            _ => asked.answered(&registers.answer(asked)),
        }
    });
    let rig = Rig::new();
    let in_block = |at: &str| json!({"address": at, "writeBlock": "hr:0x3:12"});
    let all = [
        (1, "INT", in_block("hr:7")),
        (2, "INT", in_block("hr:8.8:8")),
    ];
    rig.configure(1, &json!({"url": odd.url()}), 0, &all);
    rig.write_ok(1, 1, SampleValue::Int(1420));
    rig.write_ok(1, 2, SampleValue::Uint(1));
    assert_eq!(
        (held.get(6), held.get(7), held.get(8), held.get(9)),
        (106, 1420, 0x016C, 109)
    );
    let read = rig.command(1, CommandKind::Read { point: 1 });
    assert_eq!(read.status, Status::Ok);
    assert_eq!(
        rig.look(|record| record.values[&1].clone()),
        SampleValue::Int(1420)
    );
}

/// An adapter that hears itself is noticed by its reads; what a write gets is the
/// device's answer and not the echo. A slow answer behind it comes in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_hears_itself_is_got_over() {
    for (key, after) in [(None, 20), (None, 250), (Some(true), 150)] {
        let registers = Registers::new(20);
        let held = registers.clone();
        let port = super::odd::echoing(registers, Duration::from_millis(after));
        let rig = Rig::new();
        let mut protocol = json!({"url": format!("rtu+tcp://127.0.0.1:{port}")});
        if let Some(key) = key {
            protocol["echo"] = json!(key);
        }
        let mut all = points(&[1, 9]);
        all.push((2, "INT", json!({"address": "hr:2", "rawType": "int32"})));
        rig.configure(1, &protocol, 300, &all);
        rig.wait_value(1, &value_of(1));
        rig.write_ok(1, 1, SampleValue::Int(7));
        rig.write_ok(1, 2, SampleValue::Int(70_000));
        assert_eq!((held.get(1), held.get(3)), (7, 70_000_u32 as u16));
        rig.wait_value(1, &SampleValue::Int(7));
        rig.wait_samples(9, 2);
        rig.look(|record| {
            assert_eq!(record.bad, [], "{key:?} after {after} ms");
            assert_eq!(record.outages, 0);
        });
    }
}
