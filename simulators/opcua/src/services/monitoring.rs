//! Monitored items and subscriptions (OPC 10000-4, 5.13 and 5.14).

use std::time::Duration;

use crate::binary::{Reader, Times, Writer};
use crate::core::{Core, From, Spoil, Waiting};
use crate::services::access::{Wanted, wanted};
use crate::services::{counted, results};
use crate::space::{Body, Node, attribute};
use crate::status::StatusCode;
use crate::subscription::{Item, Parameters, Subscription, Trigger};
use crate::time::Now;
use crate::value::Extension;

/// A client that asks for more gets this; the spec leaves it to the server.
const LONGEST_INTERVAL: f64 = 3_600_000.0;

impl Core {
    /// A subscription of the session that asks.
    fn subscription(&mut self, id: u32, from: &From) -> Result<&mut Subscription, StatusCode> {
        self.subscriptions
            .get_mut(&id)
            .filter(|s| s.session == from.session)
            .ok_or(StatusCode::BAD_SUBSCRIPTION_ID_INVALID)
    }
}

fn milliseconds(asked: f64, least: f64) -> Duration {
    let revised = if asked.is_finite() {
        asked
    } else {
        LONGEST_INTERVAL
    };
    Duration::from_secs_f64(revised.clamp(least.max(1.0), LONGEST_INTERVAL) / 1000.0)
}

fn as_milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Reads the counts that create and modify have in common and revises them
/// (5.14.2.2): a lifetime is at least three times the keep-alive count.
fn revise(subscription: &mut Subscription, r: &mut Reader<'_>) -> Result<(), StatusCode> {
    let lifetime = r.u32()?;
    subscription.keep_alive = match r.u32()? {
        0 => 10,
        count => count.min(10_000),
    };
    subscription.lifetime = lifetime.max(3 * subscription.keep_alive);
    subscription.most = match r.u32()? {
        0 => usize::MAX,
        most => most as usize,
    };
    Ok(())
}

pub(crate) fn create(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let limits = &core.scenario.server.limits;
    let most = limits.max_subscriptions as usize;
    if most != 0 && core.subscriptions.len() >= most {
        return Err(StatusCode::BAD_TOO_MANY_SUBSCRIPTIONS);
    }
    let interval = milliseconds(r.f64()?, limits.min_publishing_interval);
    let mut subscription = Subscription::new(from.session, interval, now.instant);
    revise(&mut subscription, r)?;
    subscription.enabled = r.bool()?;
    let id = core.subscription_number();
    w.u32(id);
    w.f64(as_milliseconds(interval));
    w.u32(subscription.lifetime);
    w.u32(subscription.keep_alive);
    core.subscriptions.insert(id, subscription);
    Ok(())
}

pub(crate) fn modify(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let id = r.u32()?;
    let least = core.scenario.server.limits.min_publishing_interval;
    let subscription = core.subscription(id, from)?;
    subscription.interval = milliseconds(r.f64()?, least);
    revise(subscription, r)?;
    subscription.heard();
    w.f64(as_milliseconds(subscription.interval));
    w.u32(subscription.lifetime);
    w.u32(subscription.keep_alive);
    Ok(())
}

/// Does something to each subscription of a list and tells how that went.
fn each(
    core: &mut Core,
    from: &From,
    ids: &[u32],
    w: &mut Writer,
    mut act: impl FnMut(&mut Core, u32),
) -> Result<(), StatusCode> {
    counted(core, from, ids.len(), 0)?;
    let mut list = Vec::with_capacity(ids.len());
    for id in ids {
        match core.subscription(*id, from) {
            Ok(_) => {
                act(core, *id);
                list.push(StatusCode::GOOD);
            }
            Err(status) => list.push(status),
        }
    }
    results(w, &list);
    Ok(())
}

pub(crate) fn set_publishing(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let enabled = r.bool()?;
    let ids = r.list(Reader::u32)?;
    each(core, from, &ids, w, |core, id| {
        if let Some(subscription) = core.subscriptions.get_mut(&id) {
            subscription.enabled = enabled;
            subscription.heard();
        }
    })
}

pub(crate) fn delete(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let ids = r.list(Reader::u32)?;
    each(core, from, &ids, w, |core, id| {
        core.subscriptions.remove(&id);
    })?;
    // Requests that nothing can answer any more are given back (5.14.5).
    let left = core
        .subscriptions
        .values()
        .any(|s| s.session == from.session);
    let waiting = core
        .sessions
        .get_mut(&from.session)
        .filter(|_| !left)
        .map(|s| std::mem::take(&mut s.publish))
        .unwrap_or_default();
    for one in waiting {
        let status = StatusCode::BAD_NO_SUBSCRIPTION;
        core.refuse(one.from, status, now, Spoil::No);
    }
    Ok(())
}

