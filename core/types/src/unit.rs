//! Units: codes of UCUM, and how people write them.
//!
//! The unit of a property is a text for people and programs. Programs of
//! different makers agree on the case-sensitive codes of UCUM (The Unified Code
//! for Units of Measure, ucum.org, sections 4 and "prefixes"). This is a table
//! of the codes that devices need, not a parser of the whole language: what is
//! not in it is taken as it is, and only a near miss is worth a word.

/// A unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Its code.
    pub code: &'static str,
    /// What it is.
    pub name: &'static str,
    /// As people read it; the code itself where that says it.
    pub symbol: &'static str,
    /// What people write and UCUM does not know, or knows as something else.
    pub misses: &'static [&'static str],
}

const fn unit(
    code: &'static str,
    name: &'static str,
    symbol: &'static str,
    misses: &'static [&'static str],
) -> Unit {
    Unit {
        code,
        name,
        symbol,
        misses,
    }
}

/// The common units of devices.
#[rustfmt::skip]
pub const UNITS: &[Unit] = &[
    unit("Cel", "degree Celsius", "°C", &["°C", "degC", "celsius", "Celsius", "ºC", "℃"]),
    unit("[degF]", "degree Fahrenheit", "°F", &["°F", "degF", "fahrenheit", "Fahrenheit", "ºF", "℉"]),
    unit("K", "kelvin", "K", &["°K", "kelvin", "Kelvin"]),
    unit("%", "percent", "%", &["percent", "pct", "%RH", "% RH", "%rH"]),
    unit("[ppm]", "parts per million", "ppm", &["ppm", "PPM"]),
    unit("[ppb]", "parts per billion", "ppb", &["ppb", "PPB"]),
    unit("[pH]", "pH", "pH", &["pH", "ph"]),
    unit("V", "volt", "V", &["volt", "volts", "Volt", "Volts", "v"]),
    unit("mV", "millivolt", "mV", &["mv"]),
    unit("kV", "kilovolt", "kV", &["KV", "kv"]),
    unit("A", "ampere", "A", &["amp", "amps", "Amp", "Amps", "ampere"]),
    unit("mA", "milliampere", "mA", &["ma"]),
    unit("A.h", "ampere hour", "Ah", &["Ah"]),
    unit("mA.h", "milliampere hour", "mAh", &["mAh"]),
    unit("W", "watt", "W", &["watt", "watts", "Watt", "Watts", "w"]),
    unit("kW", "kilowatt", "kW", &["KW", "kw"]),
    unit("MW", "megawatt", "MW", &[]),
    unit("W.h", "watt hour", "Wh", &["Wh", "wh"]),
    unit("kW.h", "kilowatt hour", "kWh", &["kWh", "KWh", "kwh", "KWH"]),
    unit("MW.h", "megawatt hour", "MWh", &["MWh"]),
    unit("V.A", "volt ampere", "VA", &["VA"]),
    unit("kV.A", "kilovolt ampere", "kVA", &["kVA", "KVA"]),
    unit("V.A.h", "volt ampere hour", "VAh", &["VAh"]),
    unit("kV.A.h", "kilovolt ampere hour", "kVAh", &["kVAh"]),
    unit("Hz", "hertz", "Hz", &["hz", "HZ", "hertz", "Hertz"]),
    unit("kHz", "kilohertz", "kHz", &["KHz", "khz"]),
    unit("Ohm", "ohm", "Ω", &["Ω", "ohm", "ohms", "Ohms"]),
    unit("kOhm", "kiloohm", "kΩ", &["kΩ", "kohm"]),
    unit("F", "farad", "F", &["farad"]),
    unit("uF", "microfarad", "µF", &["µF", "μF"]),
    unit("J", "joule", "J", &["joule", "joules"]),
    unit("kJ", "kilojoule", "kJ", &["KJ"]),
    unit("Pa", "pascal", "Pa", &["pa", "pascal", "Pascal"]),
    unit("hPa", "hectopascal", "hPa", &["hpa", "HPa"]),
    unit("kPa", "kilopascal", "kPa", &["KPa", "kpa"]),
    unit("bar", "bar", "bar", &["Bar", "BAR"]),
    unit("mbar", "millibar", "mbar", &["mBar"]),
    unit("[psi]", "pound per square inch", "psi", &["psi", "PSI"]),
    unit("m", "metre", "m", &["meter", "metre", "meters"]),
    unit("mm", "millimetre", "mm", &["MM"]),
    unit("cm", "centimetre", "cm", &[]),
    unit("km", "kilometre", "km", &["KM"]),
    unit("um", "micrometre", "µm", &["µm", "μm"]),
    unit("m2", "square metre", "m²", &["m²", "m^2", "sqm"]),
    unit("m3", "cubic metre", "m³", &["m³", "m^3", "cbm"]),
    unit("L", "litre", "L", &["liter", "litre", "liters"]),
    unit("l", "litre", "l", &[]),
    unit("L/min", "litre per minute", "L/min", &["lpm", "LPM", "L/minute"]),
    unit("l/min", "litre per minute", "l/min", &["l/minute"]),
    unit("L/h", "litre per hour", "L/h", &["lph"]),
    unit("m3/h", "cubic metre per hour", "m³/h", &["m³/h", "m^3/h", "cbm/h"]),
    unit("m/s", "metre per second", "m/s", &["mps"]),
    unit("km/h", "kilometre per hour", "km/h", &["kph", "kmh", "KM/H"]),
    unit("[kn_i]", "knot", "kn", &["kn", "kt", "knots", "knot"]),
    unit("m/s2", "metre per second squared", "m/s²", &["m/s²", "m/s^2"]),
    unit("g", "gram", "g", &["gram", "grams"]),
    unit("kg", "kilogram", "kg", &["KG", "Kg", "kilogram"]),
    unit("mg", "milligram", "mg", &[]),
    unit("t", "tonne", "t", &["ton", "tonne"]),
    unit("g/m3", "gram per cubic metre", "g/m³", &["g/m³", "g/m^3"]),
    unit("ug/m3", "microgram per cubic metre", "µg/m³", &["µg/m³", "μg/m³", "ug/m³", "µg/m3"]),
    unit("N", "newton", "N", &["newton"]),
    unit("N.m", "newton metre", "Nm", &["Nm"]),
    unit("s", "second", "s", &["sec", "secs", "seconds", "second", "S."]),
    unit("ms", "millisecond", "ms", &["msec", "millis"]),
    unit("us", "microsecond", "µs", &["µs", "μs"]),
    unit("min", "minute", "min", &["mins", "minute", "minutes"]),
    unit("h", "hour", "h", &["hr", "hrs", "hour", "hours"]),
    unit("d", "day", "d", &["day", "days"]),
    unit("/min", "per minute", "/min", &["rpm", "RPM", "bpm", "BPM", "1/min"]),
    unit("deg", "degree of an angle", "°", &["°", "degree", "degrees"]),
    unit("rad", "radian", "rad", &["radian"]),
    unit("lx", "lux", "lx", &["lux", "Lux"]),
    unit("lm", "lumen", "lm", &["lumen"]),
    unit("W/m2", "watt per square metre", "W/m²", &["W/m²", "W/m^2"]),
    unit("dB", "decibel", "dB", &["db", "DB", "decibel"]),
    unit("uS/cm", "microsiemens per centimetre", "µS/cm", &["µS/cm", "μS/cm"]),
    unit("By", "byte", "B", &["byte", "bytes", "Byte", "Bytes"]),
    unit("1", "a plain number", "", &[]),
];

/// A unit without its name: what a program carries that only tells near misses.
type Short = (&'static str, &'static str, &'static [&'static str]);

const SHORT: [Short; UNITS.len()] = {
    let mut short: [Short; UNITS.len()] = [("", "", &[]); UNITS.len()];
    let mut at = 0;
    while at < UNITS.len() {
        short[at] = (UNITS[at].code, UNITS[at].symbol, UNITS[at].misses);
        at += 1;
    }
    short
};

/// The right code for a text that is nearly one; none for a right code and for
/// what is not known.
pub fn near_miss(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if SHORT.iter().any(|(code, ..)| *code == text) {
        return None;
    }
    SHORT
        .iter()
        .find(|(.., misses)| misses.contains(&text))
        .map(|(code, ..)| *code)
}

/// A unit as people read it: `°C` for `Cel`. What is not known stays.
pub fn symbol(code: &str) -> &str {
    SHORT
        .iter()
        .find(|(known, ..)| *known == code.trim())
        .map_or(code, |(_, symbol, _)| symbol)
}
