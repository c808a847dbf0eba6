//! A revisioned log of objects with watch by kind.
