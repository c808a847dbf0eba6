//! The life of a daemon: named tasks that do not die unseen, one drain, logs, configuration.
