//! What BlueZ refuses, in the words of the SDK.

use longshore_sdk::RequestError;
use zbus::fdo;

/// Tells the device's refusals from a line that broke.
pub fn request_error(what: &str, error: &zbus::Error) -> RequestError {
    match error {
        zbus::Error::MethodError(name, text, _) => {
            by_name(what, name.as_str(), text.as_deref().unwrap_or_default())
        }
        zbus::Error::FDO(error) => match &**error {
            fdo::Error::NoReply(_) | fdo::Error::TimedOut(_) | fdo::Error::Timeout(_) => {
                RequestError::Timeout(what.to_owned())
            }
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => {
                RequestError::Line("bluetoothd is not there (any more)".to_owned())
            }
            fdo::Error::UnknownObject(_) | fdo::Error::UnknownMethod(_) => {
                RequestError::Line(format!("{what}: BlueZ has dropped it"))
            }
            fdo::Error::AccessDenied(text) => RequestError::Refused(format!(
                "{what}: the bus does not allow it: {text}; edgecore's user needs access to org.bluez (group bluetooth)"
            )),
            other => RequestError::Refused(format!("{what}: {other}")),
        },
        other => RequestError::Line(format!("{what}: {other}")),
    }
}

/// The names are those of BlueZ's documentation; what the controller or the
/// device said stands in the text only.
fn by_name(what: &str, name: &str, text: &str) -> RequestError {
    let short = name.rsplit('.').next().unwrap_or(name);
    let said = if text.is_empty() { short } else { text };
    let lower = said.to_ascii_lowercase();
    match short {
        "NotConnected" | "NotReady" | "DoesNotExist" => {
            RequestError::Line(format!("{what}: {said}"))
        }
        "Failed" if lower.contains("not connected") || lower.contains("connection") => {
            RequestError::Line(format!("{what}: {said}"))
        }
        "ConnectionAttemptFailed" | "AuthenticationTimeout" => {
            RequestError::Line(format!("{what}: {said}"))
        }
        "InProgress" | "Busy" => {
            RequestError::Timeout(format!("{what}: another exchange is under way"))
        }
        "NotAuthorized" | "NotPermitted"
            if ["auth", "encrypt", "paired"]
                .iter()
                .any(|word| lower.contains(word)) =>
        {
            RequestError::Refused(format!(
                "{what}: {said}; the device wants to be paired: set `pair: true`, and `passkey` if it shows one"
            ))
        }
        _ if lower.contains("le-connection-abort") || lower.contains("page-timeout") => {
            RequestError::Line(format!("{what}: {said}"))
        }
        _ => RequestError::Refused(format!("{what}: {said}")),
    }
}
