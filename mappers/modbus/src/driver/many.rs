//! Several values in one write, one behind the other.

use longshore_sdk::{Connection, RequestError, SampleValue};

use super::{Line, writes};
use crate::{
    bus::Unit,
    pdu::{self, MAX_WRITE_BITS, MAX_WRITE_REGISTERS},
    point::{Coding, Point},
};

impl Line {
    /// All of them in one request: the device takes them together or not at all.
    pub(super) async fn write_many(
        &mut self,
        unit: &Unit,
        first: &Point,
        values: &[SampleValue],
    ) -> Result<(), RequestError> {
        let invalid = |message: String| Err(RequestError::InvalidValue(message));
        if let [only] = values {
            return self.write(unit, first, only).await;
        }
        let most = match first.coding {
            Coding::Registers { .. } => MAX_WRITE_REGISTERS,
            Coding::Bit | Coding::Number => MAX_WRITE_BITS,
        };
        let count = values.len() * usize::from(first.count.max(1));
        let last = usize::from(first.address) + count;
        let count = match u16::try_from(count).ok().filter(|count| *count <= most) {
            Some(count) if last <= 1 << 16 => count,
            _ => {
                let values = values.len();
                return invalid(format!("{values} values are too many for one write"));
            }
        };
        let request = match &first.coding {
            Coding::Registers { codec, skip } => {
                let each = usize::from(first.count) * 2;
                let mut registers = vec![0; usize::from(count) * 2];
                for (value, place) in values.iter().zip(registers.chunks_mut(each)) {
                    let encoded = codec.encode(value, &mut place[usize::from(*skip)..]);
                    encoded.map_err(|error| RequestError::InvalidValue(error.to_string()))?;
                }
                pdu::Request::write_registers(first.address, &registers)
            }
            Coding::Bit | Coding::Number => {
                let mut packed = vec![0_u8; usize::from(count).div_ceil(8)];
                for (index, value) in values.iter().enumerate() {
                    if writes::bits_of(first, value)? == 1 {
                        packed[index / 8] |= 1 << (index % 8);
                    }
                }
                pdu::Request::write_coils(first.address, count, &packed)
            }
        };
        let result = self.command(unit, &request).await?;
        result.map_err(|exception| writes::refused(exception, &request))
    }
}
