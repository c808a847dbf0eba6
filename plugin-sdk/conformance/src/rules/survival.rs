//! What a mapper must live through.

use std::time::Duration;

use longshore_abi as abi;
use longshore_host::bare::{Order, OrderValue};

use super::{Found, broken, create::show};
use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    garbage,
    session::{BUDGET, GRACE, Session},
    writes::Pen,
};

/// Random configurations of a device that are tried.
const CONFIGURATIONS: usize = 200;
const ROUNDS: usize = 20;

pub(super) fn garbage_commands(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, 100);
    let pen = Pen::take(&mut session, context, &device)?;
    session.configure(&device)?;
    let point = device.points().first().copied().unwrap_or(0);
    let mut orders = Vec::new();
    for text in [
        Vec::new(),
        b"\xFF\xFE\xFD".to_vec(),
        b"{".repeat(50_000),
        vec![b' '; 3 << 20],
        b"{\"device\": null, \"points\": [null]}".to_vec(),
    ] {
        for kind in [
            abi::COMMAND_CONFIGURE,
            abi::COMMAND_CALL,
            abi::COMMAND_DISCOVER,
        ] {
            // What is called may reach a device, configured well or not.
            let device = match kind {
                abi::COMMAND_CALL => pen.called(5),
                _ => 5,
            };
            let mut order = session.order(kind, device, 0);
            order.text = text.clone();
            // Looking for devices may take all the time that it has.
            order.budget = Duration::from_millis(500);
            orders.push(order);
        }
    }
    for value in [
        OrderValue::None,
        OrderValue::Unknown(99),
        OrderValue::Unknown(255),
        OrderValue::Float(f64::NAN),
        OrderValue::Uint(u64::MAX),
        OrderValue::Text(b"\xFF".to_vec()),
        OrderValue::Text(Vec::new()),
        OrderValue::Bytes(vec![0; 1 << 20]),
    ] {
        orders.extend(pen.writes(&mut session, 0, point, [value]));
    }
    for (device, point) in [(u32::MAX, u32::MAX), (0, u32::MAX), (u32::MAX, point)] {
        for kind in [abi::COMMAND_READ, abi::COMMAND_REMOVE] {
            orders.push(session.order(kind, device, point));
        }
    }
    let mut hurried = session.order(abi::COMMAND_READ, 0, point);
    hurried.budget = Duration::ZERO;
    orders.push(hurried);

    session.submit(&[]);
    for order in orders {
        answered(&mut session, order)?;
    }
    // It is still there.
    let order = session.configuring(&device);
    answered(&mut session, order)
}

/// A command is not taken, or completed.
fn answered(session: &mut Session, order: Order) -> Found {
    let shown = format!(
        "a command of kind {} with {} and {}",
        order.kind,
        match order.value {
            OrderValue::None => "no value".to_owned(),
            OrderValue::Bytes(_) => "bytes".to_owned(),
            ref value => format!("{value:?}"),
        },
        show(&order.text)
    );
    let (token, patience) = (order.token, order.budget + 2 * GRACE);
    if session.submit(&[order]) == abi::STATUS_OK && session.done(token, patience).is_none() {
        return broken(format!("no completion of {shown}"));
    }
    Ok(())
}

pub(super) fn random_configurations(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let mut rng = fastrand::Rng::with_seed(garbage::SEED);
    for number in 0..CONFIGURATIONS {
        let mut order = session.order(abi::COMMAND_CONFIGURE, 1 + number as u32 % 5, 0);
        order.text = garbage::device(&mut rng, context, number);
        answered(&mut session, order)?;
    }
    Ok(())
}

pub(super) fn reconfigured_while_reading(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, 20);
    session.configure(&device)?;
    let shorter = device.shorter();
    let mut tokens = Vec::new();
    for round in 0..ROUNDS {
        let config = if round % 2 == 0 { &shorter } else { &device };
        let mut orders = Vec::new();
        for point in device.points().into_iter().take(3) {
            orders.push(session.order(abi::COMMAND_READ, 0, point));
        }
        orders.push(session.configuring(config));
        session.give(&orders)?;
        tokens.extend(orders.iter().map(|order| order.token));
    }
    match session.all_done(&tokens, BUDGET + 2 * GRACE) {
        0 => Ok(()),
        left => broken(format!(
            "{left} of {} commands got no completion",
            tokens.len()
        )),
    }
}

pub(super) fn stopped_while_reading(context: &Context) -> Found {
    for _ in 0..ROUNDS / 2 {
        let mut session = Session::start(context)?;
        let device = Device::new(&context.devices.any(), 0, 20);
        session.configure(&device)?;
        let mut reads = Vec::new();
        for point in device.points().into_iter().take(3) {
            reads.push(session.order(abi::COMMAND_READ, 0, point));
        }
        session.give(&reads)?;
        let watch = Stopwatch::start();
        session.instance.stop(BUDGET);
        let took = watch.elapsed();
        if took > BUDGET + GRACE {
            return broken(format!("it took {} ms", took.as_millis()));
        }
        session.instance.destroy();
    }
    Ok(())
}
