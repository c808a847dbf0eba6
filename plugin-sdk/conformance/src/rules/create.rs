//! `create`.

use std::time::Duration;

use longshore_abi as abi;
use longshore_host::bare::{CreateRefused, Layout};

use super::{Found, broken};
use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    garbage,
    recorder::{Instance, Phase, Recorder},
    session::Session,
};

/// The contract's time for `create`.
const TIME: Duration = Duration::from_secs(10);
/// Room for an error that cuts most messages.
const SMALL: usize = 24;

/// Configurations of the mapper that are right, doubtful, and no JSON.
fn configurations(context: &Context) -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(garbage::SEED);
    let fixed: [&[u8]; 8] = [
        b"{}",
        b"",
        b"null",
        b"[1, 2]",
        b"{\"a\": ",
        b"no JSON at all: this mapper should say so, or not mind",
        b"\xFF\xFE\x00",
        br#"{"unknown": {"nested": [true, null, 1e300, "x"]}}"#,
    ];
    let mut all: Vec<Vec<u8>> = fixed.iter().map(|config| config.to_vec()).collect();
    all.extend((0..30).map(|_| garbage::mapper_config(&mut rng, &context.devices)));
    // Nested deeper than a careless parser's stack.
    all.push([b"[".repeat(20_000), b"]".repeat(20_000)].concat());
    all
}

pub(super) fn works_or_says_why(context: &Context) -> Found {
    for config in configurations(context) {
        let watch = Stopwatch::start();
        let made = Instance::create(&context.mapper, &config, Recorder::new(), Layout::default());
        let shown = show(&config);
        if watch.has_passed(TIME) {
            return broken(format!(
                "it took {} s with {shown}",
                watch.elapsed().as_secs()
            ));
        }
        match made {
            // Its threads would be in the way of the next ones.
            Ok(instance) => instance.destroy(),
            Err(refused) => judge_refusal(&refused, &shown)?,
        }
    }
    Ok(())
}

fn judge_refusal(refused: &CreateRefused, shown: &str) -> Found {
    let CreateRefused {
        status,
        message,
        made_one,
        ..
    } = refused;
    if *status == abi::STATUS_OK {
        return broken(format!("it answered OK and made no instance, with {shown}"));
    }
    if *made_one {
        return broken(format!(
            "it answered status {status} and made an instance all the same, with {shown}"
        ));
    }
    // A text that is not UTF-8 is the matter of another rule.
    if message.as_ref().is_some_and(String::is_empty) {
        return broken(format!(
            "it answered status {status} without a message, with {shown}"
        ));
    }
    Ok(())
}

pub(super) fn emits_nothing(context: &Context) -> Found {
    let session = Session::start(context)?;
    match session.recorder.emits(Phase::Creating) {
        0 => Ok(()),
        calls => broken(format!("{calls} calls of emit came before it had returned")),
    }
}

pub(super) fn beside_another(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    session.configure(&Device::new(&context.devices.any(), 0, 50))?;
    let made = Instance::create(&context.mapper, b"{}", Recorder::new(), Layout::default());
    match made {
        Ok(_) => Ok(()),
        Err(refused) => broken(format!(
            "while another one lives it answers status {}: {}",
            refused.status,
            refused.message.as_deref().unwrap_or("no reason")
        )),
    }
}

pub(super) fn error_text(context: &Context) -> Found {
    for config in configurations(context) {
        let layout = Layout {
            error_room: Some(SMALL),
            ..Layout::default()
        };
        match Instance::create(&context.mapper, &config, Recorder::new(), layout) {
            Ok(instance) => instance.destroy(),
            Err(refused) if refused.within_room => {}
            Err(_) => {
                return broken(format!(
                    "with a size of {SMALL} bytes it wrote or claimed more, with {}",
                    show(&config)
                ));
            }
        }
    }
    Ok(())
}

/// A configuration, for people.
pub(super) fn show(config: &[u8]) -> String {
    let text = String::from_utf8_lossy(config);
    let cut: String = text.chars().take(120).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("the configuration `{}{dots}`", cut.escape_debug())
}
