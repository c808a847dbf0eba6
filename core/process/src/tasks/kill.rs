//! Lets a test kill a task of a real program.
//!
//! Only in builds with debug assertions: a released program does not look at the
//! variable, which `tests/structure` holds.

use std::{fs::File, io::Read, thread};

use tokio::sync::watch;

/// Names a pipe (`mkfifo`); the name that a test writes into it is that of the
/// task to panic.
const VARIABLE: &str = "LONGSHORE_KILL";

/// Listens on the pipe, if there is one, until the process ends.
pub(super) fn listen(kill: &watch::Sender<String>) {
    let Some(pipe) = std::env::var_os(VARIABLE) else {
        return;
    };
    let kill = kill.clone();
    let listening = thread::Builder::new()
        .name("kill".to_owned())
        .spawn(move || {
            loop {
                let mut task = String::new();
                // Opening waits for somebody who writes, reading for who closes.
                let read = File::open(&pipe).and_then(|mut pipe| pipe.read_to_string(&mut task));
                if let Err(error) = read {
                    tracing::error!(%error, "no test can kill a task");
                    return;
                }
                kill.send_replace(task.trim().to_owned());
            }
        });
    if let Err(error) = listening {
        tracing::error!(%error, "no test can kill a task");
    }
}
