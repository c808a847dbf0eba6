//! The shims, called as a host calls them.

use std::{
    ptr,
    sync::{Mutex, MutexGuard},
};

use super::*;
use crate::{Completion, Event, Status};

/// Misbehaves as its configuration says.
struct Fake {
    host: Host,
    panic_in: String,
}

impl Mapper for Fake {
    fn create(host: Host, config: &serde_json::Value) -> Result<Self, CreateError> {
        let panic_in = config["panic"].as_str().unwrap_or_default().to_owned();
        match panic_in.as_str() {
            "create" => panic!("no boiler"),
            "config" => Err(CreateError::Config("x".repeat(3000))),
            _ => Ok(Self { host, panic_in }),
        }
    }

    fn submit(&self, commands: Vec<Command>) -> Result<(), SubmitError> {
        assert_ne!(self.panic_in, "submit", "no boiler");
        let mut event = Event::default();
        for command in commands {
            if let CommandKind::Write {
                point,
                value: SampleValue::String(text),
            } = &command.kind
            {
                event.samples.push_str(*point, text, 5);
            }
            event.completions.push(Completion {
                token: command.token,
                status: Status::Ok,
                message: "done".to_owned(),
            });
        }
        self.host.emit(&event).map_err(|_| SubmitError::Stopped)
    }

    fn stop(&self, _: Duration) {
        assert_ne!(self.panic_in, "stop", "no boiler");
    }
}

/// What the host saw.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0
            .lock()
            .expect("no test panics while it holds the lock")
    }

    fn api(&self) -> abi::HostApi {
        abi::HostApi {
            size: size_of::<abi::HostApi>() as u32,
            abi_major: abi::ABI_MAJOR,
            abi_minor: abi::ABI_MINOR,
            context: ptr::from_ref(self).cast_mut().cast(),
            emit: Some(emit),
            wait_writable: Some(wait),
            log: Some(log),
        }
    }
}

unsafe extern "C" fn emit(context: *mut c_void, batch: *const abi::EventBatch) -> i32 {
    // SAFETY: the test's context and the glue's batch.
    let (seen, batch) = unsafe { (&*context.cast::<Seen>(), &*batch) };
    for i in 0..batch.sample_count {
        // SAFETY: these tests emit only strings, and the batch is alive.
        let text = unsafe { view::bytes((*batch.samples.add(i)).payload.bytes) };
        seen.lines()
            .push(format!("sample {}", String::from_utf8_lossy(text)));
    }
    for i in 0..batch.completion_count {
        // SAFETY: the batch is alive.
        let completion = unsafe { *batch.completions.add(i) };
        seen.lines().push(format!(
            "completion {} {}",
            completion.token, completion.status
        ));
    }
    abi::STATUS_OK
}

unsafe extern "C" fn wait(_: *mut c_void, _: i64) -> i32 {
    abi::STATUS_OK
}

unsafe extern "C" fn log(context: *mut c_void, _: u32, message: abi::Bytes) {
    // SAFETY: the test's context; the message is alive.
    let (seen, message) = unsafe { (&*context.cast::<Seen>(), view::bytes(message)) };
    seen.lines()
        .push(format!("log {}", String::from_utf8_lossy(message)));
}

fn create_with(host: &abi::HostApi, config: &str) -> (i32, *mut c_void, String) {
    let mut error = abi::ErrorText {
        size: size_of::<abi::ErrorText>() as u32,
        length: 0,
        text: [0; 1016],
    };
    let mut instance = ptr::null_mut();
    // SAFETY: all pointers are to locals that live through the call.
    let status = unsafe {
        create::<Fake>(
            host,
            abi::Bytes::new(config.as_bytes()),
            &mut instance,
            &mut error,
        )
    };
    (
        status,
        instance,
        String::from_utf8_lossy(&error.text[..error.length as usize]).into_owned(),
    )
}

fn write_command(text: &str) -> abi::Command {
    let payload = abi::Payload::from_bytes(abi::Bytes::new(text.as_bytes()));
    abi::Command {
        kind: abi::COMMAND_WRITE,
        device: 1,
        point: 2,
        reserved: 0,
        token: 77,
        budget_ns: 1_000_000,
        value: abi::Value {
            kind: abi::TYPE_STRING,
            reserved: [0; 7],
            payload,
        },
        text: abi::Bytes::EMPTY,
    }
}

fn batch_of(commands: &[abi::Command]) -> abi::CommandBatch {
    abi::CommandBatch {
        size: size_of::<abi::CommandBatch>() as u32,
        stride: size_of::<abi::Command>() as u32,
        count: commands.len(),
        commands: commands.as_ptr(),
    }
}

