//! Stands in for devices on serial lines.
