//! The same check over each transport.

use longshore_sdk::testing::ports;
use serde_json::json;

use super::rig::{check_device, simulator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp() {
    let plc = simulator().start().await;
    check_device(&json!({"url": format!("tcp://{}", plc.addr())}));
    let connections = plc.line().connections;
    assert_eq!(connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_by_kubeedge_s_keys() {
    let plc = simulator().start().await;
    let port = plc.addr().port().to_string();
    check_device(&json!({"communicateMode": "TCP", "ip": "127.0.0.1", "port": port, "slaveID": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtu_over_tcp() {
    let plc = simulator().rtu_over_tcp().start().await;
    check_device(&json!({"url": format!("rtu+tcp://{}", plc.addr()), "unit": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtu_on_a_serial_line() {
    let ports = ports();
    let _plc = simulator().serial(&ports.theirs).start().await;
    check_device(&json!({"url": format!("rtu://{}?baud=19200", ports.ours.display())}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ascii_on_a_serial_line() {
    let ports = ports();
    let _plc = simulator().ascii(&ports.theirs).start().await;
    check_device(&json!({"url": format!("ascii://{}?baud=19200", ports.ours.display())}));
}
