//! Helpers that speak to a simulator in raw bytes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long against anything that should happen, short against a hanging test run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A Modbus TCP client that knows no more than lengths.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        Self(stream)
    }

    pub(crate) async fn send(&mut self, unit: u8, pdu: &[u8]) {
        let mut frame = vec![0, 1, 0, 0, 0, pdu.len() as u8 + 1, unit];
        frame.extend_from_slice(pdu);
        self.write(&frame).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("send");
    }

    /// The protocol data unit of the next answer; none if the connection ended.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 7];
        within(self.0.read_exact(&mut header)).await.ok()?;
        let mut pdu = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
        within(self.0.read_exact(&mut pdu)).await.ok()?;
        Some(pdu)
    }

    pub(crate) async fn ask(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        self.send(unit, pdu).await;
        self.receive().await.expect("an answer")
    }

    /// Exactly so many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        within(self.0.read_exact(&mut bytes)).await.expect("bytes");
        bytes
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing came in ten seconds")
}

/// A child that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two ptys that are connected like a null-modem cable.
pub(crate) struct Cable {
    pub(crate) device: PathBuf,
    pub(crate) client: PathBuf,
    _socat: Running,
    _folder: tempfile::TempDir,
}

impl Cable {
    pub(crate) fn lay() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (device, client) = (folder.path().join("device"), folder.path().join("client"));
        let end = |path: &PathBuf| format!("pty,raw,echo=0,link={}", path.display());
        let socat = Command::new("socat")
            .args([end(&device), end(&client)])
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run socat ({error}); `apt-get install socat`"));
        let cable = Self {
            device,
            client,
            _socat: Running(socat),
            _folder: folder,
        };
        let start = Instant::now();
        while !(cable.device.exists() && cable.client.exists()) {
            assert!(
                start.elapsed() < PATIENCE,
                "socat made no ptys in ten seconds"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        cable
    }
}

/// Runs a program to its end on a thread of its own; the simulator goes on meanwhile.
pub(crate) async fn output(mut command: Command, install: &str) -> String {
    let install = install.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("cannot run {name} ({error}); {install}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name} failed: {text}{errors}");
        text
    });
    tokio::time::timeout(PATIENCE * 3, run)
        .await
        .expect("the program hangs")
        .expect("the program")
}
