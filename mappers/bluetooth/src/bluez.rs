//! BlueZ, over D-Bus: one connection for all devices of a mapper.
//!
//! [`tree`] is what BlueZ says of adapters, devices and characteristics, kept
//! by its signals; [`client`] is the connection, which carries out calls and
//! tells each [`Inbox`] what happened to its device. The interfaces are those
//! of BlueZ's documentation: org.bluez.Adapter1, Device1, GattService1,
//! GattCharacteristic1, AgentManager1, Agent1.

mod agent;
mod client;
mod error;
mod inbox;
mod scan;
pub mod tree;
mod variant;

use std::sync::Arc;

use longshore_sdk::RequestError;
use tokio::sync::{Mutex, Semaphore};

pub use client::Client;
pub use error::request_error;
pub(crate) use inbox::now_ns;
pub use inbox::{Event, Inbox, Received};
pub use scan::Scan;

/// What all devices of one mapper share: made when the first of them is dialled.
pub struct Shared {
    address: Option<String>,
    /// The adapter of devices that name none.
    pub adapter: Option<String>,
    /// How many connections there may be at once.
    pub connections: Arc<Semaphore>,
    /// The number of these, for messages.
    pub limit: usize,
    client: Mutex<Option<Arc<Client>>>,
}

impl Shared {
    /// Nothing is opened yet.
    pub fn new(address: Option<String>, adapter: Option<String>, connections: usize) -> Self {
        Self {
            address,
            adapter,
            connections: Arc::new(Semaphore::new(connections)),
            limit: connections,
            client: Mutex::new(None),
        }
    }

    /// The connection to the bus; made anew when the bus has closed it.
    ///
    /// # Errors
    /// `Line`: the bus cannot be reached.
    pub async fn client(&self) -> Result<Arc<Client>, RequestError> {
        let mut client = self.client.lock().await;
        if let Some(open) = client.as_ref().filter(|client| client.is_open()) {
            return Ok(Arc::clone(open));
        }
        let opened = Client::open(self.address.as_deref())
            .await
            .map_err(|error| {
                let place = self.address.as_deref().unwrap_or("the system bus");
                RequestError::Line(format!("D-Bus at {place} cannot be reached: {error}"))
            })?;
        *client = Some(Arc::clone(&opened));
        Ok(opened)
    }
}
