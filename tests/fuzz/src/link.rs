//! Frames of the link: each end reads what the other one wrote.

use std::time::{Duration, Instant};

use bytes::Bytes;
use longshore_link::{
    EdgeConfig, EdgeEvent, EdgePosition, EdgeSession, Epoch, Frame, HubConfig, HubEvent,
    HubSession, Up,
};

/// What was decoded is written again and read as the same.
pub(crate) fn frame(data: &[u8]) {
    if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(data)) {
        let again = Frame::decode(frame.clone().encode());
        if !matches!(frame, Frame::Unknown) {
            assert_eq!(again.as_ref(), Ok(&frame), "a frame changed on its way");
        }
    }
    if let Ok(up) = Up::decode(data) {
        let again = Up::decode(&up.encode());
        // A number that is none differs from itself; texts tell them all.
        if !matches!(up, Up::Unknown) {
            assert_eq!(
                format!("{again:?}"),
                format!("{:?}", Ok::<_, longshore_link::DecodeError>(up)),
                "a record changed on its way"
            );
        }
    }
}

/// Whatever the other end sends, a session goes on or closes.
pub(crate) fn session(data: &[u8]) {
    let now = Instant::now();
    let mut edge = EdgeSession::new(EdgeConfig::new("edge-1"));
    let mut hub = HubSession::new(HubConfig::new("edge-1", Epoch(7)), now);
    edge.step(EdgeEvent::TransportUp(EdgePosition::default()), now);
    for (count, part) in data.split(|byte| *byte == 0xFF).enumerate().take(64) {
        let now = now + Duration::from_millis(count as u64);
        let Ok(frame) = Frame::decode(Bytes::copy_from_slice(part)) else {
            continue;
        };
        edge.step(EdgeEvent::Frame(frame.clone()), now);
        hub.step(HubEvent::Frame(frame), now);
        hub.step(HubEvent::Opened { taken: 0 }, now);
        hub.step(HubEvent::LogChanged, now);
        edge.step(EdgeEvent::Tick, now);
        hub.step(HubEvent::Tick, now);
    }
}
