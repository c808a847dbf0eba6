//! The simulator as tests and the program use it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use longshore_sim_world::{
    Clock, ListenError, ScenarioError, Tasks, World,
    run::{self, started},
};
use zbus::{Connection, MessageStream};

use crate::{
    control,
    daemon::{Daemon, DaemonError},
    fault::{FaultRule, Faults},
    model::{Counters, Model, Write},
    scenario::Scenario,
    server::{self, Server},
};

/// A simulator that does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// There is no bus.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The bus does not let it in.
    #[error("cannot be org.bluez on {address}")]
    Bus {
        /// Its address.
        address: String,
        /// Why not.
        #[source]
        source: zbus::Error,
    },
}

/// What to simulate.
#[derive(Debug, Default)]
pub struct Builder {
    scenario: Scenario,
    bus: Option<String>,
    socket: Option<PathBuf>,
    clock: Option<Clock>,
}

/// A simulator of nothing yet.
#[must_use]
pub fn bluetooth() -> Builder {
    Builder::default()
}

impl Builder {
    /// Takes a scenario.
    #[must_use]
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario;
        self
    }

    /// Takes a scenario as YAML.
    ///
    /// # Panics
    /// When it is wrong: it is the test's own.
    #[must_use]
    pub fn yaml(self, text: &str) -> Self {
        self.scenario(started(Scenario::parse("test", text)))
    }

    /// Takes a scenario file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong.
    pub fn scenario_file(self, path: &Path) -> Result<Self, ScenarioError> {
        Ok(self.scenario(Scenario::read(path)?))
    }

    /// Joins this bus in place of starting one.
    #[must_use]
    pub fn bus(mut self, address: &str) -> Self {
        self.bus = Some(address.to_owned());
        self
    }

    /// Puts the socket of its own bus here.
    #[must_use]
    pub fn socket(mut self, path: &Path) -> Self {
        self.socket = Some(path.to_owned());
        self
    }

    /// Moves the world by this clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self) -> Simulator {
        started(self.try_start().await)
    }

    /// Starts.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn try_start(self) -> Result<Simulator, StartError> {
        let clock = self.clock.unwrap_or_else(Clock::real);
        let model = self.scenario.model("the scenario", clock)?;
        let daemon = match self.bus {
            None => Some(Daemon::start_at(self.socket.as_deref())?),
            Some(_) => None,
        };
        let address = match (&daemon, self.bus) {
            (Some(daemon), _) => daemon.address().to_owned(),
            (None, Some(address)) => address,
            (None, None) => unreachable!("either one is given or one is started"),
        };
        let on_bus = |source| StartError::Bus {
            address: address.clone(),
            source,
        };
        let (connection, stream) = join(&address).await.map_err(on_bus)?;
        let faults = Faults::default();
        for rule in self.scenario.faults {
            faults.add(rule, Instant::now());
        }
        let server = Arc::new(Server {
            connection,
            model: Mutex::new(model),
            faults,
        });
        let mut tasks = Tasks::default();
        let calls = Arc::clone(&server).run(stream, tasks.stopping());
        tasks.spawn("calls", calls);
        server
            .connection
            .request_name(server::NAME)
            .await
            .map_err(on_bus)?;
        let places = notifying(&server.model());
        let devices = server.model().devices.len();
        for index in 0..devices {
            let task = server::advertise(Arc::clone(&server), index, tasks.stopping());
            tasks.spawn(format!("advertisements of device {index}"), task);
        }
        for place in places {
            let task = server::notify(Arc::clone(&server), place, tasks.stopping());
            tasks.spawn(format!("notifications of {place:?}"), task);
        }
        Ok(Simulator {
            address,
            server,
            tasks,
            _daemon: daemon,
        })
    }
}

/// Joins the bus; the stream brings calls, and who leaves.
async fn join(address: &str) -> zbus::Result<(Connection, MessageStream)> {
    let connection = zbus::connection::Builder::address(address).build().await?;
    let stream = MessageStream::from(&connection);
    let bus = "org.freedesktop.DBus";
    let path = "/org/freedesktop/DBus";
    let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'";
    connection
        .call_method(Some(bus), path, Some(bus), "AddMatch", &(rule,))
        .await?;
    Ok((connection, stream))
}

