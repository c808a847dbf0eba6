//! Sockets: faults, delays, several connections, start and stop.

use std::time::{Duration, Instant};

use longshore_sim_modbus::{Fault, FaultRule, StartError, modbus};
use longshore_sim_world::ListenError;

use crate::client::Client;

const READ: [u8; 5] = [3, 0, 0, 0, 1];

#[tokio::test]
async fn a_register_is_read_written_counted_and_recorded() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 215)
        .bit(1, true)
        .start()
        .await;
    let mut client = Client::connect(plc.addr()).await;
    assert_eq!(client.ask(1, &READ).await, [3, 2, 0, 215]);
    plc.set_holding(1, 0, 216);
    assert_eq!(client.ask(1, &READ).await, [3, 2, 0, 216]);
    client.ask(1, &[6, 0, 0, 0, 9]).await;
    client.ask(1, &[5, 0, 0, 0, 0]).await;
    plc.wait_holding(1, 0, 9).await;
    assert!(!plc.coil(1, 0));

    assert_eq!((plc.reads().requests(), plc.reads().registers()), (2, 2));
    assert_eq!(plc.counters().unit(1).function(6).requests(), 1);
    let writes = plc.writes();
    assert_eq!(writes.len(), 2);
    assert_eq!(
        (writes[0].function, writes[0].address, &writes[0].values[..]),
        (6, 0, &[9][..])
    );
    let requests = plc.requests(1);
    assert_eq!(requests.len(), 4);
    assert_eq!((requests[0].function, requests[0].count), (3, 1));
    plc.reset_counters();
    assert_eq!(plc.counters().requests(), 0);
}

#[tokio::test]
async fn a_silent_unit_costs_the_other_nothing() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 1)
        .unit(2)
        .register(40_001, 2)
        .start()
        .await;
    plc.fault(
        FaultRule::from(Fault::Unresponsive)
            .on_unit(1)
            .for_requests(1),
    );
    let mut client = Client::connect(plc.addr()).await;
    client.send(1, &READ).await;
    assert_eq!(client.ask(2, &READ).await, [3, 2, 0, 2]);
    assert_eq!(client.ask(1, &READ).await, [3, 2, 0, 1]);
}

#[tokio::test]
async fn faults_on_the_wire() {
    let plc = modbus().register(40_001, 215).start().await;
    let mut client = Client::connect(plc.addr()).await;
    plc.fault(FaultRule::from(Fault::HalfFrame).for_requests(1));
    client.send(1, &READ).await;
    // 7 bytes of header and 4 of answer; the first 5 come, and then the next answer.
    assert_eq!(client.bytes(5).await, [0, 1, 0, 0, 0]);
    assert_eq!(client.ask(1, &READ).await, [3, 2, 0, 215]);
    plc.fault(Fault::Exception(6));
    assert_eq!(client.ask(1, &READ).await, [0x83, 6]);
    plc.clear_faults();
    plc.fault(FaultRule::from(Fault::DropConnection).for_requests(1));
    client.send(1, &READ).await;
    assert_eq!(client.receive().await, None);
    let mut client = Client::connect(plc.addr()).await;
    assert_eq!(client.ask(1, &READ).await, [3, 2, 0, 215]);
    plc.drop_connections();
    assert_eq!(client.receive().await, None);
    assert_eq!(plc.line().connections, 2);
}

#[tokio::test]
async fn a_slow_answer_holds_up_only_those_behind_it() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 1)
        .unit(2)
        .register(40_001, 2)
        .start()
        .await;
    // Longer than the other answer takes on a machine that is busy.
    let late = Duration::from_secs(4);
    plc.fault(FaultRule::from(Fault::Slow(late)).on_unit(1));
    let mut slow = Client::connect(plc.addr()).await;
    let mut other = Client::connect(plc.addr()).await;
    let start = Instant::now();
    slow.send(1, &READ).await;
    slow.send(2, &READ).await;
    assert_eq!(other.ask(2, &READ).await, [3, 2, 0, 2]);
    assert!(
        start.elapsed() < late,
        "the other connection waited {:?}",
        start.elapsed()
    );
    assert_eq!(slow.receive().await, Some(vec![3, 2, 0, 1]));
    assert!(start.elapsed() >= late);
    assert_eq!(slow.receive().await, Some(vec![3, 2, 0, 2]));
}

#[tokio::test]
async fn delays_run_beside_each_other() {
    // One after the other they would take ten seconds.
    let delay = Duration::from_millis(500);
    let plc = modbus().register(40_001, 215).delay(delay).start().await;
    let mut client = Client::connect(plc.addr()).await;
    let start = Instant::now();
    for _ in 0..20 {
        client.send(1, &READ).await;
    }
    for _ in 0..20 {
        assert_eq!(client.receive().await, Some(vec![3, 2, 0, 215]));
    }
    let took = start.elapsed();
    assert!(
        took >= delay && took < delay * 10,
        "20 requests took {took:?}"
    );
}

#[tokio::test]
async fn rtu_through_tcp() {
    let plc = modbus().register(40_001, 215).rtu_over_tcp().start().await;
    let mut client = Client::connect(plc.addr()).await;
    // unit 1, function 3, register 0, quantity 1, CRC 0x0A84
    let request = [1, 3, 0, 0, 0, 1, 0x84, 0x0A];
    client.write(&request[..3]).await;
    client.write(&request[3..]).await;
    assert_eq!(client.bytes(7).await, [1, 3, 2, 0, 215, 0xF8, 0x1A]);
    // Half a frame, then silence until it is given up, then a whole one.
    client.write(&request[..5]).await;
    plc.wait("the half frame to be given up", |plc| {
        match plc.line().dropped_bytes {
            5 => Ok(()),
            other => Err(format!("{other} bytes are dropped")),
        }
    })
    .await;
    client.write(&request).await;
    assert_eq!(client.bytes(7).await[..5], [1, 3, 2, 0, 215]);
}

#[tokio::test]
async fn stopping_frees_the_port_and_ends_connections() {
    let plc = modbus().register(40_001, 1).start().await;
    let address = plc.addr();
    let mut client = Client::connect(address).await;
    client.ask(1, &READ).await;

    let taken = modbus().tcp(address).try_start().await;
    let Err(error @ StartError::Listen(ListenError::Taken(_))) = taken else {
        panic!("the port is taken, but: {taken:?}");
    };
    assert!(
        error.to_string().contains(&address.port().to_string()),
        "{error}"
    );

    plc.stop().await;
    assert_eq!(client.receive().await, None);
    let plc = modbus().register(40_001, 2).tcp(address).start().await;
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask(1, &READ).await, [3, 2, 0, 2]);
    drop(plc);
    assert_eq!(client.receive().await, None);
}
