//! Libraries to run, and a mapper under test.

use std::{
    fmt::Debug,
    future::Future,
    path::{Path, PathBuf},
    process::Command as Program,
    sync::{Arc, OnceLock},
    time::Duration,
};

use longshore_host::{
    Command, CommandKind, HostOptions, Isolation, Mapper, MapperEvent, MapperSpec, MapperState,
    Status,
};
use tokio::sync::mpsc;

/// Longer than anything here takes, even on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BOTH: [Isolation; 2] = [Isolation::Process, Isolation::InProcess];

/// `target/debug`, or whatever profile this test was built with.
fn build_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its path");
    exe.ancestors()
        .nth(2)
        .expect("target/PROFILE/deps/TEST")
        .to_owned()
}

/// The libraries that cargo makes, built once for all tests.
fn cargo_libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = build_folder();
        let mut cargo = Program::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "longshore-bad-mapper",
            "--package",
            "longshore-mapper-minimal",
        ]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo
            .arg("--target-dir")
            .arg(folder.parent().expect("target/PROFILE"));
        match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => {}
            Some(profile) => {
                cargo.args(["--profile", profile]);
            }
        }
        assert!(
            cargo.status().expect("cargo runs").success(),
            "the fixtures do not build"
        );
        folder
    })
}

pub(crate) fn bad_mapper() -> PathBuf {
    cargo_libraries().join("libbad_mapper.so")
}

pub(crate) fn minimal_rust() -> PathBuf {
    cargo_libraries().join("libmapper_minimal.so")
}

/// Compiles `source` (from the repository's root) to a library in `folder`.
pub(crate) fn c_library(folder: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    compile(&folder.join("libtest.so"), source, arguments)
}

/// Compiles `source` (from the repository's root) to `library`.
pub(crate) fn compile(library: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Program::new("cc")
        .args([
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
            "-pthread",
            "-I",
        ])
        .arg(root.join("plugin-sdk/abi/include"))
        .args(arguments)
        .arg("-o")
        .arg(library)
        .arg(root.join(source))
        .output()
        .expect("`cc` is needed for this test (apt-get install gcc)");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library.to_owned()
}

/// The C example.
pub(crate) fn minimal_c(folder: &Path) -> PathBuf {
    c_library(folder, "plugin-sdk/examples/minimal-c/counter.c", &[])
}

/// The host's options for tests: the child is this package's own program.
/// With time enough for a mapper that is well, also on a machine that is busy.
pub(crate) fn options() -> HostOptions {
    HostOptions {
        program: Some(env!("CARGO_BIN_EXE_longshore-mapper-host").into()),
        start_timeout: PATIENCE,
        answer_timeout: PATIENCE,
        completion_grace: PATIENCE,
        stop_grace: PATIENCE,
        ..HostOptions::default()
    }
}

/// A mapper and what it says.
pub(crate) struct Run {
    pub(crate) mapper: Mapper,
    pub(crate) events: mpsc::Receiver<MapperEvent>,
    /// What came and was not what was waited for.
    history: Vec<String>,
}

impl Run {
    pub(crate) fn start(
        file: PathBuf,
        isolation: Isolation,
        config: serde_json::Value,
        options: HostOptions,
    ) -> Self {
        let (sender, events) = mpsc::channel(4);
        let spec = MapperSpec {
            name: "test".into(),
            file,
            isolation,
            config,
        };
        Self {
            mapper: Mapper::start(spec, options, sender),
            events,
            history: Vec::new(),
        }
    }

    /// The bad mapper, told what to do wrong.
    pub(crate) fn bad(isolation: Isolation, what: &str) -> Self {
        Self::bad_with(isolation, serde_json::json!({ "do": what }), options())
    }

    pub(crate) fn bad_with(
        isolation: Isolation,
        config: serde_json::Value,
        options: HostOptions,
    ) -> Self {
        Self::start(bad_mapper(), isolation, config, options)
    }

    /// The next event that `pick` picks; others are remembered for the message.
    pub(crate) async fn event<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&MapperEvent) -> Option<T>,
    ) -> T {
        let Self {
            events,
            history,
            mapper,
        } = self;
        let picked = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.recv().await {
                if let Some(picked) = pick(&event) {
                    return Some(picked);
                }
                history.push(describe(&event));
                history.drain(..history.len().saturating_sub(20));
            }
            None
        });
        match picked.await {
            Ok(Some(picked)) => picked,
            other => panic!(
                "waited for {what}; {}; state {:?}; before: {history:#?}",
                if other.is_err() {
                    "it did not come"
                } else {
                    "the events ended"
                },
                *mapper.state().borrow()
            ),
        }
    }

    /// Waits for the next instance; its generation.
    pub(crate) async fn up(&mut self) -> u64 {
        self.event("Up", |event| match event {
            MapperEvent::Up { generation, .. } => Some(*generation),
            _ => None,
        })
        .await
    }

    /// Waits for the end of an instance; the reason.
    pub(crate) async fn down(&mut self) -> Arc<str> {
        self.event("Down", |event| match event {
            MapperEvent::Down { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn submit(&self, token: u64, kind: CommandKind) {
        self.submit_within(token, kind, Duration::from_secs(20));
    }

    pub(crate) fn submit_within(&self, token: u64, kind: CommandKind, budget: Duration) {
        self.mapper
            .submit(vec![Command {
                token,
                device: 1,
                budget,
                kind,
            }])
            .expect("the mapper is up");
    }

    /// Waits for the completion of a command.
    pub(crate) async fn completion(&mut self, token: u64) -> (Status, String) {
        self.event(&format!("the completion of {token}"), |event| match event {
            MapperEvent::Batch { batch, .. } => batch
                .completions()
                .find(|completion| completion.token == token)
                .map(|completion| (completion.status, completion.message.to_owned())),
            _ => None,
        })
        .await
    }

    /// A command goes through to the library and its answer back.
    pub(crate) async fn answers(&mut self, token: u64) {
        self.submit(token, CommandKind::Configure(format!("echo {token}")));
        assert_eq!(
            self.completion(token).await,
            (Status::Ok, format!("echo {token}"))
        );
    }

    pub(crate) async fn state(
        &self,
        what: &str,
        wanted: impl FnMut(&MapperState) -> bool,
    ) -> MapperState {
        let mut state = self.mapper.state();
        let found = within(what, async {
            state.wait_for(wanted).await.map(|state| state.clone())
        })
        .await;
        found.expect("the mapper's task lives")
    }

    /// Waits until the mapper is given up; why.
    pub(crate) async fn failed(&self) -> Arc<str> {
        match self
            .state("Failed", |state| {
                matches!(state, MapperState::Failed { .. })
            })
            .await
        {
            MapperState::Failed { reason } => reason,
            other => panic!("{other:?} is not Failed"),
        }
    }

    pub(crate) async fn stop(&mut self) {
        within("the stop", self.mapper.stop(Duration::from_secs(10))).await;
    }
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Looks until `look` finds what it wants; `status` is for the message.
pub(crate) async fn eventually<S: Debug>(what: &str, mut look: impl FnMut() -> Result<(), S>) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Err(status) = look() {
        assert!(
            tokio::time::Instant::now() < end,
            "waited in vain for {what}: {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn describe(event: &MapperEvent) -> String {
    match event {
        MapperEvent::Batch { batch, .. } => {
            let completions: Vec<_> = batch
                .completions()
                .map(|completion| completion.token)
                .collect();
            format!(
                "Batch of {} samples, completions {completions:?}",
                batch.sample_count()
            )
        }
        other => format!("{other:?}"),
    }
}
