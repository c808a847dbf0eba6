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
        let find = |names: &[&str]| {
            let all = folders
                .iter()
                .flat_map(|f| names.iter().map(move |name| f.join(name)));
            all.filter_map(|path| path.canonicalize().ok())
                .find(|path| path.is_file())
        };
        let need = |names: &[&str]| {
            find(names).with_context(|| {
                format!("{} is not in {folders:?}\n\nhint: `make bench` builds it, or say --programs FOLDER", names[0])
            })
        };
        Ok(Self {
            edgecore: need(&["edgecore"])?,
            mapper: need(&["libmapper_modbus.so", "../lib/mappers/libmapper_modbus.so"])?,
            cloudhub: find(&["cloudhub"]),
        })
    }
}
