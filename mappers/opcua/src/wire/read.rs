//! Reading, each value for itself.

use std::time::Instant;

use opcua::{
    core::ResponseMessage,
    types::{DataValue, ReadRequest, ReadValueId, TimestampsToReturn},
};

use super::{Wire, WireError, bad, complete};
use crate::batch::ask_all;

impl Wire {
    /// Reads attributes; one value for each, in their order. What was refused alone
    /// is a value with the status.
    pub(crate) async fn read(&self, nodes: &[ReadValueId]) -> Result<Vec<DataValue>, WireError> {
        let values = self.read_each(nodes).await?;
        let refused = |error: WireError| DataValue {
            status: Some(bad(&error)),
            ..DataValue::default()
        };
        let values = values.into_iter();
        Ok(values.map(|value| value.unwrap_or_else(refused)).collect())
    }

    /// Reads attributes; one value for each, in their order, or why there is none.
    pub(crate) async fn read_each(
        &self,
        nodes: &[ReadValueId],
    ) -> Result<Vec<Result<DataValue, WireError>>, WireError> {
        let apart = &self.limits.apart;
        let key = |node: &ReadValueId| (node.node_id.clone(), node.attribute_id);
        if apart.is_empty() {
            let values = self.read_together(nodes).await?;
            for (node, value) in nodes.iter().zip(&values) {
                if value.is_err() {
                    apart.note(key(node), value, Instant::now());
                }
            }
            return Ok(values);
        }
        let together = nodes.iter().filter(|node| !apart.has(&key(node)));
        let together: Vec<_> = together.cloned().collect();
        let mut values = self.read_together(&together).await?.into_iter();
        let mut all = Vec::with_capacity(nodes.len());
        let mut rest = together.iter().peekable();
        for node in nodes {
            if rest.next_if(|next| *next == node).is_some() {
                all.extend(values.next());
                continue;
            }
            let (key, now) = (key(node), Instant::now());
            let value = match apart.rests(&key, now) {
                Some(error) => Err(error),
                None => match self.read_together(std::slice::from_ref(node)).await {
                    Ok(mut values) => values
                        .pop()
                        .unwrap_or(Err(WireError::Unexpected { service: "Read" })),
                    Err(error) if !error.is_of_size() => return Err(error),
                    Err(error) => Err(error),
                },
            };
            apart.note(key, &value, now);
            all.push(value);
        }
        Ok(all)
    }

    async fn read_together(
        &self,
        nodes: &[ReadValueId],
    ) -> Result<Vec<Result<DataValue, WireError>>, WireError> {
        let ask = |chunk: Vec<ReadValueId>| async move {
            let wanted = chunk.len();
            let request = ReadRequest {
                request_header: self.header(self.timeout),
                max_age: 0.0,
                timestamps_to_return: TimestampsToReturn::Both,
                nodes_to_read: Some(chunk),
            };
            let answer = answer!(self, Read, request, self.timeout)?;
            complete("Read", answer.results, wanted)
        };
        ask_all(&self.limits.read, &self.limits.turns, nodes, ask).await
    }
}
