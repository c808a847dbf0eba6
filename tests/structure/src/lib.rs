//! Tests of the house itself: who may depend on whom, and the rules of taste
//! that no lint of the compiler covers.
//!
//! A rule that nothing enforces drifts. Each rule here is a pure function from
//! facts to faults, with two tests: one on a made-up house that breaks the
//! rule, so that we know the rule sees something, and one on this checkout.
//! It needs no network and compiles nothing but itself, so it runs first.
//!
//! - `anatomy`: mappers are built alike, and their tests use what testing has.
//! - `circles`: no two modules beside each other need each other.
//! - `complaints`: the tests that answer users' complaints, and those that hold
//!   our promises, exist.
//! - `direction`: dependencies between the rooms point one way.
//! - `fences`: what deny.toml keeps in one room, held without cargo-deny.
//! - `manifests`: versions, features and lints are decided in the root only.
//! - `tasks`: what is spawned has a name and somebody who hears of its end.
//! - `sources`: where `unsafe` may stand, how long a file may be, no tests that
//!   are switched off.

#[cfg(test)]
mod anatomy;
#[cfg(test)]
mod circles;
#[cfg(test)]
mod code;
#[cfg(test)]
mod complaints;
#[cfg(test)]
mod direction;
#[cfg(test)]
mod fences;
#[cfg(test)]
mod house;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod tasks;
