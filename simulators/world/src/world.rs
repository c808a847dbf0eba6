//! The world: all signals of a scenario and their values now.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::scenario::{Problem, list};
use crate::signal::{SignalSpec, Source, WorldSpec};

/// The largest step in seconds by which signals with a memory move on. Small
/// against the time constants of devices, so that a thermostat switches near
/// its limits also when nobody has looked for a while.
const STEP: f64 = 0.1;

/// No more steps than this to catch up; after a longer pause they are made longer.
const MOST_STEPS: f64 = 10_000.0;

/// With a real clock, readers within this time (in seconds) see the same values.
const LEAST_STEP: f64 = 0.001;

/// The signals of a scenario. Clones are the same world.
#[derive(Debug, Clone)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    seed: u64,
    names: BTreeMap<String, SignalId>,
    rules: Vec<Rule>,
    /// The signals without memory, each after those that it needs.
    order: Vec<usize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    at: f64,
    values: Vec<f64>,
    forced: Vec<Option<f64>>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    spec: SignalSpec,
    /// The inputs in the order of `SignalSpec::inputs`.
    inputs: Vec<Input>,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Number(f64),
    Signal(usize),
}

/// A signal of one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalId(u32);

/// A signal as people want to see it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalState {
    /// Its name.
    pub name: String,
    /// Its kind, as in the scenario.
    pub kind: &'static str,
    /// Its value now.
    pub value: f64,
    /// Whether a device's client may write it.
    pub settable: bool,
    /// Whether it is held at a value by [`World::force`].
    pub forced: bool,
}

/// A scenario's world that does not work.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the world's signals do not work: {}", list(problems))]
pub struct WorldError {
    /// All that is wrong, with key paths from `signals` on.
    pub problems: Vec<Problem>,
}

impl WorldError {
    /// The same with key paths from the top of a scenario on, where the world
    /// stands under `world`.
    #[must_use]
    pub fn in_scenario(self) -> Vec<Problem> {
        let inside = self.problems.into_iter().map(|problem| Problem {
            path: format!("world.{}", problem.path),
            ..problem
        });
        inside.collect()
    }
}

/// A value that a signal does not take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SetError {
    /// There is no such signal.
    #[error("no signal is named `{0}`")]
    Unknown(String),
    /// The signal follows its own rule.
    #[error("signal `{0}` is not a setpoint")]
    NotSettable(String),
    /// The value is outside of the setpoint's limits, or not a number.
    #[error("signal `{name}` does not take {value}")]
    OutOfRange {
        /// The signal.
        name: String,
        /// The refused value.
        value: f64,
    },
}

/// The values of all signals, held still while this is borrowed.
#[derive(Debug)]
pub struct Values<'a>(MutexGuard<'a, State>);

impl Values<'_> {
    /// The value of one signal.
    #[must_use]
    pub fn get(&self, id: SignalId) -> f64 {
        self.0.values.get(id.0 as usize).copied().unwrap_or(0.0)
    }
}

impl Deref for Values<'_> {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0.values
    }
}

impl World {
    /// Checks the scenario's world and starts it at the clock's present time.
    ///
    /// # Errors
    /// All faults at once: unknown names, circles, times that are not positive.
    pub fn new(spec: &WorldSpec, clock: Clock) -> Result<Self, WorldError> {
        let names: BTreeMap<String, SignalId> = (0..)
            .zip(spec.signals.keys())
            .map(|(i, name)| (name.clone(), SignalId(i)))
            .collect();
        let mut problems = Vec::new();
        let rules: Vec<Rule> = spec
            .signals
            .iter()
            .map(|(name, signal)| check(name, signal, &names, &mut problems))
            .collect();
        let order = sort(&rules, &mut problems);
        if !problems.is_empty() {
            return Err(WorldError { problems });
        }
        let count = rules.len();
        let mut inner = Inner {
            seed: spec.seed,
            names,
            rules,
            order,
            state: Mutex::new(State {
                at: 0.0,
                values: Vec::new(),
                forced: Vec::new(),
            }),
            clock,
        };
        let mut state = State {
            at: inner.clock.elapsed().as_secs_f64(),
            values: vec![0.0; count],
            forced: vec![None; count],
        };
        inner.begin(&mut state);
        inner.state = Mutex::new(state);
        Ok(Self(Arc::new(inner)))
    }

