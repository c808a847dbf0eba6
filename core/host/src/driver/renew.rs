//! Which library a mapper runs, which one comes next, and which one it goes
//! back to: the driver's part of a hot upgrade. When all this happens is the
//! supervisor's to say.

use std::{
    collections::{HashMap, HashSet},
    future,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};

use super::Driver;
use crate::{
    batch::CompletionRef,
    command::{Command, CommandKind, Status},
    copies::{Copies, Edition, Identity, Rejected, TakeError, take},
    event::Refused,
    inspect::{Descriptor, InspectError},
    peer::Peer,
    spec::{HostOptions, Isolation, MapperSpec},
    supervise::{Input, State},
    wire::FromMapper,
};

/// A file is being read, in the background: flash may be slow.
pub(crate) struct Job {
    handle: JoinHandle<Result<Edition, TakeError>>,
    /// For a start; else for a candidate.
    start: bool,
    /// The file as it was when the job began.
    identity: Option<Identity>,
}

/// The editions of a mapper.
pub(crate) struct Renewal {
    copies: Option<Copies>,
    isolation: Isolation,
    look_interval: Duration,
    next_look: Instant,
    /// The file that was used or refused last.
    seen: Option<Identity>,
    /// Another file at the last look; used if it is still so at the next one.
    stirring: Option<Identity>,
    pub(crate) job: Option<Job>,
    /// What runs, or is started next.
    edition: Option<Edition>,
    /// What ran before it, while it is on trial.
    fallback: Option<Edition>,
    candidate: Option<(Edition, u64)>,
    /// A candidate that was just discarded, and what was seen of the file then.
    dropped: Option<(Edition, Option<Identity>)>,
    /// The candidate's process or thread.
    pub(crate) next: Option<Peer>,
    rejected: Option<Rejected>,
    /// The editions that were loaded into this process.
    images: HashSet<PathBuf>,
    shown: watch::Sender<Option<Arc<Descriptor>>>,
    /// Counts the instances, the candidates with them.
    instances: u64,
    /// Configurations under way: token → device and its configuration's hash.
    configuring: HashMap<u64, (u32, u32)>,
    /// Device → hash of the configuration that the edition accepted.
    accepted: HashMap<u32, u32>,
    /// The same of the edition before, during a trial.
    formerly: HashMap<u32, u32>,
}

impl Renewal {
    pub(crate) fn new(
        spec: &MapperSpec,
        options: &HostOptions,
        shown: watch::Sender<Option<Arc<Descriptor>>>,
        now: Instant,
    ) -> Self {
        let copies = options.copies.as_ref();
        Self {
            copies: copies.map(|folder| Copies::new(folder, &spec.name)),
            isolation: spec.isolation,
            look_interval: options.look_interval,
            next_look: now + options.look_interval,
            seen: None,
            stirring: None,
            job: None,
            edition: None,
            fallback: None,
            candidate: None,
            dropped: None,
            next: None,
            rejected: None,
            images: HashSet::new(),
            shown,
            instances: 0,
            configuring: HashMap::new(),
            accepted: HashMap::new(),
            formerly: HashMap::new(),
        }
    }

    /// The file is another one than the one that was refused.
    pub(crate) fn is_another(&self, file: &Path) -> bool {
        Identity::of(file) != self.seen
    }

    pub(crate) fn look_now(&mut self, now: Instant) {
        self.next_look = now;
    }

