//! How often somebody may do something: token buckets, in bounded memory.
//!
//! Each has a bucket, which holds some tokens; what is done takes one, and they come back with time. A full bucket is as good as
//! none, so that full ones alone are forgotten, and nobody gets tokens by having many others come. While there is no room, all who
//! are new share one bucket.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many buckets that are not full are remembered.
const BUCKETS_MAX: usize = 65_536;

/// How often full ones are looked for, at most: it takes a look at all.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What a full bucket holds, by the seconds in which it fills.
const BURST_SECONDS: u32 = 4;

/// What stands for those who find no room.
const OTHERS: u64 = 0;

/// The buckets of everybody.
#[derive(Debug)]
pub struct Buckets {
    /// How long a bucket takes to fill.
    fill: Duration,
    /// How long one token takes to come back.
    refill: Duration,
    /// Secret, so that nobody can choose a name that shares another's bucket.
    names: RandomState,
    used: Mutex<Used>,
}

/// The buckets that are not full, or were not lately.
#[derive(Debug, Default)]
struct Used {
    /// When each will be full again.
    full: HashMap<u64, Instant>,
    swept: Option<Instant>,
}

impl Buckets {
    /// So many tokens a second; a full bucket holds what comes in four seconds.
    #[must_use]
    pub fn per_second(per_second: u32) -> Self {
        Self::new(per_second.saturating_mul(BURST_SECONDS), per_second)
    }

    fn new(burst: u32, per_second: u32) -> Self {
        let refill = Duration::from_secs(1) / per_second.max(1);
        Self {
            fill: refill * burst,
            refill,
            names: RandomState::new(),
            used: Mutex::default(),
        }
    }

    /// Takes a token of somebody's.
    ///
    /// # Errors
    /// When there is none left: after how long there will be one.
    pub fn take(&self, who: &(impl Hash + ?Sized), now: Instant) -> Result<(), Duration> {
        let mut name = self.names.hash_one(who);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.full.len() >= BUCKETS_MAX && !used.full.contains_key(&name) && !used.sweep(now) {
            name = OTHERS;
        }
        let held = used.full.entry(name).or_insert(now);
        let full = (*held).max(now) + self.refill;
        let over = full.saturating_duration_since(now + self.fill);
        if over.is_zero() {
            *held = full;
            Ok(())
        } else {
            Err(over)
        }
    }
}

impl Used {
    /// Forgets full buckets; whether there is room now.
    fn sweep(&mut self, now: Instant) -> bool {
        let due = |swept: Instant| now.saturating_duration_since(swept) >= SWEEP_PAUSE;
        if self.swept.is_none_or(due) {
            self.full.retain(|_, full| *full > now);
            self.swept = Some(now);
        }
        self.full.len() < BUCKETS_MAX
    }
}

/// Where addresses count as one: of IPv6, whoever has an address has all with the same first 64 bits.
#[must_use]
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_run_out_and_come_back() {
        let buckets = Buckets::new(3, 10);
        let now = Instant::now();
        let taken = |who: &str, now| (0..9).filter(|_| buckets.take(who, now).is_ok()).count();
        assert_eq!(taken("one", now), 3);
        assert_eq!(buckets.take("one", now), Err(Duration::from_millis(100)));
        assert_eq!(taken("other", now), 3);
        let later = now + Duration::from_millis(99);
        assert_eq!(buckets.take("one", later), Err(Duration::from_millis(1)));
        assert_eq!(taken("one", now + Duration::from_millis(100)), 1);
        assert_eq!(taken("one", now + Duration::from_secs(3600)), 3);
        // Whoever comes with an earlier time was overtaken, no more.
        assert!(buckets.take("one", now).is_err());
        assert_eq!(Buckets::per_second(5).fill, Duration::from_secs(4));
    }

    #[test]
    fn memory_is_bounded_and_strangers_share_what_is_left() {
        let buckets = Buckets::new(1, 1);
        let now = Instant::now();
        let held = || buckets.used.lock().unwrap().full.len();
        assert!((0..BUCKETS_MAX).all(|number| buckets.take(&number, now).is_ok()));
        assert!(buckets.take(&BUCKETS_MAX, now).is_ok());
        assert!(buckets.take(&(BUCKETS_MAX + 1), now).is_err());
        assert_eq!(held(), BUCKETS_MAX + 1);
        // So many others do not empty or fill anybody's.
        assert!(buckets.take(&7_usize, now).is_err());
        let later = now + Duration::from_secs(2);
        assert!(buckets.take(&(BUCKETS_MAX + 1), later).is_ok());
        assert_eq!(held(), 1);
    }

    #[test]
    fn neighbours_count_as_one() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:1::1"), of("2001:db8:1:1:ffff::2"));
        assert_ne!(of("2001:db8:1:1::1"), of("2001:db8:1:2::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
