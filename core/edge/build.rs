//! Asks the linker for what makes `edgecore` smaller, where it and the C
//! library of this machine know it: folding functions of equal code, which
//! generic code is full of, and packing the addresses that the loader adjusts.

use std::{env, fs, path::PathBuf, process::Command};

/// All functions of equal code, also those whose address is taken: Rust promises
/// nothing about the addresses of functions, and where one is compared all the same,
/// equal code does the same under either. Wakers of tokio compare their data too, and SQLite
/// compares only with functions of its own whose code nothing else has
/// (`sqlite3_free`, `sqlite3RCStrUnref`) or which do nothing (`noopStepFunc`).
const FOLD: &str = "-Wl,--icf=all";
/// The loader has to understand it: glibc does from 2.36 on, and an older one
/// says so. A program to be carried to older systems is built on one.
const PACK: &str = "-Wl,-z,pack-relative-relocs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        for flag in [FOLD, PACK] {
            if let Some(program) = link_with(flag)
                && (flag != PACK || runs(program))
            {
                println!("cargo:rustc-link-arg-bins={flag}");
            }
        }
    }
}

/// Only where it was built for this machine can it be tried.
fn runs(program: PathBuf) -> bool {
    let native = env::var("HOST").ok() == env::var("TARGET").ok();
    native
        && Command::new(program)
            .status()
            .is_ok_and(|status| status.success())
}

/// Tries the flag on an empty program: linkers differ, and which one it is
/// depends on the target, the compiler's version and the user's settings.
fn link_with(flag: &str) -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC")?;
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let target = env::var("TARGET").ok()?;
    let (source, program) = (out.join("empty.rs"), out.join("empty"));
    fs::write(&source, "fn main() {}").ok()?;
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
        .arg(&program)
        .arg(&source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("-Clinker=");
        option.push(linker);
        command.arg(option);
    }
    if let Ok(flags) = env::var("CARGO_ENCODED_RUSTFLAGS") {
        command.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    }
    command.output().ok()?.status.success().then_some(program)
}