    /// What people are told of the file beside the edition that runs.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.rejected
            .as_ref()
            .map(|rejected| rejected.shown.clone())
    }

    fn begin(&mut self, file: &Path, start: bool) {
        let (path, isolation, copies) = (file.to_owned(), self.isolation, self.copies.clone());
        let must = start && self.edition.is_none();
        self.job = Some(Job {
            identity: Identity::of(file),
            start,
            handle: tokio::task::spawn_blocking(move || {
                take(&path, isolation, copies.as_ref(), must)
            }),
        });
    }

    /// An edition is loaded; in this process it stays.
    fn loads(&mut self, edition: &Edition) -> usize {
        if self.isolation == Isolation::InProcess {
            self.images.insert(edition.file.clone());
        }
        self.images.len().saturating_sub(1)
    }

    fn show(&self) {
        let edition = self.edition.as_ref();
        self.shown
            .send_replace(edition.map(|edition| edition.descriptor.clone()));
    }

    /// An instance is up and knows nothing. What the former edition accepted
    /// is what this one is measured by.
    pub(crate) fn up(&mut self, way_back: bool) {
        self.configuring.clear();
        let accepted = std::mem::take(&mut self.accepted);
        if !way_back {
            self.formerly = HashMap::new();
        } else if self.formerly.is_empty() {
            self.formerly = accepted;
        }
    }

    pub(crate) fn sent(&mut self, command: &Command) {
        if self.copies.is_none() {
            return;
        }
        match &command.kind {
            CommandKind::Configure(text) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                let hash = hasher.finish() as u32;
                self.configuring
                    .insert(command.token, (command.device, hash));
            }
            CommandKind::Remove => {
                self.accepted.remove(&command.device);
                self.formerly.remove(&command.device);
            }
            _ => {}
        }
    }

    /// A command came back without having been taken.
    pub(crate) fn returned(&mut self, token: u64) {
        self.configuring.remove(&token);
    }

    /// Why the edition is unfit, if this completion shows that it is.
    pub(crate) fn completed(&mut self, completion: CompletionRef<'_>) -> Option<Arc<str>> {
        let (device, hash) = self.configuring.remove(&completion.token)?;
        match completion.status {
            Status::Ok => {
                self.accepted.insert(device, hash);
                None
            }
            Status::InvalidConfig => {
                self.accepted.remove(&device);
                (self.formerly.get(&device) == Some(&hash)).then(|| {
                    let message: String = completion.message.chars().take(300).collect();
                    format!("refuses a configuration that the version before accepts: {message}")
                        .into()
                })
            }
            _ => None,
        }
    }

    /// The file is not tried again until it is another one.
    fn reject(&mut self, mapper: &str, edition: Option<&Edition>, reason: &str) {
        let version: Arc<str> = edition.map_or("", |e| e.descriptor.version.as_str()).into();
        let runs = self
            .edition
            .as_ref()
            .map_or("", |e| e.descriptor.version.as_str());
        tracing::warn!(
            mapper,
            refused = &*version,
            runs,
            reason,
            "another version of the mapper is not used"
        );
        self.rejected = Some(Rejected {
            fingerprint: edition.map(|edition| edition.fingerprint),
            shown: Refused {
                version,
                reason: reason.into(),
            },
        });
    }

    fn is_rejected(&self, edition: &Edition) -> bool {
        self.rejected
            .as_ref()
            .is_some_and(|rejected| rejected.fingerprint == Some(edition.fingerprint))
    }
}

impl Driver {
    /// Learns what a former life of the host found out about the file.
    pub(crate) fn recall(&mut self) {
        let recalled = self.renewal.copies.as_ref().and_then(Copies::recall);
        let Some((of, good, rejected)) = recalled else {
            return;
        };
        // A mapper of the same name may have been another one then.
        let same = match crate::inspect(&self.spec.file) {
            Ok(descriptor) => descriptor.name == good.descriptor.name,
            Err(_) => of == self.spec.file,
        };
        if same {
            self.renewal.edition = Some(good);
            self.renewal.rejected = rejected;
        }
    }

    /// Starts what ran, or what stands at the path if that is another one.
    pub(crate) fn spawn(&mut self, now: Instant) {
        let seen = self.renewal.seen;
        match &self.renewal.edition {
            Some(edition)
                if seen.is_some()
                    && Identity::of(&self.spec.file) == seen
                    && edition.is_intact() =>
            {
                self.start_edition(now);
            }
            _ => self.renewal.begin(&self.spec.file, true),
        }
    }

    fn start_edition(&mut self, now: Instant) {
        let Some(edition) = self.renewal.edition.clone() else {
            return;
        };
        self.supervisor.begins(now);
        self.renewal.instances += 1;
        self.generation = self.renewal.instances;
        let retired = self.renewal.loads(&edition);
        self.renewal.show();
        let counters = &self.shared.counters;
        counters.retired_images(retired);
        match Peer::spawn(
            &self.spec,
            &edition.file,
            &self.options,
            counters,
            &self.log,
        ) {
            Ok(peer) => {
                counters.started(peer.process_id());
                self.peer = Some(peer);
            }
            Err(error) => self.step(Input::Gone(crate::chain(&error).into()), now),
        }
    }

