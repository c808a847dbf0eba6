//! The files under test.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Where they are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The edge core.
    pub edgecore: PathBuf,
    /// The Modbus mapper.
    pub mapper: PathBuf,
    /// The hub, where it was built; without it the link is not measured.
    pub cloudhub: Option<PathBuf>,
    /// Where to look for the others.
    folders: Vec<PathBuf>,
}

impl Programs {
    /// In `folder`, or beside this program, or in `target/release`.
    pub fn find(folder: Option<&Path>) -> anyhow::Result<Self> {
        let own = env::current_exe().context("this program has no path")?;
        let beside = own.parent().context("this program lies nowhere")?;
        let folders = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => vec![beside.to_owned(), PathBuf::from("target/release")],
        };
        let need = |names: &[&str]| {
            look(&folders, names).with_context(|| {
                format!("{} is not in {folders:?}\n\nhint: `make bench` builds it, or say --programs FOLDER", names[0])
            })
        };
        Ok(Self {
            edgecore: need(&["edgecore"])?,
            mapper: need(&["libmapper_modbus.so", "../lib/mappers/libmapper_modbus.so"])?,
            cloudhub: look(&folders, &["cloudhub"]),
            folders,
        })
    }

    /// The mapper of a protocol, where it was built.
    pub fn mapper_of(&self, protocol: &str) -> anyhow::Result<PathBuf> {
        let file = format!("libmapper_{protocol}.so");
        self.other(&[&file, &format!("../lib/mappers/{file}")])
    }

    /// The program that simulates devices, where it was built.
    pub fn simulator(&self) -> anyhow::Result<PathBuf> {
        self.other(&["longshore-sim"])
    }

    fn other(&self, names: &[&str]) -> anyhow::Result<PathBuf> {
        look(&self.folders, names)
            .with_context(|| format!("{} is not in {:?}", names[0], self.folders))
    }
}

/// The first of these files that is there.
fn look(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    let all = folders
        .iter()
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    all.filter_map(|path| path.canonicalize().ok())
        .find(|path| path.is_file())
}
