//! Asks the linker to fold functions of equal code, where it can: generic code
//! is full of them, and `edgecore` is to be small.

use std::{env, fs, path::PathBuf, process::Command};

const FOLD: &str = "-Wl,--icf=all";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if release && links_with(FOLD) {
        println!("cargo:rustc-link-arg-bins={FOLD}");
    }
}

/// Tries the flag on an empty program: linkers differ, and which one it is
/// depends on the target, the compiler's version and the user's settings.
fn links_with(flag: &str) -> bool {
    let (Some(rustc), Some(out), Ok(target)) = (
        env::var_os("RUSTC"),
        env::var_os("OUT_DIR").map(PathBuf::from),
        env::var("TARGET"),
    ) else {
        return false;
    };
    let source = out.join("empty.rs");
    if fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let mut command = Command::new(rustc);
    command
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "bin",
            "--target",
            &target,
        ])
        .arg(format!("-Clink-arg={flag}"))
        .arg("-o")
        .arg(out.join("empty"))
        .arg(&source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("-Clinker=");
        option.push(linker);
        command.arg(option);
    }
    if let Ok(flags) = env::var("CARGO_ENCODED_RUSTFLAGS") {
        command.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    }
    command.output().is_ok_and(|output| output.status.success())
}