#[test]
fn carries_commands_in_and_events_out_and_is_silent_after_stop() {
    let seen = Seen::default();
    let api = seen.api();
    let (status, instance, _) = create_with(&api, "{}");
    assert_eq!(status, abi::STATUS_OK);
    let commands = [write_command("warm")];
    // SAFETY: the instance is alive until `destroy`.
    unsafe {
        assert_eq!(
            submit::<Fake>(instance, &batch_of(&commands)),
            abi::STATUS_OK
        );
        assert_eq!(*seen.lines(), ["sample warm", "completion 77 0"]);
        let host = (*instance.cast::<Instance<Fake>>()).mapper.host.clone();
        assert_eq!(stop::<Fake>(instance, 0), abi::STATUS_OK);
        assert_eq!(
            submit::<Fake>(instance, &batch_of(&commands)),
            abi::STATUS_STOPPED
        );
        destroy::<Fake>(instance);
        // A thread that the mapper left behind.
        assert!(host.emit(&Event::default()).is_err());
        host.log(Level::Info, "late");
    }
    assert_eq!(seen.lines().len(), 2);
}

#[test]
fn panics_become_statuses() {
    let seen = Seen::default();
    let api = seen.api();
    let (status, _, message) = create_with(&api, r#"{"panic": "create"}"#);
    assert_eq!(
        (status, message.as_str()),
        (abi::STATUS_PANIC, "panicked while starting: no boiler")
    );
    for (place, at_submit, at_stop) in [
        ("submit", abi::STATUS_PANIC, abi::STATUS_OK),
        ("stop", abi::STATUS_OK, abi::STATUS_PANIC),
    ] {
        let (_, instance, _) = create_with(&api, &format!(r#"{{"panic": "{place}"}}"#));
        let commands = [write_command("x")];
        // SAFETY: the instance is alive until `destroy`.
        unsafe {
            assert_eq!(submit::<Fake>(instance, &batch_of(&commands)), at_submit);
            assert_eq!(stop::<Fake>(instance, 0), at_stop);
            destroy::<Fake>(instance);
        }
    }
    assert!(
        seen.lines()
            .iter()
            .any(|line| line.starts_with("log panicked while taking commands"))
    );
    assert!(
        seen.lines()
            .iter()
            .any(|line| line.starts_with("log panicked while stopping"))
    );
}

#[test]
fn tells_what_is_wrong_and_cuts_it_to_the_room() {
    let seen = Seen::default();
    let (status, _, message) = create_with(&seen.api(), r#"{"panic": "config"}"#);
    assert_eq!((status, message.len()), (abi::STATUS_INVALID_CONFIG, 1016));
    let (status, _, message) = create_with(&seen.api(), "{");
    assert_eq!(status, abi::STATUS_INVALID_CONFIG);
    assert!(
        message.starts_with("the configuration is not JSON"),
        "{message}"
    );
    let mut other = seen.api();
    other.abi_major = 9;
    let (status, _, message) = create_with(&other, "");
    assert_eq!(status, abi::STATUS_INVALID_ARGUMENT);
    assert_eq!(
        message,
        "the host speaks version 9 of the contract, this mapper version 1"
    );
}

#[test]
fn honours_sizes_and_strides() {
    let seen = Seen::default();
    let mut api = seen.api();
    // An older host that does not know `log`: its field is not read.
    api.size = std::mem::offset_of!(abi::HostApi, log) as u32;
    let (status, _, message) = create_with(&api, "");
    assert_eq!(
        (status, message.as_str()),
        (
            abi::STATUS_INVALID_ARGUMENT,
            "the host lacks a function that the contract demands"
        )
    );

    // A newer host whose commands are longer.
    let (_, instance, _) = create_with(&seen.api(), "");
    #[repr(C)]
    struct Longer(abi::Command, [u64; 3]);
    let longer = [
        Longer(write_command("a"), [0; 3]),
        Longer(write_command("b"), [0; 3]),
    ];
    let mut batch = batch_of(&[]);
    batch.count = 2;
    batch.stride = size_of_val(&longer[0]) as u32;
    batch.commands = longer.as_ptr().cast();
    // SAFETY: each element begins with a command.
    unsafe {
        assert_eq!(submit::<Fake>(instance, &batch), abi::STATUS_OK);
        destroy::<Fake>(instance);
    }
    assert_eq!(seen.lines()[..2], ["sample a", "sample b"]);
}