/// The places of the characteristics that may notify.
fn notifying(model: &Model) -> Vec<(usize, usize, usize)> {
    let can = |flag: &String| flag == "notify" || flag == "indicate";
    let mut places = Vec::new();
    for (d, device) in model.devices.iter().enumerate() {
        for (s, service) in device.services.iter().enumerate() {
            for (c, characteristic) in service.characteristics.iter().enumerate() {
                if characteristic.flags.iter().any(can) {
                    places.push((d, s, c));
                }
            }
        }
    }
    places
}

/// A running simulator; it and its bus end with the value.
pub struct Simulator {
    address: String,
    server: Arc<Server>,
    pub(crate) tasks: Tasks,
    _daemon: Option<Daemon>,
}

/// The state of a device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceState {
    /// Its address.
    pub address: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether BlueZ knows it.
    pub known: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it is paired.
    pub paired: bool,
    /// The characteristics that notify.
    pub notifying: Vec<String>,
}

impl Simulator {
    /// The bus's address, for clients.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> World {
        self.server.model().world.clone()
    }

    /// Puts a fault into force.
    pub fn fault(&self, rule: impl Into<FaultRule>) {
        self.server.faults.add(rule.into(), Instant::now());
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.server.faults.clear();
    }

    /// What clients did.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.server.model().counters
    }

    /// The writes that were carried out, the oldest first.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.server.model().writes.clone()
    }

    /// The state of all devices.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceState> {
        control::devices(&self.server)
    }

    /// The state of one device, by address or name.
    ///
    /// # Panics
    /// When there is none: the scenario is the test's own.
    #[must_use]
    pub fn device(&self, name: &str) -> DeviceState {
        let index = self.index(name);
        self.devices().swap_remove(index)
    }

    fn index(&self, name: &str) -> usize {
        let found = self
            .server
            .model()
            .devices
            .iter()
            .position(|device| device.is(name));
        found.unwrap_or_else(|| panic!("no device `{name}` in the scenario"))
    }

    /// Whether anybody has the adapter listen.
    #[must_use]
    pub fn is_scanning(&self, adapter: &str) -> bool {
        let model = self.server.model();
        let adapter = model.adapters.get(&format!("/org/bluez/{adapter}"));
        adapter.is_some_and(|adapter| !adapter.sessions.is_empty())
    }

    /// Ends the connection of a device, as it does when it runs away.
    pub async fn disconnect(&self, device: &str) {
        self.server.disconnect(self.index(device)).await;
    }

    /// The device's services are found anew.
    pub async fn change_services(&self, device: &str) {
        self.server.change_services(self.index(device)).await;
    }

    /// BlueZ forgets a device, with its pairing.
    pub async fn forget(&self, device: &str) {
        let path = self.server.model().devices[self.index(device)].path.clone();
        self.server.forget(&path).await;
    }

    /// Switches an adapter on or off.
    pub async fn power(&self, adapter: &str, powered: bool) {
        self.server
            .power(&format!("/org/bluez/{adapter}"), powered)
            .await;
    }

    /// Pulls an adapter or puts it in again.
    pub async fn plug(&self, adapter: &str, present: bool) {
        self.server
            .plug(&format!("/org/bluez/{adapter}"), present)
            .await;
    }

    /// bluetoothd ends.
    pub async fn end_bluetoothd(&self) {
        self.server.end().await;
    }

    /// bluetoothd begins again.
    pub async fn begin_bluetoothd(&self) {
        self.server.begin().await;
    }

    /// Waits until a condition holds; while it does not, it says what is instead.
    ///
    /// # Panics
    /// When it does not hold after a minute.
    pub async fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<(), String>) {
        run::wait(what, || holds(self)).await;
    }

    /// Serves state and faults by HTTP; gives the address that was bound.
    ///
    /// # Errors
    /// The port is taken or cannot be used.
    pub async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let router = control::router(Arc::clone(&self.server));
        self.tasks.serve(address, router).await
    }

    /// Ends the simulator.
    ///
    /// # Panics
    /// When a task of it has panicked: a fake that fails, fails its test.
    pub async fn stop(mut self) {
        if let Err(failed) = self.tasks.stop().await {
            panic!("{failed}");
        }
    }
}
