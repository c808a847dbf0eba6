//! How a task hears that it is to end.

use tokio::sync::watch;

use super::Stage;

/// Asks the tasks of a stage, and of those before it, to end.
#[derive(Debug)]
pub struct Asker {
    asked: watch::Sender<Option<Stage>>,
}

impl Default for Asker {
    fn default() -> Self {
        Self {
            asked: watch::Sender::new(None),
        }
    }
}

impl Asker {
    /// What a task of this stage listens to.
    pub fn stop(&self, stage: Stage) -> Stop {
        Stop {
            asked: self.asked.subscribe(),
            stage,
        }
    }

    /// Asks everything up to this stage.
    pub fn ask(&self, stage: Stage) {
        self.asked.send_replace(Some(stage));
    }

    pub(super) fn has_asked(&self) -> bool {
        self.asked.borrow().is_some()
    }
}

/// Tells a task when to end. Once asked, it stays asked.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: watch::Receiver<Option<Stage>>,
    stage: Stage,
}

impl Stop {
    /// Waits until the end is asked for, or nobody is left to ask.
    pub async fn asked(&mut self) {
        let stage = self.stage;
        // An error means that the asker is gone, which is an end as well.
        let _ = self.asked.wait_for(|asked| *asked >= Some(stage)).await;
    }

    /// Whether the end was asked for.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() >= Some(self.stage) || self.asked.has_changed().is_err()
    }

    /// Cuts `work` off when the end is asked for: for what may end at any point.
    pub async fn cut(mut self, work: impl Future) {
        tokio::select! {
            biased;
            () = self.asked() => {}
            _ = work => {}
        }
    }
}
