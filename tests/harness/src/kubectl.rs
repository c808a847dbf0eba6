//! kubectl, as a user types it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const VERSIONS: [&str; 7] = ["1.33", "1.32", "1.31", "1.30", "1.29", "1.28", "1.27"];
const INSTALL: &str = "install kubectl 1.27 or newer, or build one with `tests/kubernetes/build kubectl`, and name it in LONGSHORE_KUBECTL";

/// A kubectl: `LONGSHORE_KUBECTL`, a versioned one, or the one on the path.
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("LONGSHORE_KUBECTL") {
        return named.into();
    }
    let runs = |program: &Path| {
        Command::new(program)
            .args(["version", "--client"])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::env::split_paths(&path).filter_map(|folder| {
        std::fs::canonicalize(folder.join("kubectl"))
            .ok()?
            .parent()
            .map(Path::to_owned)
    });
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(beside).collect();
    let candidates = VERSIONS.iter().flat_map(|version| {
        folders
            .iter()
            .map(move |f| f.join(format!("kubectl.{version}")))
    });
    candidates
        .chain(folders.iter().map(|folder| folder.join("kubectl")))
        .find(|program| program.is_file() && runs(program))
        .unwrap_or_else(|| panic!("no kubectl: {INSTALL}"))
}

/// A command line for this kubeconfig.
pub fn command(kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    let home = kubeconfig.parent().expect("a kubeconfig lies in a folder");
    command
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .args(arguments);
    command
}

/// Runs kubectl and returns its output; panics with its error when it fails.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> String {
    let output = output(kubeconfig, arguments);
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs kubectl, however it ends.
pub fn output(kubeconfig: &Path, arguments: &[&str]) -> Output {
    command(kubeconfig, arguments)
        .output()
        .unwrap_or_else(|error| panic!("kubectl does not start ({error}): {INSTALL}"))
}
