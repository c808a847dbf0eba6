//! The standard characteristics: their formats as the GATT Specification
//! Supplement (GSS) has them, by the names of its sections.
//!
//! The values come in the unit of the GSS's field (°C, %, Pa, lx, …), not as
//! the whole number on the air: a profile needs no scale.

use crate::value::{Value, big, little, signed, text};

/// A characteristic that this mapper knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standard {
    /// Its assigned number.
    pub number: u16,
    /// Its name, as a property would be named.
    pub name: &'static str,
    /// The unit (UCUM) of its value, if it has one.
    pub unit: &'static str,
    /// How its bytes lie.
    pub shape: Shape,
}

/// How the bytes of a characteristic lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// One little-endian number.
    Number {
        /// Bytes.
        size: usize,
        /// Two's complement.
        signed: bool,
        /// The number is in steps of this power of ten.
        decimals: i8,
        /// The number that stands for "not known".
        unknown: Option<u64>,
    },
    /// A truth value in one byte.
    Truth,
    /// UTF-8.
    Text,
    /// GSS "Heart Rate Measurement".
    HeartRate,
    /// GSS "Temperature Measurement".
    Thermometer,
    /// GSS "Current Time".
    CurrentTime,
}

const fn number(
    number: u16,
    name: &'static str,
    unit: &'static str,
    (size, signed, decimals): (usize, bool, i8),
    unknown: Option<u64>,
) -> Standard {
    let shape = Shape::Number {
        size,
        signed,
        decimals,
        unknown,
    };
    Standard {
        number,
        name,
        unit,
        shape,
    }
}

const fn other(number: u16, name: &'static str, unit: &'static str, shape: Shape) -> Standard {
    Standard {
        number,
        name,
        unit,
        shape,
    }
}

/// The table, by assigned number (Assigned Numbers, section 3.8.1).
pub const STANDARD: &[Standard] = &[
    other(0x2A00, "deviceName", "", Shape::Text),
    number(0x2A06, "alertLevel", "", (1, false, 0), None),
    number(0x2A07, "txPower", "dB", (1, true, 0), None),
    number(0x2A19, "batteryLevel", "%", (1, false, 0), None),
    other(0x2A1C, "temperature", "Cel", Shape::Thermometer),
    other(0x2A24, "modelNumber", "", Shape::Text),
    other(0x2A25, "serialNumber", "", Shape::Text),
    other(0x2A26, "firmwareRevision", "", Shape::Text),
    other(0x2A27, "hardwareRevision", "", Shape::Text),
    other(0x2A28, "softwareRevision", "", Shape::Text),
    other(0x2A29, "manufacturerName", "", Shape::Text),
    other(0x2A2B, "currentTime", "", Shape::CurrentTime),
    other(0x2A37, "heartRate", "{beat}/min", Shape::HeartRate),
    number(0x2A38, "bodySensorLocation", "", (1, false, 0), None),
    number(0x2A6C, "elevation", "m", (3, true, 2), None),
    number(0x2A6D, "pressure", "Pa", (4, false, 1), None),
    number(0x2A6E, "temperature", "Cel", (2, true, 2), Some(0x8000)),
    number(0x2A6F, "humidity", "%", (2, false, 2), Some(0xFFFF)),
    number(0x2A70, "trueWindSpeed", "m/s", (2, false, 2), Some(0xFFFF)),
    number(
        0x2A71,
        "trueWindDirection",
        "deg",
        (2, false, 2),
        Some(0xFFFF),
    ),
    number(
        0x2A72,
        "apparentWindSpeed",
        "m/s",
        (2, false, 2),
        Some(0xFFFF),
    ),
    number(
        0x2A73,
        "apparentWindDirection",
        "deg",
        (2, false, 2),
        Some(0xFFFF),
    ),
    number(0x2A74, "gustFactor", "", (1, false, 1), None),
    number(0x2A75, "pollenConcentration", "m-3", (3, false, 0), None),
    number(0x2A76, "uvIndex", "", (1, false, 0), None),
    number(0x2A77, "irradiance", "W/m2", (2, false, 1), None),
    number(0x2A78, "rainfall", "mm", (2, false, 0), None),
    number(0x2A7A, "heatIndex", "Cel", (1, true, 0), None),
    number(0x2A7B, "dewPoint", "Cel", (1, true, 0), None),
    other(0x2AE2, "boolean", "", Shape::Truth),
    number(0x2AFB, "illuminance", "lx", (3, false, 2), Some(0xFF_FFFF)),
    number(0x2B8C, "co2", "[ppm]", (2, false, 0), Some(0xFFFF)),
];

