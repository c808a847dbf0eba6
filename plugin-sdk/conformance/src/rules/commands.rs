//! `submit`, and how commands end.

use std::{collections::BTreeMap, time::Duration};

use longshore_abi as abi;
use longshore_host::{
    Status,
    bare::{Layout, Order, OrderValue},
};

use super::{Finding, Found, broken};
use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    session::{BATCH, BUDGET, GRACE, Session, completions, watch_for},
    writes::Pen,
};

/// Longer than a call that only copies takes, even on a machine that is busy.
const COPYING: Duration = Duration::from_secs(1);
/// Time for a second completion to show itself.
const SECOND: Duration = Duration::from_millis(500);

fn device(context: &Context) -> Device {
    Device::new(&context.devices.any(), 0, 100)
}

pub(super) fn submit_does_not_wait(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = device(context);
    let pen = Pen::take(&mut session, context, &device)?;
    for _ in 0..5 {
        let orders = session.mix(&pen, &device);
        for chunk in orders.chunks(BATCH) {
            let watch = Stopwatch::start();
            session.instance.submit(chunk);
            let took = watch.elapsed();
            if took > COPYING {
                return broken(format!(
                    "a call with {} commands took {} ms",
                    chunk.len(),
                    took.as_millis()
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn all_or_none(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = device(context);
    session.configure(&device)?;
    for spoil in [spoil_text, spoil_value] {
        let mut orders = vec![
            session.order(abi::COMMAND_REMOVE, 998, 0),
            session.configuring(&device),
            session.order(abi::COMMAND_REMOVE, 999, 0),
        ];
        spoil(&mut orders[1], context);
        let tokens: Vec<u64> = orders.iter().map(|order| order.token).collect();
        let status = session.submit(&orders);
        if status == abi::STATUS_OK {
            continue;
        }
        watch_for(SECOND);
        let ended = completions(&session.recorder.records(), |token| tokens.contains(&token));
        if !ended.is_empty() {
            return broken(format!(
                "it answered status {status} and completed {} of {} commands",
                ended.len(),
                tokens.len()
            ));
        }
    }
    Ok(())
}

fn spoil_text(order: &mut Order, _: &Context) {
    order.text = b"{\"device\": \"\xFF\xFE\"}".to_vec();
}

fn spoil_value(order: &mut Order, context: &Context) {
    order.kind = abi::COMMAND_WRITE;
    order.point = context.writes.point(order.point);
    order.text.clear();
    order.value = OrderValue::Text(b"\xFF".to_vec());
}

pub(super) fn one_completion_each(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = device(context);
    let pen = Pen::take(&mut session, context, &device)?;
    let earlier: Vec<u64> = ended_tokens(&session);
    let mut given = BTreeMap::new();
    for _ in 0..4 {
        let orders = session.mix(&pen, &device);
        for chunk in orders.chunks(BATCH) {
            match session.submit(chunk) {
                abi::STATUS_OK => given.extend(chunk.iter().map(|order| (order.token, order.kind))),
                status => {
                    return Err(Finding::NotJudged(format!(
                        "commands were not taken (status {status})"
                    )));
                }
            }
        }
    }
    let tokens: Vec<u64> = given.keys().copied().collect();
    session.all_done(&tokens, BUDGET + 2 * GRACE);
    watch_for(SECOND);
    let mut ended = BTreeMap::<u64, usize>::new();
    for token in ended_tokens(&session) {
        *ended.entry(token).or_default() += 1;
    }
    for token in earlier {
        ended.remove(&token);
    }
    for (token, kind) in &given {
        match ended.remove(token) {
            Some(1) => {}
            None => return broken(format!("a command of kind {kind} got none")),
            Some(count) => return broken(format!("a command of kind {kind} got {count}")),
        }
    }
    match ended.keys().next() {
        None => Ok(()),
        Some(token) => broken(format!(
            "a completion came for token {token}, which was never given"
        )),
    }
}

fn ended_tokens(session: &Session) -> Vec<u64> {
    let ended = completions(&session.recorder.records(), |_| true);
    ended.into_iter().map(|(token, _)| token).collect()
}

pub(super) fn completions_in_time(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = device(context);
    let pen = Pen::take(&mut session, context, &device)?;
    session.configure(&device)?;
    for milliseconds in [50, 200, 1000] {
        let budget = Duration::from_millis(milliseconds);
        let mut orders = vec![session.configuring(&device)];
        for point in device.points().into_iter().take(5) {
            orders.push(session.order(abi::COMMAND_READ, device.id, point));
            orders.extend(pen.writes(&mut session, device.id, point, [OrderValue::Int(1)]));
        }
        for order in &mut orders {
            order.budget = budget;
        }
        let watch = Stopwatch::start();
        session.give(&orders)?;
        let patience = budget + GRACE;
        for order in &orders {
            let left = patience.saturating_sub(watch.elapsed());
            if session.done(order.token, left).is_none() {
                return broken(format!(
                    "a command of kind {} with a budget of {milliseconds} ms had no completion {} ms after it was taken",
                    order.kind,
                    watch.elapsed().as_millis()
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn unknown_commands(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    for kind in [0, 77, 65_536, u32::MAX] {
        let order = session.order(kind, 0, 0);
        let done = session.carry_out(order)?;
        if done.status != Status::Unsupported {
            return broken(format!("kind {kind} ended with {:?}", done.status));
        }
    }
    Ok(())
}

pub(super) fn unknown_method(context: &Context) -> Found {
    // What a mapper makes of a name that it does not know may reach the device.
    context.writes.allowed()?;
    let mut session = Session::start(context)?;
    let device = device(context);
    session.configure(&device)?;
    let mut order = session.order(abi::COMMAND_CALL, device.id, 0);
    order.text = br#"{"name": "conformance-no-such-method", "arguments": null}"#.to_vec();
    refused(&mut session, order)
}

pub(super) fn wrong_discovery(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    for text in ["no JSON", "[1, 2]"] {
        let mut order = session.order(abi::COMMAND_DISCOVER, 0, 0);
        order.text = text.as_bytes().to_vec();
        refused(&mut session, order)?;
    }
    Ok(())
}

pub(super) fn discovery_in_time(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    for text in ["{}", r#"{"conformance": {"no": ["such", "key"]}}"#] {
        let mut order = session.order(abi::COMMAND_DISCOVER, 0, 0);
        order.text = text.as_bytes().to_vec();
        order.budget = Duration::from_millis(500);
        let (token, patience) = (order.token, order.budget + GRACE);
        let watch = Stopwatch::start();
        session.give(&[order])?;
        if session.done(token, patience).is_none() {
            return broken(format!(
                "with a budget of 500 ms the request `{text}` had no completion after {} ms",
                watch.elapsed().as_millis()
            ));
        }
    }
    Ok(())
}

fn refused(session: &mut Session, order: Order) -> Found {
    let done = session.carry_out(order)?;
    if done.status == Status::Ok {
        return broken(format!(
            "it ended with OK and the message `{}`",
            done.message
        ));
    }
    Ok(())
}

pub(super) fn newer_host(context: &Context) -> Found {
    let layout = Layout {
        command_extra: 24,
        table_extra: true,
        host_minor: Some(abi::ABI_MINOR + 7),
        ..Layout::default()
    };
    understands(context, layout, abi::COMMAND_CONFIGURE)
}

pub(super) fn older_host(context: &Context) -> Found {
    let layout = Layout {
        short_commands: true,
        host_minor: Some(0),
        ..Layout::default()
    };
    understands(context, layout, abi::COMMAND_REMOVE)
}

/// Each of some commands in a row is found where it lies.
fn understands(context: &Context, layout: Layout, kind: u32) -> Found {
    let mut session = match Session::start_with(context, layout) {
        Ok(session) => session,
        // With the usual layout it must start, or there is nothing to judge.
        Err(Finding::NotJudged(why)) => {
            Session::start(context)?;
            return broken(why);
        }
        Err(other) => return Err(other),
    };
    let orders: Vec<Order> = (0..4)
        .map(|id| match kind {
            abi::COMMAND_CONFIGURE => {
                session.configuring(&Device::new(&context.devices.any(), id, 0))
            }
            kind => session.order(kind, id, 0),
        })
        .collect();
    let status = session.submit(&orders);
    if status != abi::STATUS_OK {
        return broken(format!("it answered status {status}"));
    }
    for order in &orders {
        if session.done(order.token, BUDGET + GRACE).is_none() {
            return broken(format!(
                "command {} of {} in the batch got no completion",
                order.token,
                orders.len()
            ));
        }
    }
    let given: Vec<u64> = orders.iter().map(|order| order.token).collect();
    let foreign = completions(&session.recorder.records(), |token| !given.contains(&token));
    match foreign.first() {
        None => Ok(()),
        Some((token, _)) => broken(format!(
            "a completion came for token {token:#x}, which was never given"
        )),
    }
}
