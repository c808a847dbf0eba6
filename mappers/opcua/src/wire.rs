//! Requests and answers over one secure channel, in batches that the server takes.

use std::{sync::Arc, time::Duration};

use opcua::{
    core::{RequestMessage, ResponseMessage},
    types::{
        BrowseDescription, BrowseNextRequest, BrowsePath, BrowsePathResult, BrowseRequest,
        BrowseResult, ByteString, CallMethodRequest, CallMethodResult, CallRequest,
        CreateMonitoredItemsRequest, CreateSubscriptionRequest, CreateSubscriptionResponse,
        DateTime, DeleteMonitoredItemsRequest, DeleteSubscriptionsRequest,
        MonitoredItemCreateRequest, MonitoredItemCreateResult, NodeId, NotificationMessage,
        PublishRequest, PublishResponse, ReadValueId, ReferenceDescription, RepublishRequest,
        RequestHeader, StatusCode, SubscriptionAcknowledgement, TimestampsToReturn, TransferResult,
        TransferSubscriptionsRequest, TranslateBrowsePathsToNodeIdsRequest, VariableId, Variant,
        ViewDescription, WriteRequest, WriteValue,
    },
};

use crate::{
    batch::{Apart, Bound, Turns, ask_all},
    bus::Bounds,
    channel::Channel,
    node::Namespaces,
};

/// Operations in one request at most, whatever the server would take: a larger
/// answer only comes later.
const MOST: usize = 1000;
/// References of one node in one answer.
const REFERENCES: u32 = 1000;
/// References of one node at all: more is a server that never comes to an end.
const REFERENCES_MOST: usize = 200_000;
/// Answers for one node: a server may give few in each, but not none for ever.
const PAGES_MOST: usize = 2000;

/// By how many ticks of 100 ns the time of a server's start may differ between
/// two readings of it: some servers take it from what they have run for.
pub(crate) const STARTED_SLACK: i64 = 10_000;

/// An open channel with a session on it.
pub(crate) struct Wire {
    pub(crate) channel: Arc<Channel>,
    pub(crate) token: NodeId,
    pub(crate) timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
}

/// What a server takes in one request (Part 5, section 6.3.11), as it tells and as it
/// was learnt.
#[derive(Debug)]
pub(crate) struct Limits {
    read: Bound,
    write: Bound,
    browse: Bound,
    translate: Bound,
    monitored_items: Bound,
    transfer: Bound,
    turns: Turns,
    /// What spoilt a Read, by node and attribute.
    apart: Apart<(NodeId, u32)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            read: Bound::new(MOST),
            write: Bound::new(MOST),
            browse: Bound::new(MOST),
            translate: Bound::new(MOST),
            monitored_items: Bound::new(MOST),
            transfer: Bound::new(MOST),
            turns: Turns::default(),
            apart: Apart::default(),
        }
    }
}

/// Takes the answer of one service, or says why there is none.
macro_rules! answer {
    ($wire:expr, $kind:ident, $request:expr, $timeout:expr) => {
        match $wire.ask(stringify!($kind), $request, $timeout).await? {
            ResponseMessage::$kind(answer) => Ok::<_, WireError>(answer),
            _ => Err(WireError::Unexpected {
                service: stringify!($kind),
            }),
        }
    };
}
pub(crate) use answer;

mod error;
mod read;

pub(crate) use error::{WireError, status_text};

