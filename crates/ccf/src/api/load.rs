//! How much is taken on: so many requests of one caller in a second, and so many of all at once. Beyond that they are refused at
//! once, before anything is looked at, and the others go on as before.
//!
//! A caller is who the certificate of its connection names; without one that counts, its address: whoever has one that was replaced
//! takes nothing from who has the new one. Requests at once are those that are worked on: whoever is slow to send a body holds nobody
//! up. Nor does what one operation waits for, such as an outside authority: no operation has more than a quarter of the places.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use capif_procedures::state::Role;
use capif_transport::{Buckets, Peer, neighbourhood};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{operations::OPERATIONS, problem::ApiError};
use crate::config::LimitsSection;

/// The bounds, and what is used of them.
pub(super) struct Load {
    invokers: Rate,
    functions: Rate,
    others: Rate,
    places: Arc<Semaphore>,
    /// The same for each operation.
    shares: HashMap<&'static str, Arc<Semaphore>>,
}

/// The bound of one kind of callers.
struct Rate {
    of: &'static str,
    key: &'static str,
    per_second: u32,
    /// None without a bound.
    buckets: Option<Buckets>,
}

/// A place among the requests that are worked on, and among those of its operation.
pub(super) struct Place {
    _among_all: OwnedSemaphorePermit,
    _of_operation: OwnedSemaphorePermit,
}

impl Load {
    pub(super) fn new(limits: &LimitsSection) -> Self {
        let places_max = match limits.requests_at_once {
            0 => Semaphore::MAX_PERMITS,
            most => most.min(Semaphore::MAX_PERMITS),
        };
        let share = places_max.div_ceil(4);
        let shares = OPERATIONS.iter().map(|operation| {
            let places = Arc::new(Semaphore::new(share));
            (operation.id, places)
        });
        Self {
            invokers: Rate::new(
                "an API invoker",
                "limits.invoker_requests_per_second",
                limits.invoker_requests_per_second,
            ),
            functions: Rate::new(
                "a provider function",
                "limits.function_requests_per_second",
                limits.function_requests_per_second,
            ),
            others: Rate::new(
                "an address without a certificate that counts",
                "limits.anonymous_requests_per_second",
                limits.anonymous_requests_per_second,
            ),
            places: Arc::new(Semaphore::new(places_max)),
            shares: shares.collect(),
        }
    }

    /// Counts a request of somebody's, whose certificate `counts` or not.
    pub(super) fn count(&self, peer: &Peer, from: IpAddr, counts: bool) -> Result<(), ApiError> {
        let now = Instant::now();
        match peer.certificate().filter(|_| counts) {
            None => self.others.take(&neighbourhood(from), now),
            Some(certificate) => {
                let unit = certificate.organizational_unit.as_deref();
                let rate = if unit == Some(Role::ApiInvoker.as_str()) {
                    &self.invokers
                } else {
                    &self.functions
                };
                rate.take(certificate.common_name.as_str(), now)
            }
        }
    }

    /// Whether there is a place for a request that has yet to come in whole: nobody is to send a body in vain.
    pub(super) fn look(&self, operation: &'static str) -> Result<(), ApiError> {
        self.begin(operation).map(drop)
    }

    /// Gives a place to a request that is whole.
    pub(super) fn begin(&self, operation: &'static str) -> Result<Place, ApiError> {
        let full = |_| ApiError::Overloaded;
        let share = self.shares.get(operation);
        let share = share.ok_or(ApiError::Internal("an operation without a share"))?;
        Ok(Place {
            _of_operation: Arc::clone(share).try_acquire_owned().map_err(full)?,
            _among_all: Arc::clone(&self.places).try_acquire_owned().map_err(full)?,
        })
    }
}

impl Rate {
    fn new(of: &'static str, key: &'static str, per_second: u32) -> Self {
        Self {
            of,
            key,
            per_second,
            buckets: (per_second > 0).then(|| Buckets::per_second(per_second)),
        }
    }

