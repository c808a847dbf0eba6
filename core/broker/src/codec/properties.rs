//! Properties (2.2.2): which there are, and of what type.

use super::{WireError, reader::Reader};

pub(super) mod id {
    pub(in super::super) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(in super::super) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(in super::super) const CONTENT_TYPE: u8 = 0x03;
    pub(in super::super) const RESPONSE_TOPIC: u8 = 0x08;
    pub(in super::super) const CORRELATION: u8 = 0x09;
    pub(in super::super) const SUBSCRIPTION: u8 = 0x0b;
    pub(in super::super) const SESSION_EXPIRY: u8 = 0x11;
    pub(in super::super) const ASSIGNED_CLIENT: u8 = 0x12;
    pub(in super::super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(in super::super) const AUTH_METHOD: u8 = 0x15;
    pub(in super::super) const AUTH_DATA: u8 = 0x16;
    pub(in super::super) const PROBLEM_INFORMATION: u8 = 0x17;
    pub(in super::super) const WILL_DELAY: u8 = 0x18;
    pub(in super::super) const RESPONSE_INFORMATION: u8 = 0x19;
    pub(in super::super) const REASON: u8 = 0x1f;
    pub(in super::super) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(in super::super) const ALIAS_MAXIMUM: u8 = 0x22;
    pub(in super::super) const ALIAS: u8 = 0x23;
    pub(in super::super) const USER: u8 = 0x26;
    pub(in super::super) const MAXIMUM_PACKET: u8 = 0x27;
}

/// A property's value, as far as the broker looks into it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u32),
    Text(&'a str),
    /// Of a type that nobody here reads.
    Other,
}

impl Value<'_> {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Text(_) | Self::Other => 0,
        }
    }

    /// 0 or 1.
    pub(super) fn flag(self) -> Result<bool, WireError> {
        match self.number() {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::protocol("a flag that is neither 0 nor 1")),
        }
    }
}

/// One property, with the bytes that it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Property<'a> {
    pub(super) id: u8,
    pub(super) value: Value<'a>,
    pub(super) raw: &'a [u8],
}

/// The properties of one packet.
pub(super) struct Properties<'a> {
    rest: Reader<'a>,
    seen: u64,
}

impl<'a> Properties<'a> {
    /// Takes them off a packet.
    pub(super) fn of(packet: &mut Reader<'a>) -> Result<Self, WireError> {
        let length = packet.variable()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let rest = Reader(packet.take(length)?);
        Ok(Self { rest, seen: 0 })
    }

    fn property(&mut self) -> Result<Property<'a>, WireError> {
        let before = self.rest.0;
        let rest = &mut self.rest;
        // All ids that there are take one byte (2.2.2.2).
        let id = rest.byte()?;
        let value = match id {
            id::PAYLOAD_FORMAT
            | id::PROBLEM_INFORMATION
            | id::RESPONSE_INFORMATION
            | 0x24
            | 0x25
            | 0x28
            | 0x29
            | 0x2a => Value::Number(rest.byte()?.into()),
            id::SERVER_KEEP_ALIVE | id::RECEIVE_MAXIMUM | id::ALIAS_MAXIMUM | id::ALIAS => {
                Value::Number(rest.two()?.into())
            }
            id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY | id::MAXIMUM_PACKET => {
                Value::Number(rest.four()?)
            }
            id::SUBSCRIPTION => Value::Number(rest.variable()?),
            id::CONTENT_TYPE
            | id::RESPONSE_TOPIC
            | id::ASSIGNED_CLIENT
            | id::AUTH_METHOD
            | 0x1a
            | 0x1c
            | id::REASON => Value::Text(rest.text()?),
            id::CORRELATION | id::AUTH_DATA => {
                rest.binary()?;
                Value::Other
            }
            id::USER => {
                rest.text()?;
                rest.text()?;
                Value::Other
            }
            _ => return Err(WireError::malformed("a property that does not exist")),
        };
        // 2.2.2.2: each at most once, but for user properties.
        let bit = 1 << id;
        if id != id::USER && self.seen & bit != 0 {
            return Err(WireError::protocol("a property that comes twice"));
        }
        self.seen |= bit;
        let raw = &before[..before.len() - self.rest.0.len()];
        Ok(Property { id, value, raw })
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Result<Property<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let property = self.property();
        if property.is_err() {
            self.rest.rest();
        }
        Some(property)
    }
}

/// A property of another packet.
pub(super) const MISPLACED: WireError =
    WireError::protocol("a property that does not belong to this packet");
