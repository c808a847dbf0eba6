//! What one connection knows of its server: namespaces, nodes behind browse
//! paths, structures. Cheap to clone; requests under way hold it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_sdk::{Reason, Samples};
use opcua::types::{
    AttributeId, BrowsePath, DataChangeFilter, DataChangeTrigger, DataValue, ExtensionObject,
    MonitoredItemCreateRequest, MonitoredItemCreateResult, MonitoringMode, MonitoringParameters,
    NodeId, QualifiedName, ReadValueId, StatusCode,
};

use crate::{
    channel::context,
    codec::{Decoder, now_ns, reason, refusal_text},
    node::{Namespaces, Place, Resolved},
    point::{Deadband, Field, Point},
    structure::Types,
    subscription::Attempt,
    wire::{Wire, WireError},
};

/// What one connection knows of its server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) wire: Arc<Wire>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) types: Arc<Types>,
    resolved: Arc<Mutex<Resolved>>,
}

/// Why there is no value of one point; for its sample.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// What the server said, if it was asked.
    pub(crate) status: Option<StatusCode>,
    /// There is a value, which nobody can read.
    pub(crate) is_unreadable: bool,
}

/// What came of attempts to have points watched.
pub(crate) struct Built {
    pub(crate) results: Vec<(Attempt, Result<MonitoredItemCreateResult, Refusal>)>,
}

impl Refusal {
    /// The one that spoilt a request for the others.
    fn alone(place: &Place, error: &WireError) -> Self {
        let is_unreadable = error.is_unreadable();
        Self {
            reason: match is_unreadable {
                true => Reason::Decode,
                false => Reason::Refused,
            },
            message: format!("{place}: {error}"),
            status: error.status(),
            is_unreadable,
        }
    }

    fn status(place: &Place, status: StatusCode) -> Self {
        Self {
            reason: reason(status),
            message: format!("{place}: {}", refusal_text(status)),
            status: Some(status),
            is_unreadable: false,
        }
    }
}

impl Server {
    pub(crate) fn new(wire: Arc<Wire>, namespaces: Namespaces) -> Self {
        Self {
            types: Arc::new(Types::new(context(&wire.bounds))),
            namespaces: Arc::new(namespaces),
            resolved: Arc::default(),
            wire,
        }
    }

    fn resolved(&self) -> MutexGuard<'_, Resolved> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node is not where it was: its path is looked up again next time.
    pub(crate) fn forget(&self, place: &Place) {
        self.resolved().forget(place);
    }

    /// Node ids, in the order of the places.
    pub(crate) async fn nodes(
        &self,
        places: &[&Place],
    ) -> Result<Vec<Result<NodeId, Refusal>>, WireError> {
        let mut found = Vec::with_capacity(places.len());
        let (mut asked, mut paths) = (Vec::new(), Vec::new());
        for (index, place) in places.iter().enumerate() {
            let config = |error: crate::node::UnknownNamespace| Refusal {
                reason: Reason::Config,
                message: error.to_string(),
                status: None,
                is_unreadable: false,
            };
            let known = self.resolved().get(place).cloned();
            let node = match (known, place.start.resolve(&self.namespaces)) {
                (Some(node), _) => Ok(node),
                (None, Err(error)) => Err(config(error)),
                (None, Ok(start)) => match place.relative_path(&self.namespaces) {
                    Ok(None) => Ok(start),
                    Ok(Some(relative_path)) => {
                        asked.push(index);
                        paths.push(BrowsePath {
                            starting_node: start.clone(),
                            relative_path,
                        });
                        Ok(start)
                    }
                    Err(error) => Err(config(error)),
                },
            };
            found.push(node);
        }
        if paths.is_empty() {
            return Ok(found);
        }
        let results = self.wire.translate(&paths).await?;
        for (index, result) in asked.into_iter().zip(results) {
            let place = places[index];
            let target = result.targets.into_iter().flatten().next();
            found[index] = match target {
                Some(target) if !result.status_code.is_bad() => {
                    let node = target.target_id.node_id;
                    self.resolved().put(place.clone(), node.clone());
                    Ok(node)
                }
                _ if result.status_code.is_bad() => Err(Refusal::status(place, result.status_code)),
                _ => Err(Refusal::status(place, StatusCode::BadNoMatch)),
            };
        }
        Ok(found)
    }

