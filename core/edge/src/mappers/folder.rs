//! The folder in which each `lib*.so` is a mapper.
//!
//! It is looked at again and again, so that copying a file there is all that
//! it takes. A file counts once it stood still for one look: until then it may
//! be half of a copy.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Looks in which a file has to be missing before it counts as taken away:
/// between the two steps of a replacement there is none.
const MISSES: u8 = 2;

/// The folder and what was seen there.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: HashMap<PathBuf, File>,
    looked: bool,
    /// The mappers of the last look.
    names: BTreeSet<String>,
    /// The last look failed; said once.
    failed: bool,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    /// What it was found to be when it last stood still.
    known: Option<Known>,
    settled: bool,
    /// Seen for the first time in this look.
    fresh: bool,
    /// Looks in which it was missing, one after the other.
    missed: u8,
}

type Stamp = (u64, u64, i64, i64);

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    /// `None` when the file is no mapper that could be used.
    version: Option<String>,
}

/// What is to be done after a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The mappers that are there, and the library of each.
    pub(super) there: BTreeMap<String, PathBuf>,
    /// Mappers that were there, and are not any more.
    pub(super) gone: Vec<String>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            files: HashMap::new(),
            looked: false,
            names: BTreeSet::new(),
            failed: false,
        }
    }

    /// Looks; nothing when the folder cannot be read, which changes nothing.
    pub(super) fn look(&mut self) -> Option<Look> {
        match self.list() {
            Ok(files) => {
                self.failed = false;
                Some(self.take(files, identify))
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::error!(folder = %self.path.display(), %error, "mapper folder cannot be read");
                }
                None
            }
        }
    }

    fn list(&self) -> io::Result<Vec<(PathBuf, Stamp)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if !name.is_some_and(|name| name.starts_with("lib") && name.ends_with(".so")) {
                continue;
            }
            // One that went meanwhile is not there.
            if let Ok(found) = std::fs::metadata(&path) {
                let stamp = (found.ino(), found.size(), found.mtime(), found.mtime_nsec());
                files.push((path, stamp));
            }
        }
        files.sort();
        Ok(files)
    }

    fn take(&mut self, files: Vec<(PathBuf, Stamp)>, identify: impl Fn(&Path) -> Known) -> Look {
        self.files.retain(|path, file| {
            let missing = !files.iter().any(|(there, _)| there == path);
            file.missed = if missing { file.missed + 1 } else { 0 };
            file.missed < MISSES
        });
        // What lies there at the start was not put there a moment ago.
        let first = !std::mem::replace(&mut self.looked, true);
        for (path, stamp) in files {
            let file = self.files.entry(path.clone()).or_insert(File {
                stamp,
                known: None,
                settled: false,
                fresh: true,
                missed: 0,
            });
            if file.stamp != stamp {
                // It stays what it was until it stands still.
                (file.stamp, file.settled) = (stamp, false);
            } else if first || (!file.settled && !file.fresh) {
                let found = identify(&path);
                // What was a mapper and is none any more still is that mapper's
                // file: the host does not use it, and says why.
                if file.known.is_none() || found.version.is_some() {
                    file.known = Some(found);
                }
                file.settled = true;
            }
            file.fresh = false;
        }
        self.choose()
    }

    /// Of several files with one mapper's name, the highest version.
    fn choose(&mut self) -> Look {
        let mut best: BTreeMap<String, (&Path, &Known)> = BTreeMap::new();
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(path, _)| *path);
        for (path, file) in files {
            let Some(known) = &file.known else { continue };
            let entry = best.entry(known.name.clone()).or_insert((path, known));
            if order(known.version.as_deref(), entry.1.version.as_deref()) == Ordering::Greater {
                *entry = (path, known);
            }
        }
        let there: BTreeMap<_, _> = best
            .into_iter()
            .map(|(name, (path, _))| (name, path.to_owned()))
            .collect();
        let names: BTreeSet<_> = there.keys().cloned().collect();
        let gone = self.names.difference(&names).cloned().collect();
        self.names = names;
        Look { there, gone }
    }
}

/// The mapper's own name; for a file that is none, what the file's name says.
fn identify(path: &Path) -> Known {
    match longshore_host::inspect(path) {
        Ok(descriptor) => Known {
            // It becomes the name of a folder too.
            name: if is_plain(&descriptor.name) {
                descriptor.name
            } else {
                name_of(path)
            },
            version: Some(descriptor.version),
        },
        Err(_) => Known {
            name: name_of(path),
            version: None,
        },
    }
}

