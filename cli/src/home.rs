//! The folder of the demo: what lies where.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::output::advised;

/// Name of the folder in the checkout.
const NAME: &str = ".longshore";

/// `.longshore/`, or the folder that `LONGSHORE_HOME` names.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// The folder of the running binary when it lies in one (`bin/longshore`),
    /// else the nearest one upwards from the working folder.
    pub(crate) fn find() -> Option<Self> {
        if let Some(named) = std::env::var_os("LONGSHORE_HOME") {
            return Some(Self(named.into()));
        }
        let of_binary = std::env::current_exe().ok().and_then(|exe| {
            let home = exe.parent()?.parent()?;
            (home.file_name()? == NAME).then(|| home.to_owned())
        });
        let upwards = || {
            let here = std::env::current_dir().ok()?;
            here.ancestors()
                .map(|folder| folder.join(NAME))
                .find(|folder| folder.is_dir())
        };
        of_binary.or_else(upwards).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A binary; missing ones are named with what brings them.
    pub(crate) fn binary(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join("bin").join(name);
        if path.is_file() {
            return Ok(path);
        }
        let missing = format!("{} is missing", path.display());
        Err(advised(missing, "make build"))
    }

    pub(crate) fn mapper(&self, name: &str) -> PathBuf {
        self.0
            .join("lib/mappers")
            .join(format!("libmapper_{name}.so"))
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// What outlives a run.
    pub(crate) fn state(&self, part: &str) -> PathBuf {
        self.0.join("state").join(part)
    }

    /// What only says how things run now.
    pub(crate) fn run(&self, file: &str) -> PathBuf {
        self.0.join("run").join(file)
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.0.join("log").join(format!("{process}.log"))
    }
}
