//! The simulator's own small HTTP face: look at the state, put faults in, move signals.
//!
//! Beside what all simulators have (`longshore_sim_world::control`):
//!
//! | request | does |
//! |---|---|
//! | `POST /actions` | body: `{"do": "disconnect", "device": …}`, also `forget` and `changeServices`; `{"do": "plug", "adapter": "hci0"}`, also `pull`, `powerOn` and `powerOff`; `{"do": "end"}` and `begin` of bluetoothd |

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{Router, extract::State, routing::post};
use longshore_sim_world::{
    World,
    control::{self, Body, Controlled, DONE, Done, Refusal},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{fault::FaultRule, model::Counters, server::Server, simulator::DeviceState};

pub(crate) fn router(server: Arc<Server>) -> Router {
    control::router()
        .route("/actions", post(act))
        .with_state(server)
}

pub(crate) fn devices(server: &Server) -> Vec<DeviceState> {
    let model = server.model();
    model
        .devices
        .iter()
        .map(|device| {
            let all = device
                .services
                .iter()
                .flat_map(|service| &service.characteristics);
            DeviceState {
                address: device.spec.address.clone(),
                name: device.spec.name.clone(),
                known: device.known,
                connected: device.connected,
                paired: device.paired,
                notifying: all
                    .filter(|characteristic| !characteristic.subscribers.is_empty())
                    .map(|characteristic| characteristic.uuid.clone())
                    .collect(),
            }
        })
        .collect()
}

impl Controlled for Server {
    type Rule = FaultRule;

    fn world(&self) -> World {
        self.model().world.clone()
    }

    fn state(&self) -> Map<String, Json> {
        let devices = devices(self);
        let faults = self.faults.list(Instant::now());
        let model = self.model();
        let adapters: BTreeMap<_, _> = model
            .adapters
            .values()
            .map(|adapter| {
                let state = json!({
                    "present": adapter.present,
                    "powered": adapter.powered,
                    "discovering": !adapter.sessions.is_empty(),
                });
                (adapter.spec.name.clone(), state)
            })
            .collect();
        Map::from_iter([
            ("adapters".to_owned(), json!(adapters)),
            ("devices".to_owned(), json!(devices)),
            ("counters".to_owned(), json!(model.counters)),
            ("faults".to_owned(), json!(faults)),
            ("writes".to_owned(), json!(model.writes)),
        ])
    }

    fn fault(&self, rule: FaultRule) {
        self.faults.add(rule, Instant::now());
    }

    fn clear_faults(&self) {
        self.faults.clear();
    }

    fn forget(&self) {
        let mut model = self.model();
        model.counters = Counters::default();
        model.writes.clear();
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    #[serde(rename = "do")]
    what: What,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    adapter: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum What {
    Disconnect,
    Forget,
    ChangeServices,
    Plug,
    Pull,
    PowerOn,
    PowerOff,
    End,
    Begin,
}

async fn act(State(server): State<Arc<Server>>, Body(action): Body<Action>) -> Done {
    let device = action.device.as_ref().and_then(|name| {
        let model = server.model();
        let index = model.devices.iter().position(|device| device.is(name))?;
        Some((index, model.devices[index].path.clone()))
    });
    let adapter = format!("/org/bluez/{}", action.adapter.as_deref().unwrap_or("hci0"));
    match (action.what, device) {
        (What::Disconnect, Some((index, _))) => server.disconnect(index).await,
        (What::ChangeServices, Some((index, _))) => server.change_services(index).await,
        (What::Forget, Some((_, path))) => server.forget(&path).await,
        (What::Disconnect | What::ChangeServices | What::Forget, None) => {
            return Err(Refusal::not_found("no such device"));
        }
        (What::Plug, _) => server.plug(&adapter, true).await,
        (What::Pull, _) => server.plug(&adapter, false).await,
        (What::PowerOn, _) => server.power(&adapter, true).await,
        (What::PowerOff, _) => server.power(&adapter, false).await,
        (What::End, _) => server.end().await,
        (What::Begin, _) => server.begin().await,
    }
    Ok(DONE)
}
