//! Where the crates come from that a new mapper is built with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::output::advised;

/// The SDK's crates as this program carries them: paths and contents.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));
/// The manifest above them.
const WORKSPACE: &str = include_str!(concat!(env!("OUT_DIR"), "/sdk_workspace.toml"));
/// Where they lie in a new mapper's folder.
const VENDOR: &str = "vendor/longshore";

/// Where the SDK comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    /// The top of a checkout.
    Checkout(PathBuf),
    /// Out of this program, into the mapper's own folder.
    Vendored,
    /// A registry.
    Version(String),
}

impl Sdk {
    pub(super) fn find(named: Option<&str>) -> Result<Self> {
        let Some(named) = named else {
            let own = std::env::current_exe().unwrap_or_default();
            let around = own.ancestors().find(|folder| is_checkout(folder));
            return Ok(match around {
                Some(checkout) => Self::Checkout(checkout.to_owned()),
                None => Self::Vendored,
            });
        };
        let path = Path::new(named);
        if named == "vendored" && !path.exists() {
            return Ok(Self::Vendored);
        }
        if is_checkout(path) {
            let path = path.canonicalize();
            return Ok(Self::Checkout(
                path.with_context(|| format!("failed to find {named}"))?,
            ));
        }
        let is_version = named.starts_with(|c: char| c.is_ascii_digit())
            && named
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
        if is_version && !path.exists() {
            return Ok(Self::Version(named.to_owned()));
        }
        Err(advised(
            format!("--sdk {named}: neither a checkout of Longshore nor a version"),
            "name the folder that has plugin-sdk/sdk in it, a version such as 0.1.0, or `vendored` for the crates that this program carries",
        ))
    }

    /// What stands behind `longshore-sdk =` and the like.
    pub(super) fn dependency(&self, package: &str) -> String {
        let path = |path: &Path| {
            let path = path.join("plugin-sdk").join(package);
            format!("{{ path = {} }}", toml_text(&path.to_string_lossy()))
        };
        match self {
            Self::Checkout(top) => path(top),
            Self::Vendored => path(Path::new(VENDOR)),
            Self::Version(version) => toml_text(version),
        }
    }

    /// Puts into a new mapper's folder what it needs of the SDK.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        if *self != Self::Vendored {
            return Ok(());
        }
        let top = folder.join(VENDOR);
        for (file, text) in FILES.iter().chain(&[("Cargo.toml", WORKSPACE)]) {
            let file = top.join(file);
            fs::create_dir_all(file.parent().unwrap_or(&top))?;
            fs::write(&file, text)?;
        }
        Ok(())
    }

    /// What to say of it.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Checkout(_) => String::new(),
            Self::Vendored => {
                format!("\nthe crates of the SDK are in {VENDOR}, as this program carries them\n")
            }
            Self::Version(version) => format!(
                "\nlongshore-sdk and longshore-conformance {version} are taken from cargo's registry;\nto take them from a checkout: --sdk PATH\n"
            ),
        }
    }
}

fn is_checkout(folder: &Path) -> bool {
    // The vendored crates of a mapper are none.
    folder.join("plugin-sdk/sdk/Cargo.toml").is_file() && folder.join("cli/Cargo.toml").is_file()
}

/// A TOML string; JSON's escapes are among TOML's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_a_checkout_a_version_or_what_the_program_carries() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found = Sdk::find(top.to_str()).unwrap();
        assert_eq!(found, Sdk::Checkout(top.to_owned()));
        assert_eq!(
            Sdk::find(Some("0.1.0")).unwrap().dependency("sdk"),
            "\"0.1.0\""
        );
        assert!(Sdk::find(Some("no/such/folder")).is_err());
        // This test runs from the build folder, which lies inside of the checkout.
        assert_eq!(Sdk::find(None).unwrap(), Sdk::Checkout(top.to_owned()));
        assert_eq!(Sdk::find(Some("vendored")).unwrap(), Sdk::Vendored);
    }

    /// The crates are whole: what their manifests inherit is there.
    #[test]
    fn the_vendored_crates_are_a_workspace_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        Sdk::Vendored.write(folder.path()).unwrap();
        let top = folder.path().join(VENDOR);
        let output = std::process::Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .current_dir(&top)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(metadata["packages"].as_array().unwrap().len(), 5);
        for header in ["longshore_mapper.h", "longshore_mapper.hpp"] {
            assert!(
                top.join("plugin-sdk/abi/include").join(header).is_file(),
                "{header}"
            );
        }
    }
}
