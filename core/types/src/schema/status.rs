//! The shape of a DeviceStatus.

use super::{Schema, Shape, list, object, of, root, text, twin_property};

/// The shape of a DeviceStatus.
pub fn status() -> Schema {
    root(
        "A DeviceStatus says what is known of the device of the same name.",
        [
            ("spec", object("Empty.", [])),
            (
                "status",
                object(
                    "State and twins of the device.",
                    [
                        (
                            "twins",
                            list(
                                "The twins: desired and reported value of each property.",
                                twin(),
                            ),
                        ),
                        ("state", text("online, offline, unknown, ok or unhealthy.")),
                        (
                            "lastOnlineTime",
                            text("When the device was online last, RFC 3339."),
                        ),
                        (
                            "extensions",
                            of(
                                Shape::Free,
                                "What Longshore adds: summary, conditions[], properties[] (quality, reason, sourceTime, \
                             lastRead, lastError, desired, write), events[] (name, active, severity, message, \
                             since) and warnings[].",
                            ),
                        ),
                    ],
                ),
            ),
        ],
    )
}

fn twin() -> Schema {
    object(
        "Desired and reported value of one property.",
        [
            ("propertyName", text("Required: name of the property.")),
            (
                "reported",
                twin_property("The last value that the device reported."),
            ),
            (
                "observedDesired",
                twin_property("The desired value that the edge has seen."),
            ),
        ],
    )
}
