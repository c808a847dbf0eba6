//! A running simulator, as tests and programs hold it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use longshore_sim_world::{ListenError, Problem, Tasks, World, run, scenario::list};
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};

use crate::control;
use crate::core::Core;
use crate::fault::FaultRule;
use crate::node_id::NodeId;
use crate::record::{Called, Count, Totals, Write};
use crate::server::{Away, Shared};
use crate::service::Service;
use crate::space::Body;
use crate::status::StatusCode;
use crate::time::Now;
use crate::value::Value;

/// A running simulator. It ends, and closes its connections, when this is dropped.
#[derive(Debug)]
pub struct Simulator {
    handle: Handle,
    address: SocketAddr,
    path: String,
    pub(crate) tasks: Tasks,
}

/// What can be done to a simulator, from its owner and from the control interface.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) world: World,
    away: mpsc::Sender<Away>,
}

/// Something cannot be done to a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no such node.
    #[error("no node is `{0}`")]
    Unknown(String),
    /// The value does not fit.
    #[error("`{node}` does not take this: {text}")]
    Value {
        /// The node.
        node: String,
        /// Why.
        text: String,
    },
}

/// The server did not come back.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The namespaces of the new start do not fit the scenario.
    #[error("the nodes do not work: {}", list(.0))]
    Nodes(Vec<Problem>),
    /// The port could not be bound again.
    #[error("the simulator cannot listen again")]
    Listen(#[source] io::Error),
    /// It is being stopped.
    #[error("the simulator stops")]
    Stopping,
}

impl Handle {
    fn node(core: &Core, name: &str) -> Result<NodeId, NodeError> {
        let known = core.space.names.get(name).cloned();
        known
            .or_else(|| name.parse().ok())
            .ok_or_else(|| NodeError::Unknown(name.to_owned()))
    }

    pub(crate) fn value(&self, name: &str) -> Result<Json, NodeError> {
        let mut core = self.shared.core();
        let id = Self::node(&core, name)?;
        let value = core
            .space
            .peek(&id, Now::read())
            .ok_or_else(|| NodeError::Unknown(name.to_owned()))?;
        Ok(value.to_json(&|scalar| core.space.types.to_json(scalar)))
    }

    pub(crate) fn set(&self, name: &str, json: &Json) -> Result<(), NodeError> {
        let wrong = |text: String| NodeError::Value {
            node: name.to_owned(),
            text,
        };
        self.shared.with(|core| {
            let id = Self::node(core, name)?;
            let unknown = || NodeError::Unknown(name.to_owned());
            let data_type = match core.space.node(&id).map(|n| &n.body) {
                Some(Body::Variable(variable)) => (variable.data_type.clone(), variable.kind),
                _ => return Err(unknown()),
            };
            let types = &core.space.types;
            let of = types.of(&data_type.0, data_type.1);
            let value =
                Value::from_json(json, &|one| types.scalar(of, one), data_type.1).map_err(wrong)?;
            match core.space.put(&id, value, Now::read()) {
                true => Ok(()),
                false => Err(wrong("it is outside of its limits".to_owned())),
            }
        })
    }

    pub(crate) fn status(&self, name: &str, status: StatusCode) -> Result<(), NodeError> {
        self.shared.with(|core| {
            let id = Self::node(core, name)?;
            match core.space.variable_mut(&id) {
                Some(variable) => {
                    variable.status = status;
                    Ok(())
                }
                None => Err(NodeError::Unknown(name.to_owned())),
            }
        })
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), NodeError> {
        self.shared.with(|core| {
            let id = Self::node(core, name)?;
            match core.space.delete(&id) {
                true => Ok(()),
                false => Err(NodeError::Unknown(name.to_owned())),
            }
        })
    }

    pub(crate) fn create(&self, name: &str) -> Result<(), NodeError> {
        self.shared.with(|core| {
            let id = Self::node(core, name)?;
            match core.space.restore(&id) {
                true => Ok(()),
                false => Err(NodeError::Unknown(name.to_owned())),
            }
        })
    }

    pub(crate) fn fault(&self, rule: FaultRule) {
        self.shared
            .with(|core| core.faults.add(rule, Instant::now()));
    }

    pub(crate) fn drop_connections(&self) {
        self.shared.hang_up.send_modify(|epoch| *epoch += 1);
    }

    pub(crate) fn drop_sessions(&self) {
        self.shared.with(Core::forget_sessions);
    }

    pub(crate) async fn restart(
        &self,
        down: Duration,
        namespaces: Option<Vec<String>>,
    ) -> Result<(), RestartError> {
        let (back, is_back) = oneshot::channel();
        // The new order first: if it is wrong, nothing happens.
        self.shared
            .with(|core| core.restart(namespaces.as_deref(), Now::read()))
            .map_err(RestartError::Nodes)?;
        self.away
            .send(Away { down, back })
            .await
            .map_err(|_| RestartError::Stopping)?;
        let result = is_back.await.map_err(|_| RestartError::Stopping)?;
        // What came in before the connections were closed.
        self.shared.with(Core::forget_sessions);
        result.map_err(RestartError::Listen)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            open: self.shared.open.load(Ordering::Acquire),
            ..self.shared.core().totals()
        }
    }
}

