//! `longshore-conformance FILE.so [DEVICE.json]`: the judge without the rest of
//! the command line. It writes nothing to the device.

use std::{io::Write, path::PathBuf, process::ExitCode};

use longshore_conformance::{Subject, check, run_if_asked};

fn main() -> ExitCode {
    run_if_asked();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(file) = arguments.next() else {
        return fail("usage: longshore-conformance FILE.so [DEVICE.json]");
    };
    let mut subject = Subject::file(file);
    if let Some(device) = arguments.next() {
        match subject.device_file(&device) {
            Ok(with_device) => subject = with_device,
            Err(error) => return fail(&format!("error: {error}")),
        }
    }
    let report = check(&subject);
    // A reader that went away is no fault.
    let _ = write!(std::io::stdout(), "{report}");
    if report.conforms() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(2)
}
