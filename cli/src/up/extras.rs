//! What people add to the demo: mapper libraries in `.longshore/mappers`, and
//! manifests in `.longshore/manifests`. Both are looked at while it runs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Result;
use kube::Client;

use crate::home::Home;
use crate::{apply, libraries, output::say};

/// Time between two looks at the folders.
const LOOK: Duration = Duration::from_secs(2);

/// The folders, and what was seen in them.
pub(super) struct Extras {
    mappers: PathBuf,
    manifests: PathBuf,
    known: Vec<(String, PathBuf)>,
    applied: BTreeMap<PathBuf, SystemTime>,
}

impl Extras {
    /// Makes the folders where they are not there, and looks for libraries.
    pub(super) fn find(home: &Home) -> Result<Self> {
        let (mappers, manifests) = (home.path().join("mappers"), home.path().join("manifests"));
        for folder in [&mappers, &manifests] {
            fs::create_dir_all(folder)?;
        }
        let known = found(&mappers);
        Ok(Self {
            mappers,
            manifests,
            known,
            applied: BTreeMap::new(),
        })
    }

    /// Protocol and file of each library.
    pub(super) fn mappers(&self) -> &[(String, PathBuf)] {
        &self.known
    }

    /// Follows the folders, for ever. `restart` gives the edge core its mappers;
    /// what replaces a file of the same name is taken over without it.
    pub(super) async fn follow(
        mut self,
        client: &Client,
        restart: impl Fn(&[(String, PathBuf)]) -> Result<()>,
    ) -> Result<()> {
        loop {
            let now = found(&self.mappers);
            if now != self.known {
                let names: Vec<&str> = now.iter().map(|(protocol, _)| &**protocol).collect();
                say(&format!(
                    "{}: {}; the edge core starts again with them\n",
                    self.mappers.display(),
                    if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.join(", ")
                    }
                ));
                restart(&now)?;
                self.known = now;
            }
            self.apply(client).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Applies the manifests that are new or changed; a fault is told once for
    /// each change of its file.
    async fn apply(&mut self, client: &Client) {
        for (file, changed) in manifests(&self.manifests) {
            if self.applied.insert(file.clone(), changed) == Some(changed) {
                continue;
            }
            match apply::file(client, &file).await {
                Ok(told) => {
                    for line in told {
                        say(&format!("{line}\n"));
                    }
                }
                Err(error) => {
                    say(&format!("error: {error:#}\n"));
                }
            }
        }
    }
}

/// Libraries that can be loaded, by their protocol.
fn found(folder: &Path) -> Vec<(String, PathBuf)> {
    let libraries = libraries::all(&[folder.to_owned()]).into_iter();
    let found = libraries.map(|library| (library.descriptor.protocol, library.file));
    found.collect()
}

fn manifests(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let dated = entries.filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_string_lossy().into_owned();
        let is_manifest = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end));
        let is_test = name.starts_with('.') || name.contains(".test.");
        let changed = entry.metadata().ok()?.modified().ok()?;
        (is_manifest && !is_test).then_some((path, changed))
    });
    dated.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_those_of_the_folder_but_not_tests_or_drafts() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "oven.yaml",
            "b.json",
            "oven.test.yaml",
            ".hidden.yaml",
            "notes.txt",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = manifests(folder.path());
        let names: Vec<_> = found.keys().filter_map(|file| file.file_name()).collect();
        assert_eq!(names, ["b.json", "oven.yaml"]);
    }
}
