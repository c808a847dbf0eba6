//! The parts by themselves, and the whole against simulated and foreign devices.
