//! Values that come by themselves.

use std::time::{Duration, Instant};

use longshore_abi as abi;
use longshore_host::Status;

use super::{Finding, Found, broken, configuration::not_judged};
use crate::{
    child::Context,
    devices::Device,
    session::{Session, samples_of, watch_for},
};

/// So many values show that a point is sent again and again.
const SENT: usize = 3;
/// Time in which a device that sends has sent twice: once in some seconds is
/// usual. …
const TALKS: Duration = Duration::from_secs(10);
/// … One that does is heard out.
const PATIENCE: Duration = Duration::from_secs(60);
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
    let sender = |count: usize, patience: Duration| {
        session.wait(patience, |records| {
            let sends = |point: &&u32| samples_of(records, **point, begun).len() >= count;
            points.iter().find(sends).copied()
        })
    };
    let talks = sender(2, TALKS);
    let Some(point) = talks.and_then(|_| sender(2 * SENT, PATIENCE)) else {
        return not_judged("no value of the device keeps coming by itself");
    };
    // The first ones may be what it has kept.
    let times = session.samples_since(point, begun).split_off(SENT - 1);
    let pauses = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    Ok(Sending {
        point,
        pause: 5 * pauses.max().unwrap_or_default() + TALKS,
        device,
    })
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
    let why = "it was removed and configured again";
    // It may have to be connected anew.
    awaited(&session, point, 2 * pause, why)
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
