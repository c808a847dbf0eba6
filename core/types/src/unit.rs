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
    misses: &'static str,
}

/// Code, name, symbol, and what people write in its place. One text, since a
/// table of texts would cost a node four times as many bytes.
const TABLE: &str = "\
Cel|degree Celsius|°C|°C degC celsius Celsius ºC ℃
[degF]|degree Fahrenheit|°F|°F degF fahrenheit Fahrenheit ºF ℉
K|kelvin|K|°K kelvin Kelvin
%|percent|%|percent pct %RH %rH
[ppm]|parts per million|ppm|ppm PPM
[ppb]|parts per billion|ppb|ppb PPB
[pH]|pH|pH|pH ph
V|volt|V|volt volts Volt Volts v
mV|millivolt|mV|mv
kV|kilovolt|kV|KV kv
A|ampere|A|amp amps Amp Amps ampere
mA|milliampere|mA|ma
A.h|ampere hour|Ah|Ah
mA.h|milliampere hour|mAh|mAh
W|watt|W|watt watts Watt Watts w
kW|kilowatt|kW|KW kw
MW|megawatt|MW|
W.h|watt hour|Wh|Wh wh
kW.h|kilowatt hour|kWh|kWh KWh kwh KWH
MW.h|megawatt hour|MWh|MWh
V.A|volt ampere|VA|VA va var VAr VAR Var
kV.A|kilovolt ampere|kVA|kVA KVA kvar kVAr kVAR kVar Kvar
V.A.h|volt ampere hour|VAh|VAh varh VArh VARh
kV.A.h|kilovolt ampere hour|kVAh|kVAh kvarh kVArh kVARh
Hz|hertz|Hz|hz HZ hertz Hertz
kHz|kilohertz|kHz|KHz khz
Ohm|ohm|Ω|Ω ohm ohms Ohms
kOhm|kiloohm|kΩ|kΩ kohm
F|farad|F|farad
uF|microfarad|µF|µF μF
J|joule|J|joule joules
kJ|kilojoule|kJ|KJ
Pa|pascal|Pa|pa pascal Pascal
hPa|hectopascal|hPa|hpa HPa
kPa|kilopascal|kPa|KPa kpa
bar|bar|bar|Bar BAR
mbar|millibar|mbar|mBar
[psi]|pound per square inch|psi|psi PSI
m|metre|m|meter metre meters
mm|millimetre|mm|MM
cm|centimetre|cm|
km|kilometre|km|KM
um|micrometre|µm|µm μm
m2|square metre|m²|m² m^2 sqm
m3|cubic metre|m³|m³ m^3 cbm
L|litre|L|liter litre liters
l|litre|l|
L/min|litre per minute|L/min|lpm LPM L/minute
l/min|litre per minute|l/min|l/minute
L/h|litre per hour|L/h|lph
m3/h|cubic metre per hour|m³/h|m³/h m^3/h cbm/h
m/s|metre per second|m/s|mps
km/h|kilometre per hour|km/h|kph kmh KM/H
[kn_i]|knot|kn|kn kt knots knot
m/s2|metre per second squared|m/s²|m/s² m/s^2
g|gram|g|gram grams
kg|kilogram|kg|KG Kg kilogram
mg|milligram|mg|
t|tonne|t|ton tonne
g/m3|gram per cubic metre|g/m³|g/m³ g/m^3
ug/m3|microgram per cubic metre|µg/m³|µg/m³ μg/m³ ug/m³ µg/m3
N|newton|N|newton
N.m|newton metre|Nm|Nm
s|second|s|sec secs seconds second S.
ms|millisecond|ms|msec millis
us|microsecond|µs|µs μs
min|minute|min|mins minute minutes
h|hour|h|hr hrs hour hours
d|day|d|day days
/min|per minute|/min|rpm RPM bpm BPM 1/min
deg|degree of an angle|°|° degree degrees
rad|radian|rad|radian
lx|lux|lx|lux Lux
lm|lumen|lm|lumen
W/m2|watt per square metre|W/m²|W/m² W/m^2
dB|decibel|dB|db DB decibel dBm dbm dB[mW]
uS/cm|microsiemens per centimetre|µS/cm|µS/cm μS/cm
By|byte|B|byte bytes Byte Bytes
1|a plain number||
";

/// The common units of devices.
pub fn units() -> impl Iterator<Item = Unit> {
    TABLE.lines().filter_map(|line| {
        let mut parts = line.split('|');
        Some(Unit {
            code: parts.next()?,
            name: parts.next()?,
            symbol: parts.next()?,
            misses: parts.next()?,
        })
    })
}

impl Unit {
    /// What people write and UCUM does not know, or knows as something else.
    pub fn misses(&self) -> impl Iterator<Item = &'static str> {
        self.misses.split(' ').filter(|miss| !miss.is_empty())
    }
}

/// The right code for a text that is nearly one; none for a right code and for
/// what is not known.
pub fn near_miss(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let mut near = None;
    for unit in units() {
        if unit.code == text {
            return None;
        }
        if near.is_none() && unit.misses().any(|miss| miss == text) {
            near = Some(unit.code);
        }
    }
    near
}

/// A unit as people read it: `°C` for `Cel`. What is not known stays.
pub fn symbol(code: &str) -> &str {
    units()
        .find(|unit| unit.code == code.trim())
        .map_or(code, |unit| unit.symbol)
}

#[cfg(test)]
mod tests {
    use super::near_miss;

    /// UCUM has no code for decibels over a milliwatt, nor for the var: the
    /// description of the property says which it is.
    #[test]
    fn what_ucum_has_no_code_for_gets_the_nearest() {
        for (written, code) in [
            ("dBm", "dB"),
            ("dB[mW]", "dB"),
            ("var", "V.A"),
            ("kvar", "kV.A"),
            ("kVAr", "kV.A"),
            ("kvarh", "kV.A.h"),
        ] {
            assert_eq!(near_miss(written), Some(code), "{written}");
        }
    }
}