/// Subscriptions of another session come to this one (5.14.7).
pub(crate) fn transfer(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let ids = r.list(Reader::u32)?;
    let with_values = r.bool()?;
    counted(core, from, ids.len(), 0)?;
    w.list(&ids, |w, id| match core.subscriptions.get_mut(id) {
        Some(subscription) => {
            subscription.session = from.session;
            subscription.heard();
            if with_values {
                for item in subscription.items.values_mut() {
                    item.forget(now.instant);
                }
                subscription.rearrange(now.instant);
            }
            w.status(StatusCode::GOOD);
            w.list(&subscription.available(), |w, number| w.u32(*number));
        }
        None => {
            w.status(StatusCode::BAD_SUBSCRIPTION_ID_INVALID);
            w.length(0);
        }
    });
    w.length(0);
    Ok(())
}

pub(crate) fn publish(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    now: Now,
) -> Result<(), StatusCode> {
    let acknowledged = r.list(|r| Ok((r.u32()?, r.u32()?)))?;
    core.record.operations(from.service, acknowledged.len());
    let mut list = Vec::with_capacity(acknowledged.len());
    for (id, sequence) in acknowledged {
        list.push(match core.subscription(id, from) {
            Ok(subscription) => match subscription.acknowledge(sequence) {
                true => StatusCode::GOOD,
                false => StatusCode::BAD_SEQUENCE_NUMBER_UNKNOWN,
            },
            Err(status) => status,
        });
    }
    let waiting = Waiting {
        from: *from,
        results: list,
    };
    core.publish(waiting, now)
}

pub(crate) fn republish(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let (id, sequence) = (r.u32()?, r.u32()?);
    let subscription = core.subscription(id, from)?;
    subscription.heard();
    let kept = subscription.sent.iter().find(|(n, _)| *n == sequence);
    let (_, message) = kept.ok_or(StatusCode::BAD_MESSAGE_NOT_AVAILABLE)?;
    w.bytes.extend_from_slice(message);
    Ok(())
}

/// MonitoringParameters as they came (7.21).
struct Asked {
    client_handle: u32,
    sampling: f64,
    filter: Extension,
    queue_size: u32,
    discard_oldest: bool,
}

fn asked(r: &mut Reader<'_>) -> crate::binary::Result<Asked> {
    Ok(Asked {
        client_handle: r.u32()?,
        sampling: r.f64()?,
        filter: r.extension()?,
        queue_size: r.u32()?,
        discard_oldest: r.bool()?,
    })
}

/// Revises what was asked for: below 0 means as fast as the subscription publishes.
fn parameters(
    core: &Core,
    asked: &Asked,
    (node, attribute): (&Node, u32),
    interval: Duration,
) -> Result<Parameters, StatusCode> {
    let limits = &core.scenario.server.limits;
    let sampling = match asked.sampling {
        negative if negative < 0.0 => interval,
        other => milliseconds(other, limits.min_sampling_interval),
    };
    let (trigger, deadband) = filter(&asked.filter, node, attribute)?;
    Ok(Parameters {
        client_handle: asked.client_handle,
        sampling,
        queue_size: asked.queue_size.clamp(1, limits.max_queue_size.max(1)) as usize,
        discard_oldest: asked.discard_oldest,
        trigger,
        deadband,
    })
}

/// DataChangeFilter (7.22.2); a deadband in percent is of the EURange
/// (OPC 10000-8, 6.2).
fn filter(filter: &Extension, node: &Node, attribute: u32) -> Result<(Trigger, f64), StatusCode> {
    match filter.encoding.as_standard() {
        Some(0) => return Ok((Trigger::StatusValue, 0.0)),
        Some(724) if attribute == attribute::VALUE => {}
        Some(724) => return Err(StatusCode::BAD_FILTER_NOT_ALLOWED),
        _ => return Err(StatusCode::BAD_MONITORED_ITEM_FILTER_UNSUPPORTED),
    }
    let mut r = Reader::new(&filter.body);
    let trigger = match r.i32()? {
        0 => Trigger::Status,
        1 => Trigger::StatusValue,
        2 => Trigger::StatusValueTimestamp,
        _ => return Err(StatusCode::BAD_DEADBAND_FILTER_INVALID),
    };
    let (kind, size) = (r.u32()?, r.f64()?);
    let Body::Variable(variable) = &node.body else {
        return Ok((trigger, 0.0));
    };
    if kind != 0 && (!variable.kind.is_number() || size < 0.0 || !size.is_finite()) {
        return Err(StatusCode::BAD_FILTER_NOT_ALLOWED);
    }
    match (kind, variable.range) {
        (0, _) => Ok((trigger, 0.0)),
        (1, _) => Ok((trigger, size)),
        (2, Some([low, high])) if size <= 100.0 => Ok((trigger, size / 100.0 * (high - low))),
        (2, None) => Err(StatusCode::BAD_MONITORED_ITEM_FILTER_UNSUPPORTED),
        _ => Err(StatusCode::BAD_DEADBAND_FILTER_INVALID),
    }
}

/// MonitoredItemCreateResult and -ModifyResult end alike.
fn revised(w: &mut Writer, parameters: Option<&Parameters>) {
    w.f64(parameters.map_or(0.0, |p| as_milliseconds(p.sampling)));
    w.u32(parameters.map_or(0, |p| p.queue_size as u32));
    w.no_structure();
}

