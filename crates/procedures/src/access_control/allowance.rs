//! How many calls an AEF may let through: asked for by whichever of its processes, counted in one place.
//!
//! Totals are kept in the store: what was granted is written before it is answered, so that a crash costs an invoker calls
//! that nobody made, never an API calls beyond the total. Rates are kept in memory. When calls may be made at all is the
//! AEF's to judge.

use capif_spec::common::ApiInvokerId;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::rate::Window;
use crate::{
    changes::{Changes, Expect, Record, Versioned},
    refusal::Refusal,
    state::{AccessControlPolicy, Invoker, Limits, ServiceApi, Usage},
};

/// How many calls may be asked for at a time.
pub const WANTED_MAX: u64 = 10_000;

/// An AEF asks for calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowanceReq {
    /// Whose calls.
    pub api_invoker_id: ApiInvokerId,
    /// How many are waiting.
    pub wanted: u64,
}

impl AllowanceReq {
    /// # Errors
    /// Refuses numbers out of bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        if (1..=WANTED_MAX).contains(&self.wanted) {
            return Ok(());
        }
        Err(Refusal::incorrect(
            "/wanted",
            format!("`wanted` is from 1 to {WANTED_MAX}"),
        ))
    }
}

/// How many calls may be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// So many, now.
    pub granted: u64,
    /// Why not more; absent if all that were asked for are granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<Exhausted>,
    /// When it makes sense to ask again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// What was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exhausted {
    /// The total.
    Total,
    /// The rate, for the moment.
    Rate,
}

/// The decision on the numbers alone: never more than what the total leaves, nor than the rate lets through.
#[must_use]
pub fn allow(
    wanted: u64,
    limits: &Limits,
    used: u64,
    window: &Window,
    now: OffsetDateTime,
) -> Allowance {
    let left = limits
        .total
        .map_or(u64::MAX, |total| total.saturating_sub(used));
    let room = limits
        .per_second
        .map_or(u64::MAX, |rate| window.room(rate, now));
    let granted = wanted.min(left).min(room);
    let exhausted = match granted {
        granted if granted == wanted => None,
        granted if granted == left => Some(Exhausted::Total),
        _ => Some(Exhausted::Rate),
    };
    let pause = limits
        .per_second
        .filter(|_| exhausted == Some(Exhausted::Rate))
        .map(|rate| {
            let mut after = window.clone();
            after.take(granted, now);
            milliseconds(after.pause(rate, now))
        });
    Allowance {
        granted,
        exhausted,
        retry_after_ms: pause,
    }
}

/// Whole milliseconds, rounded up.
fn milliseconds(pause: Duration) -> u64 {
    let whole = pause.whole_nanoseconds().max(0);
    u64::try_from((whole + 999_999) / 1_000_000).unwrap_or(u64::MAX)
}

/// What counts for an invoker at an API.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The invoker.
    pub invoker: &'a ApiInvokerId,
    /// The API.
    pub api: &'a ServiceApi,
    /// The invoker's own policy.
    pub own: Option<&'a Versioned<AccessControlPolicy>>,
    /// The policy for everyone, which counts when there is no own.
    pub default: Option<&'a Versioned<AccessControlPolicy>>,
    /// What it has used.
    pub usage: Option<&'a Versioned<Usage>>,
}

impl<'a> Terms<'a> {
    /// The policy that counts.
    #[must_use]
    pub fn policy(&self) -> Option<&'a Versioned<AccessControlPolicy>> {
        self.own.or(self.default)
    }
}

/// Grants calls. Nothing is written where no total counts; the window is not touched.
#[must_use]
pub fn grant(
    wanted: u64,
    terms: Terms<'_>,
    window: &Window,
    now: OffsetDateTime,
) -> (Changes, Allowance) {
    let mut changes = Changes::new();
    let unlimited = Limits::default();
    let limits = terms
        .policy()
        .map_or(&unlimited, |policy| &policy.record.limits);
    let used = terms.usage.map_or(0, |usage| usage.record.calls);
    let allowance = allow(wanted, limits, used, window, now);
    if limits.total.is_none() || allowance.granted == 0 {
        return (changes, allowance);
    }
    let usage = Usage {
        invoker_id: terms.invoker.clone(),
        api_id: terms.api.id.clone(),
        calls: used.saturating_add(allowance.granted),
    };
    let at = |revision: Option<_>| revision.map_or(Expect::Absent, Expect::At);
    changes.require::<Invoker>(terms.invoker.as_str(), Expect::Present);
    changes.require::<ServiceApi>(terms.api.id.as_str(), Expect::Present);
    // Decided on these terms, and counted only under them.
    let own = AccessControlPolicy::id(&terms.api.id, Some(terms.invoker));
    changes.require::<AccessControlPolicy>(own, at(terms.own.map(|own| own.revision)));
    if let (None, Some(default)) = (terms.own, terms.default) {
        changes.require::<AccessControlPolicy>(
            default.record.record_id(),
            Expect::At(default.revision),
        );
    }
    changes.put(&usage, at(terms.usage.map(|usage| usage.revision)));
    (changes, allowance)
}