    /// Reads points, and asks for structures that are new. One value or
    /// refusal for each, in their order.
    pub(crate) async fn read(
        &self,
        points: &[(u32, Point)],
    ) -> Result<Vec<Result<DataValue, Refusal>>, WireError> {
        let places: Vec<_> = points.iter().map(|(_, field)| &field.place).collect();
        let nodes = self.nodes(&places).await?;
        let ids: Vec<_> = nodes
            .iter()
            .zip(points)
            .filter_map(|(node, (_, field))| Some(read_id(node.as_ref().ok()?, field)))
            .collect();
        let mut values = match ids.is_empty() {
            true => Vec::new(),
            false => self.wire.read_each(&ids).await?,
        }
        .into_iter();
        let mut results = Vec::with_capacity(points.len());
        for (node, (_, field)) in nodes.into_iter().zip(points) {
            let value = match node {
                Err(refusal) => Err(refusal),
                Ok(_) => {
                    let missing = Err(WireError::Unexpected { service: "Read" });
                    let value = values.next().unwrap_or(missing);
                    if let Ok(value) = &value
                        && value.status.is_some_and(is_gone)
                    {
                        self.forget(&field.place);
                    }
                    value.map_err(|error| Refusal::alone(&field.place, &error))
                }
            };
            results.push(value);
        }
        self.load_types(results.iter().flatten()).await?;
        Ok(results)
    }

    /// Those of some points whose nodes are gone.
    pub(crate) async fn missing(
        &self,
        points: Vec<(u32, Point)>,
    ) -> Result<Vec<(u32, Point, Refusal)>, WireError> {
        let places: Vec<_> = points.iter().map(|(_, field)| &field.place).collect();
        let nodes = self.nodes(&places).await?;
        let known = nodes.iter().flatten();
        let ids: Vec<_> = known
            .map(|node| ReadValueId::new(node.clone(), AttributeId::NodeClass))
            .collect();
        let mut values = match ids.is_empty() {
            true => Vec::new(),
            false => self.wire.read(&ids).await?,
        }
        .into_iter();
        let mut gone = Vec::new();
        for (node, (point, field)) in nodes.into_iter().zip(points) {
            let refusal = match node {
                Err(refusal) => Some(refusal),
                Ok(_) => {
                    let status = values.next().and_then(|value| value.status);
                    let status = status.filter(|status| is_gone(*status));
                    status.map(|status| Refusal::status(&field.place, status))
                }
            };
            gone.extend(refusal.map(|refusal| (point, field, refusal)));
        }
        Ok(gone)
    }

