//! Access control per call (TS 33.122 clause 6.5.1, TS 23.222 clause 8.23): what the core function's policy lets an invoker use of
//! the API, and when.
//!
//! Ranges of time are judged here. Totals and rates are counted at the core function: see [`crate::allowances`]. Whoever has used
//! up its total is reported once per authorization, and the core function revokes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use capif_client::{Limit, Provider};
use capif_spec::{
    access_control_policy::ApiInvokerPolicy,
    common::{ApiInvokerId, ServiceApiId},
    security::Cause,
};
use capif_transport::SharedClock;
use time::OffsetDateTime;

use crate::{
    allowances::{Allowances, CcfCounter, Verdict},
    answer::Denial,
    link::Link,
    memory::{Ages, Memory, Source},
};

/// How long a report waits, so that the revocation which follows it does not end the last calls that were granted.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// How long a rate rests when the core function does not say, and how long at most.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(10);

/// How many invokers are remembered as reported.
const REPORTED_MAX: usize = 200_000;

/// A policy as it is judged here.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Whether calls are counted.
    counted: bool,
    /// When calls may come; at any time if there is none.
    times: Vec<(Option<OffsetDateTime>, Option<OffsetDateTime>)>,
    /// The policy says something that cannot be judged here: nothing is let through.
    unjudged: bool,
    /// The total is used up.
    exhausted: AtomicBool,
    /// The rate lets nothing through before this moment.
    not_before: Mutex<Option<OffsetDateTime>>,
}

impl Policy {
    fn new(policy: &ApiInvokerPolicy) -> Self {
        let times = policy.allowed_invocation_time_range_list.iter().flatten();
        let times = times.map(|range| {
            let moment =
                |time: &Option<capif_spec::common::DateTime>| time.as_ref().map(|time| time.0);
            (moment(&range.start_time), moment(&range.stop_time))
        });
        Self {
            counted: policy.allowed_total_invocations.is_some()
                || policy.allowed_invocations_per_second.is_some(),
            times: times.collect(),
            // Calls do not say from which network slice they come.
            unjudged: policy.net_slice_info.is_some(),
            exhausted: AtomicBool::new(false),
            not_before: Mutex::default(),
        }
    }

    /// Whether calls may come at this time: from the beginning of a range on, up to its end.
    fn is_open(&self, now: OffsetDateTime) -> bool {
        let within = |(start, stop): &(Option<OffsetDateTime>, Option<OffsetDateTime>)| {
            start.is_none_or(|start| start <= now) && stop.is_none_or(|stop| now < stop)
        };
        !self.unjudged && (self.times.is_empty() || self.times.iter().any(within))
    }

    /// What is known without asking to hold calls back.
    fn held_back(&self, now: OffsetDateTime) -> Option<Denial> {
        if self.exhausted.load(Ordering::Relaxed) {
            return Some(Denial::TotalExhausted);
        }
        let until = *lock(&self.not_before);
        // Longer than it can be: the clock was put back.
        let left = Duration::try_from(until? - now)
            .ok()
            .filter(|left| !left.is_zero() && *left <= REST_MAX)?;
        Some(Denial::RateExceeded { after: left })
    }

    /// Notes that the rate is used up for a while.
    fn rest(&self, after: Duration, now: OffsetDateTime) {
        let after = time::Duration::try_from(after).unwrap_or_default();
        *lock(&self.not_before) = now.checked_add(after);
    }
}

/// Where policies come from.
pub(crate) struct PolicySource {
    provider: Arc<Provider>,
    api_id: ServiceApiId,
}

impl Source for PolicySource {
    type Fact = Policy;

    async fn ask(&self, id: &ApiInvokerId) -> Result<Option<Policy>, capif_client::Error> {
        let policy = self
            .provider
            .access_control_policy(&self.api_id, id)
            .await?;
        Ok(policy.as_ref().map(Policy::new))
    }
}

/// Lets calls through as the policies say.
pub(crate) struct Access {
    provider: Arc<Provider>,
    api_id: ServiceApiId,
    policies: Arc<Memory<PolicySource>>,
    allowances: Arc<Allowances<CcfCounter>>,
    /// Who was reported, with the number of the authorization.
    reported: Arc<Mutex<HashMap<ApiInvokerId, u64>>>,
    clock: SharedClock,
}

/// A call was let through by the policy, and counted if calls count.
pub(crate) struct Admitted(());

impl Access {
    pub(crate) fn new(
        provider: Arc<Provider>,
        api_id: ServiceApiId,
        ages: Ages,
        link: Arc<Link>,
        clock: SharedClock,
    ) -> Self {
        let source = PolicySource {
            provider: Arc::clone(&provider),
            api_id: api_id.clone(),
        };
        let counter = CcfCounter {
            provider: Arc::clone(&provider),
            api_id: api_id.clone(),
            link: Arc::clone(&link),
        };
        Self {
            policies: Arc::new(Memory::new(source, ages, link, Arc::clone(&clock))),
            clock,
            allowances: Arc::new(Allowances::new(counter)),
            reported: Arc::default(),
            provider,
            api_id,
        }
    }

