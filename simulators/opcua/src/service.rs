//! The services of a server by name, with the ids of their messages
//! (OPC 10000-6, A.3: the `_Encoding_DefaultBinary` of request and response).

use serde::{Deserialize, Serialize};

macro_rules! services {
    ($($(#[$text:meta])* $name:ident = $request:literal, $response:literal;)*) => {
        /// A service of OPC UA; in files with its first letter small: `read`, `createSession`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Service {
            $($(#[$text])* $name,)*
        }

        impl Service {
            pub(crate) fn from_request(id: u32) -> Option<Self> {
                match id {
                    $($request => Some(Self::$name),)*
                    _ => None,
                }
            }

            pub(crate) fn response(self) -> u32 {
                match self {
                    $(Self::$name => $response,)*
                }
            }
        }
    };
}

services! {
    /// Lists the servers here: this one.
    FindServers = 422, 425;
    /// Lists the ways in.
    GetEndpoints = 428, 431;
    /// Begins a session.
    CreateSession = 461, 464;
    /// Says who the user is, or takes a session over to another connection.
    ActivateSession = 467, 470;
    /// Ends a session.
    CloseSession = 473, 476;
    /// Gives requests up.
    Cancel = 479, 482;
    /// Lists what a node refers to.
    Browse = 527, 530;
    /// The rest of a long list.
    BrowseNext = 533, 536;
    /// From a path of names to a node.
    TranslateBrowsePaths = 554, 557;
    /// Announces that nodes will be used often.
    RegisterNodes = 560, 563;
    /// Takes that back.
    UnregisterNodes = 566, 569;
    /// Reads attributes.
    Read = 631, 634;
    /// Writes attributes.
    Write = 673, 676;
    /// Calls methods.
    Call = 712, 715;
    /// Adds items to a subscription.
    CreateMonitoredItems = 751, 754;
    /// Changes items.
    ModifyMonitoredItems = 763, 766;
    /// Turns items on and off.
    SetMonitoringMode = 769, 772;
    /// Takes items away.
    DeleteMonitoredItems = 781, 784;
    /// Begins a subscription.
    CreateSubscription = 787, 790;
    /// Changes a subscription.
    ModifySubscription = 793, 796;
    /// Turns subscriptions on and off.
    SetPublishingMode = 799, 802;
    /// Asks for the next notification.
    Publish = 826, 829;
    /// Asks for one once more.
    Republish = 832, 835;
    /// Takes subscriptions over to this session.
    TransferSubscriptions = 841, 844;
    /// Ends subscriptions.
    DeleteSubscriptions = 847, 850;
}
