//! What is judged, and with which devices.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use longshore_abi::MapperApi;
use serde_json::Value;

use crate::writes::{self, Writes};

/// A mapper that is to be judged.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(crate) source: Source,
    pub(crate) devices: Vec<Value>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) only: Vec<String>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) exclusive: bool,
    pub(crate) writes: Writes,
    pub(crate) stop: Option<Arc<AtomicBool>>,
}

#[derive(Clone)]
pub(crate) enum Source {
    File(PathBuf),
    Linked(&'static MapperApi),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Linked(_) => f.write_str("linked"),
        }
    }
}

/// A file of devices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceFileError {
    /// It cannot be read.
    #[error("failed to read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} is not the JSON of a device, or a list of them: {fault}", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        fault: String,
    },
}

impl DeviceFileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => None,
            Self::Parse { .. } => Some(
                r#"{"device": "default/name", "protocol": {…}, "points": [{"id": 1, "name": …, "intervalMs": 100, "type": "FLOAT", "config": {…}}]}"#,
            ),
        }
    }
}

impl Subject {
    /// A mapper library.
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self::new(Source::File(file.into()))
    }

    /// A mapper that is linked into this program. What stands in a file, such
    /// as the descriptor, is not judged.
    pub fn linked(api: &'static MapperApi) -> Self {
        Self::new(Source::Linked(api))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            devices: Vec::new(),
            environment: Vec::new(),
            only: Vec::new(),
            program: None,
            exclusive: false,
            writes: Writes::Never,
            stop: None,
        }
    }

    /// A device that answers, as `COMMAND_CONFIGURE` has it: `{"device",
    /// "protocol", "points"}`. The ids and intervals of its points are the
    /// judge's own. Without one, the examples of the mapper's schema are tried,
    /// and the rules that need values are left out if nothing answers.
    #[must_use]
    pub fn device(mut self, device: Value) -> Self {
        self.devices.push(device);
        self
    }

    /// The devices of a JSON file: one, or a list of them.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn device_file(mut self, file: &Path) -> Result<Self, DeviceFileError> {
        let text = fs::read_to_string(file).map_err(|source| DeviceFileError::Read {
            file: file.to_owned(),
            source,
        })?;
        let parse = |fault: String| DeviceFileError::Parse {
            file: file.to_owned(),
            fault,
        };
        let json: Value = serde_json::from_str(&text).map_err(|error| parse(error.to_string()))?;
        let devices = match json {
            Value::Array(devices) => devices,
            device => vec![device],
        };
        for device in devices {
            if !device.is_object() {
                return Err(parse(format!("found {device}")));
            }
            self.devices.push(device);
        }
        Ok(self)
    }

    /// Each device that was given serves one program at a time, as a serial
    /// port does: only as many rules as there are devices are judged at once.
    /// Otherwise the first one is used by all of them, several at once.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// The devices may be written to: only their points that say they are
    /// writable, only with values that were read from the same point just
    /// before, and what is another at the end is written back. Without this the
    /// rules that need it are not judged.
    #[must_use]
    pub fn allow_writes(mut self) -> Self {
        self.writes = Writes::PutBack;
        self
    }

    /// The devices are simulated by whoever asks: anything may be done to them,
    /// and nothing is put back.
    #[must_use]
    pub fn simulated(mut self) -> Self {
        self.writes = Writes::Anything;
        self
    }

    /// Ends early once this is true: rules under way are not judged, and what
    /// was written is put back all the same.
    #[must_use]
    pub fn until(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// The points that would be written with [`Subject::allow_writes`]: for each
    /// device its name and theirs.
    pub fn writable(&self) -> Vec<(String, Vec<String>)> {
        self.devices
            .iter()
            .map(|device| (writes::name(device), writes::writable(device)))
            .collect()
    }

    /// A variable of the mapper's environment.
    #[must_use]
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Only these rules, by their names; all if never called.
    #[must_use]
    pub fn only(mut self, rules: &[&str]) -> Self {
        self.only
            .extend(rules.iter().map(|rule| (*rule).to_owned()));
        self
    }

    /// The program in which rules are judged: one that calls
    /// [`crate::run_if_asked`] first. Without this it is the present one. For
    /// files only.
    #[must_use]
    pub fn judged_in(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    pub(crate) fn is_stopped(&self) -> bool {
        let stop = self.stop.as_ref();
        stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// What is done at the end is done to the end.
    pub(crate) fn unstoppable(mut self) -> Self {
        self.stop = None;
        self
    }

    pub(crate) fn label(&self) -> String {
        match &self.source {
            Source::File(file) => file.display().to_string(),
            Source::Linked(_) => "linked mapper".to_owned(),
        }
    }
}
