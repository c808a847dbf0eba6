//! The child process by itself. `edgecore mapper-host` does the same; this
//! program lets the tests and the conformance kit do without `edgecore`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The host starts it as it starts `edgecore`: program, `mapper-host`, arguments.
    longshore_host::child::run(std::env::args_os().skip(2))
}
