//! The mapper under test; what is special to serial lines is in [`super::whole`].

use longshore_sdk::testing;

use crate::Serial;

/// The mapper under test.
pub(super) type Rig = testing::Rig<Serial>;
