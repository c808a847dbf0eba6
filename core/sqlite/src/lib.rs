//! A SQLite file with one writer: opened, locked, migrated, committed in groups.
