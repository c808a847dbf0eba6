//! `run.json`: where a running process can be reached, for whoever waits for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Name of the file in the state folder.
pub const NAME: &str = "run.json";

/// The file, which is there as long as this value. One that was killed leaves
/// its file behind; the `pid` in it tells.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write `{}`", path.display())]
pub struct RunFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl crate::Explain for RunFileError {}

impl RunFile {
    /// Writes the file whole or not at all: others wait for it and read it at
    /// once. The process' id is added as `pid`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(folder: &Path, mut content: Value) -> Result<Self, RunFileError> {
        content["pid"] = std::process::id().into();
        let path = folder.join(NAME);
        let fresh = folder.join("run.json.new");
        let written = fs::write(&fresh, format!("{content:#}\n"));
        match written.and_then(|()| fs::rename(&fresh, &path)) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(RunFileError { path, source }),
        }
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "run.json was gone already");
        }
    }
}

/// What the process of this state folder wrote; none when it does not run, or
/// is not ready yet.
pub fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole_and_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let file =
            RunFile::write(folder.path(), serde_json::json!({"metrics": "[::1]:1"})).unwrap();
        let written = read(folder.path()).unwrap();
        assert_eq!(written["metrics"], "[::1]:1");
        assert_eq!(written["pid"], std::process::id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
