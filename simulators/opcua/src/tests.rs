//! The parts by themselves; the whole as its users meet it is in `tests/main`.

mod bytes;
mod random;
