//! Killing a task of a real program, as debug builds let a test do it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tokio::{io::AsyncWriteExt, net::unix::pipe};

use crate::wait::eventually;

/// Where the program looks for the pipe.
const VARIABLE: &str = "LONGSHORE_KILL";

fn place(folder: &Path) -> PathBuf {
    folder.join("kill")
}

/// Makes the pipe for the programs that are started in this folder.
pub(crate) fn prepare(folder: &Path) {
    let made = Command::new("mkfifo").arg(place(folder)).status();
    assert!(made.expect("mkfifo(1) exists").success(), "no pipe");
}

/// Lets a program listen, if there is a pipe.
pub(crate) fn allow(command: &mut Command, folder: &Path) {
    let pipe = place(folder);
    if pipe.exists() {
        command.env(VARIABLE, pipe);
    }
}

/// Makes a task of the program panic.
pub(crate) async fn kill(folder: &Path, task: &str) {
    let pipe = place(folder);
    eventually("the program to listen for names of tasks", || async {
        // Refused while nobody reads.
        let mut sender = pipe::OpenOptions::new()
            .open_sender(&pipe)
            .map_err(|error| error.to_string())?;
        let written = sender.write_all(task.as_bytes()).await;
        written.map_err(|error| error.to_string())
    })
    .await;
}
