//! libFuzzer around one target, which `LONGSHORE_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<&'static longshore_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("LONGSHORE_FUZZ_TARGET").unwrap_or_default();
    longshore_fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<_> = longshore_fuzz::TARGETS.iter().map(|t| t.name).collect();
        panic!("LONGSHORE_FUZZ_TARGET={name:?} is none of {}", names.join(", "))
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (TARGET.run)(data);
});