/// What a value could not be taken apart or put together for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GattError {
    /// Too few bytes.
    #[error("{name} has {length} bytes, {needed} are needed")]
    Short {
        /// The characteristic.
        name: &'static str,
        /// What came.
        length: usize,
        /// What the format needs.
        needed: usize,
    },
    /// The value does not fit.
    #[error("{value} does not fit {name} ({minimum}…{maximum})")]
    Range {
        /// The characteristic.
        name: &'static str,
        /// The value.
        value: String,
        /// Smallest.
        minimum: f64,
        /// Largest.
        maximum: f64,
    },
    /// A value of another kind.
    #[error("{name} takes {expected}")]
    Kind {
        /// The characteristic.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

/// The characteristic of an assigned number.
pub fn standard(number: u16) -> Option<&'static Standard> {
    STANDARD.iter().find(|known| known.number == number)
}

impl Standard {
    /// The names of the parts of its value; the first is the main one.
    pub fn fields(&self) -> &'static [&'static str] {
        match self.shape {
            Shape::HeartRate => &["heartRate", "contact", "energyExpended", "rrInterval"],
            Shape::Thermometer => &["temperature", "time", "location"],
            Shape::CurrentTime => &["time", "adjustReason"],
            _ => &["value"],
        }
    }

    /// Whether devices send it only by themselves: neither of the two may be read.
    pub fn is_sent_only(&self) -> bool {
        matches!(self.shape, Shape::HeartRate | Shape::Thermometer)
    }

    /// Takes the parts of its value out of its bytes; parts that are optional
    /// and not there are left out.
    ///
    /// # Errors
    /// [`GattError::Short`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<(&'static str, Value)>, GattError> {
        let short = |needed| GattError::Short {
            name: self.name,
            length: bytes.len(),
            needed,
        };
        match self.shape {
            Shape::Number {
                size,
                signed: is_signed,
                decimals,
                unknown,
            } => {
                let raw = little(bytes.get(..size).ok_or(short(size))?);
                if unknown == Some(raw) {
                    return Ok(vec![(
                        "value",
                        Value::Unknown("the device does not know it"),
                    )]);
                }
                let raw = if is_signed {
                    signed(raw, size)
                } else {
                    raw as i64
                };
                Ok(vec![("value", Value::scaled(raw, is_signed, decimals))])
            }
            Shape::Truth => {
                let byte = bytes.first().ok_or(short(1))?;
                Ok(vec![("value", Value::Bool(*byte != 0))])
            }
            Shape::Text => Ok(vec![("value", Value::Text(text(bytes)))]),
            Shape::HeartRate => heart_rate(bytes).ok_or(short(2)),
            Shape::Thermometer => thermometer(bytes).ok_or(short(5)),
            Shape::CurrentTime => current_time(bytes).ok_or(short(10)),
        }
    }

    /// The bytes of a number, a truth value or a text.
    ///
    /// # Errors
    /// The value is of another kind or does not fit.
    pub fn encode(&self, value: &longshore_sdk::SampleValue) -> Result<Vec<u8>, GattError> {
        use longshore_sdk::SampleValue as Given;
        let kind = |expected| GattError::Kind {
            name: self.name,
            expected,
        };
        match (self.shape, value) {
            (Shape::Text, Given::String(text)) => Ok(text.clone().into_bytes()),
            (Shape::Text, _) => Err(kind("a text")),
            (Shape::Truth, Given::Bool(truth)) => Ok(vec![u8::from(*truth)]),
            (Shape::Truth, _) => Err(kind("a truth value")),
            (
                Shape::Number {
                    size,
                    signed,
                    decimals,
                    ..
                },
                value,
            ) => {
                let number = match value {
                    Given::Bool(truth) => f64::from(u8::from(*truth)),
                    Given::Int(number) => *number as f64,
                    Given::Uint(number) => *number as f64,
                    Given::Float(number) => *number,
                    Given::String(_) | Given::Bytes(_) => return Err(kind("a number")),
                };
                self.encode_number(number, size, signed, decimals)
            }
            _ => Err(kind("no writes")),
        }
    }

    fn encode_number(
        &self,
        number: f64,
        size: usize,
        signed: bool,
        decimals: i8,
    ) -> Result<Vec<u8>, GattError> {
        let step = 10_f64.powi(i32::from(decimals));
        let bits = 8 * size as i32 - i32::from(signed);
        let maximum = 2_f64.powi(bits) - 1.0;
        let minimum = if signed { -maximum - 1.0 } else { 0.0 };
        let raw = (number * step).round();
        if !(minimum..=maximum).contains(&raw) {
            return Err(GattError::Range {
                name: self.name,
                value: number.to_string(),
                minimum: minimum / step,
                maximum: maximum / step,
            });
        }
        Ok((raw as i64).to_le_bytes()[..size].to_vec())
    }
}

