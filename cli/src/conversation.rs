//! A mapper that one command runs for a moment: started, asked, stopped.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use longshore_host::{
    Command, CommandKind, HostOptions, Isolation, Mapper, MapperEvent, MapperSpec, MapperState,
    SampleRef, Status,
};
use longshore_types::ValueRef;
use serde_json::Value as Json;
use tokio::sync::mpsc;

/// Batches that a mapper may be ahead.
const QUEUE: usize = 16;
/// Beyond a command's own time: for the start, and for the answer's way.
const GRACE: Duration = Duration::from_secs(5);

/// A value for programs; bytes as their digits.
fn json_of(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Bool(truth) => truth.into(),
        ValueRef::Int(number) => number.into(),
        ValueRef::Uint(number) => number.into(),
        ValueRef::Float(number) => number.into(),
        ValueRef::String(text) => text.into(),
        ValueRef::Bytes(_) => value.to_string().into(),
    }
}

/// A mapper that runs.
pub(crate) struct Conversation {
    name: Arc<str>,
    mapper: Mapper,
    events: mpsc::Receiver<MapperEvent>,
    is_up: bool,
    token: u64,
    /// Completions that nobody has asked for yet.
    answers: VecDeque<(u64, Status, String)>,
    /// The latest reading of each point.
    readings: BTreeMap<u32, Reading>,
}

/// What a mapper said of a point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// The value for people; empty if there is none.
    pub(crate) value: String,
    /// The same for programs.
    pub(crate) json: Json,
    pub(crate) is_good: bool,
    /// Quality, reason and message.
    state: String,
}

impl Reading {
    fn of(sample: &SampleRef<'_>) -> Self {
        let quality = sample.quality.as_str();
        let is_good = quality == "good";
        let state = match (is_good, sample.message) {
            (true, _) => quality.to_owned(),
            (false, "") => format!("{quality}: {}", sample.reason.as_str()),
            (false, message) => format!("{quality}: {message}"),
        };
        Self {
            value: sample
                .value
                .map_or_else(String::new, |value| value.to_string()),
            json: sample.value.map_or(Json::Null, json_of),
            is_good,
            state,
        }
    }

    /// `good`, or what is wrong.
    pub(crate) fn state(&self) -> String {
        self.state.clone()
    }
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
            readings: BTreeMap::new(),
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

    /// The reading of a point. One that a device sends by itself is waited for.
    pub(crate) async fn reading(
        &mut self,
        point: u32,
        patience: Duration,
        may_come: bool,
    ) -> Result<Option<Reading>> {
        let end = tokio::time::Instant::now() + patience;
        while may_come && !self.readings.contains_key(&point) {
            match tokio::time::timeout_at(end, self.listen()).await {
                Ok(heard) => heard?,
                Err(_) => break,
            }
        }
        Ok(self.readings.get(&point).cloned())
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
                    let readings = batch.samples().map(|sample| (sample.point, Reading::of(&sample)));
                    self.readings.extend(readings);
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