    /// Judges one call of an invoker whose authorization has this number.
    pub(crate) async fn admit(
        &self,
        invoker: &ApiInvokerId,
        generation: u64,
        now: OffsetDateTime,
    ) -> Result<Admitted, Denial> {
        let known = self.policies.of(invoker).await;
        let Some(policy) = known.map_err(|_| Denial::Unchecked)? else {
            return Ok(Admitted(()));
        };
        if !policy.is_open(now) {
            return Err(Denial::NotNow);
        }
        if !policy.counted {
            return Ok(Admitted(()));
        }
        if let Some(denial) = policy.held_back(now) {
            if denial == Denial::TotalExhausted {
                self.report(invoker, generation, policy);
            }
            return Err(denial);
        }
        match self.allowances.take(invoker).await {
            Verdict::Granted => Ok(Admitted(())),
            Verdict::Exhausted(Limit::Total, _) => {
                policy.exhausted.store(true, Ordering::Relaxed);
                self.report(invoker, generation, policy);
                Err(Denial::TotalExhausted)
            }
            Verdict::Exhausted(Limit::Rate, after) => {
                let after = after.unwrap_or(REST).min(REST_MAX);
                policy.rest(after, self.clock.now());
                Err(Denial::RateExceeded { after })
            }
            Verdict::Unchecked => Err(Denial::Unchecked),
        }
    }

    /// Forgets all policies: at least one of them has changed.
    pub(crate) fn forget_all(&self) {
        self.policies.forget_all();
    }

    /// Forgets what is known of an invoker.
    pub(crate) fn forget(&self, invoker: &ApiInvokerId) {
        self.policies.forget(invoker);
    }

    /// Reports over-use, once per authorization, unless the policy changes meanwhile: then the next call shows.
    fn report(&self, invoker: &ApiInvokerId, generation: u64, policy: Arc<Policy>) {
        {
            let mut reported = lock(&self.reported);
            if reported.get(invoker) == Some(&generation) {
                return;
            }
            if reported.len() >= REPORTED_MAX {
                reported.clear();
            }
            reported.insert(invoker.clone(), generation);
        }
        let (provider, api_id) = (Arc::clone(&self.provider), self.api_id.clone());
        let (reported, invoker) = (Arc::clone(&self.reported), invoker.clone());
        let policies = Arc::clone(&self.policies);
        tokio::spawn(async move {
            tokio::time::sleep(REPORT_PAUSE).await;
            let now = policies.recall(&invoker).flatten();
            if !now.is_some_and(|now| Arc::ptr_eq(&now, &policy)) {
                lock(&reported).remove(&invoker);
                return;
            }
            match provider
                .revoke(&invoker, vec![api_id], Cause::OverlimitUsage)
                .await
            {
                Ok(_) => tracing::info!(%invoker, "over-use is reported"),
                Err(error) => {
                    // The next call reports it.
                    lock(&reported).remove(&invoker);
                    tracing::warn!(%invoker, %error, "over-use was not reported");
                }
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use capif_spec::{access_control_policy::TimeRangeList, common::DateTime};
    use time::macros::datetime;

    use super::*;

    fn policy(times: &[(Option<OffsetDateTime>, Option<OffsetDateTime>)]) -> ApiInvokerPolicy {
        let range =
            |(start, stop): &(Option<OffsetDateTime>, Option<OffsetDateTime>)| TimeRangeList {
                start_time: start.map(DateTime),
                stop_time: stop.map(DateTime),
                extra: Default::default(),
            };
        ApiInvokerPolicy {
            api_invoker_id: ApiInvokerId::new("amy"),
            allowed_total_invocations: None,
            allowed_invocations_per_second: None,
            allowed_invocation_time_range_list: Some(times.iter().map(range).collect()),
            net_slice_info: None,
            extra: Default::default(),
        }
    }

    #[test]
    fn ranges_of_time_are_kept_to_the_second() {
        let (a, b) = (
            datetime!(2026-01-01 12:00 UTC),
            datetime!(2026-01-01 13:00 UTC),
        );
        let second = time::Duration::seconds(1);
        for (times, now, open) in [
            (vec![], a, true),
            (vec![(Some(a), Some(b))], a - second, false),
            (vec![(Some(a), Some(b))], a, true),
            (vec![(Some(a), Some(b))], b - second, true),
            (vec![(Some(a), Some(b))], b, false),
            (vec![(Some(a), None)], b, true),
            (vec![(None, Some(a))], b, false),
            (vec![(None, None)], b, true),
            (vec![(None, Some(a)), (Some(b), None)], a, false),
            (vec![(None, Some(a)), (Some(b), None)], b, true),
            // One that ends before it begins is never.
            (vec![(Some(b), Some(a))], a, false),
        ] {
            let judged = Policy::new(&policy(&times));
            assert_eq!(judged.is_open(now), open, "{times:?} {now}");
            assert!(!judged.counted);
        }
    }

    #[test]
    fn what_cannot_be_judged_lets_nothing_through() {
        let mut sliced = policy(&[]);
        sliced.net_slice_info = Some(Vec::new());
        assert!(!Policy::new(&sliced).is_open(OffsetDateTime::UNIX_EPOCH));
        let mut counted = policy(&[]);
        counted.allowed_invocations_per_second = Some(0);
        assert!(Policy::new(&counted).counted);
    }

    #[test]
    fn what_is_known_to_hold_back_is_not_asked_again() {
        let judged = Policy::new(&policy(&[]));
        let now = datetime!(2026-01-01 12:00 UTC);
        assert_eq!(judged.held_back(now), None);
        let after = Duration::from_millis(300);
        judged.rest(after, now);
        for (milliseconds, left) in [
            (0, Some(300)),
            (299, Some(1)),
            (300, None),
            (-9700, Some(10_000)),
            (-9701, None),
        ] {
            let denial = judged.held_back(now + time::Duration::milliseconds(milliseconds));
            let left = left.map(Duration::from_millis);
            assert_eq!(
                denial,
                left.map(|after| Denial::RateExceeded { after }),
                "{milliseconds}"
            );
        }
        judged.exhausted.store(true, Ordering::Relaxed);
        assert_eq!(judged.held_back(now), Some(Denial::TotalExhausted));
    }
}
