//! Listening for advertisements: on while somebody wants it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use zbus::Variant;

use super::{client::Client, tree};

/// Between two tries to begin listening.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps an adapter listening until it is dropped.
pub struct Scan {
    client: Arc<Client>,
    adapter: String,
}

impl Scan {
    /// Asks for it; it begins by itself.
    pub fn new(client: &Arc<Client>, adapter: &str) -> Self {
        *client.state().wanted.entry(adapter.to_owned()).or_default() += 1;
        client.scans.notify_one();
        Self {
            client: Arc::clone(client),
            adapter: adapter.to_owned(),
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        let mut state = self.client.state();
        if let Some(count) = state.wanted.get_mut(&self.adapter) {
            *count = count.saturating_sub(1);
        }
        drop(state);
        self.client.scans.notify_one();
    }
}

/// Makes what is so what is wanted, again and again. Never ends before the client.
pub(super) async fn keep(client: Weak<Client>) {
    loop {
        let Some(client) = client.upgrade().filter(|client| client.is_open()) else {
            return;
        };
        let settled = settle(&client).await;
        let scans = Arc::clone(&client.scans);
        drop(client);
        if settled {
            scans.notified().await;
        } else {
            // A wake-up in between is kept.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Begins and ends what is to be; `false` if something did not work.
async fn settle(client: &Arc<Client>) -> bool {
    let (begin, end) = {
        let state = client.state();
        let wanted = |path: &String| state.wanted.get(path).is_some_and(|count| *count > 0);
        let is_on = |path: &&String| state.tree.adapters.get(*path).is_some_and(|a| a.powered);
        let begin: Vec<String> = state
            .wanted
            .keys()
            .filter(|path| wanted(path) && !state.scanning.contains(*path))
            .filter(is_on)
            .cloned()
            .collect();
        let end: Vec<String> = state
            .scanning
            .iter()
            .filter(|path| !wanted(path))
            .cloned()
            .collect();
        (begin, end)
    };
    let mut settled = true;
    for adapter in end {
        client.state().scanning.remove(&adapter);
        // It is over in any case if BlueZ or the adapter is gone.
        let _ = client
            .call(&adapter, tree::ADAPTER, "StopDiscovery", &())
            .await;
    }
    for adapter in begin {
        // Every packet counts, also one with the same bytes as the one before.
        let filter = HashMap::from([
            ("Transport", Variant::from("le")),
            ("DuplicateData", Variant::from(true)),
        ]);
        let begun = async {
            client
                .call(&adapter, tree::ADAPTER, "SetDiscoveryFilter", &(filter,))
                .await?;
            client
                .call(&adapter, tree::ADAPTER, "StartDiscovery", &())
                .await
        };
        match begun.await {
            Ok(_) => {
                client.state().scanning.insert(adapter);
            }
            Err(_) => settled = false,
        }
    }
    settled
}
