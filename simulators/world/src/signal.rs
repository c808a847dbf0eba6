//! What a signal can be, as it is written in a scenario.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The world of a scenario: signals by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldSpec {
    /// Seed of all noise; the same seed gives the same noise.
    #[serde(default)]
    pub seed: u64,
    /// The signals by name.
    #[serde(default)]
    pub signals: BTreeMap<String, SignalSpec>,
}

/// A number, or the name of the signal that gives it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A fixed number.
    Number(f64),
    /// The value of another signal.
    Signal(String),
}

impl Default for Source {
    fn default() -> Self {
        Self::Number(0.0)
    }
}

/// How one signal comes about. In a scenario: `name: {kind: {…}}`.
///
/// `Setpoint`, `Counter`, `Lag` and `Hysteresis` have a memory; the others are
/// functions of time and of other signals. A circle of signals is fine if it
/// passes through one with a memory: a heater warms a room whose thermostat
/// switches the heater.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignalSpec {
    /// Always the same.
    Constant(f64),
    /// Keeps what was written to it.
    Setpoint(Setpoint),
    /// A sine wave.
    Sine(Wave),
    /// A triangle wave, from the low point up and back.
    Triangle(Wave),
    /// High for the first half of the period (or `duty` of it), low for the rest.
    Square(Wave),
    /// A straight line from one value to another.
    Ramp(Ramp),
    /// A list of values, one after the other.
    Steps(Steps),
    /// Seeded, evenly spread noise.
    Noise(Noise),
    /// Adds up another signal over time.
    Counter(Counter),
    /// Follows another signal with a first-order lag.
    Lag(Lag),
    /// A two-point switch: 1 when a signal falls too low, 0 when it is high enough.
    Hysteresis(Hysteresis),
    /// The sum of its parts.
    Sum(Vec<Source>),
    /// The product of its parts.
    Product(Vec<Source>),
    /// One of two, by a third.
    Select(Select),
}

/// See [`SignalSpec::Setpoint`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Setpoint {
    /// Its value before the first write.
    #[serde(default)]
    pub initial: f64,
    /// The lowest value that is taken.
    #[serde(default)]
    pub min: Option<f64>,
    /// The highest value that is taken.
    #[serde(default)]
    pub max: Option<f64>,
}

/// See [`SignalSpec::Sine`], [`SignalSpec::Triangle`], [`SignalSpec::Square`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// The middle of the wave.
    #[serde(default)]
    pub mean: Source,
    /// Half of the height.
    pub amplitude: f64,
    /// Length in seconds.
    pub period: f64,
    /// Where in the period it begins, 0 to 1.
    #[serde(default)]
    pub phase: f64,
    /// For square waves: the part of the period that is high, 0 to 1.
    #[serde(default = "half")]
    pub duty: f64,
}

fn half() -> f64 {
    0.5
}

/// See [`SignalSpec::Ramp`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ramp {
    /// The first value.
    pub from: f64,
    /// The last value.
    pub to: f64,
    /// The time between them.
    pub seconds: f64,
    /// Begin again at the end, in place of staying there.
    #[serde(default)]
    pub repeat: bool,
}

/// See [`SignalSpec::Steps`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Steps {
    /// The values in their order.
    pub values: Vec<f64>,
    /// How long each lasts.
    pub seconds: f64,
    /// Begin again at the end, in place of staying there.
    #[serde(default)]
    pub repeat: bool,
}

/// See [`SignalSpec::Noise`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Noise {
    /// What the noise is added to.
    #[serde(default)]
    pub around: Source,
    /// The largest distance from it.
    pub amplitude: f64,
    /// Seconds between two values.
    #[serde(default = "tenth")]
    pub every: f64,
}

fn tenth() -> f64 {
    0.1
}

/// See [`SignalSpec::Counter`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counter {
    /// What is added up.
    pub of: Source,
    /// The time in seconds for which `of` counts once: 1 for a rate per
    /// second, 3600 for kW into kWh.
    #[serde(default = "one")]
    pub per: f64,
    /// Where it begins.
    #[serde(default)]
    pub initial: f64,
    /// Begins at 0 again when it reaches this, as a counter of few digits does.
    #[serde(default)]
    pub wrap: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// See [`SignalSpec::Lag`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lag {
    /// What is followed.
    pub of: Source,
    /// The time constant: after it, 63 % of a step is made up.
    pub seconds: f64,
    /// Where it begins; absent means where `of` begins.
    #[serde(default)]
    pub initial: Option<f64>,
}

/// See [`SignalSpec::Hysteresis`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hysteresis {
    /// What is watched.
    pub of: Source,
    /// Where it should be.
    pub target: Source,
    /// On at `target - band` and below, off at `target + band` and above.
    pub band: f64,
    /// Only on while this is not 0.
    #[serde(default = "always")]
    pub when: Source,
}

fn always() -> Source {
    Source::Number(1.0)
}

/// See [`SignalSpec::Select`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Select {
    /// The one that decides: not 0 takes `then`.
    pub when: Source,
    /// Taken while `when` is not 0.
    pub then: Source,
    /// Taken while `when` is 0.
    #[serde(default)]
    pub otherwise: Source,
}

impl SignalSpec {
    /// The name of its kind, as it stands in a scenario.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Constant(_) => "constant",
            Self::Setpoint(_) => "setpoint",
            Self::Sine(_) => "sine",
            Self::Triangle(_) => "triangle",
            Self::Square(_) => "square",
            Self::Ramp(_) => "ramp",
            Self::Steps(_) => "steps",
            Self::Noise(_) => "noise",
            Self::Counter(_) => "counter",
            Self::Lag(_) => "lag",
            Self::Hysteresis(_) => "hysteresis",
            Self::Sum(_) => "sum",
            Self::Product(_) => "product",
            Self::Select(_) => "select",
        }
    }

    /// Its inputs with the names of their keys.
    pub(crate) fn inputs(&self) -> Vec<(String, &Source)> {
        match self {
            Self::Constant(_) | Self::Setpoint(_) | Self::Ramp(_) | Self::Steps(_) => Vec::new(),
            Self::Sine(w) | Self::Triangle(w) | Self::Square(w) => vec![("mean".into(), &w.mean)],
            Self::Noise(n) => vec![("around".into(), &n.around)],
            Self::Counter(c) => vec![("of".into(), &c.of)],
            Self::Lag(l) => vec![("of".into(), &l.of)],
            Self::Hysteresis(h) => vec![
                ("of".into(), &h.of),
                ("target".into(), &h.target),
                ("when".into(), &h.when),
            ],
            Self::Sum(parts) | Self::Product(parts) => parts
                .iter()
                .enumerate()
                .map(|(i, s)| (i.to_string(), s))
                .collect(),
            Self::Select(s) => vec![
                ("when".into(), &s.when),
                ("then".into(), &s.then),
                ("otherwise".into(), &s.otherwise),
            ],
        }
    }

    /// Numbers that must be above zero, with their keys.
    pub(crate) fn positives(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Sine(w) | Self::Triangle(w) | Self::Square(w) => vec![("period", w.period)],
            Self::Ramp(r) => vec![("seconds", r.seconds)],
            Self::Steps(s) => vec![("seconds", s.seconds)],
            Self::Noise(n) => vec![("every", n.every)],
            Self::Counter(c) => {
                let mut all = vec![("per", c.per)];
                all.extend(c.wrap.map(|w| ("wrap", w)));
                all
            }
            Self::Lag(l) => vec![("seconds", l.seconds)],
            _ => Vec::new(),
        }
    }
}