    fn take(&self, who: &(impl std::hash::Hash + ?Sized), now: Instant) -> Result<(), ApiError> {
        let Some(buckets) = &self.buckets else {
            return Ok(());
        };
        buckets.take(who, now).map_err(|wait| ApiError::TooFast {
            of: self.of,
            key: self.key,
            per_second: self.per_second,
            seconds: whole_seconds(wait),
        })
    }
}

/// A time in whole seconds, none of them too few: what `Retry-After` can say.
fn whole_seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more).max(1)
}

#[cfg(test)]
mod tests {
    use capif_transport::{Fingerprint, PeerCertificate};
    use time::OffsetDateTime;

    use super::*;

    fn load(change: impl FnOnce(&mut LimitsSection)) -> Load {
        let mut limits = LimitsSection::default();
        change(&mut limits);
        Load::new(&limits)
    }

    #[test]
    fn one_operation_has_a_quarter_of_the_places() {
        let load = load(|limits| limits.requests_at_once = 8);
        let held: Vec<Place> = (0..2)
            .map(|_| load.begin("CreateOnboardedAPIInvoker").unwrap())
            .collect();
        let full = |operation| matches!(load.begin(operation), Err(ApiError::Overloaded));
        assert!(full("CreateOnboardedAPIInvoker"));
        let others = ["GetPubServAPIs", "GetServAPIs", "GetAPIInvLogs"];
        let more: Vec<Place> = others
            .into_iter()
            .flat_map(|other| (0..2).map(move |_| other))
            .map(|other| load.begin(other).unwrap())
            .collect();
        assert!(full("AccessTokenKeys"), "all places are taken");
        drop(held);
        assert!(!full("AccessTokenKeys") && !full("CreateOnboardedAPIInvoker"));
        drop(more);
        // What found no place among all has not kept its share.
        assert!(!full("AccessTokenKeys") && !full("AccessTokenKeys"));
    }

    #[test]
    fn without_a_bound_there_is_always_a_place() {
        let load = load(|limits| limits.requests_at_once = 0);
        let held: Vec<_> = (0..5000).map(|_| load.begin("GetServAPIs")).collect();
        assert!(held.iter().all(Result::is_ok));
    }

    /// A stolen certificate that was replaced must not cost its owner anything, nor free whoever has it from the bound of its address.
    #[test]
    fn dead_certificates_take_nothing_from_their_owner() {
        let load = load(|limits| {
            limits.invoker_requests_per_second = 1;
            limits.anonymous_requests_per_second = 2;
        });
        let certificate = |der: &[u8]| {
            Peer::Certificate(Arc::new(PeerCertificate {
                fingerprint: Fingerprint::of(der),
                common_name: "INV-1".to_owned(),
                organizational_unit: Some(Role::ApiInvoker.as_str().to_owned()),
                not_after: OffsetDateTime::UNIX_EPOCH,
            }))
        };
        let (old, new, newer) = (certificate(b"1"), certificate(b"2"), certificate(b"3"));
        let from = IpAddr::from([192, 0, 2, 1]);
        let taken = |peer, counts| {
            let all = 0..20;
            all.filter(|_| load.count(peer, from, counts).is_ok())
                .count()
        };
        assert!((8..=9).contains(&taken(&old, false)));
        assert!((4..=5).contains(&taken(&new, true)));
        // By which of those that count it is called does not matter.
        assert!(taken(&newer, true) <= 1);
    }

    #[test]
    fn each_caller_has_a_rate() {
        let rate = Rate::new("somebody", "a key", 2);
        let now = Instant::now();
        let taken = (0..20).filter(|_| rate.take("one", now).is_ok()).count();
        assert_eq!(taken, 8, "four seconds at once");
        assert!(rate.take("other", now).is_ok());
        let Err(ApiError::TooFast { seconds, .. }) = rate.take("one", now) else {
            panic!("one more was taken");
        };
        assert_eq!(seconds, 1);
        let unbounded = Rate::new("somebody", "a key", 0);
        assert!((0..100_000).all(|_| unbounded.take("one", now).is_ok()));
    }
}
