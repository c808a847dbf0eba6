//! Building a simulator: units and registers, listeners, and the start.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_sim_world::{
    Clock, FaultRule, ListenError, Problem, ScenarioError, Tasks, World, WorldError, WorldSpec,
    run::{listen, started},
    scenario::list,
};
use tokio::sync::watch;
use tokio_serial::SerialStream;

use crate::encoding::{Encoding, RawType, WordOrder, write_text};
use crate::frame::Framing;
use crate::scenario::Scenario;
use crate::server::{self, Shared};
use crate::simulator::{Endpoint, Simulator};
use crate::table::{Change, Fill, Kind, Point};
use crate::unit::{Devices, Unit};

/// Begins a simulator. Without more, it has no unit and listens for Modbus TCP
/// on a free port of the loopback.
#[must_use]
pub fn modbus() -> Builder {
    Builder {
        unit: 1,
        units: BTreeMap::new(),
        ranges: Vec::new(),
        bindings: Vec::new(),
        problems: Vec::new(),
        listeners: Vec::new(),
        world_spec: WorldSpec::default(),
        world: None,
        clock: None,
        faults: Vec::new(),
        delay: Duration::ZERO,
    }
}

/// A simulator that is being built; see [`modbus`].
#[derive(Debug)]
pub struct Builder {
    /// The unit that registers are added to.
    unit: u8,
    units: BTreeMap<u8, Unit>,
    ranges: Vec<Range>,
    bindings: Vec<Binding>,
    problems: Vec<Problem>,
    listeners: Vec<Listen>,
    world_spec: WorldSpec,
    world: Option<World>,
    clock: Option<Clock>,
    faults: Vec<FaultRule>,
    delay: Duration,
}

/// What an entry occupies, to find those that overlap.
#[derive(Debug)]
struct Range {
    unit: u8,
    kind: Kind,
    start: usize,
    end: usize,
    path: String,
}

/// A signal whose world is not known yet.
#[derive(Debug)]
struct Binding {
    unit: u8,
    kind: Kind,
    address: u16,
    signal: String,
    encoding: Encoding,
    read_only: bool,
    path: String,
}

#[derive(Debug, Clone)]
enum Listen {
    Tcp(SocketAddr, Framing),
    Serial {
        path: PathBuf,
        baud: u32,
        framing: Framing,
    },
}

/// A simulator that does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The signals are wrong.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The registers do not work.
    #[error("the registers do not work: {}", list(problems))]
    Registers {
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The serial port cannot be opened.
    #[error("cannot open serial port `{path}`")]
    Serial {
        /// The port.
        path: String,
        /// Why not.
        #[source]
        source: tokio_serial::Error,
    },
}

/// A port of the loopback that the system chooses.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The speed that the serial line guide recommends first (V1.02, section 3.2).
const USUAL_BAUD: u32 = 19_200;

impl Builder {
    /// The unit that the following registers belong to; 1 if this is never called.
    pub fn unit(mut self, unit: u8) -> Self {
        self.unit = unit;
        self.here();
        self
    }

