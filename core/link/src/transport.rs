//! What edge and hub share below the session: the way onto the line and the line
//! itself.
//!
//! The edge [`ask`]s for the link over a stream that reaches a hub, TLS in general;
//! the hub [`grant`]s it in its answer to an HTTP request. Both then hold a
//! [`Line`]: a WebSocket of which one binary message is one frame of the session.
//! [`Turns`] and [`sleep_until`] are what a driver of a session waits for beside it.
//!
//! This is the only part of the crate that does input and output; the session does
//! not know it, and `tests/structure` holds that tokio stays in here.
//!
//! # Guarantees
//!
//! - No message is larger than [`MAX_FRAME_BYTES`](crate::MAX_FRAME_BYTES), and no
//!   more than [`QUEUE`] wait to be sent.
//! - Nothing runs by itself: a line moves while somebody waits in
//!   [`Line::receive`] or [`Line::close`], so nothing of it can outlive or fail
//!   unseen by whoever holds it.

mod handshake;
mod line;
mod turns;

pub use handshake::{Answer, AskError, RequestFault, ask, grant};
pub use line::{Line, LineError, QUEUE};
pub use turns::{Turns, sleep_until};