impl Wire {
    /// The header of a request in our session.
    pub(crate) fn header(&self, timeout: Duration) -> RequestHeader {
        header(&self.channel, &self.token, timeout)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(
        &self,
        service: &'static str,
        request: impl Into<RequestMessage>,
        timeout: Duration,
    ) -> Result<ResponseMessage, WireError> {
        ask(&self.channel, service, request, timeout).await
    }

    pub(crate) async fn write(&self, values: &[WriteValue]) -> Result<Vec<StatusCode>, WireError> {
        let mut all = Vec::with_capacity(values.len());
        // In no halves: what was refused may have been done.
        for chunk in values.chunks(self.limits.write.get()) {
            let request = WriteRequest {
                request_header: self.header(self.timeout),
                nodes_to_write: Some(chunk.to_vec()),
            };
            let answer = answer!(self, Write, request, self.timeout)?;
            all.extend(complete("Write", answer.results, chunk.len())?);
        }
        Ok(all)
    }

    pub(crate) async fn call(
        &self,
        request: CallMethodRequest,
    ) -> Result<CallMethodResult, WireError> {
        let request = CallRequest {
            request_header: self.header(self.timeout),
            methods_to_call: Some(vec![request]),
        };
        let answer = answer!(self, Call, request, self.timeout)?;
        let mut results = complete("Call", answer.results, 1)?;
        results
            .pop()
            .ok_or(WireError::Unexpected { service: "Call" })
    }

    /// Node ids of browse paths; one result for each, in their order.
    pub(crate) async fn translate(
        &self,
        paths: &[BrowsePath],
    ) -> Result<Vec<BrowsePathResult>, WireError> {
        let ask = |chunk: Vec<BrowsePath>| async move {
            let wanted = chunk.len();
            let request = TranslateBrowsePathsToNodeIdsRequest {
                request_header: self.header(self.timeout),
                browse_paths: Some(chunk),
            };
            let answer = answer!(self, TranslateBrowsePathsToNodeIds, request, self.timeout)?;
            complete("TranslateBrowsePathsToNodeIds", answer.results, wanted)
        };
        let all = ask_all(&self.limits.translate, &self.limits.turns, paths, ask).await?;
        let refused = |error: WireError| BrowsePathResult {
            status_code: bad(&error),
            targets: None,
        };
        Ok(all
            .into_iter()
            .map(|one| one.unwrap_or_else(refused))
            .collect())
    }

    /// All references of some nodes; one list for each, in their order. A node
    /// that cannot be browsed has none.
    pub(crate) async fn browse(
        &self,
        nodes: &[BrowseDescription],
    ) -> Result<Vec<Vec<ReferenceDescription>>, WireError> {
        let ask = |chunk: Vec<BrowseDescription>| async move {
            let wanted = chunk.len();
            let request = BrowseRequest {
                request_header: self.header(self.timeout),
                view: ViewDescription {
                    view_id: NodeId::null(),
                    timestamp: DateTime::null(),
                    view_version: 0,
                },
                requested_max_references_per_node: REFERENCES,
                nodes_to_browse: Some(chunk),
            };
            let answer = answer!(self, Browse, request, self.timeout)?;
            complete("Browse", answer.results, wanted)
        };
        let mut all = Vec::with_capacity(nodes.len());
        for chunk in nodes.chunks(self.limits.browse.get()) {
            // The rest of each node is asked for before the next ones: a server holds
            // few of them.
            let found = ask_all(&self.limits.browse, &self.limits.turns, chunk, ask).await?;
            let mut alone = Vec::new();
            for (result, node) in found.into_iter().zip(chunk) {
                let references = match result {
                    Ok(result) if result.status_code == StatusCode::BadNoContinuationPoints => {
                        alone.push((all.len(), node));
                        Vec::new()
                    }
                    Ok(result) => self.browse_on(result).await?,
                    Err(_) => Vec::new(),
                };
                all.push(references);
            }
            for (index, node) in alone {
                let mut found = ask(vec![node.clone()]).await?;
                if let Some(result) = found.pop() {
                    all[index] = self.browse_on(result).await?;
                }
            }
        }
        Ok(all)
    }

    async fn browse_on(&self, first: BrowseResult) -> Result<Vec<ReferenceDescription>, WireError> {
        let mut references = first.references.unwrap_or_default();
        let mut point: ByteString = first.continuation_point;
        let mut pages = 1;
        while !point.is_null_or_empty() {
            goes_on(references.len(), pages)?;
            pages += 1;
            let request = BrowseNextRequest {
                request_header: self.header(self.timeout),
                release_continuation_points: false,
                continuation_points: Some(vec![point]),
            };
            let answer = answer!(self, BrowseNext, request, self.timeout)?;
            let mut results = complete("BrowseNext", answer.results, 1)?;
            let Some(next) = results.pop() else { break };
            references.extend(next.references.unwrap_or_default());
            point = next.continuation_point;
        }
        Ok(references)
    }

    pub(crate) async fn create_subscription(
        &self,
        publishing_ms: u32,
        keep_alive: u32,
        lifetime: u32,
    ) -> Result<CreateSubscriptionResponse, WireError> {
        let request = CreateSubscriptionRequest {
            request_header: self.header(self.timeout),
            requested_publishing_interval: f64::from(publishing_ms),
            requested_lifetime_count: lifetime,
            requested_max_keep_alive_count: keep_alive,
            max_notifications_per_publish: 0,
            publishing_enabled: true,
            priority: 0,
        };
        Ok(*answer!(self, CreateSubscription, request, self.timeout)?)
    }

    pub(crate) async fn delete_subscriptions(&self, ids: Vec<u32>) -> Result<(), WireError> {
        let request = DeleteSubscriptionsRequest {
            request_header: self.header(self.timeout),
            subscription_ids: Some(ids),
        };
        answer!(self, DeleteSubscriptions, request, self.timeout).map(drop)
    }

    pub(crate) async fn transfer_subscriptions(
        &self,
        ids: Vec<u32>,
    ) -> Result<Vec<TransferResult>, WireError> {
        let ask = |chunk: Vec<u32>| async move {
            let wanted = chunk.len();
            let request = TransferSubscriptionsRequest {
                request_header: self.header(self.timeout),
                subscription_ids: Some(chunk),
                send_initial_values: true,
            };
            let answer = answer!(self, TransferSubscriptions, request, self.timeout)?;
            complete("TransferSubscriptions", answer.results, wanted)
        };
        let all = ask_all(&self.limits.transfer, &self.limits.turns, &ids, ask).await?;
        let refused = |error: WireError| TransferResult {
            status_code: bad(&error),
            ..TransferResult::default()
        };
        Ok(all
            .into_iter()
            .map(|one| one.unwrap_or_else(refused))
            .collect())
    }

    pub(crate) async fn create_items(
        &self,
        subscription: u32,
        items: &[MonitoredItemCreateRequest],
    ) -> Result<Vec<MonitoredItemCreateResult>, WireError> {
        let ask = |chunk: Vec<MonitoredItemCreateRequest>| async move {
            let wanted = chunk.len();
            let request = CreateMonitoredItemsRequest {
                request_header: self.header(self.timeout),
                subscription_id: subscription,
                timestamps_to_return: TimestampsToReturn::Both,
                items_to_create: Some(chunk),
            };
            let answer = answer!(self, CreateMonitoredItems, request, self.timeout)?;
            complete("CreateMonitoredItems", answer.results, wanted)
        };
        let bound = &self.limits.monitored_items;
        let all = match ask_all(bound, &self.limits.turns, items, ask).await {
            // Where only one was asked for, it is the one that is refused.
            Err(error) if items.len() == 1 && error.is_of_size() => vec![Err(error)],
            all => all?,
        };
        let refused = |error: WireError| MonitoredItemCreateResult {
            status_code: bad(&error),
            ..MonitoredItemCreateResult::default()
        };
        Ok(all
            .into_iter()
            .map(|one| one.unwrap_or_else(refused))
            .collect())
    }

    pub(crate) async fn delete_items(
        &self,
        subscription: u32,
        ids: &[u32],
    ) -> Result<(), WireError> {
        let ask = |chunk: Vec<u32>| async move {
            let wanted = chunk.len();
            let request = DeleteMonitoredItemsRequest {
                request_header: self.header(self.timeout),
                subscription_id: subscription,
                monitored_item_ids: Some(chunk),
            };
            let answer = answer!(self, DeleteMonitoredItems, request, self.timeout)?;
            // Some servers have one status for all of them.
            let mut results = answer.results.unwrap_or_default();
            results.resize(wanted, StatusCode::Good);
            Ok(results)
        };
        let bound = &self.limits.monitored_items;
        ask_all(bound, &self.limits.turns, ids, ask).await.map(drop)
    }

    pub(crate) async fn publish(
        &self,
        acknowledgements: Vec<SubscriptionAcknowledgement>,
        timeout: Duration,
    ) -> Result<PublishResponse, WireError> {
        let request = PublishRequest {
            request_header: self.header(timeout),
            subscription_acknowledgements: Some(acknowledgements),
        };
        Ok(*answer!(self, Publish, request, timeout)?)
    }

    pub(crate) async fn republish(
        &self,
        subscription: u32,
        sequence: u32,
    ) -> Result<NotificationMessage, WireError> {
        let request = RepublishRequest {
            request_header: self.header(self.timeout),
            subscription_id: subscription,
            retransmit_sequence_number: sequence,
        };
        let answer = answer!(self, Republish, request, self.timeout)?;
        Ok(answer.notification_message)
    }

    /// The state of the server: keeps the session alive and shows that it is.
    pub(crate) async fn keep_alive(&self) -> Result<(), WireError> {
        let state: NodeId = VariableId::Server_ServerStatus_State.into();
        self.read(&[ReadValueId::from(state)]).await.map(drop)
    }

    /// The server's namespaces and since when it runs, and what it takes in one
    /// request; what it does not tell is as much as we ask for at most.
    pub(crate) async fn read_capabilities(
        &mut self,
    ) -> Result<(Namespaces, Option<i64>), WireError> {
        let ids = [
            VariableId::Server_NamespaceArray,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
            VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
            VariableId::Server_ServerStatus_StartTime,
        ];
        let nodes = ids.map(|id| ReadValueId::from(NodeId::from(id)));
        let values = self.read(&nodes).await?;
        let value = |index: usize| values.get(index).and_then(|value| value.value.as_ref());
        let limit = |index: usize| {
            let number = value(index).and_then(Variant::as_f64).unwrap_or(0.0) as usize;
            Bound::new(if number == 0 { MOST } else { number.min(MOST) })
        };
        self.limits = Limits {
            read: limit(1),
            write: limit(2),
            browse: limit(3),
            translate: limit(4),
            monitored_items: limit(5),
            ..Limits::default()
        };
        let uris = value(0).and_then(Variant::as_array);
        let uris = uris.into_iter().flatten().map(|uri| match uri {
            Variant::String(uri) => uri.as_ref().to_owned(),
            _ => String::new(),
        });
        let started = values.get(6).and_then(|value| match &value.value {
            Some(Variant::DateTime(started)) => Some(started.ticks()),
            _ => None,
        });
        // A server that does not know it leaves it empty.
        let started = started.filter(|ticks| *ticks > STARTED_SLACK);
        Ok((Namespaces::new(uris.collect()), started))
    }
}

/// A request's header.
pub(crate) fn header(channel: &Channel, token: &NodeId, timeout: Duration) -> RequestHeader {
    RequestHeader {
        authentication_token: token.clone(),
        timestamp: DateTime::now(),
        request_handle: channel.request_handle(),
        timeout_hint: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        ..RequestHeader::default()
    }
}

/// Sends a request on a channel, with or without a session.
pub(crate) async fn ask(
    channel: &Channel,
    service: &'static str,
    request: impl Into<RequestMessage>,
    timeout: Duration,
) -> Result<ResponseMessage, WireError> {
    let unread = channel.unread.count();
    let answer = channel.send(request, timeout).await.map_err(|error| {
        let message = match error.status() {
            StatusCode::BadTimeout => return WireError::Timeout { service, timeout },
            // Its request was given up, and no other: the line is as it was.
            StatusCode::BadConnectionClosed if channel.unread.count() > unread => {
                let message = channel.unread.latest();
                return WireError::Unreadable { service, message };
            }
            status @ (StatusCode::BadEncodingLimitsExceeded | StatusCode::BadRequestTooLarge) => {
                let message = format!("{}: {error}", status_text(status));
                return WireError::Unreadable { service, message };
            }
            StatusCode::BadConnectionClosed | StatusCode::BadNotConnected => {
                "the connection is closed".to_owned()
            }
            status => status_text(status),
        };
        WireError::Line { service, message }
    })?;
    let status = answer.response_header().service_result;
    if status.is_bad() {
        return Err(WireError::Service { service, status });
    }
    Ok(answer)
}

/// The status that stands for one operation that was refused alone.
fn bad(error: &WireError) -> StatusCode {
    error
        .status()
        .unwrap_or(StatusCode::BadEncodingLimitsExceeded)
}

/// Whether the references of one node may have another page.
fn goes_on(references: usize, pages: usize) -> Result<(), WireError> {
    if references < REFERENCES_MOST && pages < PAGES_MOST {
        return Ok(());
    }
    Err(WireError::Endless {
        service: "BrowseNext",
        references,
        pages,
    })
}

/// One result for each operation, as Part 4 wants it.
fn complete<T>(
    service: &'static str,
    results: Option<Vec<T>>,
    wanted: usize,
) -> Result<Vec<T>, WireError> {
    results
        .filter(|results| results.len() == wanted)
        .ok_or(WireError::Unexpected { service })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A continuation point that comes with each answer, for ever.
    #[test]
    fn a_server_whose_references_do_not_end_is_given_up() {
        assert_eq!(goes_on(199_999, 1999), Ok(()));
        assert!(goes_on(200_000, 200).is_err());
        let endless = goes_on(0, 2000).unwrap_err();
        assert_eq!(
            endless.to_string(),
            "BrowseNext: the references of a node do not end, after 0 of them in 2000 answers"
        );
        assert!(!endless.ends_session());
    }
}
