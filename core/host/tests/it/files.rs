//! Files that are no mapper for this host, each with an error of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use longshore_abi::{ABI_MAJOR, Descriptor, FLAG_PANIC_ABORTS, MAGIC};
use longshore_host::{InspectError, Isolation, inspect};
use serde_json::json;

use super::{
    lifetime::kill,
    support::{Run, bad_mapper, c_library, options},
};

/// A copy of the good library, spoilt.
fn spoilt(folder: &Path, spoil: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(bad_mapper()).expect("the fixture is built");
    spoil(&mut bytes);
    let file = folder.join("spoilt.so");
    fs::write(&file, bytes).expect("the copy can be written");
    file
}

/// Where the descriptor stands in the file.
fn descriptor_at(bytes: &[u8]) -> usize {
    // The SDK's own copy of the magic would be one in a text, not before these sizes.
    let size = (size_of::<Descriptor>() as u32).to_le_bytes();
    let start = [&MAGIC[..], &size].concat();
    bytes
        .windows(start.len())
        .position(|window| window == start)
        .expect("the descriptor is in the file")
}

#[test]
fn a_good_library_tells_what_it_is() {
    let descriptor = inspect(&bad_mapper()).expect("a mapper");
    assert_eq!(
        (descriptor.name.as_str(), descriptor.protocol.as_str()),
        ("bad", "bad")
    );
    assert_eq!(descriptor.version, env!("CARGO_PKG_VERSION"));
    assert!(
        descriptor.target.starts_with(std::env::consts::ARCH),
        "{}",
        descriptor.target
    );
    assert_eq!(
        descriptor.capabilities,
        longshore_abi::CAPABILITY_READ | longshore_abi::CAPABILITY_WRITE
    );
    assert!(!descriptor.panic_aborts);
    assert_eq!(
        descriptor.schema.as_deref(),
        Some("{\"protocol\": \"bad\", \"device\": {}}")
    );
}

/// A C library with the descriptor of a mapper and `schema` in its section.
fn with_schema(folder: &Path, schema: &str) -> PathBuf {
    let source = folder.join("schema.c");
    let text = format!(
        "#include <longshore_mapper.h>\n\
         LONGSHORE_MAPPER_DESCRIPTOR const LongshoreDescriptor longshore_mapper_descriptor = {{\n\
         .magic = LONGSHORE_MAPPER_MAGIC, .size = sizeof(LongshoreDescriptor),\n\
         .abi_major = LONGSHORE_ABI_MAJOR, .name = \"c\", .version = \"1.0.0\", .protocol = \"c\", .target = \"c\"}};\n\
         __attribute__((used, section(\".longshore_schema\"))) const char schema[] = {schema:?};\n"
    );
    fs::write(&source, text).expect("the source can be written");
    c_library(folder, source.to_str().expect("a plain path"), &[])
}

#[test]
fn a_schema_is_read_out_of_any_library_and_a_wrong_one_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    // C puts a NUL behind it.
    let good = "{\"device\": {\"type\": \"object\"}}";
    let schema = |file: &Path| inspect(file).expect("a mapper").schema;
    assert_eq!(schema(&with_schema(folder, good)), Some(good.to_owned()));
    assert_eq!(schema(&super::support::minimal_c(folder)), None);
    for (text, fault) in [
        ("{\"device\": ", "it is not JSON: EOF"),
        ("[]", "it is not a JSON object"),
        ("", "it is not JSON: EOF"),
        (&"x".repeat((1 << 20) + 10), "it is larger than 1 MiB"),
    ] {
        let error = inspect(&with_schema(folder, text)).expect_err("no schema");
        assert!(
            error.to_string().contains(fault),
            "{error} should say {fault}"
        );
    }
}

