//! Devices that talk by themselves and have no value now: an overload, or other
//! messages than those that a property waits for.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use longshore_sdk::{Reason, SampleValue};
use serde_json::{Value, json};

use super::rig::Rig;

/// A serial server behind which somebody says the same again and again.
struct Talker {
    address: SocketAddr,
    text: Arc<Mutex<Vec<u8>>>,
    over: Arc<AtomicBool>,
}

impl Talker {
    fn new(text: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let talker = Self {
            address: listener.local_addr().expect("an address"),
            text: Arc::new(Mutex::new(text.to_vec())),
            over: Arc::default(),
        };
        let (text, over) = (Arc::clone(&talker.text), Arc::clone(&talker.over));
        thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            while !over.load(Ordering::Relaxed) {
                let said = text.lock().expect("the text").clone();
                if stream.write_all(&said).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        talker
    }

    fn says(&self, text: &[u8]) {
        *self.text.lock().expect("the text") = text.to_vec();
    }

    fn protocol(&self) -> Value {
        json!({"url": format!("tcp://{}", self.address), "stream": true, "silentAfter": "400ms",
               "framing": {"line": {"delimiter": "\r\n"}}, "refused": "OL,{message}"})
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn points() -> Vec<(u32, &'static str, Value)> {
    let set = "X{value}";
    vec![
        (
            1,
            "DOUBLE",
            json!({"response": "{},{value:float} g", "set": set}),
        ),
        (2, "STRING", json!({"match": "??,", "field": 0, "set": set})),
        // It would take the number of an overload for a weight.
        (
            3,
            "DOUBLE",
            json!({"match": "??,", "field": 1, "separator": "+", "rawType": "float", "set": set}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overload_takes_the_weight_away_and_is_told() {
    let scale = Talker::new(b"ST,+00123.45  g\r\n");
    let rig = Rig::new();
    let mut points = points();
    points.pop();
    rig.configure(1, &scale.protocol(), 5000, &points);
    rig.wait_value(1, &SampleValue::Float(123.45));
    rig.wait_value(2, &SampleValue::String("ST".to_owned()));
    // Sooner than its interval: what is refused is told at once.
    scale.says(b"OL,+99999999E+19\r\n");
    rig.wait("the overload to be told", |record| {
        record.bad.iter().any(|(point, reason, message)| {
            *point == 1 && *reason == Some(Reason::Refused) && message == "+99999999E+19"
        })
    });
    rig.look(|record| assert!(record.online[&1].0, "it talks"));
    scale.says(b"ST,+00007.50  g\r\n");
    rig.wait_value(1, &SampleValue::Float(7.5));
    rig.stop();
}

/// A status that is read as a text says `OL` itself, and a number in a refusal is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_no_number_and_may_be_a_text() {
    let scale = Talker::new(b"OL,+99999999E+19\r\n");
    let rig = Rig::new();
    rig.configure(1, &scale.protocol(), 40, &points());
    rig.wait_value(2, &SampleValue::String("OL".to_owned()));
    rig.wait("the number to be refused", |record| {
        record
            .bad
            .iter()
            .any(|(point, reason, _)| *point == 3 && *reason == Some(Reason::Refused))
    });
    rig.look(|record| {
        assert!(!record.counts.contains_key(&1), "no weight");
        assert!(!record.counts.contains_key(&3), "no weight");
    });
    rig.stop();
}

/// Without `refused`: what does not come any more is not known any more, and
/// the error shows what comes in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_property_that_is_silent_while_others_come() {
    let scale = Talker::new(b"ST,+00123.45  g\r\n");
    let rig = Rig::new();
    let mut protocol = scale.protocol();
    protocol.as_object_mut().expect("keys").remove("refused");
    let weight = json!({"response": "ST,{value:float} g", "set": "X{value}"});
    let status = json!({"response": "{value:text},{}", "set": "X{value}"});
    // It may stay away for ever.
    let key = json!({"response": "KEY {value:int}", "silentAfter": 0, "set": "X{value}"});
    let points = [
        (1, "DOUBLE", weight),
        (2, "STRING", status),
        (3, "INT", key),
    ];
    rig.configure(1, &protocol, 40, &points);
    rig.wait_value(1, &SampleValue::Float(123.45));
    scale.says(b"US,+00123.45  g\r\nHELLO\r\n");
    rig.wait("the weight to be missed", |record| {
        record.bad.iter().any(|(point, reason, message)| {
            *point == 1
                && *reason == Some(Reason::Timeout)
                && message.contains(
                    "no message that holds it has come for 0.4 s; `HELLO` comes and is none",
                )
        })
    });
    rig.wait_value(2, &SampleValue::String("US".to_owned()));
    rig.look(|record| {
        assert!(
            record.bad.iter().all(|(point, ..)| *point == 1),
            "{:?}",
            record.bad
        );
        assert!(record.online[&1].0, "it talks");
    });
    scale.says(b"ST,+00001.00  g\r\n");
    rig.wait_value(1, &SampleValue::Float(1.0));
    rig.stop();
}
