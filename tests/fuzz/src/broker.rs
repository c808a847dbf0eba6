//! Packets of MQTT as clients of the embedded broker send them.
//!
//! Messages and acknowledgements are written by the broker itself, which sends them
//! too; what only clients send is written here.

use longshore_broker::codec::{
    Connect, Content, Filter, Out, Packet, Publish, Retention, Subscribe, Unsubscribe, Version,
    Will, decode, frame, publish_size,
};

use crate::byte;

/// The bound on a packet; small, so that inputs reach it.
const MOST: usize = 4096;

/// Packets one after the other. A packet over the bound is refused by its header, and
/// what was understood is written again and understood as the same.
pub(crate) fn packets(mut data: &[u8]) {
    let mut version = match byte(&mut data) % 2 {
        0 => Version::V3,
        _ => Version::V5,
    };
    loop {
        let found = frame(data, MOST);
        // All that decides stands in the first five bytes.
        assert_eq!(found, frame(&data[..data.len().min(5)], MOST));
        let Ok(Some((header, total))) = found else {
            return;
        };
        assert!(total <= MOST && header <= total, "{header} of {total}");
        let Some(packet) = data.get(..total) else {
            return;
        };
        data = &data[total..];
        // A connection ends with the first packet that is none.
        let Ok(packet) = decode(packet, header, version) else {
            return;
        };
        if let Packet::Connect(connect) = &packet {
            version = connect.version;
        }
        let Some((wanted, bytes)) = encode(packet, version) else {
            continue;
        };
        let (header, total) = frame(&bytes, usize::MAX)
            .expect("a length")
            .expect("a header");
        assert_eq!(total, bytes.len());
        assert_eq!(decode(&bytes, header, version), Ok(wanted));
    }
}

/// A packet's bytes, and what they mean: what is only for one hop is left out.
fn encode(packet: Packet, version: Version) -> Option<(Packet, Vec<u8>)> {
    let bytes = match &packet {
        Packet::Publish(publish) => return Some(message(publish.clone(), version)),
        Packet::Ack(ack) => {
            let mut out = Out::default();
            out.ack(version, *ack);
            out.take()
        }
        Packet::Connect(connect) => {
            // That there is a method is understood, and not which.
            if connect.has_method {
                return None;
            }
            whole(0x10, connected(connect))
        }
        Packet::Subscribe(subscribe) => whole(0x82, subscribed(subscribe, version)),
        Packet::Unsubscribe(unsubscribe) => whole(0xa2, unsubscribed(unsubscribe, version)),
        Packet::Ping => whole(0xc0, Vec::new()),
        Packet::Disconnect { code, expiry } => whole(0xe0, gone(*code, *expiry, version)),
        Packet::Auth => return None,
    };
    Some((packet, bytes))
}

fn message(publish: Publish, version: Version) -> (Packet, Vec<u8>) {
    let publish = Publish {
        alias: None,
        ..publish
    };
    let Publish {
        again,
        qos,
        retain,
        id,
        content,
        expiry,
        ..
    } = &publish;
    let mut out = Out::default();
    out.publish(version, content, *id, *qos, *retain, *again, *expiry, &[]);
    let bytes = out.take();
    let size = publish_size(version, content, id.is_some(), *expiry, &[]);
    assert_eq!(bytes.len(), size, "what counts is not what is sent");
    (Packet::Publish(publish), bytes)
}

/// A packet with its length (2.1.4).
fn whole(first: u8, body: Vec<u8>) -> Vec<u8> {
    let mut packet = vec![first];
    variable(&mut packet, body.len());
    packet.extend(body);
    packet
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

/// Properties, where the version has them.
fn properties(out: &mut Vec<u8>, version: Version, properties: &[u8]) {
    if version == Version::V5 {
        variable(out, properties.len());
        out.extend(properties);
    }
}

fn number(properties: &mut Vec<u8>, id: u8, value: u32) {
    properties.push(id);
    properties.extend(value.to_be_bytes());
}

/// 3.1
fn connected(connect: &Connect) -> Vec<u8> {
    let Connect { version, will, .. } = connect;
    let mut body = Vec::new();
    binary(&mut body, b"MQTT");
    body.push(match version {
        Version::V3 => 4,
        Version::V5 => 5,
    });
    let mut flags = u8::from(connect.clean) << 1;
    if let Some(will) = will {
        flags |= 4 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.password.is_some()) << 6 | u8::from(connect.user.is_some()) << 7;
    body.push(flags);
    body.extend(connect.keep_alive.to_be_bytes());
    let mut own = Vec::new();
    number(&mut own, 0x11, connect.expiry);
    own.push(0x21);
    own.extend(connect.receive_maximum.to_be_bytes());
    number(&mut own, 0x27, connect.maximum_packet);
    properties(&mut body, *version, &own);
    binary(&mut body, connect.client.as_bytes());
    if let Some(Will {
        content:
            Content {
                topic,
                properties: handed,
                payload,
            },
        delay,
        expiry,
        ..
    }) = will
    {
        let mut own = Vec::new();
        number(&mut own, 0x18, *delay);
        if let Some(expiry) = expiry {
            number(&mut own, 0x02, *expiry);
        }
        own.extend(&handed[..]);
        properties(&mut body, *version, &own);
        binary(&mut body, topic.as_bytes());
        binary(&mut body, payload);
    }
    if let Some(user) = &connect.user {
        binary(&mut body, user.as_bytes());
    }
    if let Some(password) = &connect.password {
        binary(&mut body, &password.0);
    }
    body
}

/// 3.8
fn subscribed(subscribe: &Subscribe, version: Version) -> Vec<u8> {
    let mut body = subscribe.id.to_be_bytes().to_vec();
    let mut own = Vec::new();
    if let Some(identifier) = subscribe.identifier {
        own.push(0x0b);
        variable(&mut own, identifier as usize);
    }
    properties(&mut body, version, &own);
    for filter in &subscribe.filters {
        let Filter {
            filter,
            qos,
            no_local,
            as_published,
            retention,
        } = filter;
        binary(&mut body, filter.as_bytes());
        let retention = match retention {
            Retention::Always => 0,
            Retention::IfNew => 1,
            Retention::Never => 2,
        };
        let (no_local, as_published) = (u8::from(*no_local), u8::from(*as_published));
        body.push(*qos as u8 | no_local << 2 | as_published << 3 | retention << 4);
    }
    body
}

/// 3.10
fn unsubscribed(unsubscribe: &Unsubscribe, version: Version) -> Vec<u8> {
    let mut body = unsubscribe.id.to_be_bytes().to_vec();
    properties(&mut body, version, &[]);
    for filter in &unsubscribe.filters {
        binary(&mut body, filter.as_bytes());
    }
    body
}

/// 3.14
fn gone(code: u8, expiry: Option<u32>, version: Version) -> Vec<u8> {
    if version == Version::V3 {
        return Vec::new();
    }
    let mut own = Vec::new();
    if let Some(expiry) = expiry {
        number(&mut own, 0x11, expiry);
    }
    let mut body = vec![code];
    properties(&mut body, version, &own);
    body
}
