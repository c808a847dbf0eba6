//! What was listed completely since the hub started.
//!
//! Written by the watches; read by the sessions and the status writer, who must
//! not take for gone what is only not listed yet, and by `/readyz`.

use tokio::sync::watch;

/// What was listed so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// All that goes to edges: they may be served.
    pub(crate) catalog: bool,
    /// Which DeviceStatuses there are.
    pub(crate) statuses: bool,
    /// Which Nodes there are.
    pub(crate) nodes: bool,
}

impl Progress {
    /// Statuses may be written: a device that is missing is gone, and one whose
    /// status is missing has none.
    pub(crate) fn is_whole(&self) -> bool {
        self.catalog && self.statuses && self.nodes
    }
}

/// The progress, for all who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Listed(watch::Sender<Progress>);

impl Listed {
    /// Something is listed now.
    pub(crate) fn learn(&self, what: impl FnOnce(&mut Progress) -> &mut bool) {
        self.0.send_if_modified(|progress| {
            let what = what(progress);
            !std::mem::replace(what, true)
        });
    }

    /// Waits until so much is listed.
    pub(crate) async fn wait(&self, enough: impl FnMut(&Progress) -> bool) {
        // An error would mean that the sender is gone, which `self` holds.
        let _ = self.0.subscribe().wait_for(enough).await;
    }

    /// Why the hub is not ready yet.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        (!self.0.borrow().catalog).then_some("what goes to edges is not listed yet")
    }
}
