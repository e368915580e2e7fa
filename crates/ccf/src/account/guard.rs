//! Wrong passwords, counted by account and by address, so that nobody tries many. In memory: a restart forgives.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use capif_transport::neighbourhood;
use time::{Duration, OffsetDateTime};

use crate::api::failures::Counts;

/// How long a wrong password is remembered.
const MEMORY: Duration = Duration::minutes(15);

/// How many wrong passwords from one address for one account are borne.
const PAIR_MAX: u32 = 5;

/// How many from one address, whatever the accounts.
const ADDRESS_MAX: u32 = 30;

/// How many for one account from everywhere: so many that nobody is locked out by a few strangers.
const ACCOUNT_MAX: u32 = 100;

/// How many are remembered.
const ENTRIES_MAX: usize = 30_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Suspect {
    Pair(IpAddr, String),
    Address(IpAddr),
    Account(String),
}

impl Suspect {
    fn bound(&self) -> u32 {
        match self {
            Self::Pair(..) => PAIR_MAX,
            Self::Address(_) => ADDRESS_MAX,
            Self::Account(_) => ACCOUNT_MAX,
        }
    }

    /// An account may be named in any spelling; what is not one is not kept at length.
    fn all(address: IpAddr, account: &str) -> [Self; 3] {
        let account: String = account.chars().take(64).collect();
        let address = neighbourhood(address);
        [
            Self::Pair(address, account.clone()),
            Self::Address(address),
            Self::Account(account),
        ]
    }
}

/// The counts.
#[derive(Debug)]
pub(crate) struct Guard(Mutex<Counts<Suspect>>);

impl Default for Guard {
    fn default() -> Self {
        Self(Mutex::new(Counts::new(MEMORY, ENTRIES_MAX)))
    }
}

impl Guard {
    /// The seconds that somebody must wait before another password is looked at.
    pub(crate) fn must_wait(
        &self,
        address: IpAddr,
        account: &str,
        now: OffsetDateTime,
    ) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let suspects = Suspect::all(address, account).into_iter();
        suspects
            .filter_map(|suspect| counts.must_wait(&suspect, suspect.bound(), now))
            .max()
    }

    /// Counts a wrong password.
    pub(crate) fn count(&self, address: IpAddr, account: &str, now: OffsetDateTime) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for suspect in Suspect::all(address, account) {
            counts.add(suspect, now);
        }
    }

    /// Forgets what an address got wrong about an account that it has now proved to know.
    pub(crate) fn forget(&self, address: IpAddr, account: &str) {
        let [pair, ..] = Suspect::all(address, account);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.forget(&pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn five_wrong_passwords_for_an_account_bring_a_pause_there() {
        let guard = Guard::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        for _ in 0..5 {
            assert_eq!(guard.must_wait(address(1), "ada", now), None);
            guard.count(address(1), "ada", now);
        }
        assert_eq!(guard.must_wait(address(1), "ada", now), Some(901));
        assert_eq!(guard.must_wait(address(2), "ada", now), None);
        assert_eq!(guard.must_wait(address(1), "bob", now), None);
        assert_eq!(guard.must_wait(address(1), "ada", now + MEMORY), None);
        guard.forget(address(1), "ada");
        assert_eq!(guard.must_wait(address(1), "ada", now), None);
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_for_all() {
        let guard = Guard::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        for number in 0..30 {
            guard.count(address(1), &format!("user{number}"), now);
        }
        assert!(guard.must_wait(address(1), "ada", now).is_some());
        assert_eq!(guard.must_wait(address(2), "ada", now), None);
    }

    #[test]
    fn a_household_of_ipv6_has_many_addresses() {
        let guard = Guard::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        for number in 0..5 {
            guard.count(at(&format!("2001:db8::{number}")), "ada", now);
        }
        assert!(guard.must_wait(at("2001:db8::99"), "ada", now).is_some());
        assert_eq!(guard.must_wait(at("2001:db8:0:1::1"), "ada", now), None);
        guard.count(at("::ffff:192.0.2.1"), "bob", now);
        assert_eq!(guard.must_wait(at("::ffff:192.0.2.2"), "bob", now), None);
    }

    #[test]
    fn an_account_that_many_addresses_try_waits_too() {
        let guard = Guard::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        for number in 0..100 {
            guard.count(address(number), "ada", now);
        }
        assert!(guard.must_wait(address(200), "ada", now).is_some());
        assert_eq!(guard.must_wait(address(200), "bob", now), None);
    }
}