    /// The name of the present unit, shown by read device identification.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.here().name);
        self
    }

    /// A register or bit by its reference: 40001 is holding register 0, 30001
    /// input register 0, 10001 discrete input 0, 1 coil 0; six digits work too.
    pub fn register(self, reference: u32, value: u16) -> Self {
        self.registers(reference, &[value])
    }

    /// Registers or bits that follow each other, from a reference on.
    pub fn registers(mut self, reference: u32, values: &[u16]) -> Self {
        if let Some((kind, address)) = self.split(reference) {
            self.add_words(kind, address, values, false, reference.to_string());
        }
        self
    }

    /// A bit by its reference: 1 is coil 0, 10001 discrete input 0.
    pub fn bit(self, reference: u32, on: bool) -> Self {
        self.register(reference, u16::from(on))
    }

    /// A number in some encoding, from a reference on.
    pub fn number(mut self, reference: u32, encoding: Encoding, value: f64) -> Self {
        if let Some((kind, address)) = self.split(reference) {
            let mut words = vec![0; encoding.words()];
            encoding.write(value, &mut words);
            self.add_words(kind, address, &words, false, reference.to_string());
        }
        self
    }

    /// A single float, most significant byte first, from a reference on.
    pub fn float32(self, reference: u32, value: f32) -> Self {
        self.number(reference, Encoding::new(RawType::Float32), f64::from(value))
    }

    /// A text in so many registers, from a reference on.
    pub fn text(mut self, reference: u32, registers: u16, text: &str) -> Self {
        if let Some((kind, address)) = self.split(reference) {
            let mut words = vec![0; usize::from(registers)];
            write_text(text, WordOrder::Abcd, &mut words);
            self.add_words(kind, address, &words, false, reference.to_string());
        }
        self
    }

    /// Shows a signal of the world from a reference on; a setpoint is set by a write.
    pub fn signal(mut self, reference: u32, encoding: Encoding, signal: &str) -> Self {
        if let Some((kind, address)) = self.split(reference) {
            self.add_signal(
                kind,
                address,
                signal,
                encoding,
                false,
                reference.to_string(),
            );
        }
        self
    }

    /// So many floats (ABCD) from a reference on, all of which change at each read of them.
    pub fn changing_floats(mut self, reference: u32, count: u16) -> Self {
        if let Some((kind, address)) = self.split(reference) {
            let float = Encoding::new(RawType::Float32);
            self.add_fill(
                kind,
                address,
                count,
                float,
                Change::EachRead,
                reference.to_string(),
            );
        }
        self
    }

    /// All units, signals and faults of a scenario.
    pub fn scenario(mut self, scenario: &Scenario) -> Self {
        self.world_spec = scenario.world.clone();
        self.faults.extend_from_slice(&scenario.faults);
        scenario.add_to(self)
    }

    /// All units, signals and faults of a scenario file.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn scenario_file(self, path: impl AsRef<Path>) -> Result<Self, StartError> {
        Ok(self.scenario(&Scenario::read(path.as_ref())?))
    }

    /// Units 1 to `units`, each with so many changing floats (ABCD) as input
    /// registers from 0 and again as holding registers from 0, and plain
    /// holding registers 60000 to 60099 and coils 0 to 99 to write to.
    pub fn bench(mut self, units: u8, floats: u16) -> Self {
        let float = Encoding::new(RawType::Float32);
        for unit in 1..=units {
            self = self.unit(unit).name("bench");
            for kind in [Kind::Input, Kind::Holding] {
                self.add_fill(kind, 0, floats, float, Change::EachRead, "bench".into());
            }
            self.add_words(
                Kind::Holding,
                60_000,
                &[0; 100],
                false,
                "bench writes".into(),
            );
            self.add_words(Kind::Coil, 0, &[0; 100], false, "bench coils".into());
        }
        self
    }

    /// Uses a world that exists already, in place of the scenario's own.
    pub fn world(mut self, world: &World) -> Self {
        self.world = Some(world.clone());
        self
    }

    /// The clock of the scenario's world; a real one if this is never called.
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Modbus TCP on an address; port 0 lets the system choose.
    pub fn tcp(mut self, address: SocketAddr) -> Self {
        self.listeners.push(Listen::Tcp(address, Framing::Tcp));
        self
    }

    /// RTU frames through TCP, on a free port of the loopback.
    pub fn rtu_over_tcp(self) -> Self {
        self.rtu_over_tcp_on(ANY_PORT)
    }

    /// RTU frames through TCP, on an address.
    pub fn rtu_over_tcp_on(mut self, address: SocketAddr) -> Self {
        self.listeners.push(Listen::Tcp(address, Framing::Rtu));
        self
    }

    /// RTU on a serial port or pty, with 19200 baud.
    pub fn serial(self, path: impl Into<PathBuf>) -> Self {
        self.serial_at(path, USUAL_BAUD)
    }

    /// RTU on a serial port.
    pub fn serial_at(mut self, path: impl Into<PathBuf>, baud: u32) -> Self {
        self.listeners.push(Listen::Serial {
            path: path.into(),
            baud,
            framing: Framing::Rtu,
        });
        self
    }

    /// ASCII on a serial port or pty, with 19200 baud.
    pub fn ascii(self, path: impl Into<PathBuf>) -> Self {
        self.ascii_at(path, USUAL_BAUD)
    }

    /// ASCII on a serial port.
    pub fn ascii_at(mut self, path: impl Into<PathBuf>, baud: u32) -> Self {
        self.listeners.push(Listen::Serial {
            path: path.into(),
            baud,
            framing: Framing::Ascii,
        });
        self
    }

    /// Each answer comes so much after its request; other requests do not wait for it.
    /// The timer has a grain of a millisecond: never earlier, up to 1.1 ms later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Starts the simulator; for tests.
    ///
    /// # Panics
    /// When it cannot start, with the reason.
    pub async fn start(self) -> Simulator {
        started(self.try_start().await)
    }

    /// Starts the simulator. When this returns, all listeners are bound.
    ///
    /// # Errors
    /// Wrong registers or signals, a port that is taken, a serial port that does not open.
    pub async fn try_start(mut self) -> Result<Simulator, StartError> {
        let devices = self.devices()?;
        if self.listeners.is_empty() {
            self.listeners.push(Listen::Tcp(ANY_PORT, Framing::Tcp));
        }
        let mut tasks = Tasks::default();
        let (hang_up, hung_up) = watch::channel(0);
        let shared = Shared {
            devices: Arc::new(devices),
            delay: self.delay,
            stop: tasks.stopping(),
            hang_up: hung_up,
        };
        let mut endpoints = Vec::new();
        for listener in self.listeners {
            endpoints.push(listener.start(&shared, &mut tasks).await?);
        }
        Ok(Simulator::new(shared, tasks, hang_up, endpoints))
    }

    /// The units with their world, without any listener.
    pub(crate) fn devices(&mut self) -> Result<Devices, StartError> {
        let world = match self.world.take() {
            Some(world) => world,
            None => World::new(
                &self.world_spec,
                self.clock.take().unwrap_or_else(Clock::real),
            )?,
        };
        self.bind_signals(&world);
        self.find_overlaps();
        let problems = std::mem::take(&mut self.problems);
        if !problems.is_empty() {
            return Err(StartError::Registers { problems });
        }
        let units = std::mem::take(&mut self.units);
        let devices = Devices::new(units.into_values().collect(), world);
        let now = Instant::now();
        for rule in self.faults.drain(..) {
            devices.faults.add(rule, now);
        }
        Ok(devices)
    }

    fn here(&mut self) -> &mut Unit {
        self.units
            .entry(self.unit)
            .or_insert_with(|| Unit::new(self.unit))
    }

    fn split(&mut self, reference: u32) -> Option<(Kind, u16)> {
        let split = Kind::from_reference(reference);
        if split.is_none() {
            let text = "is not a reference like 1, 10001, 30001, 40001 or 400001";
            self.problems
                .push(Problem::new(reference.to_string(), text));
        }
        split
    }

    /// Notes that an entry occupies a range; false if the table is too small for it.
    fn occupy(&mut self, kind: Kind, address: u16, count: usize, path: String) -> bool {
        let start = usize::from(address);
        let fits = start + count <= 1 << 16;
        if fits {
            self.ranges.push(Range {
                unit: self.unit,
                kind,
                start,
                end: start + count,
                path,
            });
        } else {
            let text = format!("{count} from {address} on go beyond address 65535");
            self.problems.push(Problem::new(path, text));
        }
        fits
    }

    pub(crate) fn add_words(
        &mut self,
        kind: Kind,
        address: u16,
        words: &[u16],
        read_only: bool,
        path: String,
    ) {
        if self.occupy(kind, address, words.len(), path) {
            let table = self.here().table(kind);
            table.put(address, words);
            if read_only {
                table.protect(address, words.len());
            }
        }
    }

    pub(crate) fn add_signal(
        &mut self,
        kind: Kind,
        address: u16,
        signal: &str,
        encoding: Encoding,
        read_only: bool,
        path: String,
    ) {
        if self.occupy(kind, address, encoding.words(), path.clone()) {
            self.here();
            let (unit, signal) = (self.unit, signal.to_owned());
            self.bindings.push(Binding {
                unit,
                kind,
                address,
                signal,
                encoding,
                read_only,
                path,
            });
        }
    }

    pub(crate) fn add_fill(
        &mut self,
        kind: Kind,
        address: u16,
        count: u16,
        encoding: Encoding,
        change: Change,
        path: String,
    ) {
        if self.occupy(kind, address, usize::from(count) * encoding.words(), path) {
            let fill = Fill {
                address,
                count,
                encoding,
                change,
                generation: 0,
            };
            self.here().table(kind).add_fill(fill);
        }
    }

    fn bind_signals(&mut self, world: &World) {
        for binding in std::mem::take(&mut self.bindings) {
            let Some(signal) = world.id(&binding.signal) else {
                let text = format!("no signal is named `{}`", binding.signal);
                self.problems.push(Problem::new(binding.path, text));
                continue;
            };
            let settable = world.is_settable(signal) && !binding.read_only;
            self.unit = binding.unit;
            self.here().table(binding.kind).bind(Point {
                address: binding.address,
                signal,
                settable,
                encoding: binding.encoding,
            });
        }
    }

    fn find_overlaps(&mut self) {
        self.ranges
            .sort_by_key(|r| (r.unit, r.kind, r.start, r.end));
        for pair in self.ranges.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            if a.unit == b.unit && a.kind == b.kind && b.start < a.end {
                let text = format!(
                    "overlaps `{}` of unit {} at address {}",
                    a.path, a.unit, b.start
                );
                self.problems.push(Problem::new(b.path.clone(), text));
            }
        }
    }
}

impl Listen {
    async fn start(self, shared: &Shared, tasks: &mut Tasks) -> Result<Endpoint, StartError> {
        match self {
            Self::Tcp(address, framing) => {
                let (listener, bound) = listen(address).await?;
                let endpoint = match framing {
                    Framing::Rtu => Endpoint::RtuTcp(bound),
                    _ => Endpoint::Tcp(bound),
                };
                let task = server::listen(listener, framing, shared.clone());
                tasks.spawn(format!("listener {bound}"), task);
                Ok(endpoint)
            }
            Self::Serial {
                path,
                baud,
                framing,
            } => {
                let name = path.display().to_string();
                let port =
                    SerialStream::open(&tokio_serial::new(&name, baud)).map_err(|source| {
                        StartError::Serial {
                            path: name.clone(),
                            source,
                        }
                    })?;
                let endpoint = match framing {
                    Framing::Ascii => Endpoint::Ascii(path),
                    _ => Endpoint::Rtu(path),
                };
                let title = format!("port {name}");
                tasks.spawn(title, server::serial(port, name, framing, shared.clone()));
                Ok(endpoint)
            }
        }
    }
}