    /// Looks at the file if it is time; answers when to look again.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Instant> {
        let renewal = &mut self.renewal;
        if renewal.copies.is_none() || renewal.job.is_some() || renewal.candidate.is_some() {
            return None;
        }
        if renewal.next_look <= now {
            renewal.next_look = now + renewal.look_interval;
            let found = Identity::of(&self.spec.file);
            // One that is missing is on its way out or on its way in.
            let another = found.is_some() && found != renewal.seen;
            if another && found == renewal.stirring {
                renewal.begin(&self.spec.file, false);
            }
            renewal.stirring = found.filter(|_| another);
        }
        Some(renewal.next_look)
    }

    /// The file was read.
    pub(crate) fn taken(
        &mut self,
        (job, taken): (Job, Result<Result<Edition, TakeError>, JoinError>),
        now: Instant,
    ) {
        let taken = taken.unwrap_or_else(|error| {
            Err(TakeError::Copy {
                path: self.spec.file.clone(),
                source: std::io::Error::other(error),
            })
        });
        let changing = matches!(taken, Err(TakeError::Changing { .. }));
        self.renewal.seen = job.identity.filter(|_| !changing);
        match (job.start, taken) {
            (true, taken) => self.taken_for_start(taken, now),
            (false, Ok(edition)) => self.taken_for_candidate(edition, now),
            // The next look finds it at rest.
            (false, Err(TakeError::Changing { .. })) => {}
            (false, Err(error)) => {
                let reason = crate::chain(&error);
                self.renewal.reject(&self.spec.name, None, &reason);
                self.publish();
            }
        }
    }

    fn taken_for_start(&mut self, taken: Result<Edition, TakeError>, now: Instant) {
        if !matches!(self.supervisor.state, State::Starting { .. }) {
            return;
        }
        let renewal = &mut self.renewal;
        let kept = renewal.edition.as_ref().filter(|kept| kept.file.exists());
        match (taken, kept) {
            // Whoever takes the file away does not want it to run.
            (Err(error @ TakeError::Unfit(InspectError::NotFound { .. })), _)
            | (Err(error), None) => {
                let reason = crate::chain(&error);
                return self.step(Input::Refused(reason.into()), now);
            }
            (Err(error), Some(_)) => {
                let reason = crate::chain(&error);
                renewal.reject(&self.spec.name, None, &reason);
            }
            (Ok(edition), Some(_)) if renewal.is_rejected(&edition) => {}
            (Ok(edition), Some(kept)) if kept.fingerprint == edition.fingerprint => {
                renewal.rejected = None;
                renewal.edition = Some(edition);
            }
            (Ok(edition), kept) => {
                renewal.rejected = None;
                // One that is on trial itself is no way back; what is kept for it is.
                let proven = kept.filter(|_| self.supervisor.trial.is_none()).cloned();
                renewal.fallback = proven.or(renewal.fallback.take());
                renewal.edition = Some(edition);
                if renewal.copies.is_some() {
                    self.supervisor.on_trial(renewal.fallback.is_some());
                }
            }
        }
        self.start_edition(now);
    }

    fn taken_for_candidate(&mut self, edition: Edition, now: Instant) {
        let renewal = &mut self.renewal;
        let runs = renewal.edition.as_ref();
        if runs.is_some_and(|runs| runs.fingerprint == edition.fingerprint) {
            // Put back, or only touched.
            renewal.rejected = None;
            return self.publish();
        }
        let name = |edition: &Edition| edition.descriptor.name.clone();
        if runs.is_some_and(|runs| name(runs) != name(&edition)) {
            let reason = format!("it is another mapper, `{}`", edition.descriptor.name);
            renewal.reject(&self.spec.name, Some(&edition), &reason);
            return self.publish();
        }
        if renewal.is_rejected(&edition) {
            return;
        }
        renewal.instances += 1;
        renewal.candidate = Some((edition, renewal.instances));
        self.step(Input::Candidate, now);
        if self.supervisor.candidate.is_none() && self.renewal.candidate.is_some() {
            // Not the moment for it: the mapper is restarting, and looks itself.
            self.renewal.candidate = None;
            self.renewal.seen = None;
        }
    }

    pub(crate) fn spawn_candidate(&mut self, now: Instant) {
        let Some((edition, _)) = self.renewal.candidate.clone() else {
            return;
        };
        tracing::info!(
            mapper = &*self.spec.name,
            version = edition.descriptor.version,
            "another version of the mapper is loaded"
        );
        let retired = self.renewal.loads(&edition);
        let counters = &self.shared.counters;
        counters.retired_images(retired);
        match Peer::spawn(
            &self.spec,
            &edition.file,
            &self.options,
            counters,
            &self.log,
        ) {
            Ok(peer) => self.renewal.next = Some(peer),
            Err(error) => self.step(Input::CandidateFailed(crate::chain(&error).into()), now),
        }
    }

    pub(crate) fn handle_candidate(&mut self, message: FromMapper, now: Instant) {
        let failed = |reason: String| Input::CandidateFailed(reason.into());
        match message {
            FromMapper::Ready => self.step(Input::CandidateReady, now),
            FromMapper::Failed { message, .. } => self.step(failed(message), now),
            FromMapper::Exited { reason, .. } => self.step(failed(reason), now),
            FromMapper::Log { level, message } => self.log.line(level, &message, now),
            // It knows no device yet, and was asked nothing.
            _ => {}
        }
    }

    pub(crate) fn discard_candidate(&mut self) {
        let renewal = &mut self.renewal;
        if let Some(peer) = renewal.next.take() {
            peer.discard();
        }
        if let Some((edition, _)) = renewal.candidate.take() {
            // Unless it is refused, the file is news again.
            renewal.dropped = Some((edition, renewal.seen.take()));
        }
    }

    pub(crate) fn refuse_candidate(&mut self, reason: &str) {
        if let Some((edition, seen)) = self.renewal.dropped.take() {
            self.renewal.seen = seen;
            self.renewal.reject(&self.spec.name, Some(&edition), reason);
            self.write_down();
        }
    }

    pub(crate) fn promote(&mut self) {
        let Some((edition, instance)) = self.renewal.candidate.take() else {
            return;
        };
        let renewal = &mut self.renewal;
        tracing::info!(
            mapper = &*self.spec.name,
            version = edition.descriptor.version,
            "another version of the mapper takes over"
        );
        renewal.fallback = renewal.edition.replace(edition);
        renewal.rejected = None;
        renewal.show();
        self.generation = instance;
        self.peer = renewal.next.take();
        let process = self.peer.as_ref().and_then(Peer::process_id);
        self.shared.counters.upgraded(process);
    }

    pub(crate) fn roll_back(&mut self, reason: &str) {
        let renewal = &mut self.renewal;
        let bad = std::mem::replace(&mut renewal.edition, renewal.fallback.take());
        renewal.formerly = HashMap::new();
        renewal.reject(&self.spec.name, bad.as_ref(), reason);
        self.shared.counters.rolled_back();
        self.write_down();
    }

    pub(crate) fn settle(&mut self) {
        self.renewal.fallback = None;
        self.renewal.formerly = HashMap::new();
        self.write_down();
        if self.renewal.job.is_some() {
            // It may be making a copy.
            return;
        }
        let candidate = self.renewal.candidate.as_ref().map(|(edition, _)| edition);
        let kept: Vec<_> = self.renewal.edition.iter().chain(candidate).collect();
        let kept: Vec<_> = kept.iter().map(|edition| edition.file.as_path()).collect();
        if let Some(copies) = &self.renewal.copies {
            copies.sweep(&kept);
        }
    }

    /// For after a restart of the host: a convenience, so a full disk is no fault.
    fn write_down(&self) {
        let renewal = &self.renewal;
        let (Some(copies), Some(good)) = (&renewal.copies, &renewal.edition) else {
            return;
        };
        if let Err(error) = copies.remember(&self.spec.file, good, renewal.rejected.as_ref()) {
            tracing::debug!(mapper = &*self.spec.name, %error, "what was learnt of the library could not be written down");
        }
    }
}

/// The job's end. May be cancelled without loss; pends for ever without one.
pub(crate) async fn finished(
    job: &mut Option<Job>,
) -> (Job, Result<Result<Edition, TakeError>, JoinError>) {
    let Some(running) = job else {
        return future::pending().await;
    };
    let taken = (&mut running.handle).await;
    match job.take() {
        Some(job) => (job, taken),
        // It was there a moment ago, and nobody else has it.
        None => future::pending().await,
    }
}
