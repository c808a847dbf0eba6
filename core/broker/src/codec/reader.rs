//! Takes a packet apart without reading beyond its end.

use super::WireError;

/// What is left of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

type Result<T> = std::result::Result<T, WireError>;

const SHORT: WireError = WireError::malformed("the packet ends too early");

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn two(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn four(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// 2.2.1: a packet id is not 0.
    pub(super) fn packet_id(&mut self) -> Result<u16> {
        match self.two()? {
            0 => Err(WireError::protocol("packet id 0")),
            id => Ok(id),
        }
    }

    /// 1.5.5: seven bits a byte, four bytes at most.
    pub(super) fn variable(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::malformed("a length of more than four bytes"))
    }

    /// 1.5.6
    pub(super) fn binary(&mut self) -> Result<&'a [u8]> {
        let length = self.two()?;
        self.take(usize::from(length))
    }

    /// 1.5.4: UTF-8 without the null character.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| WireError::malformed("a text that is not UTF-8"))?;
        if bytes.contains(&0) {
            return Err(WireError::malformed("a text with a null character"));
        }
        Ok(text)
    }
}