    /// A world without signals.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(&WorldSpec::default(), Clock::real())
            .unwrap_or_else(|_| unreachable!("a world without signals has no faults"))
    }

    /// The clock that moves this world.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Finds a signal by name.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<SignalId> {
        self.0.names.get(name).copied()
    }

    /// Brings the world up to its clock's time and gives all values of that moment.
    #[must_use]
    pub fn values(&self) -> Values<'_> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.catch_up(&mut state);
        Values(state)
    }

    /// The value of a signal now.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.id(name).map(|id| self.values().get(id))
    }

    /// Whether a write to this signal may set it.
    #[must_use]
    pub fn is_settable(&self, id: SignalId) -> bool {
        self.0
            .rules
            .get(id.0 as usize)
            .is_some_and(|r| matches!(r.spec, SignalSpec::Setpoint(_)))
    }

    /// Whether the setpoint would take this value.
    ///
    /// # Errors
    /// As [`World::set_id`].
    pub fn check(&self, id: SignalId, value: f64) -> Result<(), SetError> {
        let rule = &self.0.rules[id.0 as usize];
        let SignalSpec::Setpoint(setpoint) = &rule.spec else {
            return Err(SetError::NotSettable(rule.name.clone()));
        };
        let low = setpoint.min.is_some_and(|min| value < min);
        let high = setpoint.max.is_some_and(|max| value > max);
        if low || high || !value.is_finite() {
            return Err(SetError::OutOfRange {
                name: rule.name.clone(),
                value,
            });
        }
        Ok(())
    }

    /// Writes a setpoint.
    ///
    /// # Errors
    /// The signal is no setpoint, or the value is outside of its limits.
    pub fn set_id(&self, id: SignalId, value: f64) -> Result<(), SetError> {
        self.check(id, value)?;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.catch_up(&mut state);
        state.values[id.0 as usize] = value;
        self.0.follow(&mut state);
        Ok(())
    }

    /// Writes a setpoint by name.
    ///
    /// # Errors
    /// As [`World::set_id`], and where there is no such signal.
    pub fn set(&self, name: &str, value: f64) -> Result<(), SetError> {
        let id = self
            .id(name)
            .ok_or_else(|| SetError::Unknown(name.to_owned()))?;
        self.set_id(id, value)
    }

    /// Holds any signal at a value, as a stuck sensor does; `None` lets it go.
    ///
    /// # Errors
    /// There is no such signal.
    pub fn force(&self, name: &str, value: Option<f64>) -> Result<(), SetError> {
        let id = self
            .id(name)
            .ok_or_else(|| SetError::Unknown(name.to_owned()))?;
        self.force_id(id, value);
        Ok(())
    }

    /// Holds a signal at a value; `None` lets it go.
    pub fn force_id(&self, id: SignalId, value: Option<f64>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.catch_up(&mut state);
        state.forced[id.0 as usize] = value;
        if let Some(value) = value {
            state.values[id.0 as usize] = value;
        }
        self.0.follow(&mut state);
    }

    /// All signals with their values now.
    #[must_use]
    pub fn signals(&self) -> Vec<SignalState> {
        let values = self.values();
        self.0
            .rules
            .iter()
            .enumerate()
            .map(|(i, rule)| SignalState {
                name: rule.name.clone(),
                kind: rule.spec.kind(),
                value: values[i],
                settable: matches!(rule.spec, SignalSpec::Setpoint(_)),
                forced: values.0.forced[i].is_some(),
            })
            .collect()
    }
}

