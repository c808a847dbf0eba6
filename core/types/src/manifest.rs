//! Reads Device and DeviceModel from YAML files, strictly.
//!
//! The API server tolerates and prunes; a file on an edge node has no server
//! in front of it, so a misspelt key must be told here. Each fault names file,
//! document, line and key path. A document with a fault is not loaded; the
//! others are.

mod check;
mod lines;
mod object;
mod quick;
mod read;
mod tree;

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    device::{API_VERSION, Device, DeviceModel, GROUP},
    fault::Level,
    files, schema,
};
pub use lines::{Found, Lines};
use tree::{Node, Tree};

/// What a file or folder holds.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The devices.
    pub devices: Vec<Loaded<Device>>,
    /// The models.
    pub models: Vec<Loaded<DeviceModel>>,
    /// What is wrong. Errors cost their document.
    pub faults: Vec<ManifestFault>,
    /// The documents that were lost.
    pub refused: Vec<Refused>,
}

/// A document that was lost, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its kind; empty where not even that could be read.
    pub kind: String,
    /// Its name, the same.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The object; its namespace is filled in.
    pub object: T,
    /// Where it stands.
    pub place: Place,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Number of the YAML document, from 1.
    pub document: usize,
    /// The line, from 1; 0 if the whole file is meant.
    pub line: usize,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFault {
    /// Where.
    pub place: Place,
    /// Key path; empty if the whole document is meant.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether the document is lost.
    pub level: Level,
}

impl Manifests {
    /// Loads a file, or each `.yaml`, `.yml` and `.json` file of a folder in
    /// the order of their names (`.test.yaml` files are profile tests and
    /// stay out).
    ///
    /// # Errors
    /// Only where `path` itself cannot be read.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut reading = Reading::begin(path)?;
        while reading.go_on(u64::MAX) {}
        Ok(reading.end())
    }

    /// Loads several files and folders as one set. What is named twice, such as a
    /// file and its folder, is read once.
    ///
    /// # Errors
    /// As [`Manifests::load`], with the path.
    pub fn load_all(paths: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let mut loader = Loader::default();
        let mut read = HashSet::new();
        for path in paths {
            let alone = || files::read_text(path, files::MANIFEST).map(|_| vec![path.clone()]);
            let found = match path.is_dir() {
                true => files_of(path),
                // One that was named and cannot be read is a fault of the command.
                false => alone(),
            };
            for file in found.map_err(|error| (path.clone(), error))? {
                let whole = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
                if !read.insert(whole) {
                    continue;
                }
                match files::read_text(&file, files::MANIFEST) {
                    Ok(text) => loader.file(&file, &text),
                    Err(error) => loader.unreadable(&file, &error),
                }
            }
        }
        Ok(loader.out)
    }

    /// Loads `text` as if it were the contents of `file`.
    pub fn from_text(file: &Path, text: &str) -> Self {
        let mut loader = Loader::default();
        loader.file(file, text);
        loader.out
    }

    /// The faults that cost a document.
    pub fn errors(&self) -> impl Iterator<Item = &ManifestFault> {
        self.faults
            .iter()
            .filter(|fault| fault.level == Level::Error)
    }
}

/// Manifests of a folder that are read file by file: who has many of them can
/// begin with the first.
#[derive(Debug)]
pub struct Reading {
    files: std::vec::IntoIter<PathBuf>,
    loader: Loader,
}

impl Reading {
    /// Looks which files there are; a single one is read at once.
    ///
    /// # Errors
    /// As [`Manifests::load`].
    pub fn begin(path: &Path) -> io::Result<Self> {
        let mut loader = Loader::default();
        let mut found = Vec::new();
        if path.is_dir() {
            found = files_of(path)?;
        } else {
            loader.file(path, &files::read_text(path, files::MANIFEST)?);
        }
        Ok(Self {
            files: found.into_iter(),
            loader,
        })
    }

    /// Reads files until they had so many bytes. False when all are read.
    pub fn go_on(&mut self, bytes: u64) -> bool {
        let mut read = 0;
        while read < bytes {
            let Some(file) = self.files.next() else {
                return false;
            };
            match files::read_text(&file, files::MANIFEST) {
                Ok(text) => {
                    read += text.len() as u64;
                    self.loader.file(&file, &text);
                }
                Err(error) => self.loader.unreadable(&file, &error),
            }
        }
        true
    }

    /// What was read so far.
    pub fn so_far(&self) -> &Manifests {
        &self.loader.out
    }

    /// All that was read.
    pub fn end(self) -> Manifests {
        self.loader.out
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// `boiler.yaml:12 (document 2): spec.nodeNam: unknown field …`
impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (document {}): ", self.place, self.place.document)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The manifests of a folder in the order of their names.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut found = entries.collect::<io::Result<Vec<_>>>()?;
    found.retain(|file| is_manifest(file));
    found.sort();
    Ok(found)
}

fn is_manifest(file: &Path) -> bool {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let hidden =
        name.starts_with('.') || name.ends_with(".test.yaml") || name.ends_with(".test.yml");
    !hidden
        && [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end))
        && !file.is_dir()
}

#[derive(Debug, Default)]
struct Loader {
    out: Manifests,
    /// Kind, namespace and name of what has been loaded, and where from.
    seen: HashMap<(&'static str, String), Place>,
}

impl Loader {
    fn unreadable(&mut self, file: &Path, error: &io::Error) {
        let place = Place {
            file: file.into(),
            document: 1,
            line: 0,
        };
        self.fault(place, "", format!("cannot be read: {error}"), Level::Error);
    }

