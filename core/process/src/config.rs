//! One YAML file, read once at start and refused with all that is wrong in it.
//!
//! [`load`] gives the file's root as a [`Section`]; the daemon takes it apart key
//! by key, since serde alone stops at the first fault. Each fault has its key path
//! and its line; what nobody asked for is an unknown key, with the known one that
//! may be meant. `null` and a key without a value mean the same as no key.
//!
//! Reading has no side effect and looks at nothing but its arguments: where the
//! environment matters, it is handed in.
//!
//! ```
//! use longshore_process::config::{self, Section};
//!
//! fn read(root: &mut Section) -> Option<(String, std::net::SocketAddr)> {
//!     let name = root.required::<String>("node");
//!     let listen = root.section("metrics").address("listen", "127.0.0.1:9091");
//!     Some((name?, listen))
//! }
//!
//! let text = "metrics:\n  lisetn: 127.0.0.1:0\n";
//! let faults = config::parse(text, "/etc".as_ref(), read).unwrap_err();
//! let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
//! assert_eq!(
//!     lines,
//!     ["node: missing", "line 2: metrics.lisetn: unknown key, did you mean `listen`"]
//! );
//! ```

mod lines;
mod section;

use std::{
    cell::RefCell,
    fmt, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use longshore_types::files;
use serde_json::Value;

pub use self::section::Section;
use crate::{Exit, Explain};

/// One thing that is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Key path, for example `mappers[0].file`; empty for the file as a whole.
    pub path: String,
    /// Line of the file, where known.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// There is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("no configuration at {}", .0.display())]
    Absent(PathBuf),
    /// The file cannot be read.
    #[error("failed to read the configuration `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is wrong.
    #[error("invalid configuration `{}`{}", file.display(), List(faults))]
    Faults {
        /// The file.
        file: PathBuf,
        /// All that is wrong with it, in the order of its lines.
        faults: Vec<ConfigFault>,
    },
}

impl Explain for ConfigError {
    fn hint(&self) -> Option<String> {
        matches!(self, Self::Absent(_)).then(|| "name one with --config FILE".to_owned())
    }

    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

struct List<'a>(&'a [ConfigFault]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            " ({count} {})",
            if count == 1 { "fault" } else { "faults" }
        )?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Reads a file. Relative paths in it are relative to its folder.
///
/// # Errors
/// The file cannot be read, or is wrong: all that is wrong.
pub fn load<T>(
    file: &Path,
    read: impl FnOnce(&mut Section) -> Option<T>,
) -> Result<T, ConfigError> {
    let text = files::read_text(file, files::SMALL).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Absent(file.to_owned()),
        _ => ConfigError::Read {
            file: file.to_owned(),
            source,
        },
    })?;
    let base = file.parent().unwrap_or(Path::new("."));
    parse(&text, base, read).map_err(|faults| ConfigError::Faults {
        file: file.to_owned(),
        faults,
    })
}

/// Reads a text; relative paths in it are relative to `base`. `read` gives none
/// only where it met a fault.
///
/// # Errors
/// All that is wrong.
pub fn parse<T>(
    text: &str,
    base: &Path,
    read: impl FnOnce(&mut Section) -> Option<T>,
) -> Result<T, Vec<ConfigFault>> {
    let root = match serde_saphyr::from_str(text) {
        Ok(root) => root,
        Err(error) => return Err(vec![not_yaml(error)]),
    };
    let file = Rc::new(File {
        text: text.to_owned(),
        base: base.to_owned(),
        faults: RefCell::default(),
    });
    let mut root = Section::new(String::new(), root, &file);
    let value = read(&mut root);
    // The unknown keys of the root are noted here.
    drop(root);
    let mut faults = file.faults.take();
    // What is missing at the top has no line and comes first.
    faults.sort_by_key(|fault| fault.line);
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(faults),
    }
}

fn not_yaml(error: serde_saphyr::Error) -> ConfigFault {
    let line = error.location().map(|at| at.line() as usize);
    let message = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("{key} stands twice")
        }
        error => {
            let text = error.to_string();
            format!(
                "not valid YAML: {}",
                text.lines().next().unwrap_or_default()
            )
        }
    };
    ConfigFault {
        path: String::new(),
        line,
        message,
    }
}

/// What all sections of a file share.
struct File {
    text: String,
    base: PathBuf,
    faults: RefCell<Vec<ConfigFault>>,
}

impl File {
    fn add(&self, path: String, message: String) {
        self.faults.borrow_mut().push(ConfigFault {
            line: lines::line_of(&self.text, &path),
            path,
            message,
        });
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests;
