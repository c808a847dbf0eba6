//! A D-Bus of our own, with nothing on it but the simulator and its clients.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// A private bus; it ends with the value, and also when the process is killed.
#[derive(Debug)]
pub struct Daemon {
    address: String,
    shell: Child,
    _folder: TempDir,
}

/// No bus could be started.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its files cannot be written, or no process started.
    #[error("cannot start a private D-Bus")]
    Start(#[source] io::Error),
    /// dbus-daemon said no address.
    #[error("dbus-daemon does not start")]
    Silent,
}

/// Listens on a socket in its own folder, and lets everybody do everything.
const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// The shell waits for the end of its input, which comes with the end of this
/// process however it ends, and then takes the bus with it.
const SCRIPT: &str = r#"dbus-daemon --config-file="$0" --nofork --nopidfile --print-address=1 2>/dev/null &
bus=$!
read -r _
kill $bus
wait $bus"#;

impl Daemon {
    /// Starts a bus and waits for its address.
    ///
    /// # Errors
    /// dbus-daemon is missing, or does not start.
    pub fn start() -> Result<Self, DaemonError> {
        Self::start_at(None)
    }

    /// The same with its socket at this place, so that clients can know it
    /// before. A socket that a killed bus has left there is replaced.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_at(socket: Option<&Path>) -> Result<Self, DaemonError> {
        let folder = tempfile::Builder::new()
            .prefix("sim-bluetooth-")
            .tempdir()
            .map_err(DaemonError::Start)?;
        let file = folder.path().join("bus.conf");
        let own = folder.path().join("bus");
        let socket = socket.unwrap_or(&own);
        if let Err(error) = std::fs::remove_file(socket)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(DaemonError::Start(error));
        }
        let text = CONFIGURATION.replace("SOCKET", &escaped(socket));
        std::fs::write(&file, text).map_err(DaemonError::Start)?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(DaemonError::Start)?;
        let mut address = String::new();
        let read = match shell.stdout.take() {
            Some(out) => BufReader::new(out).read_line(&mut address),
            None => Ok(0),
        };
        let mut daemon = Self {
            address: String::new(),
            shell,
            _folder: folder,
        };
        match read {
            Ok(length) if length > 0 => {
                // Without the guid: it adds nothing for one bus.
                let end = address.find(',').unwrap_or(address.trim_end().len());
                daemon.address = address[..end].trim().to_owned();
                Ok(daemon)
            }
            _ => Err(DaemonError::Silent),
        }
    }

    /// Where clients find it, like `unix:path=/tmp/…/bus`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// A path as an address of D-Bus within XML. Source: D-Bus Specification,
/// section "Server Addresses": all but a few characters as `%` and two digits.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte);
    let letters = path.as_os_str().as_bytes().iter().map(|byte| match byte {
        byte if plain(*byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    });
    letters.collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It may have ended by itself.
        let _ = self.shell.wait();
    }
}
