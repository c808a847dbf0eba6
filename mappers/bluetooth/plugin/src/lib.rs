//! The Bluetooth mapper as a library for the mapper host.

longshore_sdk::export_mapper!(
    longshore_mapper_bluetooth::BluetoothMapper,
    name: "bluetooth",
    protocol: "bluetooth",
    capabilities: READ | WRITE | POLL | PUSH | DISCOVER | CHECK,
    schema: longshore_mapper_bluetooth::SCHEMA,
);