/// Flags (bit 0 the rate has 16 bits, bits 1 and 2 the skin contact, bit 3
/// energy, bit 4 RR intervals), rate, energy in kJ, RR intervals in 1/1024 s.
fn heart_rate(bytes: &[u8]) -> Option<Vec<(&'static str, Value)>> {
    let (flags, mut rest) = bytes.split_first()?;
    let mut take = |size: usize| {
        let (taken, left) = rest.split_at_checked(size)?;
        rest = left;
        Some(little(taken))
    };
    let mut parts = vec![(
        "heartRate",
        Value::Uint(take(1 + usize::from(flags & 1 != 0))?),
    )];
    if flags & 0b100 != 0 {
        parts.push(("contact", Value::Bool(flags & 0b10 != 0)));
    }
    if flags & 0b1000 != 0 {
        parts.push(("energyExpended", Value::Uint(take(2)?)));
    }
    if flags & 0b1_0000 != 0 {
        // Several beats in one notification: the last is the newest.
        let mut last = None;
        while let Some(interval) = take(2) {
            last = Some(interval);
        }
        if let Some(interval) = last {
            parts.push(("rrInterval", Value::Float(interval as f64 / 1024.0)));
        }
    }
    Some(parts)
}

/// Flags (bit 0 Fahrenheit, bit 1 a time, bit 2 a place on the body), a FLOAT
/// of IEEE 11073-20601, and these.
fn thermometer(bytes: &[u8]) -> Option<Vec<(&'static str, Value)>> {
    let (flags, rest) = bytes.split_first()?;
    let (float, mut rest) = rest.split_at_checked(4)?;
    let value = match medical_float(little(float) as u32) {
        Some(fahrenheit) if flags & 1 != 0 => Value::Float((fahrenheit - 32.0) / 1.8),
        Some(celsius) => Value::Float(celsius),
        None => Value::Unknown("the device does not know it"),
    };
    let mut parts = vec![("temperature", value)];
    if flags & 0b10 != 0 {
        let (time, left) = rest.split_at_checked(7)?;
        parts.push(("time", Value::Text(date_time(time))));
        rest = left;
    }
    if flags & 0b100 != 0 {
        parts.push(("location", Value::Uint(u64::from(*rest.first()?))));
    }
    Some(parts)
}

/// FLOAT: an exponent of ten in the highest byte, a signed mantissa in the
/// others; five mantissas stand for no number.
fn medical_float(bits: u32) -> Option<f64> {
    let mantissa = signed(u64::from(bits & 0xFF_FFFF), 3);
    if (0x7F_FFFE..=0x80_0002).contains(&(bits & 0xFF_FFFF)) {
        return None;
    }
    let exponent = (bits >> 24) as u8 as i8;
    Some(if exponent < 0 {
        mantissa as f64 / 10_f64.powi(-i32::from(exponent))
    } else {
        mantissa as f64 * 10_f64.powi(i32::from(exponent))
    })
}

fn current_time(bytes: &[u8]) -> Option<Vec<(&'static str, Value)>> {
    let bytes = bytes.get(..10)?;
    Some(vec![
        ("time", Value::Text(date_time(&bytes[..7]))),
        ("adjustReason", Value::Uint(big(&bytes[9..]))),
    ])
}

/// GSS "Date Time": it has no zone, so neither has the text.
fn date_time(bytes: &[u8]) -> String {
    let year = little(&bytes[..2]);
    let [month, day, hour, minute, second] = [2, 3, 4, 5, 6].map(|at| bytes[at]);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}