/// The file's name without `lib`, `mapper_` and the suffix.
fn name_of(path: &Path) -> String {
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_prefix("mapper_").unwrap_or(stem);
    let name: String = stem
        .replace('_', "-")
        .chars()
        .filter(|c| is_plain(c.encode_utf8(&mut [0; 4])))
        .collect();
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

/// Lower case letters, digits and `-`, as the configuration asks of names.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

/// The order of two semantic versions (<https://semver.org>, section 11); no
/// version at all comes first.
fn order(a: Option<&str>, b: Option<&str>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_some().cmp(&b.is_some());
    };
    let parts = |version: &str| {
        let version = version.split('+').next().unwrap_or_default().to_owned();
        let (core, pre) = match version.split_once('-') {
            Some((core, pre)) => (core.to_owned(), Some(pre.to_owned())),
            None => (version, None),
        };
        let numbers: Vec<u64> = core
            .split('.')
            .map(|part| part.parse().unwrap_or(0))
            .collect();
        (numbers, pre)
    };
    let ((a, a_pre), (b, b_pre)) = (parts(a), parts(b));
    a.cmp(&b).then_with(|| match (a_pre, b_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => order_before_release(&a, &b),
    })
}

fn order_before_release(a: &str, b: &str) -> Ordering {
    let field = |text: &str| match text.parse::<u64>() {
        Ok(number) => (0, number, String::new()),
        Err(_) => (1, 0, text.to_owned()),
    };
    a.split('.').map(field).cmp(b.split('.').map(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, version: Option<&str>) -> Known {
        Known {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        }
    }

    /// The file's name says what it is: `libNAME-VERSION.so`; without a version it is none.
    fn by_name(path: &Path) -> Known {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        match stem.strip_prefix("lib").unwrap().split_once('-') {
            Some((name, version)) => known(name, Some(version)),
            None => known(stem.strip_prefix("lib").unwrap(), None),
        }
    }

    fn look(folder: &mut Folder, files: &[(&str, u64)]) -> (Vec<String>, Vec<String>) {
        let files = files
            .iter()
            .map(|(name, size)| (PathBuf::from(name), (1, *size, 0, 0)));
        let look = folder.take(files.collect(), by_name);
        let there = look.there.values().map(|path| path.display().to_string());
        (there.collect(), look.gone)
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_highest_version_of_a_name_is_taken() {
        let mut folder = Folder::new(PathBuf::new());
        let (there, gone) = look(
            &mut folder,
            &[
                ("liba-1.2.0.so", 1),
                ("liba-1.10.0.so", 1),
                ("liba.so", 1),
                ("libb-1.0.0.so", 1),
            ],
        );
        assert_eq!(there, ["liba-1.10.0.so", "libb-1.0.0.so"]);
        assert_eq!(gone, strings(&[]));
    }

    #[test]
    fn a_file_counts_when_it_stood_still() {
        let mut folder = Folder::new(PathBuf::new());
        assert_eq!(look(&mut folder, &[]).0, strings(&[]));
        // A copy in three looks.
        assert_eq!(look(&mut folder, &[("liba-1.0.0.so", 1)]).0, strings(&[]));
        assert_eq!(look(&mut folder, &[("liba-1.0.0.so", 2)]).0, strings(&[]));
        assert_eq!(
            look(&mut folder, &[("liba-1.0.0.so", 2)]).0,
            ["liba-1.0.0.so"]
        );
        // Written into: it stays what it was until it stands still.
        assert_eq!(
            look(&mut folder, &[("liba-1.0.0.so", 1)]).0,
            ["liba-1.0.0.so"]
        );
        assert_eq!(
            look(&mut folder, &[("liba-1.0.0.so", 3)]).0,
            ["liba-1.0.0.so"]
        );
    }

    #[test]
    fn a_mapper_is_gone_when_it_was_missing_twice() {
        let mut folder = Folder::new(PathBuf::new());
        look(&mut folder, &[("liba-1.0.0.so", 1)]);
        assert_eq!(look(&mut folder, &[]).1, strings(&[]));
        assert_eq!(look(&mut folder, &[("liba-1.0.0.so", 1)]).1, strings(&[]));
        let looks: Vec<_> = (0..3).map(|_| look(&mut folder, &[])).collect();
        let gone: Vec<_> = looks.into_iter().flat_map(|(_, gone)| gone).collect();
        assert_eq!(gone, ["a"], "once");
    }

    #[test]
    fn versions_have_their_order() {
        // The example of https://semver.org, section 11.4, and no version before all.
        let ordered = [
            None,
            Some("1.0.0-alpha"),
            Some("1.0.0-alpha.1"),
            Some("1.0.0-alpha.beta"),
            Some("1.0.0-beta.2"),
            Some("1.0.0-beta.11"),
            Some("1.0.0-rc.1"),
            Some("1.0.0"),
            Some("1.9.0"),
            Some("1.10.0"),
        ];
        for pair in ordered.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(order(Some("1.0.0+a"), Some("1.0.0+b")), Ordering::Equal);
    }

    #[test]
    fn a_file_that_is_no_mapper_is_named_after_itself() {
        assert_eq!(name_of(Path::new("/x/libmapper_my_bus.so")), "my-bus");
        assert_eq!(name_of(Path::new("/x/libOther.so")), "other");
        assert_eq!(name_of(Path::new("/x/lib..so")), "unnamed");
        assert_eq!(name_of(Path::new("/x/libmodbus-1.2.so")), "modbus-12");
        assert!(!is_plain("../x") && !is_plain(""));
    }
}