    /// Asks for the structures in values that are new.
    pub(crate) async fn load_types(
        &self,
        values: impl Iterator<Item = &DataValue>,
    ) -> Result<(), WireError> {
        let mut missing: Vec<NodeId> = Vec::new();
        for value in values {
            for id in self.types.missing(value) {
                if !missing.contains(&id) {
                    missing.push(id);
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.types.load(&self.wire, &missing).await
    }

    /// Puts samples of values into `samples`.
    pub(crate) fn decode<'a>(
        &self,
        values: impl Iterator<Item = (u32, &'a Point, &'a Result<DataValue, Refusal>)>,
        samples: &mut Samples,
    ) {
        let decoder = self.decoder();
        for (point, field, value) in values {
            match value {
                Ok(value) => decoder.push(point, field, value, samples),
                Err(refusal) => {
                    let Refusal {
                        reason, message, ..
                    } = refusal;
                    samples.push_bad(point, *reason, message, decoder.now_ns);
                }
            }
        }
    }

    pub(crate) fn decoder(&self) -> Decoder<'_> {
        Decoder {
            types: &self.types,
            now_ns: now_ns(),
        }
    }

    /// Lets the server watch points.
    pub(crate) async fn build(
        &self,
        subscription: u32,
        attempts: Vec<Attempt>,
    ) -> Result<Built, WireError> {
        let places: Vec<_> = attempts
            .iter()
            .map(|attempt| &attempt.watching.field.place)
            .collect();
        let nodes = self.nodes(&places).await?;
        let requests: Vec<_> = nodes
            .iter()
            .zip(&attempts)
            .filter_map(|(node, attempt)| Some(item(node.as_ref().ok()?, attempt)))
            .collect();
        let mut created = match requests.is_empty() {
            true => Vec::new(),
            false => self.wire.create_items(subscription, &requests).await?,
        }
        .into_iter();
        let mut results = Vec::with_capacity(attempts.len());
        for (node, attempt) in nodes.into_iter().zip(attempts) {
            let result = match (node, &attempt.watching.field.place) {
                (Err(refusal), _) => Err(refusal),
                (Ok(_), place) => match created.next() {
                    Some(result) if !result.status_code.is_bad() => Ok(result),
                    result => {
                        let status = result.map_or(StatusCode::Bad, |result| result.status_code);
                        if is_gone(status) {
                            self.forget(place);
                        }
                        Err(refused_item(place, status))
                    }
                },
            };
            results.push((attempt, result));
        }
        Ok(Built { results })
    }
}

/// Statuses of a node that the server does not have, or not any more.
pub(crate) fn is_gone(status: StatusCode) -> bool {
    let bare = StatusCode::from_category(status.sub_code());
    [
        StatusCode::BadNodeIdUnknown,
        StatusCode::BadNodeIdInvalid,
        StatusCode::BadObjectDeleted,
        StatusCode::BadMonitoredItemIdInvalid,
    ]
    .contains(&bare)
}

fn refused_item(place: &Place, status: StatusCode) -> Refusal {
    let refusal = Refusal::status(place, status);
    let ours = [
        StatusCode::BadMonitoredItemFilterInvalid,
        StatusCode::BadMonitoredItemFilterUnsupported,
        StatusCode::BadFilterNotAllowed,
        StatusCode::BadDeadbandFilterInvalid,
    ];
    match ours.contains(&status) {
        true => Refusal {
            reason: Reason::Config,
            message: format!(
                "{}\n\nhint: look at serverDeadband; percent needs an EURange at the node",
                refusal.message
            ),
            ..refusal
        },
        false => refusal,
    }
}

/// What to read of a node.
fn read_id(node: &NodeId, field: &Field) -> ReadValueId {
    ReadValueId {
        node_id: node.clone(),
        attribute_id: field.attribute,
        index_range: field.range.clone(),
        data_encoding: QualifiedName::null(),
    }
}

fn item(node: &NodeId, attempt: &Attempt) -> MonitoredItemCreateRequest {
    let watching = &attempt.watching;
    let filter = watching.field.watch.deadband.map(|deadband| {
        // Part 8, section 7.2: 1 is absolute, 2 percent.
        let (deadband_type, deadband_value) = match deadband {
            Deadband::Absolute(value) => (1, value),
            Deadband::Percent(value) => (2, value),
        };
        ExtensionObject::from_message(DataChangeFilter {
            trigger: DataChangeTrigger::StatusValue,
            deadband_type,
            deadband_value,
        })
    });
    MonitoredItemCreateRequest {
        item_to_monitor: read_id(node, &watching.field),
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: attempt.handle,
            sampling_interval: f64::from(watching.sampling_ms),
            filter: filter.unwrap_or_else(ExtensionObject::null),
            queue_size: watching.queue_size,
            discard_oldest: true,
        },
    }
}