impl Inner {
    /// Gives each signal its first value.
    fn begin(&self, state: &mut State) {
        for (i, rule) in self.rules.iter().enumerate() {
            state.values[i] = match &rule.spec {
                SignalSpec::Setpoint(s) => s.initial,
                SignalSpec::Counter(c) => c.initial,
                SignalSpec::Lag(l) => l.initial.unwrap_or(0.0),
                _ => 0.0,
            };
        }
        // A lag without a start begins where its input is, which may itself be
        // such a lag: once around for each of them.
        for _ in 0..=self.rules.len() {
            self.follow(state);
            let mut settled = true;
            for (i, rule) in self.rules.iter().enumerate() {
                if let SignalSpec::Lag(l) = &rule.spec
                    && l.initial.is_none()
                {
                    let start = value(rule.inputs[0], &state.values);
                    settled &= start == state.values[i];
                    state.values[i] = start;
                }
            }
            if settled {
                break;
            }
        }
        self.remember(state, 0.0);
        self.follow(state);
    }

    fn catch_up(&self, state: &mut State) {
        let now = self.clock.elapsed().as_secs_f64();
        let behind = now - state.at;
        if behind <= 0.0 || (behind < LEAST_STEP && !self.clock.is_manual()) {
            return;
        }
        let step = STEP.max(behind / MOST_STEPS);
        while state.at < now {
            let by = step.min(now - state.at);
            // What is left may be too small to move the sum: then it is over.
            let next = if now - state.at <= step {
                now
            } else {
                state.at + by
            };
            self.remember(state, by);
            state.at = next;
            self.follow(state);
        }
    }

    /// Moves the signals with a memory on, all from the same former values.
    fn remember(&self, state: &mut State, by: f64) {
        for (i, rule) in self.rules.iter().enumerate() {
            let input = |n: usize| value(rule.inputs[n], &state.values);
            let old = state.values[i];
            let new = match &rule.spec {
                SignalSpec::Counter(c) => {
                    let sum = old + input(0) * by / c.per;
                    c.wrap.map_or(sum, |wrap| sum.rem_euclid(wrap))
                }
                SignalSpec::Lag(l) => old + (input(0) - old) * -(-by / l.seconds).exp_m1(),
                SignalSpec::Hysteresis(h) => {
                    let (of, target) = (input(0), input(1));
                    if input(2) == 0.0 || of >= target + h.band {
                        0.0
                    } else if of <= target - h.band {
                        1.0
                    } else {
                        old
                    }
                }
                _ => continue,
            };
            state.values[i] = state.forced[i].unwrap_or(new);
        }
    }

    /// Brings the signals without memory up to the state's time.
    fn follow(&self, state: &mut State) {
        for &i in &self.order {
            let rule = &self.rules[i];
            let now = match state.forced[i] {
                Some(forced) => forced,
                None => self.now(i, rule, state.at, &state.values),
            };
            state.values[i] = now;
        }
    }

