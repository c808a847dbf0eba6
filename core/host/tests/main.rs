//! The host against real libraries in real processes, good and bad ones.

mod it {
    mod files;
    mod lifetime;
    mod misbehaviour;
    mod support;
    mod upgrade;
    mod values;
}
