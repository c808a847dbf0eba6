//! Tells the crate the target triple it is built for; the descriptor carries it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Cargo sets TARGET for every build script.
    println!(
        "cargo:rustc-env=LONGSHORE_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
}
