//! Processes that end with their test, and pairs of serial ports.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::recorder::PATIENCE;

/// A process that ends with the test.
pub struct Kill(pub Child);

impl Drop for Kill {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pair of connected serial ports, by socat.
pub struct Ports {
    /// The mapper's end.
    pub ours: PathBuf,
    /// The device's end.
    pub theirs: PathBuf,
    _socat: Kill,
    folder: PathBuf,
}

impl Drop for Ports {
    fn drop(&mut self) {
        // What is left in the folder of temporary files hurts nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes a pair of ports.
///
/// # Panics
/// socat is missing.
pub fn ports() -> Ports {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("longshore-ports-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    if let Err(error) = fs::create_dir_all(&folder) {
        panic!("{}: {error}", folder.display());
    }
    let (ours, theirs) = (folder.join("ours"), folder.join("theirs"));
    let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
    let socat = Command::new("socat")
        .args([end(&ours), end(&theirs)])
        .stderr(Stdio::null())
        .spawn();
    let Ok(socat) = socat else {
        panic!("socat is missing; install it: apt-get install socat");
    };
    let socat = Kill(socat);
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&ours).is_err() || fs::metadata(&theirs).is_err() {
        let shown = folder.display();
        assert!(Instant::now() < deadline, "socat made no ports in {shown}");
        thread::sleep(Duration::from_millis(5));
    }
    Ports {
        ours,
        theirs,
        _socat: socat,
        folder,
    }
}
