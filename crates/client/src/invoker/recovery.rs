//! What an AEF's word that another method counts sets in motion (TS 33.122 clause 6.7), and how little that is (P-28).
//!
//! The AEF says no more than "ask": by its indicator, or by ending a handshake. Which method counts is asked of the CAPIF core
//! function alone, over mutual TLS, and only what another process or another call has not found out already. Calls that are
//! refused together ask together.
//!
//! An AEF can be right before anything has changed for it to be right about: for a moment after a change it may not have heard
//! of what was agreed on since. So a call waits a little and comes back, up to [`PATIENCE`]. An AEF can also be wrong forever.
//! Each answer that brings nothing new costs it one of [`QUESTIONS_MAX`] questions, of which it gets back one in
//! [`QUESTION_PERIOD`]; an answer that does bring something new shows that it was right, and gives all of them back. What it
//! cannot do is bring about such an answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use capif_spec::common::AefId;
use tokio::time::Instant;

use super::{Invoker, KNOWN_APIS_MAX, agreement::Way};
use crate::{discovery::Route, error::Error};

/// How long a call that is refused goes on asking and coming back.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it comes back at most.
const REPEATS_MAX: u32 = 32;

/// How long it waits the first time before it comes back with what it had, since the AEF may not have heard yet; it doubles with
/// each.
const PAUSE: Duration = Duration::from_millis(50);

/// How many questions an AEF's word is good for that bring nothing new.
const QUESTIONS_MAX: u32 = 5;

/// How long until it is good for one more.
const QUESTION_PERIOD: Duration = Duration::from_secs(60);

/// How long after the first such question the next one may come; it doubles with each.
const SETTLING: Duration = Duration::from_millis(250);

/// How long after a renewal the next one may be tried.
const RENEWAL_PERIOD: Duration = Duration::from_secs(10);

/// What may be asked because of which AEF's word.
#[derive(Default)]
pub(super) struct Recoveries {
    credits: Mutex<HashMap<AefId, Credit>>,
}

struct Credit {
    /// Questions that are left, and since when they are counted.
    left: u32,
    since: Instant,
    /// How many in a row brought nothing new.
    vain: u32,
    /// Not before.
    next: Instant,
}

impl Credit {
    fn full(now: Instant) -> Self {
        Self {
            left: QUESTIONS_MAX,
            since: now,
            vain: 0,
            next: now,
        }
    }

    /// Gives back what time has earned.
    fn refill(&mut self, now: Instant) {
        while self.left < QUESTIONS_MAX && now.duration_since(self.since) >= QUESTION_PERIOD {
            self.left += 1;
            self.since += QUESTION_PERIOD;
        }
        if self.left == QUESTIONS_MAX {
            self.since = now;
            self.vain = 0;
        }
    }

    fn opens(&self) -> Instant {
        if self.left > 0 {
            self.next
        } else {
            self.next.max(self.since + QUESTION_PERIOD)
        }
    }
}

impl Recoveries {
    /// When the next question may be put.
    fn opens(&self, aef: &AefId, now: Instant) -> Instant {
        self.with(aef, now, |credit| credit.opens())
    }

    /// A question is put; until it is known better, in vain.
    fn spend(&self, aef: &AefId, now: Instant) {
        self.with(aef, now, |credit| {
            credit.left = credit.left.saturating_sub(1);
            credit.next = now + SETTLING * 2_u32.saturating_pow(credit.vain.min(QUESTIONS_MAX));
            credit.vain = credit.vain.saturating_add(1);
        });
    }

    /// The answer shows that the AEF was right.
    fn confirm(&self, aef: &AefId) {
        self.lock().remove(aef);
    }

    fn with<T>(&self, aef: &AefId, now: Instant, act: impl FnOnce(&mut Credit) -> T) -> T {
        let mut credits = self.lock();
        if credits.len() >= KNOWN_APIS_MAX && !credits.contains_key(aef) {
            credits.retain(|_, credit| {
                credit.refill(now);
                credit.left < QUESTIONS_MAX
            });
            if credits.len() >= KNOWN_APIS_MAX {
                credits.clear();
            }
        }
        let credit = credits
            .entry(aef.clone())
            .or_insert_with(|| Credit::full(now));
        credit.refill(now);
        act(credit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AefId, Credit>> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a key was last to be renewed.
#[derive(Default)]
pub(super) struct KeyRenewals {
    last: Mutex<Option<Instant>>,
}

impl KeyRenewals {
    pub(super) fn may_try(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| last.elapsed() >= RENEWAL_PERIOD)
    }

    pub(super) fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// How long one call has been refused, and how often.
#[derive(Default)]
pub(super) struct Patience {
    until: Option<Instant>,
    repeats: u32,
    pauses: u32,
}

impl Patience {
    /// Counts one more refusal; `None` when there were enough, else until when to go on.
    pub(super) fn bear(&mut self, now: Instant) -> Option<Instant> {
        let until = *self.until.get_or_insert(now + PATIENCE);
        self.repeats = self.repeats.saturating_add(1);
        (now < until && self.repeats <= REPEATS_MAX).then_some(until)
    }

    fn pause(&mut self) -> Duration {
        let pause = PAUSE * 2_u32.saturating_pow(self.pauses.min(5));
        self.pauses = self.pauses.saturating_add(1);
        pause
    }
}

impl Invoker {
    /// Looks for a better way than one that was refused. `false` if there is none to be expected: then the refusal stands.
    pub(super) async fn recover(
        &self,
        route: &Route,
        api: &str,
        path: &str,
        used: &Way,
        patience: &mut Patience,
    ) -> Result<bool, Error> {
        let Some(until) = patience.bear(Instant::now()) else {
            return Ok(false);
        };
        let pause = {
            let _one_at_a_time = self.shared.negotiation.lock().await;
            // Another call may have asked while this one was under way, or another process.
            if self.held().negotiations != used.negotiation
                || self.standing().revision != used.revision
                || self.reread()?
            {
                return Ok(true);
            }
            let now = Instant::now();
            let opens = self.shared.recoveries.opens(&route.aef_id, now);
            if opens <= now {
                self.shared.recoveries.spend(&route.aef_id, now);
                self.ask_about(route, api, path, used).await?;
                return Ok(true);
            }
            if opens >= until {
                return Ok(false);
            }
            patience.pause().min(opens - now)
        };
        // Perhaps the AEF has heard by then of what was agreed on.
        tokio::time::sleep(pause).await;
        Ok(true)
    }

    /// Asks the CAPIF core function where the API is and which method counts there.
    async fn ask_about(
        &self,
        route: &Route,
        api: &str,
        path: &str,
        used: &Way,
    ) -> Result<(), Error> {
        tracing::info!(aef = %route.aef_id, "the AEF refuses the security method: asking the CAPIF core function");
        self.forget_api(api);
        let now = self.route(api, path).await?;
        if now.aef_id != route.aef_id {
            self.shared.recoveries.confirm(&route.aef_id);
            return Ok(());
        }
        self.negotiate_now(&[self.wish(&now)]).await?;
        let way = self.require(&now, api)?;
        if !way.carried.is_like(&used.carried) || now.address != route.address {
            self.shared.recoveries.confirm(&route.aef_id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