    fn file(&mut self, file: &Path, text: &str) {
        let file: Arc<Path> = file.into();
        for (number, (first_line, document)) in split(text).into_iter().enumerate() {
            let place = Place {
                file: file.clone(),
                document: number + 1,
                line: first_line,
            };
            self.document(&place, &document);
        }
    }

    fn document(&mut self, place: &Place, text: &str) {
        let tree = match read::read(text, place.line) {
            Ok(Some(tree)) => tree,
            Ok(None) => return,
            Err((line, message)) => {
                self.refused(place, "", "");
                return self.fault(
                    Place {
                        line,
                        ..place.clone()
                    },
                    "",
                    message,
                    Level::Error,
                );
            }
        };
        let place = Place {
            line: tree.line,
            ..place.clone()
        };
        let api_version = tree.text("apiVersion").unwrap_or_default();
        let kind = tree.text("kind").unwrap_or_default();
        if api_version.is_empty() || kind.is_empty() {
            return self.fault(
                place,
                "",
                "a manifest needs `apiVersion` and `kind`".into(),
                Level::Error,
            );
        }
        if !api_version.starts_with(GROUP) {
            let message = format!("{kind} of {api_version} is not read here and left out");
            return self.fault(place, "", message, Level::Warning);
        }
        if api_version != API_VERSION {
            let place = Place {
                line: tree.line_of("apiVersion"),
                ..place
            };
            let message = format!("`{api_version}` is not supported, expected `{API_VERSION}`");
            return self.fault(place, "apiVersion", message, Level::Error);
        }
        match kind {
            "Device" => {
                let name = name_of(&tree).to_owned();
                match self.object::<Device>(&place, tree, &schema::device(), "Device") {
                    Some(object) => self.out.devices.push(Loaded { object, place }),
                    None => self.refused(&place, "Device", &name),
                }
            }
            "DeviceModel" => {
                let name = name_of(&tree).to_owned();
                match self.object::<DeviceModel>(&place, tree, &schema::model(), "DeviceModel") {
                    Some(object) => self.out.models.push(Loaded { object, place }),
                    None => self.refused(&place, "DeviceModel", &name),
                }
            }
            "DeviceStatus" => {
                let message = "a DeviceStatus is written by the edge and left out here".into();
                self.fault(place, "", message, Level::Warning);
            }
            other => {
                let place = Place {
                    line: tree.line_of("kind"),
                    ..place
                };
                let message = format!("unknown kind `{other}`, expected Device or DeviceModel");
                self.fault(place, "kind", message, Level::Error);
            }
        }
    }

    /// A checked object, or none and its faults.
    fn object<T: serde::de::DeserializeOwned>(
        &mut self,
        place: &Place,
        mut tree: Tree,
        schema: &schema::Schema,
        kind: &'static str,
    ) -> Option<T> {
        let faults = check::check(&tree, schema);
        if !faults.is_empty() {
            for fault in faults {
                self.fault(
                    Place {
                        line: fault.line,
                        ..place.clone()
                    },
                    &fault.path,
                    fault.message,
                    Level::Error,
                );
            }
            return None;
        }
        let metadata = tree.field_or("metadata", Node::Object(Vec::new()));
        let namespace = metadata.and_then(|metadata| metadata.field_or("namespace", Node::Null));
        if let Some(namespace) = namespace
            && !matches!(&namespace.value, Node::Text(text) if !text.is_empty())
        {
            namespace.value = Node::Text("default".to_owned());
        }
        let metadata = tree.get("metadata");
        let text = |name| metadata.and_then(|metadata| metadata.text(name));
        let (namespace, name) = (text("namespace"), text("name"));
        let (namespace, name) = (namespace.unwrap_or("default"), name.unwrap_or_default());
        let full = match crate::DeviceName::new(namespace, name) {
            Ok(full) => full.to_string(),
            Err(error) => {
                let line = metadata.map_or(place.line, |metadata| metadata.line);
                self.fault(
                    Place {
                        line,
                        ..place.clone()
                    },
                    "metadata",
                    error.to_string(),
                    Level::Error,
                );
                return None;
            }
        };
        if let Some(first) = self.seen.get(&(kind, full.clone())) {
            let message = format!("{kind} {full} stands twice, first at {first}, which counts");
            self.fault(place.clone(), "metadata.name", message, Level::Error);
            return None;
        }
        match T::deserialize(&tree) {
            Ok(object) => {
                self.seen.insert((kind, full), place.clone());
                Some(object)
            }
            Err(error) => {
                self.fault(place.clone(), "", error.to_string(), Level::Error);
                None
            }
        }
    }

    fn refused(&mut self, place: &Place, kind: &str, name: &str) {
        self.out.refused.push(Refused {
            kind: kind.to_owned(),
            name: name.to_owned(),
            place: place.clone(),
        });
    }

    fn fault(&mut self, place: Place, path: &str, message: String, level: Level) {
        self.out.faults.push(ManifestFault {
            place,
            path: path.to_owned(),
            message,
            level,
        });
    }
}

fn name_of(tree: &Tree) -> &str {
    let metadata = tree.get("metadata");
    metadata
        .and_then(|metadata| metadata.text("name"))
        .unwrap_or_default()
}

/// The documents of a stream with the number of their first line. `---` at the
/// start of a line ends a document even inside of a block scalar (YAML 1.2.2,
/// 9.1.2), so that lines are enough to split it, and one broken document
/// leaves the others readable.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        let marker = |mark: &str| {
            line.strip_prefix(mark)
                .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        };
        if let Some(rest) = marker("---") {
            documents.push((index + 1, format!("{rest}\n")));
        } else if marker("...").is_some() {
            documents.push((index + 1, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|(_, document)| {
        document
            .lines()
            .any(|line| !matches!(line.trim_start().bytes().next(), None | Some(b'#' | b'%')))
    });
    documents
}
