//! The agent that BlueZ asks while a device is paired.

use zbus::message::Header;

use super::client::{Client, State};

/// Where the agent stands on our connection.
pub(super) const PATH: &str = "/dev/longshore/agent";
/// It can answer whatever a device asks for.
const CAPABILITY: &str = "KeyboardDisplay";
const REJECTED: &str = "org.bluez.Error.Rejected";

/// What the agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Yes.
    Agreed,
    /// The passkey.
    Passkey(u32),
    /// The passkey, as a text.
    Pin(u32),
    /// No.
    Rejected,
}

/// What to say to a call of the agent: only devices that are being paired by
/// us have an entry in the state.
pub(super) fn answer(
    state: &State,
    member: &str,
    device: Option<&str>,
    shown: Option<u32>,
) -> Answer {
    let configured = device
        .and_then(|device| state.passkeys.get(device))
        .copied();
    match (member, configured) {
        ("Release" | "Cancel" | "DisplayPasskey" | "DisplayPinCode", _) => Answer::Agreed,
        ("RequestPasskey", Some(Some(passkey))) => Answer::Passkey(passkey),
        ("RequestPinCode", Some(Some(passkey))) => Answer::Pin(passkey),
        // Both sides show a number: it must be the configured one, if one is.
        ("RequestConfirmation", Some(passkey))
            if passkey.is_none_or(|passkey| Some(passkey) == shown) =>
        {
            Answer::Agreed
        }
        ("RequestAuthorization" | "AuthorizeService", Some(_)) => Answer::Agreed,
        _ => Answer::Rejected,
    }
}

impl Client {
    pub(super) async fn reply_as_agent(
        &self,
        call: &Header<'_>,
        answer: Answer,
    ) -> zbus::Result<()> {
        let bus = self.connection();
        match answer {
            Answer::Agreed => bus.reply(call, &()).await,
            Answer::Passkey(passkey) => bus.reply(call, &passkey).await,
            Answer::Pin(passkey) => bus.reply(call, &format!("{passkey:06}")).await,
            Answer::Rejected => {
                bus.reply_error(call, REJECTED, &"no passkey is configured")
                    .await
            }
        }
    }

    /// Makes BlueZ ask us. It forgets agents when it restarts, so this is done
    /// before each pairing.
    pub(super) async fn register_agent(&self) -> zbus::Result<()> {
        let path = zbus::ObjectPath::from_static_str(PATH)?;
        let manager = "org.bluez.AgentManager1";
        let registered = self
            .call("/org/bluez", manager, "RegisterAgent", &(path, CAPABILITY))
            .await;
        match registered {
            Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".AlreadyExists") => Ok(()),
            other => other.map(drop),
        }
    }
}
