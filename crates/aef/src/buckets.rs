//! How often somebody who has proved nothing may make the gateway ask the CAPIF core function (D-31).
//!
//! One bucket per address: it holds some tokens, each question takes one, and they come back with time. Addresses of IPv6 count
//! by their first 64 bits, since whoever has one has them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many addresses are remembered; all others share one bucket.
const ADDRESSES_MAX: usize = 16_384;

/// What stands for the addresses that find no room.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The buckets of all addresses.
pub(crate) struct Buckets {
    /// How many tokens a full bucket holds.
    burst: u32,
    /// How long one token takes to come back.
    refill: Duration,
    used: Mutex<HashMap<IpAddr, Bucket>>,
}

/// A bucket that is not full.
#[derive(Clone, Copy)]
struct Bucket {
    /// When it will be full again.
    full: Instant,
}

impl Buckets {
    /// Buckets that hold what comes in four seconds.
    pub(crate) fn per_second(per_second: u32) -> Self {
        Self::new(per_second.saturating_mul(4), per_second)
    }

    fn new(burst: u32, per_second: u32) -> Self {
        Self {
            burst,
            refill: Duration::from_secs(1) / per_second.max(1),
            used: Mutex::default(),
        }
    }

    /// Takes a token of an address; `false` when it has none left.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut address = neighbourhood(address);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= ADDRESSES_MAX && !used.contains_key(&address) {
            used.retain(|_, bucket| bucket.full > now);
            if used.len() >= ADDRESSES_MAX {
                address = OTHERS;
            }
        }
        let bucket = used.entry(address).or_insert(Bucket { full: now });
        let full = bucket.full.max(now) + self.refill;
        let taken = full <= now + self.refill * self.burst;
        if taken {
            bucket.full = full;
        }
        taken
    }
}

fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_run_out_and_come_back() {
        let buckets = Buckets::new(3, 10);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        assert_eq!((0..9).filter(|_| buckets.take(one, now)).count(), 3);
        assert!(buckets.take(other, now));
        let later = now + Duration::from_millis(99);
        assert!(!buckets.take(one, later));
        let later = now + Duration::from_millis(100);
        assert!(buckets.take(one, later) && !buckets.take(one, later));
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| buckets.take(one, later)).count(), 3);
    }

    #[test]
    fn neighbours_share() {
        let buckets = Buckets::new(1, 1);
        let now = Instant::now();
        for (address, taken) in [
            ("2001:db8:1:1::1", true),
            ("2001:db8:1:1:ffff::2", false),
            ("2001:db8:1:2::1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", false),
        ] {
            assert_eq!(
                buckets.take(address.parse().unwrap(), now),
                taken,
                "{address}"
            );
        }
    }

    #[test]
    fn memory_is_bounded_and_strangers_share_what_is_left() {
        let buckets = Buckets::new(1, 1);
        let now = Instant::now();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let most = u32::try_from(ADDRESSES_MAX).unwrap();
        assert!((0..most).all(|number| buckets.take(address(number), now)));
        assert!(buckets.take(address(most), now));
        assert!(!buckets.take(address(most + 1), now));
        assert_eq!(buckets.used.lock().unwrap().len(), ADDRESSES_MAX + 1);
        let later = now + Duration::from_secs(2);
        assert!(buckets.take(address(most + 1), later));
        assert_eq!(buckets.used.lock().unwrap().len(), 1);
    }
}
