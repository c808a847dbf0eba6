//! Values that come by themselves.

use std::time::{Duration, Instant};

use longshore_abi as abi;
use longshore_host::Status;

use super::{Finding, Found, broken, configuration::not_judged};
use crate::{
    child::Context,
    devices::Device,
    session::{Session, watch_for},
};

/// So many values show that a point is sent again and again.
const SENT: usize = 3;
/// Time for them: devices that talk once a second are usual.
const TIME: Duration = Duration::from_secs(6);
/// So long nothing may come that should not.
const SILENCE: Duration = Duration::from_secs(1);

/// A device that sends.
struct Sending {
    device: Device,
    /// A point of which values keep coming.
    point: u32,
    /// How long its values may be away.
    pause: Duration,
}

/// A mapper that states that it only asks passes on nothing else.
fn only_asks(context: &Context) -> bool {
    context.states(abi::CAPABILITY_PUSH) == Some(false)
}

/// A device whose values come although nobody polls it.
fn sending(context: &Context, session: &mut Session) -> Result<Sending, Finding> {
    let device = Device::new(&context.devices.any(), 0, 0).with("sampling", &"push".into());
    let done = session.configure(&device)?;
    if done.status != Status::Ok {
        return not_judged(format!("the device was refused: {}", done.message));
    }
    let begun = Instant::now();
    let points = device.points();
    let sends = |point: &&u32| session.samples_since(**point, begun).len() >= SENT;
    while begun.elapsed() < TIME {
        let Some(point) = points.iter().find(sends) else {
            watch_for(Duration::from_millis(50));
            continue;
        };
        let times = session.wait_samples(*point, Instant::now(), SENT, TIME);
        let pauses = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        if let Some(pause) = pauses.max() {
            return Ok(Sending {
                point: *point,
                pause: 3 * pause + SILENCE,
                device,
            });
        }
        break;
    }
    not_judged("no value of the device keeps coming by itself")
}

pub(super) fn come_again(context: &Context) -> Found {
    if only_asks(context) {
        return Ok(());
    }
    let mut session = Session::start(context)?;
    let Sending {
        device,
        point,
        pause,
    } = sending(context, &mut session)?;
    let other = device.points().into_iter().find(|other| *other != point);
    let changed = other.map_or_else(|| device.clone(), |other| device.without(other));
    session.configure(&changed)?;
    awaited(&session, point, pause, "its configuration changed")?;
    let order = session.order(abi::COMMAND_REMOVE, 0, 0);
    session.carry_out(order)?;
    session.configure(&device)?;
    // It may have to be connected anew.
    let pause = pause + TIME;
    awaited(
        &session,
        point,
        pause,
        "it was removed and configured again",
    )
}

fn awaited(session: &Session, point: u32, pause: Duration, why: &str) -> Found {
    let times = session.wait_samples(point, Instant::now(), 1, pause);
    if times.is_empty() {
        return broken(format!(
            "no value of point {point} came for {} ms after {why}",
            pause.as_millis()
        ));
    }
    Ok(())
}

pub(super) fn end(context: &Context) -> Found {
    if only_asks(context) {
        return Ok(());
    }
    let mut session = Session::start(context)?;
    let Sending { device, point, .. } = sending(context, &mut session)?;
    if device.points().len() > 1 {
        session.configure(&device.without(point))?;
        silent(&session, &[point], "a configuration that has no such point")?;
        session.configure(&device)?;
    }
    let order = session.order(abi::COMMAND_REMOVE, 0, 0);
    session.carry_out(order)?;
    silent(&session, &device.points(), "the device was removed")
}

fn silent(session: &Session, points: &[u32], what: &str) -> Found {
    // The completion is in the record already: what is behind it came later.
    let since = Instant::now();
    watch_for(SILENCE);
    for point in points {
        let count = session.samples_since(*point, since).len();
        if count > 0 {
            return broken(format!("{count} values of point {point} came after {what}"));
        }
    }
    Ok(())
}