#[test]
fn each_fault_has_its_own_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let missing = folder.join("missing.so");
    assert!(matches!(inspect(&missing), Err(InspectError::NotFound { path }) if path == missing));
    assert!(matches!(inspect(folder), Err(InspectError::Read { .. })));

    let text = folder.join("text.so");
    for content in [
        "",
        "#!",
        "#!/bin/sh\necho I am no library, though I am long enough\n",
    ] {
        fs::write(&text, content).expect("the file can be written");
        assert!(
            matches!(inspect(&text), Err(InspectError::NotElf { .. })),
            "{content:?}"
        );
    }

    // Byte 18: e_machine; 40 is ARM. Byte 4: the class; 1 is 32-bit.
    let error = inspect(&spoilt(folder, |bytes| {
        bytes[18..20].copy_from_slice(&[40, 0])
    }))
    .expect_err("another machine");
    assert!(
        matches!(&error, InspectError::WrongArchitecture { found, .. } if found == "arm (64-bit)"),
        "{error}"
    );
    let error = inspect(&spoilt(folder, |bytes| bytes[4] = 1)).expect_err("another class");
    assert!(
        matches!(&error, InspectError::WrongArchitecture { found, .. } if found.contains("32-bit")),
        "{error}"
    );
    // Byte 16: e_type; 1 is an object file.
    let error = inspect(&spoilt(folder, |bytes| bytes[16] = 1)).expect_err("an object file");
    assert!(
        matches!(
            error,
            InspectError::NotLibrary {
                found: "an object file",
                ..
            }
        ),
        "{error}"
    );

    let version = |bytes: &mut Vec<u8>| {
        let at = descriptor_at(bytes) + std::mem::offset_of!(Descriptor, abi_major);
        bytes[at..at + 2].copy_from_slice(&9_u16.to_le_bytes());
    };
    let error = inspect(&spoilt(folder, version)).expect_err("another version");
    assert!(
        matches!(
            error,
            InspectError::WrongVersion {
                expected: ABI_MAJOR,
                found: 9,
                ..
            }
        ),
        "{error}"
    );
    let magic = |bytes: &mut Vec<u8>| {
        let at = descriptor_at(bytes);
        bytes[at] = b'X';
    };
    let error = inspect(&spoilt(folder, magic)).expect_err("no magic");
    assert!(
        matches!(error, InspectError::BadDescriptor { .. }),
        "{error}"
    );
    let size = |bytes: &mut Vec<u8>| {
        let at = descriptor_at(bytes) + std::mem::offset_of!(Descriptor, size);
        bytes[at] = 8;
    };
    let error = inspect(&spoilt(folder, size)).expect_err("too small");
    assert!(
        matches!(error, InspectError::BadDescriptor { .. }),
        "{error}"
    );

    let program = PathBuf::from(env!("CARGO_BIN_EXE_longshore-mapper-host"));
    let error = inspect(&program).expect_err("no mapper");
    assert!(
        matches!(error, InspectError::NoDescriptor { .. }),
        "{error}"
    );
}

#[test]
fn no_cut_and_no_damage_is_taken_for_a_mapper_or_panics() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let length = fs::metadata(bad_mapper())
        .expect("the fixture is built")
        .len();
    for cut in [4, 16, 63, 64, 100, 4096, length / 2, length - 1] {
        let error = inspect(&spoilt(folder.path(), |bytes| bytes.truncate(cut as usize)))
            .expect_err("truncated");
        assert!(
            matches!(error, InspectError::Truncated { found, .. } if found == cut),
            "cut at {cut}: {error}"
        );
    }
    // Offsets, sizes and counts of the header, one by one.
    for at in 32..64 {
        for damage in [0x00, 0x01, 0x7f, 0xff] {
            // Some of these fields do not matter here; none may do harm.
            let _ = inspect(&spoilt(folder.path(), |bytes| bytes[at] = damage));
        }
    }
}

#[tokio::test]
async fn a_library_that_is_put_back_is_loaded_without_anybody_asking() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, away) = (folder.path().join("m.so"), folder.path().join("away"));
    std::fs::copy(bad_mapper(), &file).expect("a copy");
    let mut run = Run::start(file.clone(), Isolation::Process, json!({}), options());
    run.up().await;
    std::fs::rename(&file, &away).expect("it is there");
    let pid = run.mapper.stats().process_id.expect("a child");
    kill(pid);
    run.down().await;
    assert!(run.failed().await.ends_with("does not exist"));
    std::fs::rename(&away, &file).expect("it is there");
    run.up().await;
    run.answers(1).await;
    run.stop().await;
}

#[tokio::test]
async fn what_cannot_run_is_given_up_with_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing.so");
    let run = Run::start(missing.clone(), Isolation::Process, json!({}), options());
    assert_eq!(
        *run.failed().await,
        *format!("mapper library `{}` does not exist", missing.display())
    );
    assert!(run.mapper.descriptor().is_err());

    let without_entry = c_library(
        folder.path(),
        "core/host/fixtures/garbage.c",
        &["-DWITHOUT_ENTRY"],
    );
    for isolation in super::support::BOTH {
        let run = Run::start(without_entry.clone(), isolation, json!({}), options());
        let reason = run.failed().await;
        assert!(
            reason
                .starts_with("the library does not export the function `longshore_mapper_entry`: "),
            "{reason}"
        );
    }

    let aborting = spoilt(folder.path(), |bytes| {
        let at = descriptor_at(bytes) + std::mem::offset_of!(Descriptor, flags);
        bytes[at] |= FLAG_PANIC_ABORTS as u8;
    });
    let run = Run::start(aborting.clone(), Isolation::InProcess, json!({}), options());
    assert_eq!(
        &*run.failed().await,
        "the library is built so that a panic ends the process; run it in a process of its own"
    );
    let mut run = Run::start(aborting, Isolation::Process, json!({}), options());
    run.up().await;
}
