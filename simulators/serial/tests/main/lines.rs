//! What the devices do with each fault, byte for byte.

use std::time::{Duration, Instant};

use longshore_sim_serial::{Fault, FaultRule, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long against anything that should happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What does not come in this time does not come.
const QUIET: Duration = Duration::from_millis(100);

const TWO: &str = "
world: {signals: {a: {setpoint: {initial: 1, min: 0, max: 9}}, t: {setpoint: {initial: -20.5}}}}
units:
  - unit: 1
    refusal: NO
    answers:
      - {request: 'A {a}', response: OK}
      - {request: 'A?', response: 'A={a}'}
      - {request: 'RESET', set: {a: 1}, response: OK}
";

async fn start(scenario: &str) -> (Simulator, TcpStream) {
    let mut simulator = Simulator::new("test.yaml", scenario).expect("a scenario");
    let address = simulator.tcp(None, "127.0.0.1:0".parse().expect("an address"));
    let stream = TcpStream::connect(address.await.expect("bound")).await;
    (simulator, stream.expect("connected"))
}

/// Sends a request and compares what comes, however slow the machine is. What
/// comes beyond it would stand in the way of the next one.
async fn ask(stream: &mut TcpStream, request: &[u8], wanted: impl AsRef<[u8]>) {
    let wanted = wanted.as_ref();
    stream.write_all(request).await.expect("sent");
    let mut answer = vec![0; wanted.len()];
    let reading = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    let end = reading.unwrap_or_else(|_| panic!("waited in vain for {wanted:02x?}"));
    end.unwrap_or_else(|error| panic!("{error} in place of {wanted:02x?}"));
    assert_eq!(answer, wanted, "the answer to {request:02x?}");
    if wanted.is_empty() {
        let nothing = timeout(QUIET, stream.read_u8()).await;
        assert!(!matches!(nothing, Ok(Ok(_))), "an answer to {request:02x?}");
    }
}

#[tokio::test]
async fn requests_set_and_refuse() {
    let (simulator, mut stream) = start(TWO).await;
    ask(&mut stream, b"a?\r\n", b"A=1\r\n").await;
    ask(&mut stream, b"A 7\nA?\n", b"OK\r\nA=7\r\n").await;
    ask(&mut stream, b"A 10\n", b"NO\r\n").await;
    ask(&mut stream, b"A?\n", b"A=7\r\n").await;
    ask(&mut stream, b"what\n", b"").await;
    ask(&mut stream, b"RESET\n", b"OK\r\n").await;
    assert_eq!(simulator.world().value("a"), Some(1.0));
    assert_eq!(simulator.count(1).requests, 6);
    assert_eq!(simulator.requests().len(), 7);
}

#[tokio::test]
async fn faults_are_what_they_say() {
    let (simulator, mut stream) = start(TWO).await;
    let one = |fault: Fault| simulator.fault(FaultRule::from(fault).for_requests(1));
    one(Fault::Unresponsive);
    ask(&mut stream, b"A?\n", b"").await;
    one(Fault::HalfFrame);
    ask(&mut stream, b"A?\n", b"A=").await;
    one(Fault::WrongCrc);
    // The byte in the middle, `1`, with its lowest bit turned over.
    ask(&mut stream, b"A?\n", b"A=0\r\n").await;
    one(Fault::Exception(0));
    ask(&mut stream, b"A 5\n", b"NO\r\n").await;
    one(Fault::Slow(Duration::from_millis(120)));
    let start = Instant::now();
    stream.write_all(b"A?\n").await.expect("sent");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(120));
    assert_eq!(&answer, b"A=1\r\n");
    simulator.noise(&[0xFF, 0x00]);
    ask(&mut stream, b"", [0xFF_u8, 0x00]).await;
    one(Fault::DropConnection);
    ask(&mut stream, b"A?\n", b"").await;
    assert_eq!(stream.read(&mut answer).await.expect("the end"), 0);
    assert_eq!(simulator.count(1).faults, 6);
}

/// 02 | address | command | int16 in tenths | CRC-16/MODBUS of all before, low byte first | 03
#[tokio::test]
async fn bytes_with_a_crc() {
    let (simulator, mut stream) = start(
        "
world: {signals: {t: {setpoint: {initial: -20.5, min: -40, max: 40}}}}
units:
  - unit: 5
    binary: {start: '02', end: '03', checksum: crc16-modbus, coversStart: true}
    answers:
      - {request: '05 52', response: '05 D2 {t:int16:10}'}
      - {request: '05 57 {t:int16:10}', response: '05 D7'}
",
    )
    .await;
    // By the bitwise definition, where the simulator has a table.
    let crc = |bytes: &[u8]| {
        let mut crc = 0xFFFF_u16;
        for byte in bytes {
            crc ^= u16::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xA001
                } else {
                    crc >> 1
                };
            }
        }
        crc.to_le_bytes()
    };
    let message = |body: &[u8]| {
        let mut bytes = vec![0x02];
        bytes.extend_from_slice(body);
        let sum = crc(&bytes);
        bytes.extend_from_slice(&sum);
        bytes.push(0x03);
        bytes
    };
    // -205 is FF33.
    let read = message(&[0x05, 0x52]);
    let answer = message(&[0x05, 0xD2, 0xFF, 0x33]);
    ask(&mut stream, &read, &answer).await;
    // Rubbish before it, and the message in two pieces.
    ask(&mut stream, &[0x02, 0x99, 0x02, 0x05], b"").await;
    ask(&mut stream, &read[2..], &answer).await;
    let write = message(&[0x05, 0x57, 0x00, 0xFF]);
    ask(&mut stream, &write, message(&[0x05, 0xD7])).await;
    assert_eq!(simulator.world().value("t"), Some(25.5));
    let mut wrong = read.clone();
    wrong[3] ^= 1;
    ask(&mut stream, &wrong, b"").await;
    assert_eq!(simulator.count(5).requests, 3);
}
