//! A running simulator, as tests and programs hold it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use longshore_sim_world::{FaultRule, ListenError, SetError, Tasks, World, run};
use tokio::sync::watch;

use crate::control;
use crate::record::{Counters, LineCounters, Request, Write};
use crate::server::Shared;
use crate::table::Kind;
use crate::unit::Devices;

/// Where a simulator can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Modbus TCP.
    Tcp(SocketAddr),
    /// RTU frames through TCP.
    RtuTcp(SocketAddr),
    /// RTU on a serial port.
    Rtu(PathBuf),
    /// ASCII on a serial port.
    Ascii(PathBuf),
}

/// A running simulator. It ends, and closes its connections, when this is dropped.
#[derive(Debug)]
pub struct Simulator {
    shared: Shared,
    pub(crate) tasks: Tasks,
    hang_up: watch::Sender<u64>,
    endpoints: Vec<Endpoint>,
}

impl Simulator {
    pub(crate) fn new(
        shared: Shared,
        tasks: Tasks,
        hang_up: watch::Sender<u64>,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        Self {
            shared,
            tasks,
            hang_up,
            endpoints,
        }
    }

    fn devices(&self) -> &Devices {
        &self.shared.devices
    }

    /// The address of the first listener.
    ///
    /// # Panics
    /// When the simulator has serial ports only.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        let first = self.endpoints.iter().find_map(|endpoint| match endpoint {
            Endpoint::Tcp(address) | Endpoint::RtuTcp(address) => Some(*address),
            Endpoint::Rtu(_) | Endpoint::Ascii(_) => None,
        });
        first.unwrap_or_else(|| panic!("this simulator listens on serial ports only"))
    }

    /// All places where the simulator can be reached, in the order they were asked for.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Puts a fault into force: a `Fault` for every unit, or a [`FaultRule`] with its limits.
    pub fn fault(&self, fault: impl Into<FaultRule>) {
        self.devices().faults.add(fault.into(), Instant::now());
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.devices().faults.clear();
    }

    /// Drops all connections that are open; new ones are accepted.
    pub fn drop_connections(&self) {
        self.hang_up.send_modify(|epoch| *epoch += 1);
    }

    /// The world behind the registers.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.devices().world
    }

    /// The present value of registers or bits, without being counted as a read.
    ///
    /// # Panics
    /// When there is no such unit or register.
    #[must_use]
    pub fn get(&self, unit: u8, table: Kind, address: u16, count: u16) -> Vec<u16> {
        let world = self.world().clone();
        self.devices()
            .unit(unit)
            .and_then(|mut u| {
                Some(
                    u.table(table)
                        .read(address, usize::from(count), &world)?
                        .to_vec(),
                )
            })
            .unwrap_or_else(|| {
                panic!(
                    "unit {unit} has no {} {address}, {count} of them",
                    table.key()
                )
            })
    }

    /// Changes registers or bits from the device's side. A setpoint is set; any
    /// other signal is held at the value (see [`World::force`]).
    ///
    /// # Panics
    /// When there is no such unit or register, or a setpoint does not take the value.
    pub fn set(&self, unit: u8, table: Kind, address: u16, values: &[u16]) {
        let world = self.world().clone();
        let result: Option<Result<(), SetError>> = self
            .devices()
            .unit(unit)
            .and_then(|mut u| u.table(table).set(address, values, &world));
        match result {
            Some(Ok(())) => {}
            Some(Err(error)) => panic!(
                "cannot set {} {address} of unit {unit}: {error}",
                table.key()
            ),
            None => panic!(
                "unit {unit} has no {} {address}, {} of them",
                table.key(),
                values.len()
            ),
        }
    }

    /// The value of a holding register. Panics as [`Simulator::get`].
    #[must_use]
    pub fn holding(&self, unit: u8, address: u16) -> u16 {
        self.get(unit, Kind::Holding, address, 1)[0]
    }

    /// The value of an input register. Panics as [`Simulator::get`].
    #[must_use]
    pub fn input(&self, unit: u8, address: u16) -> u16 {
        self.get(unit, Kind::Input, address, 1)[0]
    }

    /// The value of a coil. Panics as [`Simulator::get`].
    #[must_use]
    pub fn coil(&self, unit: u8, address: u16) -> bool {
        self.get(unit, Kind::Coil, address, 1)[0] != 0
    }

    /// The value of a discrete input. Panics as [`Simulator::get`].
    #[must_use]
    pub fn discrete(&self, unit: u8, address: u16) -> bool {
        self.get(unit, Kind::Discrete, address, 1)[0] != 0
    }

    /// Changes a holding register. Panics as [`Simulator::set`].
    pub fn set_holding(&self, unit: u8, address: u16, value: u16) {
        self.set(unit, Kind::Holding, address, &[value]);
    }

    /// Changes an input register. Panics as [`Simulator::set`].
    pub fn set_input(&self, unit: u8, address: u16, value: u16) {
        self.set(unit, Kind::Input, address, &[value]);
    }

    /// Changes a coil. Panics as [`Simulator::set`].
    pub fn set_coil(&self, unit: u8, address: u16, on: bool) {
        self.set(unit, Kind::Coil, address, &[u16::from(on)]);
    }

    /// Changes a discrete input. Panics as [`Simulator::set`].
    pub fn set_discrete(&self, unit: u8, address: u16, on: bool) {
        self.set(unit, Kind::Discrete, address, &[u16::from(on)]);
    }

    /// Counts of all functions.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.devices().counters()
    }

    /// Counts of the functions that read: 1 to 4.
    #[must_use]
    pub fn reads(&self) -> Counters {
        self.counters()
            .filter(|row| (1..=4).contains(&row.function))
    }

    /// The latest 256 requests of a unit, the oldest first.
    #[must_use]
    pub fn requests(&self, unit: u8) -> Vec<Request> {
        self.devices().requests(unit)
    }

    /// The latest 10,000 writes that were carried out, the oldest first.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.devices().writes()
    }

    /// Counts of connections and of what was no request.
    #[must_use]
    pub fn line(&self) -> LineCounters {
        self.devices().line_counters()
    }

    /// Forgets counts, requests and writes; values and faults stay.
    pub fn reset_counters(&self) {
        self.devices().forget();
    }

    /// Waits until a holding register has a value.
    ///
    /// # Panics
    /// When it has not after a minute, with the value that it has.
    pub async fn wait_holding(&self, unit: u8, address: u16, value: u16) {
        let what = format!("holding register {address} of unit {unit} to be {value}");
        self.wait(&what, |plc| {
            let is = plc.holding(unit, address);
            if is == value {
                Ok(())
            } else {
                Err(format!("it is {is}"))
            }
        })
        .await;
    }

    /// Waits until a condition holds; while it does not, it says what is instead.
    ///
    /// # Panics
    /// When it does not hold after a minute.
    pub async fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<(), String>) {
        run::wait(what, || holds(self)).await;
    }

    /// Serves state and faults by HTTP on a loopback address; gives the address that was bound.
    ///
    /// # Errors
    /// The port is taken or cannot be used.
    pub async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let router = control::router(Arc::clone(&self.shared.devices));
        self.tasks.serve(address, router).await
    }

    /// Ends the simulator; when this returns, ports and connections are closed.
    ///
    /// # Panics
    /// When a task of it has panicked: a fake that fails, fails its test.
    pub async fn stop(mut self) {
        if let Err(failed) = self.tasks.stop().await {
            panic!("{failed}");
        }
    }
}
