//! A wall clock that a story sets, by libfaketime; the monotonic clock stays right.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The clock of the programs that are started under it.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock that is right, and whose file is in `folder`.
    pub fn new(folder: &Path) -> Self {
        let clock = Self {
            file: folder.join("clock"),
        };
        clock.set("+0");
        clock
    }

    /// Sets it off by so much, at once: `+3d`, `-2h`.
    pub fn set(&self, offset: &str) {
        let fresh = self.file.with_extension("fresh");
        fs::write(&fresh, offset).expect("the clock's folder is writable");
        fs::rename(fresh, &self.file).expect("the clock's folder is writable");
    }

    /// What a program is started by, to have this clock.
    pub fn command(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }
}

fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
        .expect("libfaketime is missing; hint: apt-get install faketime")
}
