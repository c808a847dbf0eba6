//! Devices that do what users' devices do and the specification does not have,
//! from plain sockets.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What a device does with a request.
pub(super) enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Ends the connection.
    Close,
}

/// A request as it came.
pub(super) struct Asked<'a> {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    pub(super) pdu: &'a [u8],
}

impl Asked<'_> {
    /// First address and count of a read.
    pub(super) fn span(&self) -> std::ops::Range<u16> {
        let word = |at: usize| u16::from_be_bytes([self.pdu[at], self.pdu[at + 1]]);
        word(1)..word(1) + word(3)
    }

    /// A frame with another transaction and unit.
    pub(super) fn framed(&self, transaction: u16, unit: u8, pdu: &[u8]) -> Vec<Act> {
        let mut frame = transaction.to_be_bytes().to_vec();
        frame.extend([0, 0]);
        frame.extend((pdu.len() as u16 + 1).to_be_bytes());
        frame.push(unit);
        frame.extend_from_slice(pdu);
        vec![Act::Send(frame)]
    }

    pub(super) fn answered(&self, pdu: &[u8]) -> Vec<Act> {
        self.framed(self.transaction, self.unit, pdu)
    }

    pub(super) fn refused(&self, code: u8) -> Vec<Act> {
        self.answered(&[self.pdu[0] | 0x80, code])
    }
}

/// Holding registers that answer functions 3, 6 and 16.
#[derive(Clone)]
pub(super) struct Registers(Arc<Mutex<BTreeMap<u16, u16>>>);

impl Registers {
    /// So many of them, each 100 more than its number.
    pub(super) fn new(count: u16) -> Self {
        let all = (0..count).map(|at| (at, 100 + at));
        Self(Arc::new(Mutex::new(all.collect())))
    }

    pub(super) fn get(&self, at: u16) -> u16 {
        self.0.lock().expect("no panic")[&at]
    }

    pub(super) fn set(&self, at: u16, value: u16) {
        self.0.lock().expect("no panic").insert(at, value);
    }

    pub(super) fn answer(&self, asked: &Asked<'_>) -> Vec<u8> {
        let pdu = asked.pdu;
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        match pdu[0] {
            3 => {
                let words = asked.span().flat_map(|at| self.get(at).to_be_bytes());
                let words: Vec<u8> = words.collect();
                [&[3, words.len() as u8], &words[..]].concat()
            }
            6 => {
                self.set(word(1), word(3));
                pdu.to_vec()
            }
            16 => {
                for index in 0..word(3) {
                    self.set(word(1) + index, word(6 + 2 * usize::from(index)));
                }
                pdu[..5].to_vec()
            }
            other => vec![other | 0x80, 1],
        }
    }
}

/// A device on loopback; it ends with the test.
pub(super) struct Odd {
    port: u16,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Odd {
    pub(super) fn start(act: impl Fn(&Asked<'_>) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (act, requests) = (Arc::new(act), Arc::<Mutex<Vec<_>>>::default());
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (act, seen) = (Arc::clone(&act), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &*act, &seen));
            }
        });
        Self { port, requests }
    }

    pub(super) fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The PDUs that came, by their function.
    pub(super) fn requests(&self, function: u8) -> Vec<Vec<u8>> {
        let all = self.requests.lock().expect("no panic");
        all.iter()
            .filter(|pdu| pdu[0] == function)
            .cloned()
            .collect()
    }
}

fn serve(mut stream: TcpStream, act: &dyn Fn(&Asked<'_>) -> Vec<Act>, seen: &Mutex<Vec<Vec<u8>>>) {
    let mut head = [0; 7];
    while stream.read_exact(&mut head).is_ok() {
        let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
        if stream.read_exact(&mut pdu).is_err() {
            return;
        }
        seen.lock().expect("no panic").push(pdu.clone());
        let asked = Asked {
            transaction: u16::from_be_bytes([head[0], head[1]]),
            unit: head[6],
            pdu: &pdu,
        };
        for act in act(&asked) {
            let done = match act {
                Act::Send(bytes) => stream.write_all(&bytes),
                Act::Close => stream.shutdown(Shutdown::Both),
            };
            if done.is_err() {
                return;
            }
        }
    }
}

/// An RTU device behind an adapter that hears itself: the request comes back at once,
/// the answer later. Over TCP, which is the same bytes.
pub(super) fn echoing(registers: Registers, after: std::time::Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let registers = registers.clone();
            thread::spawn(move || {
                let mut bytes = [0; 512];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let request = &bytes[..count];
                    let asked = Asked {
                        transaction: 0,
                        unit: request[0],
                        pdu: &request[1..count - 2],
                    };
                    let mut answer = vec![asked.unit];
                    answer.extend(registers.answer(&asked));
                    answer.extend(crate::frame::crc(&answer).to_le_bytes());
                    // In two parts, as a serial line may bring them.
                    let (first, second) = request.split_at(3);
                    for part in [first, second] {
                        if stream.write_all(part).is_err() {
                            return;
                        }
                    }
                    thread::sleep(after);
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}
