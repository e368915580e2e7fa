//! Time as a value that is handed in.
//!
//! Certificates are judged by this clock too, so that a test which moves the time also moves the expiry of certificates.

use std::fmt;
use std::ops::Add;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> OffsetDateTime;
}

/// A clock that many tasks read.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the time is read"
    )]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(RwLock<OffsetDateTime>);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: OffsetDateTime) -> Self {
        Self(RwLock::new(at))
    }

    /// Shows `at` from now on.
    pub fn set(&self, at: OffsetDateTime) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Moves the clock by a duration, of `std` or of `time`.
    pub fn advance<D>(&self, by: D)
    where
        OffsetDateTime: Add<D, Output = OffsetDateTime>,
    {
        let mut at = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *at = *at + by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Clock`] in the form that the TLS library asks for.
pub(crate) struct TlsTime(pub(crate) SharedClock);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        unix_time(self.0.now())
    }
}

impl fmt::Debug for TlsTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTime")
    }
}

fn unix_time(at: OffsetDateTime) -> Option<UnixTime> {
    let seconds = u64::try_from(at.unix_timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        seconds,
    )))
}
