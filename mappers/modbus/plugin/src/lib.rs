//! The Modbus mapper as a library for the mapper host.

longshore_sdk::export_mapper!(
    longshore_mapper_modbus::ModbusMapper,
    name: "modbus",
    protocol: "modbus",
    capabilities: READ | WRITE | POLL | CALL | DISCOVER | CHECK,
    schema: longshore_mapper_modbus::SCHEMA,
);