    fn now(&self, index: usize, rule: &Rule, at: f64, values: &[f64]) -> f64 {
        let input = |n: usize| value(rule.inputs[n], values);
        match &rule.spec {
            SignalSpec::Constant(v) => *v,
            SignalSpec::Sine(w) => {
                let turn = at / w.period + w.phase;
                input(0) + w.amplitude * (turn * std::f64::consts::TAU).sin()
            }
            SignalSpec::Triangle(w) => {
                let turn = (at / w.period + w.phase).rem_euclid(1.0);
                input(0) + w.amplitude * (1.0 - 4.0 * (turn - 0.5).abs())
            }
            SignalSpec::Square(w) => {
                let turn = (at / w.period + w.phase).rem_euclid(1.0);
                input(0)
                    + if turn < w.duty {
                        w.amplitude
                    } else {
                        -w.amplitude
                    }
            }
            SignalSpec::Ramp(r) => {
                let part = at / r.seconds;
                let part = if r.repeat {
                    part.rem_euclid(1.0)
                } else {
                    part.min(1.0)
                };
                r.from + (r.to - r.from) * part
            }
            SignalSpec::Steps(s) => {
                let count = s.values.len();
                let step = (at / s.seconds) as usize;
                let step = if s.repeat {
                    step % count
                } else {
                    step.min(count - 1)
                };
                s.values[step]
            }
            SignalSpec::Noise(n) => {
                let seed = self.seed ^ ((at / n.every) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let mut random = fastrand::Rng::with_seed(seed.wrapping_add(index as u64));
                input(0) + n.amplitude * (2.0 * random.f64() - 1.0)
            }
            SignalSpec::Sum(parts) => (0..parts.len()).map(input).sum(),
            SignalSpec::Product(parts) => (0..parts.len()).map(input).product(),
            SignalSpec::Select(_) => input(if input(0) == 0.0 { 2 } else { 1 }),
            SignalSpec::Setpoint(_)
            | SignalSpec::Counter(_)
            | SignalSpec::Lag(_)
            | SignalSpec::Hysteresis(_) => values[index],
        }
    }
}

fn value(input: Input, values: &[f64]) -> f64 {
    match input {
        Input::Number(number) => number,
        Input::Signal(index) => values[index],
    }
}

fn has_memory(spec: &SignalSpec) -> bool {
    matches!(
        spec,
        SignalSpec::Setpoint(_)
            | SignalSpec::Counter(_)
            | SignalSpec::Lag(_)
            | SignalSpec::Hysteresis(_)
    )
}

fn check(
    name: &str,
    spec: &SignalSpec,
    names: &BTreeMap<String, SignalId>,
    problems: &mut Vec<Problem>,
) -> Rule {
    let at = |key: &str| format!("signals.{name}.{}.{key}", spec.kind());
    for (key, number) in spec.positives() {
        if number <= 0.0 || !number.is_finite() {
            problems.push(Problem::new(at(key), format!("{number} is not above 0")));
        }
    }
    match spec {
        SignalSpec::Steps(s) if s.values.is_empty() => {
            problems.push(Problem::new(at("values"), "there are none"));
        }
        SignalSpec::Setpoint(s) => {
            if let (Some(min), Some(max)) = (s.min, s.max)
                && min > max
            {
                problems.push(Problem::new(at("min"), format!("{min} is above max {max}")));
            }
        }
        _ => {}
    }
    let inputs = spec
        .inputs()
        .into_iter()
        .map(|(key, source)| match source {
            Source::Number(number) => Input::Number(*number),
            Source::Signal(of) => match names.get(of) {
                Some(id) => Input::Signal(id.0 as usize),
                None => {
                    problems.push(Problem::new(at(&key), format!("no signal is named `{of}`")));
                    Input::Number(0.0)
                }
            },
        })
        .collect();
    Rule {
        name: name.to_owned(),
        spec: spec.clone(),
        inputs,
    }
}

/// Orders the signals without memory so that each follows its inputs; a circle is a problem.
fn sort(rules: &[Rule], problems: &mut Vec<Problem>) -> Vec<usize> {
    let mut order = Vec::new();
    let mut placed: Vec<bool> = rules.iter().map(|r| has_memory(&r.spec)).collect();
    loop {
        let before = order.len();
        for (i, rule) in rules.iter().enumerate() {
            let ready = rule.inputs.iter().all(|input| match input {
                Input::Number(_) => true,
                Input::Signal(of) => placed[*of],
            });
            if !placed[i] && ready {
                placed[i] = true;
                order.push(i);
            }
        }
        if order.len() == before {
            break;
        }
    }
    for (rule, _) in rules.iter().zip(&placed).filter(|(_, placed)| !**placed) {
        problems.push(Problem::new(
            format!("signals.{}", rule.name),
            "it needs its own value, directly or through others, and no lag, hysteresis or counter is between",
        ));
    }
    order
}
