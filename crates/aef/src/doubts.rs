//! Certificates that were shown and do not count, as the core function said when it was asked on their account: remembered for a
//! moment, so that whoever goes on showing one cannot make the gateway ask again and again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long it is believed that a certificate does not count. It was made out before it could be shown, so that it will not
/// begin to.
const AGE_MAX: Duration = Duration::from_secs(5);

/// How many are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The certificates, by their SHA-256.
#[derive(Default)]
pub(crate) struct Doubts(Mutex<HashMap<String, Instant>>);

impl Doubts {
    /// Remembers one.
    pub(crate) fn add(&self, fingerprint: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, until| now < *until);
        }
        if all.len() < REMEMBERED_MAX {
            all.insert(fingerprint.to_owned(), now + AGE_MAX);
        }
    }

    /// Whether there is no use in asking about it.
    pub(crate) fn hold(&self, fingerprint: &str, now: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(fingerprint).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_count_is_believed_for_a_moment_and_bounded() {
        let doubts = Doubts::default();
        let now = Instant::now();
        doubts.add("a", now);
        assert!(doubts.hold("a", now) && !doubts.hold("b", now));
        assert!(!doubts.hold("a", now + AGE_MAX));
        for number in 0..2 * REMEMBERED_MAX {
            doubts.add(&number.to_string(), now);
        }
        assert_eq!(doubts.0.lock().unwrap().len(), REMEMBERED_MAX);
        assert!(doubts.hold("a", now) && !doubts.hold("20000", now));
        // The old ones make room.
        doubts.add("later", now + AGE_MAX);
        assert!(doubts.hold("later", now + AGE_MAX));
        assert_eq!(doubts.0.lock().unwrap().len(), 1);
    }
}
