//! How many bytes of bodies are in memory at one time: pure, with a handle for each
//! request.
//!
//! A peer can have hundreds of requests open and be slow in each. What it has sent
//! counts until its request is answered, for itself and with what all others sent.
//! Beyond the bound a request is refused, and may be tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::status::ApiError;

/// Bytes of all bodies.
const ALL: usize = 96 * 1024 * 1024;

/// Bytes of the bodies of one user: eight of the largest.
const USER: usize = 24 * 1024 * 1024;

/// What is in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intake(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_user: HashMap<Arc<str>, usize>,
}

impl Intake {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a request by `user`.
    pub(crate) fn hold(&self, user: &str) -> Hold {
        Hold {
            intake: Some(self.clone()),
            user: user.into(),
            bytes: 0,
        }
    }
}

/// What one request has in memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    intake: Option<Intake>,
    user: Arc<str>,
    bytes: usize,
}

impl Hold {
    /// For requests of this process, which are in memory anyway.
    pub(crate) fn inside() -> Hold {
        Hold {
            intake: None,
            user: "".into(),
            bytes: 0,
        }
    }

    /// So many bytes more.
    ///
    /// # Errors
    /// That would be too many, of this user or of all.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), ApiError> {
        let Some(intake) = &self.intake else {
            return Ok(());
        };
        let mut counts = intake.counts();
        let of_user = counts.by_user.get(&self.user).copied().unwrap_or_default();
        if of_user + bytes > USER || counts.all + bytes > ALL {
            return Err(ApiError::too_many_requests());
        }
        counts.all += bytes;
        counts
            .by_user
            .insert(Arc::clone(&self.user), of_user + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(intake) = &self.intake else {
            return;
        };
        let mut counts = intake.counts();
        counts.all -= self.bytes;
        if let Some(of_user) = counts.by_user.get_mut(&self.user) {
            *of_user -= self.bytes;
            if *of_user == 0 {
                counts.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_share_and_gives_it_back() {
        let intake = Intake::default();
        let mut mine = intake.hold("evil");
        mine.add(USER).expect("fits");
        let refused = intake.hold("evil").add(1).expect_err("is too much");
        assert_eq!(refused.code(), 429);
        let mut other = intake.hold("admin");
        other.add(USER).expect("others have their own");
        drop(mine);
        intake.hold("evil").add(USER).expect("fits again");
        drop(other);
        assert_eq!(intake.counts().all, 0);
        assert!(intake.counts().by_user.is_empty());
    }
}
