//! What a file holds, version by version.

/// What a file holds, and whose it is.
#[derive(Debug)]
pub struct Schema {
    /// The program, as people call it.
    pub owner: &'static str,
    /// What happens when the file is moved away, for a hint.
    pub without: &'static str,
    /// `PRAGMA application_id`: tells the program's files from all others.
    pub application: i32,
    /// How a file comes from each version to the next one. The number of a
    /// version (`PRAGMA user_version`) is its place here, from 1 on; a new file
    /// takes all steps. What was released is never changed, only appended to.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// The newest version.
    pub fn version(&self) -> i64 {
        self.migrations.len() as i64
    }
}
