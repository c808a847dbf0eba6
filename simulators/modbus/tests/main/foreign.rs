//! Other people's clients read and write the simulator: a codec that is only
//! tested against itself proves nothing.

use std::path::Path;
use std::process::Command;

use longshore_sim_modbus::{Builder, Encoding, RawType, Simulator, WordOrder, modbus};

use crate::client::{Cable, output};

fn plc() -> Builder {
    modbus()
        .unit(3)
        .registers(40_001, &[215, 0xFFFE])
        .float32(40_011, 21.5)
        .number(
            30_001,
            Encoding::new(RawType::Float32).order(WordOrder::Cdab),
            -7.25,
        )
        .registers(1, &[1, 0, 1, 1, 0, 0, 0, 1, 1])
        .registers(10_001, &[0, 1])
}

/// Runs mbpoll once; `line` says where the device is. The values that it prints.
async fn mbpoll(line: &[&str], device: &str, options: &[&str], values: &[&str]) -> Vec<String> {
    let mut command = Command::new("mbpoll");
    command
        .args(line)
        .args(["-a", "3", "-0", "-1", "-q"])
        .args(options)
        .arg(device)
        .args(values);
    let text = output(command, "`apt-get install mbpoll`").await;
    text.lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| line.split(':').nth(1))
        .map(|value| value.trim().to_owned())
        .collect()
}

/// The same story over every transport.
async fn read_and_write(plc: &Simulator, line: &[&str], device: &str) {
    let coils = mbpoll(line, device, &["-t", "0", "-r", "0", "-c", "9"], &[]).await;
    assert_eq!(coils, ["1", "0", "1", "1", "0", "0", "0", "1", "1"]);
    let discrete = mbpoll(line, device, &["-t", "1", "-r", "0", "-c", "2"], &[]).await;
    assert_eq!(discrete, ["0", "1"]);
    let holding = mbpoll(line, device, &["-t", "4", "-r", "0", "-c", "2"], &[]).await;
    assert_eq!(holding, ["215", "65534 (-2)"]);
    let float = mbpoll(
        line,
        device,
        &["-t", "4:float", "-B", "-r", "10", "-c", "1"],
        &[],
    )
    .await;
    assert_eq!(float, ["21.5"]);
    // mbpoll's own order is CDAB.
    let float = mbpoll(line, device, &["-t", "3:float", "-r", "0", "-c", "1"], &[]).await;
    assert_eq!(float, ["-7.25"]);

    mbpoll(line, device, &["-t", "4", "-r", "0"], &["300"]).await;
    assert_eq!(plc.holding(3, 0), 300);
    mbpoll(line, device, &["-t", "4", "-r", "0"], &["7", "8"]).await;
    assert_eq!((plc.holding(3, 0), plc.holding(3, 1)), (7, 8));
    mbpoll(line, device, &["-t", "0", "-r", "1"], &["1"]).await;
    assert!(plc.coil(3, 1));
    mbpoll(line, device, &["-t", "0", "-r", "0"], &["0", "0", "1"]).await;
    assert!(!plc.coil(3, 0) && !plc.coil(3, 1) && plc.coil(3, 2));
    // Each of the eight functions was used.
    let functions: Vec<u8> = plc.counters().rows.iter().map(|row| row.function).collect();
    assert_eq!(functions, [1, 2, 3, 4, 5, 6, 15, 16]);
    assert_eq!(plc.counters().exceptions(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn mbpoll_through_tcp() {
    let plc = plc().start().await;
    let port = plc.addr().port().to_string();
    read_and_write(&plc, &["-m", "tcp", "-p", &port], "127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn mbpoll_over_a_serial_line() {
    let cable = Cable::lay();
    let plc = plc().serial(&cable.device).start().await;
    let line = ["-m", "rtu", "-b", "19200", "-P", "none"];
    read_and_write(&plc, &line, &text(&cable.client)).await;
    assert_eq!(plc.line().bad_frames, 0);
}

const ASCII: &str = r#"
import sys
from pymodbus.client import ModbusSerialClient
from pymodbus import FramerType
client = ModbusSerialClient(sys.argv[1], framer=FramerType.ASCII, baudrate=19200, bytesize=8)
assert client.connect()
answer = client.read_holding_registers(0, count=2, device_id=3)
assert answer.registers == [215, 65534], answer
answer = client.read_coils(0, count=9, device_id=3)
assert answer.bits[:9] == [True, False, True, True, False, False, False, True, True], answer
assert not client.write_registers(0, [7, 8], device_id=3).isError()
answer = client.mask_write_register(address=0, and_mask=0x6, or_mask=0x10, device_id=3)
assert not answer.isError(), answer
answer = client.readwrite_registers(read_address=0, read_count=2, write_address=1, values=[9], device_id=3)
assert answer.registers == [0x16, 9], answer
refused = client.read_holding_registers(5000, count=1, device_id=3)
assert refused.isError() and refused.exception_code == 2, refused
print("good")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pymodbus_in_ascii() {
    let install = "`python3 -m venv .venv && .venv/bin/pip install 'pymodbus[serial]==3.16.1'` \
                   and set LONGSHORE_PYTHON to .venv/bin/python; `make test` does it";
    let python = std::env::var("LONGSHORE_PYTHON")
        .unwrap_or_else(|_| panic!("LONGSHORE_PYTHON is not set; {install}"));
    let cable = Cable::lay();
    let plc = plc().ascii(&cable.device).start().await;
    let mut command = Command::new(python);
    command.args(["-c", ASCII]).arg(&cable.client);
    assert_eq!(output(command, install).await.trim(), "good");
    assert_eq!((plc.holding(3, 0), plc.holding(3, 1)), (0x16, 9));
    assert_eq!(plc.line().bad_frames, 0);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
