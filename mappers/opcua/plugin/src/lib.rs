//! The OPC UA mapper as a library for the mapper host.

longshore_sdk::export_mapper!(
    longshore_mapper_opcua::OpcuaMapper,
    name: "opcua",
    protocol: "opcua",
    capabilities: READ | WRITE | POLL | PUSH | CALL | DISCOVER | CHECK,
    schema: longshore_mapper_opcua::SCHEMA,
);