impl Simulator {
    pub(crate) fn new(
        shared: Arc<Shared>,
        world: World,
        away: mpsc::Sender<Away>,
        (address, path): (SocketAddr, String),
        tasks: Tasks,
    ) -> Self {
        Self {
            handle: Handle {
                shared,
                world,
                away,
            },
            address,
            path,
            tasks,
        }
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients, like `opc.tcp://127.0.0.1:4840`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("opc.tcp://{}{}", self.address, self.path)
    }

    /// The world behind the nodes.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.handle.world
    }

    /// The present value of a node, named as in the scenario (`ns=2;s=Press.Temperature`).
    ///
    /// # Panics
    /// When there is no such variable.
    #[must_use]
    pub fn value(&self, node: &str) -> Json {
        done(self.handle.value(node))
    }

    /// Changes a value from the device's side. A setpoint is set; any other
    /// signal is held at the value.
    ///
    /// # Panics
    /// When there is no such variable, or it does not take the value.
    pub fn set(&self, node: &str, value: impl Into<Json>) {
        done(self.handle.set(node, &value.into()));
    }

    /// Gives a node a status, such as `BadSensorFailure`; `Good` takes it back.
    ///
    /// # Panics
    /// When there is no such variable or status.
    pub fn status(&self, node: &str, status: &str) {
        let status = status.parse().unwrap_or_else(|e| panic!("{e}"));
        done(self.handle.status(node, status));
    }

    /// Takes a node away. Items that watch it are bad from then on, also when
    /// it comes back.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn delete(&self, node: &str) {
        done(self.handle.delete(node));
    }

    /// Brings a node back that was deleted.
    ///
    /// # Panics
    /// When it was not deleted.
    pub fn create(&self, node: &str) {
        done(self.handle.create(node));
    }

    /// Puts a fault into force: a `Fault` for every service, or a [`FaultRule`] with its limits.
    pub fn fault(&self, fault: impl Into<FaultRule>) {
        self.handle.fault(fault.into());
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.handle.shared.with(|core| core.faults.clear());
    }

    /// Drops all connections that are open; sessions and subscriptions stay.
    pub fn drop_connections(&self) {
        self.handle.drop_connections();
    }

    /// Forgets all sessions and subscriptions; connections stay.
    pub fn drop_sessions(&self) {
        self.handle.drop_sessions();
    }

    /// Restarts the server: for `down` nobody listens, then sessions and
    /// subscriptions are gone and values are there.
    ///
    /// # Panics
    /// When the port was taken by another program meanwhile.
    pub async fn restart(&self, down: Duration) {
        done(self.handle.restart(down, None).await);
    }

    /// Restarts the server with its namespaces, from index 2 on, in another order.
    /// Nodes keep their names here; on the wire their indexes move.
    ///
    /// # Panics
    /// When a namespace of the scenario is missing, or as [`Simulator::restart`].
    pub async fn restart_with(&self, down: Duration, namespaces: &[&str]) {
        let order = namespaces.iter().map(|uri| (*uri).to_owned()).collect();
        done(self.handle.restart(down, Some(order)).await);
    }

    /// Counts by service since the start or the last reset.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<Service, Count> {
        self.handle.shared.core().record.counts.clone()
    }

    /// The counts of one service.
    #[must_use]
    pub fn count(&self, service: Service) -> Count {
        self.counters().get(&service).copied().unwrap_or_default()
    }

    /// What is there: connections, sessions, subscriptions, items.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.handle.totals()
    }

    /// The latest 10,000 writes that were carried out, the oldest first.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.handle
            .shared
            .core()
            .record
            .writes
            .iter()
            .cloned()
            .collect()
    }

    /// The latest 10,000 calls that were carried out, the oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Called> {
        self.handle
            .shared
            .core()
            .record
            .calls
            .iter()
            .cloned()
            .collect()
    }

    /// Forgets counts, writes and calls; values and faults stay.
    pub fn reset_counters(&self) {
        self.handle.shared.core().record = Default::default();
    }

    /// Waits until a condition holds; while it does not, it says what is instead.
    ///
    /// # Panics
    /// When it does not hold after a minute.
    pub async fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<(), String>) {
        run::wait(what, || holds(self)).await;
    }

    /// Waits until a node has a value. Panics as [`Simulator::wait`].
    pub async fn wait_value(&self, node: &str, value: impl Into<Json>) {
        let value = value.into();
        self.wait(&format!("{node} to be {value}"), |sim| {
            let is = sim.value(node);
            if is == value {
                Ok(())
            } else {
                Err(format!("it is {is}"))
            }
        })
        .await;
    }

    /// Serves state and faults by HTTP on a loopback address; gives the address that was bound.
    ///
    /// # Errors
    /// The port is taken or cannot be used.
    pub async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let router = control::router(self.handle.clone());
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

fn done<T, E: std::error::Error>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
