//! The sessions of the edges, each over a line of its own.

mod connection;
mod outcome;
mod records;
mod tables;
mod telemetry;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use longshore_link::transport::{self, Line};

pub(crate) use self::tables::Tables;
use crate::port::{NodeIdentity, Refused, Upgrade};

/// Grants a node the link: its connection becomes the line of a session.
pub(crate) async fn link(
    State(hub): State<Arc<Tables>>,
    node: NodeIdentity,
    Extension(upgrade): Extension<Upgrade>,
    request: Request,
) -> Result<Response, Refused> {
    let response = transport::grant(&request)?;
    upgrade.then(async move |connection| {
        let line = Line::granted(connection.stream, connection.read).await;
        connection::run(&hub, &node, line, connection.address, connection.stop).await;
    });
    Ok(response)
}
