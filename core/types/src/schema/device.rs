//! The shape of a Device.

use super::{Schema, Shape, list, object, of, root, text, twin_property, visitors};

/// The shape of a Device.
pub fn device() -> Schema {
    let spec = object(
        "What is wanted of the device.",
        [
            (
                "deviceModelRef",
                object(
                    "Required: the model that the device follows.",
                    [("name", text("Name of the DeviceModel in this namespace."))],
                ),
            ),
            ("nodeName", text("The node that the device hangs on.")),
            (
                "properties",
                list(
                    "The properties that are used. Names must be unique. Without any, the device has all properties of its model.",
                    property(),
                ),
            ),
            (
                "protocol",
                object(
                    "How to reach the device.",
                    [
                        (
                            "protocolName",
                            text(
                                "Name of the protocol, for example modbus; the model's if it is left out.",
                            ),
                        ),
                        (
                            "configData",
                            of(
                                Shape::Free,
                                "What the mapper needs to know, for example url and unit; over the model's protocolConfigData.",
                            ),
                        ),
                    ],
                ),
            ),
            (
                "methods",
                list(
                    "Groups of properties under a name. Names must be unique.",
                    method(),
                ),
            ),
            (
                "stateReport",
                state_report("Whether and how often the device's state is reported."),
            ),
        ],
    );
    root(
        "A Device is one device: its model, its node, how to reach it and the values that it should have.",
        [
            ("spec", spec),
            (
                "status",
                state_report(
                    "Kept for older clients; the state is in the DeviceStatus of the same name.",
                ),
            ),
        ],
    )
}

fn state_report(description: &'static str) -> Schema {
    object(
        description,
        [
            (
                "reportToCloud",
                of(
                    Shape::Bool,
                    "Whether the cloud gets the state. Left out means true.",
                ),
            ),
            (
                "reportCycle",
                of(Shape::Int64, "Time between two reports in milliseconds."),
            ),
        ],
    )
}

fn method() -> Schema {
    object(
        "Properties that are written under one name.",
        [
            ("name", text("Required: the name.")),
            ("description", text("What the method does.")),
            (
                "propertyNames",
                list("Required: the properties that it writes.", text("")),
            ),
        ],
    )
}

fn property() -> Schema {
    object(
        "One property of the device.",
        [
            ("name", text("Required: name of the property in the model.")),
            (
                "desired",
                twin_property("The value that the property should have."),
            ),
            (
                "visitors",
                visitors("How to reach the property; over what the model says, key by key."),
            ),
            (
                "reportCycle",
                of(
                    Shape::Int64,
                    "Time between two reports to the push method in milliseconds.",
                ),
            ),
            (
                "collectCycle",
                of(
                    Shape::Int64,
                    "Time between two reads in milliseconds. 0 or left out is 1000.",
                ),
            ),
            (
                "reportToCloud",
                of(
                    Shape::Bool,
                    "Whether the cloud gets the values. Left out means true.",
                ),
            ),
            ("pushMethod", push_method()),
        ],
    )
}

fn push_method() -> Schema {
    object(
        "Where else the values go.",
        [
            (
                "http",
                object(
                    "Post the values to a web server.",
                    [
                        ("hostName", text("Name or address of the server.")),
                        ("port", of(Shape::Int64, "TCP port.")),
                        ("requestPath", text("Path of the request.")),
                        ("timeout", of(Shape::Int64, "Time limit.")),
                    ],
                ),
            ),
            (
                "mqtt",
                object(
                    "Publish the values to an MQTT broker.",
                    [
                        ("address", text("Address of the broker.")),
                        ("topic", text("The topic.")),
                        ("qos", of(Shape::Int32, "Quality of service, 0 to 2.")),
                        (
                            "retained",
                            of(Shape::Bool, "Whether the broker keeps the last value."),
                        ),
                    ],
                ),
            ),
            (
                "otel",
                object(
                    "Send the values to an OpenTelemetry collector.",
                    [("endpointURL", text("Address of the collector."))],
                ),
            ),
            ("dbMethod", databases()),
            (
                "anomalyDetection",
                of(
                    Shape::Free,
                    "Hand the values to a service that looks for anomalies.",
                ),
            ),
        ],
    )
}

fn databases() -> Schema {
    object(
        "Write the values to a database.",
        [
            (
                "influxdb2",
                object(
                    "InfluxDB 2.",
                    [
                        (
                            "influxdb2ClientConfig",
                            object(
                                "The server.",
                                [
                                    ("url", text("Its address.")),
                                    ("org", text("The organisation.")),
                                    ("bucket", text("The bucket.")),
                                ],
                            ),
                        ),
                        (
                            "influxdb2DataConfig",
                            object(
                                "How values are stored.",
                                [
                                    ("measurement", text("The measurement.")),
                                    ("tag", of(Shape::Map, "Tags of each value.")),
                                    ("fieldKey", text("The field.")),
                                ],
                            ),
                        ),
                    ],
                ),
            ),
            (
                "redis",
                object(
                    "Redis.",
                    [(
                        "redisClientConfig",
                        object(
                            "The server.",
                            [
                                ("addr", text("Its address.")),
                                ("db", of(Shape::Int, "Number of the database.")),
                                ("poolsize", of(Shape::Int, "Connections at most.")),
                                ("minIdleConns", of(Shape::Int, "Connections kept open.")),
                            ],
                        ),
                    )],
                ),
            ),
            (
                "TDEngine",
                object("TDengine.", [("TDEngineClientConfig", server())]),
            ),
            (
                "mysql",
                object(
                    "MySQL.",
                    [(
                        "mysqlClientConfig",
                        object(
                            "The server.",
                            [
                                ("addr", text("Its address.")),
                                ("database", text("Name of the database.")),
                                ("userName", text("Name of the user.")),
                            ],
                        ),
                    )],
                ),
            ),
            ("Kwdb", object("KWDB.", [("KWDBClientConfig", server())])),
        ],
    )
}

fn server() -> Schema {
    object(
        "The server.",
        [
            ("addr", text("Its address.")),
            ("dbName", text("Name of the database.")),
        ],
    )
}