pub(crate) fn create_items(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let id = r.u32()?;
    let times = Times::from_code(r.i32()?);
    let items = r.list(|r| Ok((wanted(r)?, r.i32()?, asked(r)?)))?;
    let limit = core.scenario.server.limits.max_monitored_items_per_call;
    counted(core, from, items.len(), limit)?;
    let subscription = core.subscription(id, from)?;
    subscription.heard();
    let interval = subscription.interval;
    let mut room = room(core);
    w.length(items.len());
    for (wanted, mode, asked) in items {
        let made = if room == 0 {
            Err(StatusCode::BAD_TOO_MANY_MONITORED_ITEMS)
        } else {
            item(core, wanted, (mode, times), &asked, interval, now)
        };
        match made {
            Ok(item) => {
                room -= 1;
                w.status(StatusCode::GOOD);
                let number = core.number();
                w.u32(number);
                revised(w, Some(&item.parameters));
                let subscription = core.subscription(id, from)?;
                subscription.items.insert(number, item);
                subscription.rearrange(now.instant);
            }
            Err(status) => {
                w.status(status);
                w.u32(0);
                revised(w, None);
            }
        }
    }
    w.length(0);
    Ok(())
}

/// How many more items the server takes.
fn room(core: &Core) -> usize {
    match core.scenario.server.limits.max_monitored_items as usize {
        0 => usize::MAX,
        most => {
            let there: usize = core.subscriptions.values().map(|s| s.items.len()).sum();
            most.saturating_sub(there)
        }
    }
}

fn item(
    core: &mut Core,
    wanted: Wanted,
    (mode, times): (i32, Times),
    asked: &Asked,
    interval: Duration,
    now: Now,
) -> Result<Item, StatusCode> {
    let Some(slot) = core.space.slot(&wanted.node) else {
        return Err(StatusCode::BAD_NODE_ID_UNKNOWN);
    };
    // What cannot be read now for a passing reason is monitored all the same.
    let status = core.space.read(slot, wanted.attribute, "", now).status;
    if matches!(
        status,
        StatusCode::BAD_ATTRIBUTE_ID_INVALID | StatusCode::BAD_NOT_READABLE
    ) {
        return Err(status);
    }
    let node = core
        .space
        .node(&wanted.node)
        .ok_or(StatusCode::BAD_NODE_ID_UNKNOWN)?;
    let parameters = parameters(core, asked, (node, wanted.attribute), interval)?;
    let what = (wanted.attribute, wanted.range);
    Ok(Item::new(
        wanted.node,
        what,
        times,
        parameters,
        mode,
        now.instant,
    ))
}

pub(crate) fn modify_items(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let id = r.u32()?;
    let times = Times::from_code(r.i32()?);
    let items = r.list(|r| Ok((r.u32()?, asked(r)?)))?;
    let limit = core.scenario.server.limits.max_monitored_items_per_call;
    counted(core, from, items.len(), limit)?;
    let subscription = core.subscription(id, from)?;
    subscription.heard();
    subscription.rearrange(now.instant);
    let interval = subscription.interval;
    w.length(items.len());
    for (number, asked) in items {
        let item = core.subscription(id, from)?.items.get(&number);
        let revision = match item.map(|i| (i.node.clone(), i.attribute)) {
            None => Err(StatusCode::BAD_MONITORED_ITEM_ID_INVALID),
            Some((node, attribute)) => match core.space.node(&node) {
                None => Err(StatusCode::BAD_NODE_ID_UNKNOWN),
                Some(node) => parameters(core, &asked, (node, attribute), interval),
            },
        };
        match revision {
            Ok(parameters) => {
                w.status(StatusCode::GOOD);
                revised(w, Some(&parameters));
                if let Some(item) = core.subscription(id, from)?.items.get_mut(&number) {
                    item.parameters = parameters;
                    item.times = times;
                    item.due = now.instant;
                }
            }
            Err(status) => {
                w.status(status);
                revised(w, None);
            }
        }
    }
    w.length(0);
    Ok(())
}

pub(crate) fn set_mode(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let (id, mode) = (r.u32()?, r.i32()?);
    let numbers = r.list(Reader::u32)?;
    counted(core, from, numbers.len(), 0)?;
    let subscription = core.subscription(id, from)?;
    subscription.heard();
    subscription.rearrange(now.instant);
    let mut list = Vec::with_capacity(numbers.len());
    for number in numbers {
        list.push(match subscription.items.get_mut(&number) {
            Some(item) => {
                item.mode = mode;
                item.forget(now.instant);
                StatusCode::GOOD
            }
            None => StatusCode::BAD_MONITORED_ITEM_ID_INVALID,
        });
    }
    results(w, &list);
    Ok(())
}

pub(crate) fn delete_items(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let id = r.u32()?;
    let numbers = r.list(Reader::u32)?;
    counted(core, from, numbers.len(), 0)?;
    let subscription = core.subscription(id, from)?;
    subscription.heard();
    let list: Vec<StatusCode> = numbers
        .iter()
        .map(|number| match subscription.items.remove(number) {
            Some(_) => StatusCode::GOOD,
            None => StatusCode::BAD_MONITORED_ITEM_ID_INVALID,
        })
        .collect();
    results(w, &list);
    Ok(())
}
