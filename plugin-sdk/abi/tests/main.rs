//! The header for C says what the Rust types say, and a C compiler agrees.

use std::{
    env,
    fmt::Write as _,
    fs,
    mem::{align_of, offset_of, size_of},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use longshore_abi as abi;

const UPDATE: &str = "LONGSHORE_UPDATE";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_file() -> PathBuf {
    root().join("include/longshore_mapper.h")
}

/// What cbindgen makes of the sources, with C's habits for names.
fn generated() -> String {
    let config =
        cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root().join("src/contract.rs"))
        .with_src(root().join("src/descriptor.rs"))
        .generate()
        .expect("cbindgen understands the contract")
        .write(&mut header);
    let header = String::from_utf8(header).expect("cbindgen writes UTF-8");
    let lines = header.lines().map(|line| {
        // cbindgen has one prefix for types and constants.
        let line = line.replace("#define Longshore", "#define LONGSHORE_");
        // Rustdoc's links mean nothing in C.
        line.replace("[`", "`")
            .replace("`]", "`")
            .trim_end()
            .to_owned()
    });
    let mut text = String::new();
    for line in lines {
        if !(line.is_empty() && text.ends_with("\n\n")) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

#[test]
fn header_is_up_to_date() {
    let generated = generated();
    if env::var_os(UPDATE).is_some() {
        fs::write(header_file(), &generated).expect("the header can be written");
    }
    let written = fs::read_to_string(header_file()).unwrap_or_default();
    let line = written
        .lines()
        .zip(generated.lines())
        .position(|(written, generated)| written != generated);
    let hint = format!("run {UPDATE}=1 cargo test -p longshore-abi");
    assert_eq!(
        line, None,
        "include/longshore_mapper.h differs from that line on; {hint}"
    );
    assert_eq!(
        written.len(),
        generated.len(),
        "include/longshore_mapper.h is longer or shorter; {hint}"
    );
}

/// `(expression in C, what Rust has)` for sizes, alignments, offsets and constants.
fn facts() -> Vec<(String, u64)> {
    let mut facts = Vec::new();
    macro_rules! layout {
        ($($type:ident { $($field:ident),* }),* $(,)?) => {$(
            let name = concat!("Longshore", stringify!($type));
            facts.push((format!("sizeof({name})"), size_of::<abi::$type>() as u64));
            facts.push((format!("_Alignof({name})"), align_of::<abi::$type>() as u64));
            $(facts.push((format!("offsetof({name}, {})", stringify!($field)), offset_of!(abi::$type, $field) as u64));)*
        )*};
    }
    layout! {
        Bytes { pointer, length },
        Payload { boolean, int64, uint64, float64, bytes },
        Value { kind, reserved, payload },
        Sample { point, kind, quality, reason, source_time_ns, payload },
        Command { kind, device, point, reserved, token, budget_ns, value, text },
        CommandBatch { size, stride, count, commands },
        Completion { token, status, reserved, message },
        DeviceState { device, state, since_ns, message },
        EventBatch {
            size, sample_stride, completion_stride, state_stride, samples, sample_count, completions, completion_count, states, state_count
        },
        HostApi { size, abi_major, abi_minor, context, emit, wait_writable, log },
        ErrorText { size, length, text },
        MapperApi { size, abi_major, abi_minor, create, submit, stop, destroy },
        Descriptor { magic, size, abi_major, abi_minor, capabilities, flags, reserved, name, version, protocol, target },
    }
    macro_rules! constants {
        ($($name:ident),* $(,)?) => {$(
            facts.push((concat!("LONGSHORE_", stringify!($name)).to_owned(), abi::$name as u64));
        )*};
    }
    constants! {
        ABI_MAJOR, ABI_MINOR, MAX_BATCH_BYTES, STATUS_OK, STATUS_WOULD_BLOCK, STATUS_INVALID_ARGUMENT, STATUS_INVALID_CONFIG,
        STATUS_UNSUPPORTED, STATUS_TIMEOUT, STATUS_LINE, STATUS_REFUSED, STATUS_PANIC, STATUS_STOPPED, STATUS_BUSY, STATUS_INTERNAL,
        TYPE_NONE, TYPE_BOOL, TYPE_INT64, TYPE_UINT64, TYPE_FLOAT64, TYPE_STRING, TYPE_BYTES, QUALITY_GOOD, QUALITY_UNCERTAIN,
        QUALITY_BAD, COMMAND_CONFIGURE, COMMAND_REMOVE, COMMAND_READ, COMMAND_WRITE, CAPABILITY_READ, CAPABILITY_WRITE,
        CAPABILITY_POLL, FLAG_PANIC_ABORTS,
    }
    facts
}

fn compile(compiler: &str, arguments: &[&str], source: &Path) -> Output {
    Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(root().join("include"))
        .args(arguments)
        .arg(source)
        .output()
        .unwrap_or_else(|error| {
            panic!("`{compiler}` is needed for this test (apt-get install gcc g++): {error}")
        })
}

#[test]
fn a_c_compiler_sees_the_same_layout() {
    let folder = env::temp_dir().join(format!("longshore-abi-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let (source, program) = (folder.join("layout.c"), folder.join("layout"));
    let mut text = String::from("#include \"longshore_mapper.h\"\n#include <stdio.h>\n");
    let facts = facts();
    for (expression, value) in &facts {
        writeln!(
            text,
            "_Static_assert({expression} == {value}, \"{expression}\");"
        )
        .expect("writes to memory");
    }
    text.push_str("int main(void) {\n");
    for (expression, _) in &facts {
        writeln!(
            text,
            "  printf(\"%s = %zu\\n\", \"{expression}\", (size_t){expression});"
        )
        .expect("writes to memory");
    }
    text.push_str("  return 0;\n}\n");
    fs::write(&source, text).expect("the source can be written");
    let output = compile(
        "cc",
        &["-std=c11", "-o", program.to_str().expect("UTF-8")],
        &source,
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = Command::new(&program).output().expect("the program runs");
    let expected: String = facts
        .iter()
        .map(|(expression, value)| format!("{expression} = {value}\n"))
        .collect();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), expected);
    fs::remove_dir_all(&folder).expect("the folder can be removed");
}

#[test]
fn the_header_is_cpp_as_well() {
    let output = compile(
        "c++",
        &["-std=c++11", "-fsyntax-only", "-x", "c++"],
        &header_file(),
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    // The header itself is the main file here.
    let errors: Vec<_> = errors
        .lines()
        .filter(|line| line.contains("error"))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
