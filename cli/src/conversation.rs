//! A mapper that one command runs for a moment: started, asked, stopped.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use longshore_host::{
    Command, CommandKind, HostOptions, Isolation, Mapper, MapperEvent, MapperSpec, MapperState,
    Status,
};
use serde_json::Value as Json;
use tokio::sync::mpsc;

/// Batches that a mapper may be ahead.
const QUEUE: usize = 16;
/// Beyond a command's own time: for the start, and for the answer's way.
const GRACE: Duration = Duration::from_secs(5);

/// A mapper that runs.
pub(crate) struct Conversation {
    name: Arc<str>,
    mapper: Mapper,
    events: mpsc::Receiver<MapperEvent>,
    is_up: bool,
    token: u64,
    /// Completions that nobody has asked for yet.
    answers: VecDeque<(u64, Status, String)>,
}

impl Conversation {
    /// Starts the library of a mapper, inside of this program.
    pub(crate) fn start(protocol: &str, file: &Path, config: Json) -> Self {
        let spec = MapperSpec {
            name: Arc::from(protocol),
            file: file.to_owned(),
            isolation: Isolation::InProcess,
            config,
        };
        let name = Arc::clone(&spec.name);
        let (sender, events) = mpsc::channel(QUEUE);
        Self {
            name,
            mapper: Mapper::start(spec, HostOptions::default(), sender),
            events,
            is_up: false,
            token: 0,
            answers: VecDeque::new(),
        }
    }

    /// One command and its completion: status and message.
    pub(crate) async fn ask(
        &mut self,
        device: u32,
        kind: CommandKind,
        budget: Duration,
    ) -> Result<(Status, String)> {
        let name = Arc::clone(&self.name);
        tokio::time::timeout(budget + GRACE, self.converse(device, kind, budget))
            .await
            .unwrap_or_else(|_| {
                Err(anyhow!(
                    "the mapper `{name}` did not answer within {} s",
                    budget.as_secs()
                ))
            })
    }

    async fn converse(
        &mut self,
        device: u32,
        kind: CommandKind,
        budget: Duration,
    ) -> Result<(Status, String)> {
        while !self.is_up {
            self.listen().await?;
        }
        self.token += 1;
        let token = self.token;
        self.mapper.submit(vec![Command {
            token,
            device,
            budget,
            kind,
        }])?;
        loop {
            while let Some((of, status, message)) = self.answers.pop_front() {
                if of == token {
                    return Ok((status, message));
                }
            }
            self.listen().await?;
        }
    }

    /// Takes one event.
    async fn listen(&mut self) -> Result<()> {
        let mut state = self.mapper.state();
        if let MapperState::Failed { reason, .. } = &*state.borrow_and_update() {
            bail!("the mapper cannot start: {reason}");
        }
        tokio::select! {
            event = self.events.recv() => match event.context("the mapper has ended")? {
                MapperEvent::Up { .. } => self.is_up = true,
                MapperEvent::Batch { batch, .. } => {
                    let answers = batch.completions().map(|done| (done.token, done.status, done.message.to_owned()));
                    self.answers.extend(answers);
                }
                MapperEvent::Down { reason, .. } => bail!("the mapper failed: {reason}"),
            },
            changed = state.changed() => changed.context("the mapper has ended")?,
        }
        Ok(())
    }

    /// Ends the mapper. What it still emits is of no interest, and must not
    /// hold it up.
    pub(crate) async fn end(mut self) {
        self.events.close();
        self.mapper.stop(Duration::from_secs(1)).await;
    }
}
