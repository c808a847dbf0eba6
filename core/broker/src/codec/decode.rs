//! Bytes to packets.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Ack, AckKind, Connect, Content, Filter, Packet, Password, Publish, QoS, Retention, Subscribe,
    Unsubscribe, Version, Will, WireError, code,
    properties::{MISPLACED, Properties, id},
    reader::Reader,
};

type Result<T> = std::result::Result<T, WireError>;

/// How long the packet is that begins here: its header and all of it. `None`
/// when too little is there to tell.
///
/// # Errors
/// The length is none, or the packet is larger than `maximum`.
pub fn frame(bytes: &[u8], maximum: usize) -> Result<Option<(usize, usize)>> {
    let Some((_, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut reader = Reader(rest);
    let length = match reader.variable() {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        // Four bytes would have told.
        Err(error) if rest.len() >= 4 => return Err(error),
        Err(_) => return Ok(None),
    };
    let header = bytes.len() - reader.0.len();
    let total = header.saturating_add(length);
    if total > maximum {
        return Err(WireError {
            code: code::TOO_LARGE,
            what: "a packet that is larger than what is taken",
        });
    }
    Ok(Some((header, total)))
}

/// Understands a whole packet, of which `header` bytes are the fixed header, as
/// [`frame`] told.
///
/// # Errors
/// It is not one.
pub fn decode(packet: &[u8], header: usize, version: Version) -> Result<Packet> {
    let mut reader = Reader(packet);
    let first = reader.byte()?;
    let mut body = Reader(packet.get(header..).unwrap_or_default());
    let flags = first & 0x0f;
    // 2.1.3: flags that are reserved have the value that the table says.
    let reserved = match first >> 4 {
        3 => flags,
        6 | 8 | 10 => 0b0010,
        _ => 0,
    };
    if flags != reserved {
        return Err(WireError::malformed("reserved flags that are set"));
    }
    let packet = match first >> 4 {
        1 => Packet::Connect(Box::new(connect(&mut body)?)),
        3 => Packet::Publish(publish(&mut body, flags, version)?),
        4 => Packet::Ack(ack(&mut body, AckKind::PubAck, version)?),
        5 => Packet::Ack(ack(&mut body, AckKind::PubRec, version)?),
        6 => Packet::Ack(ack(&mut body, AckKind::PubRel, version)?),
        7 => Packet::Ack(ack(&mut body, AckKind::PubComp, version)?),
        8 => Packet::Subscribe(subscribe(&mut body, version)?),
        10 => Packet::Unsubscribe(unsubscribe(&mut body, version)?),
        12 => Packet::Ping,
        14 => disconnect(&mut body, version)?,
        15 if version == Version::V5 => {
            body.rest();
            Packet::Auth
        }
        _ => return Err(WireError::protocol("a packet that no client sends")),
    };
    if !body.is_empty() {
        return Err(WireError::malformed("more bytes than the packet has"));
    }
    Ok(packet)
}

fn connect(body: &mut Reader<'_>) -> Result<Connect> {
    if body.text()? != "MQTT" {
        return Err(WireError {
            code: code::VERSION,
            what: "a protocol other than MQTT 3.1.1 and 5.0",
        });
    }
    let version = match body.byte()? {
        4 => Version::V3,
        5 => Version::V5,
        _ => {
            return Err(WireError {
                code: code::VERSION,
                what: "a version of MQTT other than 3.1.1 and 5.0",
            });
        }
    };
    let flags = body.byte()?;
    if flags & 1 != 0 {
        return Err(WireError::malformed("the reserved flag of CONNECT is set"));
    }
    let clean = flags & 2 != 0;
    let keep_alive = body.two()?;
    let mut connect = Connect {
        version,
        clean,
        keep_alive,
        client: String::new(),
        user: None,
        password: None,
        will: None,
        expiry: match version {
            Version::V3 if !clean => u32::MAX,
            _ => 0,
        },
        receive_maximum: u16::MAX,
        maximum_packet: u32::MAX,
        has_method: false,
    };
    if version == Version::V5 {
        connect_properties(body, &mut connect)?;
    }
    connect.client = body.text()?.to_owned();
    connect.will = will(body, flags, version)?;
    let (named, secret) = (flags & 0x80 != 0, flags & 0x40 != 0);
    if version == Version::V3 && secret && !named {
        return Err(WireError::malformed("a password without a user"));
    }
    if named {
        connect.user = Some(body.text()?.to_owned());
    }
    if secret {
        connect.password = Some(Password(body.binary()?.to_vec()));
    }
    Ok(connect)
}

/// 3.1.2.11
fn connect_properties(body: &mut Reader<'_>, connect: &mut Connect) -> Result<()> {
    for property in Properties::of(body)? {
        let property = property?;
        let number = property.value.number();
        match property.id {
            id::SESSION_EXPIRY => connect.expiry = number,
            id::RECEIVE_MAXIMUM => {
                connect.receive_maximum = u16::try_from(number).unwrap_or(u16::MAX);
            }
            id::MAXIMUM_PACKET => connect.maximum_packet = number,
            id::RESPONSE_INFORMATION | id::PROBLEM_INFORMATION => {
                property.value.flag()?;
            }
            id::AUTH_METHOD => connect.has_method = true,
            // The broker gives no aliases, so it need not know how many there may be.
            id::ALIAS_MAXIMUM | id::AUTH_DATA | id::USER => {}
            _ => return Err(MISPLACED),
        }
    }
    if connect.receive_maximum == 0 || connect.maximum_packet == 0 {
        return Err(WireError::protocol("a maximum of 0"));
    }
    Ok(())
}

/// 3.1.3.2 to 3.1.3.4
fn will(body: &mut Reader<'_>, flags: u8, version: Version) -> Result<Option<Will>> {
    let qos = QoS::new(flags >> 3 & 3).ok_or(WireError::malformed("QoS 3 for a will"))?;
    let retain = flags & 0x20 != 0;
    if flags & 4 == 0 {
        return match (qos, retain) {
            (QoS::AtMostOnce, false) => Ok(None),
            _ => Err(WireError::malformed("flags of a will without a will")),
        };
    }
    let (mut delay, mut expiry, mut handed) = (0, None, Vec::new());
    if version == Version::V5 {
        for property in Properties::of(body)? {
            let property = property?;
            match property.id {
                id::WILL_DELAY => delay = property.value.number(),
                id::MESSAGE_EXPIRY => expiry = Some(property.value.number()),
                _ => hand_on(&property, &mut handed)?,
            }
        }
    }
    let topic = body.text()?;
    let payload = body.binary()?;
    Ok(Some(Will {
        content: content(topic, &handed, payload),
        qos,
        retain,
        delay,
        expiry,
    }))
}

fn publish(body: &mut Reader<'_>, flags: u8, version: Version) -> Result<Publish> {
    let qos = QoS::new(flags >> 1 & 3).ok_or(WireError::malformed("QoS 3"))?;
    let again = flags & 8 != 0;
    if again && qos == QoS::AtMostOnce {
        return Err(WireError::malformed("QoS 0 that is sent again"));
    }
    let topic = body.text()?;
    let id = match qos {
        QoS::AtMostOnce => None,
        _ => Some(body.packet_id()?),
    };
    let (mut alias, mut expiry, mut handed) = (None, None, Vec::new());
    if version == Version::V5 {
        for property in Properties::of(body)? {
            let property = property?;
            match property.id {
                id::ALIAS => alias = u16::try_from(property.value.number()).ok(),
                id::MESSAGE_EXPIRY => expiry = Some(property.value.number()),
                _ => hand_on(&property, &mut handed)?,
            }
        }
    }
    Ok(Publish {
        again,
        qos,
        retain: flags & 1 != 0,
        id,
        content: content(topic, &handed, body.rest()),
        alias,
        expiry,
    })
}

/// Keeps a property for the subscribers, if it is one that they get (3.3.2.3).
fn hand_on<'a>(
    property: &super::properties::Property<'a>,
    handed: &mut Vec<&'a [u8]>,
) -> Result<()> {
    match property.id {
        id::PAYLOAD_FORMAT => {
            property.value.flag()?;
        }
        id::RESPONSE_TOPIC => {
            let super::properties::Value::Text(topic) = property.value else {
                return Err(MISPLACED);
            };
            if topic.contains(['+', '#']) {
                return Err(WireError::protocol("a response topic with a wildcard"));
            }
        }
        id::CONTENT_TYPE | id::CORRELATION | id::USER => {}
        _ => return Err(MISPLACED),
    }
    handed.push(property.raw);
    Ok(())
}

/// One piece of memory for a message, of exactly its size.
fn content(topic: &str, handed: &[&[u8]], payload: &[u8]) -> Content {
    let properties: usize = handed.iter().map(|raw| raw.len()).sum();
    let mut bytes = BytesMut::with_capacity(properties + payload.len());
    for raw in handed {
        bytes.put_slice(raw);
    }
    bytes.put_slice(payload);
    let mut bytes: Bytes = bytes.freeze();
    let properties = bytes.split_to(properties);
    Content {
        topic: topic.into(),
        properties,
        payload: bytes,
    }
}

fn ack(body: &mut Reader<'_>, kind: AckKind, version: Version) -> Result<Ack> {
    let packet_id = body.packet_id()?;
    let mut code = code::SUCCESS;
    if version == Version::V5 && !body.is_empty() {
        code = body.byte()?;
        if !body.is_empty() {
            reasons(body)?;
        }
    }
    let id = packet_id;
    Ok(Ack { kind, id, code })
}

/// Properties that only explain.
fn reasons(body: &mut Reader<'_>) -> Result<()> {
    for property in Properties::of(body)? {
        match property?.id {
            id::REASON | id::USER => {}
            _ => return Err(MISPLACED),
        }
    }
    Ok(())
}

fn subscribe(body: &mut Reader<'_>, version: Version) -> Result<Subscribe> {
    let packet_id = body.packet_id()?;
    let mut identifier = None;
    if version == Version::V5 {
        for property in Properties::of(body)? {
            let property = property?;
            match property.id {
                id::SUBSCRIPTION => identifier = Some(property.value.number()),
                id::USER => {}
                _ => return Err(MISPLACED),
            }
        }
    }
    if identifier == Some(0) {
        return Err(WireError::protocol("subscription identifier 0"));
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        let filter = body.text()?.to_owned();
        let options = body.byte()?;
        let qos = QoS::new(options & 3).ok_or(WireError::protocol("QoS 3"))?;
        let reserved = match version {
            Version::V3 => options & 0xfc,
            Version::V5 => options & 0xc0,
        };
        if reserved != 0 {
            return Err(WireError::malformed("reserved options that are set"));
        }
        filters.push(Filter {
            filter,
            qos,
            no_local: options & 4 != 0,
            as_published: options & 8 != 0,
            retention: match options >> 4 & 3 {
                0 => Retention::Always,
                1 => Retention::IfNew,
                2 => Retention::Never,
                _ => return Err(WireError::protocol("retain handling 3")),
            },
        });
    }
    if filters.is_empty() {
        return Err(WireError::protocol("a subscription to nothing"));
    }
    Ok(Subscribe {
        id: packet_id,
        identifier,
        filters,
    })
}

fn unsubscribe(body: &mut Reader<'_>, version: Version) -> Result<Unsubscribe> {
    let packet_id = body.packet_id()?;
    if version == Version::V5 {
        for property in Properties::of(body)? {
            if property?.id != id::USER {
                return Err(MISPLACED);
            }
        }
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(body.text()?.to_owned());
    }
    if filters.is_empty() {
        return Err(WireError::protocol("an end of no subscription"));
    }
    Ok(Unsubscribe {
        id: packet_id,
        filters,
    })
}

fn disconnect(body: &mut Reader<'_>, version: Version) -> Result<Packet> {
    let (mut code, mut expiry) = (code::SUCCESS, None);
    if version == Version::V5 && !body.is_empty() {
        code = body.byte()?;
        if !body.is_empty() {
            for property in Properties::of(body)? {
                let property = property?;
                match property.id {
                    id::SESSION_EXPIRY => expiry = Some(property.value.number()),
                    id::REASON | id::USER => {}
                    _ => return Err(MISPLACED),
                }
            }
        }
    }
    Ok(Packet::Disconnect { code, expiry })
}
