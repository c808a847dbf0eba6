//! The serial mapper as a library for the mapper host.

longshore_sdk::export_mapper!(
    longshore_mapper_serial::SerialMapper,
    name: "serial",
    protocol: "serial",
    capabilities: READ | WRITE | POLL | PUSH | CALL | DISCOVER | CHECK,
    schema: longshore_mapper_serial::SCHEMA,
);
