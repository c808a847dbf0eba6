//! The shape of a DeviceModel.

use super::{Schema, Shape, list, object, of, root, text, visitors};

/// The shape of a DeviceModel.
pub fn model() -> Schema {
    root(
        "A DeviceModel says what devices of one kind have in common: their properties and how to reach them.",
        [(
            "spec",
            object(
                "Properties and protocol of a kind of device.",
                [
                    (
                        "properties",
                        list("The properties. Names must be unique.", property()),
                    ),
                    (
                        "protocol",
                        text("Required: the protocol that the devices speak, for example modbus."),
                    ),
                    (
                        "protocolConfigData",
                        of(
                            Shape::Free,
                            "Defaults for the devices' protocol.configData; a device overrides them key by key.",
                        ),
                    ),
                ],
            ),
        )],
    )
}

fn property() -> Schema {
    object(
        "One property of a kind of device, such as a temperature.",
        [
            (
                "name",
                text("Required: the name. Streams must be called saveFrame or saveVideo."),
            ),
            ("description", text("What the property is.")),
            (
                "type",
                of(
                    Shape::Enum(&[
                        "INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM",
                    ]),
                    "Required: type of the value in the twin.",
                ),
            ),
            (
                "accessMode",
                of(
                    Shape::Enum(&["ReadWrite", "ReadOnly"]),
                    "Whether the property may be written; read-only if left out.",
                ),
            ),
            (
                "minimum",
                text("Least value, as text. A desired value below it is refused."),
            ),
            (
                "maximum",
                text("Greatest value, as text. A desired value above it is refused."),
            ),
            ("unit", text("Unit of the value.")),
            (
                "visitors",
                visitors("How to reach the property; a device overrides it key by key."),
            ),
        ],
    )
}
