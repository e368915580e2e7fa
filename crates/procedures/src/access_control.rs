//! Access control: what the operator lets invokers use of an API, told to the AEFs that enforce it (TS 23.222 clause 8.23, TS
//! 29.222 clause 8.6).
//!
//! A policy is for an API and everyone, or for an API and one invoker, and the latter counts in the place of the former. AEFs
//! ask for the list; they hear of changes by event. Calls under a total or a rate are counted here, so that several askers
//! together never get more than the policy says: see [`allowance`].

pub mod allowance;
pub mod rate;

use capif_spec::{
    access_control_policy::{ApiInvokerPolicy, TimeRangeList},
    common::{AefId, ApiInvokerId, Checked, DateTime, NetSliceId},
    events::CapifEvent,
};

use crate::{
    changes::{Changes, Expect, Record, Versioned},
    events,
    refusal::Refusal,
    security_method::exposed,
    state::{
        AccessControlPolicy, Invoker, Limits, SecurityContext, ServiceApi, Subscription, TimeRange,
        Usage,
    },
};

/// How many ranges of time one policy may hold.
pub const TIMES_MAX: usize = 64;

/// How many network slices one policy may name.
pub const SLICES_MAX: usize = 64;

/// How long the id of a slice may be, in octets.
const SLICE_BYTES_MAX: usize = 256;

/// The greatest number that every JSON reader keeps exactly (RFC 8259 section 6).
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// How many policies an event tells. Of more, the AEF is told that it has to ask.
pub const TOLD_MAX: usize = 256;

/// An invoker with its security context.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The invoker.
    pub invoker: &'a Invoker,
    /// What it negotiated.
    pub context: &'a SecurityContext,
}

impl Member<'_> {
    /// Whether the invoker has something to do with an API at an AEF.
    #[must_use]
    pub fn uses(&self, api: &ServiceApi, aef_id: &AefId) -> bool {
        let here = self.context.entries.iter();
        here.filter(|entry| entry.aef_id == *aef_id).any(|entry| {
            exposed(entry, self.invoker, std::iter::once(api))
                .next()
                .is_some()
        })
    }
}

/// Whether an AEF exposes an API.
#[must_use]
pub fn exposes(api: &ServiceApi, aef_id: &AefId) -> bool {
    let mut profiles = api.description.aef_profiles.iter().flatten();
    profiles.any(|profile| profile.aef_id == *aef_id)
}

/// The policies of an API in the form of TS 29.222 clause 8.6.4.2.2, as one of its AEFs sees them: one for each invoker that
/// has its own, and, where there is one for everyone, that one for each other invoker with a context at the AEF.
pub fn list<'a>(
    api: &ServiceApi,
    aef_id: &AefId,
    policies: &[&AccessControlPolicy],
    members: impl Iterator<Item = Member<'a>>,
) -> Vec<ApiInvokerPolicy> {
    let own = policies.iter().filter_map(|policy| {
        let invoker = policy.invoker_id.as_ref()?;
        Some(on_the_wire(invoker, &policy.limits))
    });
    let mut all: Vec<ApiInvokerPolicy> = own.collect();
    let Some(default) = policies.iter().find(|policy| policy.invoker_id.is_none()) else {
        return all;
    };
    let has_own = |id: &ApiInvokerId| {
        let mut owners = policies
            .iter()
            .filter_map(|policy| policy.invoker_id.as_ref());
        owners.any(|owner| owner == id)
    };
    let others = members.filter(|member| member.uses(api, aef_id) && !has_own(&member.invoker.id));
    all.extend(others.map(|member| on_the_wire(&member.invoker.id, &default.limits)));
    all
}

fn on_the_wire(invoker: &ApiInvokerId, limits: &Limits) -> ApiInvokerPolicy {
    let times = limits.times.iter().map(|range| TimeRangeList {
        start_time: range.from.clone(),
        stop_time: range.to.clone(),
        extra: Default::default(),
    });
    ApiInvokerPolicy {
        api_invoker_id: invoker.clone(),
        allowed_total_invocations: limits.total,
        allowed_invocations_per_second: limits.per_second,
        allowed_invocation_time_range_list: (!limits.times.is_empty()).then(|| times.collect()),
        net_slice_info: (!limits.slices.is_empty()).then(|| limits.slices.clone()),
        extra: Default::default(),
    }
}

/// The API whose policies change, and who may have to hear of it.
#[derive(Clone, Debug)]
pub struct Around<'a, M, S> {
    /// The API.
    pub api: &'a Versioned<ServiceApi>,
    /// Its policies as they are.
    pub policies: Vec<&'a AccessControlPolicy>,
    /// Every invoker with its context.
    pub members: M,
    /// The subscriptions of everyone.
    pub subscriptions: S,
}

/// Sets the policy of an API for everyone, or for one `invoker`. What was used before counts against a new total, unless `used`
/// names what is to be forgotten.
///
/// # Errors
/// Refuses bounds that cannot be.
pub fn set<'a, M, S>(
    limits: Limits,
    invoker: Option<&Versioned<Invoker>>,
    used: impl Iterator<Item = &'a Usage>,
    around: Around<'a, M, S>,
    now: &DateTime,
) -> Result<Changes, Refusal>
where
    M: Iterator<Item = Member<'a>> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    check(&limits)?;
    let mut changes = of_one_at_a_time(around.api);
    if let Some(invoker) = invoker {
        // Moves the profile, so that a removal that did not see this policy is decided anew.
        changes.put(&invoker.record, Expect::At(invoker.revision));
    }
    let policy = AccessControlPolicy {
        api_id: around.api.record.id.clone(),
        invoker_id: invoker.map(|invoker| invoker.record.id.clone()),
        limits,
    };
    changes.put(&policy, Expect::Any);
    for usage in used {
        changes.delete::<Usage>(usage.record_id(), Expect::Any);
    }
    let mut after: Vec<&AccessControlPolicy> = around
        .policies
        .iter()
        .filter(|held| held.invoker_id != policy.invoker_id)
        .copied()
        .collect();
    after.push(&policy);
    tell(
        &mut changes,
        policy.invoker_id.as_ref(),
        &after,
        &around,
        now,
    );
    Ok(changes)
}

/// Removes a policy.
pub fn remove<'a, M, S>(
    held: &Versioned<AccessControlPolicy>,
    around: Around<'a, M, S>,
    now: &DateTime,
) -> Changes
where
    M: Iterator<Item = Member<'a>> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let mut changes = of_one_at_a_time(around.api);
    changes.delete::<AccessControlPolicy>(held.record.record_id(), Expect::At(held.revision));
    let after: Vec<&AccessControlPolicy> = around
        .policies
        .iter()
        .filter(|policy| policy.invoker_id != held.record.invoker_id)
        .copied()
        .collect();
    let changed = held.record.invoker_id.as_ref();
    tell(&mut changes, changed, &after, &around, now);
    changes
}

/// Changes that conflict with others of the same API's policies, so that the list that is told is the whole one.
fn of_one_at_a_time(api: &Versioned<ServiceApi>) -> Changes {
    let mut changes = Changes::new();
    changes.put(&api.record, Expect::At(api.revision));
    changes
}

/// Raises the event for each AEF of the API that subscribed: with the list as it is afterwards, or that there is none any more.
fn tell<'a, M, S>(
    changes: &mut Changes,
    changed: Option<&ApiInvokerId>,
    after: &[&AccessControlPolicy],
    around: &Around<'a, M, S>,
    now: &DateTime,
) where
    M: Iterator<Item = Member<'a>> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let api = &around.api.record;
    let mut told: Vec<&AefId> = Vec::new();
    for profile in api.description.aef_profiles.iter().flatten() {
        let aef_id = &profile.aef_id;
        if told.contains(&aef_id) {
            continue;
        }
        told.push(aef_id);
        let (event, list) = if after.is_empty() {
            (CapifEvent::AccessControlPolicyUnavailable, None)
        } else {
            let list = list(api, aef_id, after, around.members.clone());
            (
                CapifEvent::AccessControlPolicyUpdate,
                Some(list).filter(|list| list.len() <= TOLD_MAX),
            )
        };
        let occurrence = events::of_policies(event, api, aef_id, changed, list);
        events::raise(changes, occurrence, around.subscriptions.clone(), now);
    }
}

fn check(limits: &Limits) -> Result<(), Refusal> {
    if limits.total.is_some_and(|total| total > NUMBER_MAX) {
        return Err(Refusal::incorrect(
            "/total",
            format!("a total is at most {NUMBER_MAX}"),
        ));
    }
    if limits
        .per_second
        .is_some_and(|rate| !(1..=NUMBER_MAX).contains(&rate))
    {
        return Err(Refusal::incorrect(
            "/perSecond",
            format!("a rate is from 1 to {NUMBER_MAX}; to allow no call at all, set a total of 0"),
        ));
    }
    if limits.times.len() > TIMES_MAX {
        return Err(Refusal::incorrect(
            "/times",
            format!("a policy has at most {TIMES_MAX} ranges of time"),
        ));
    }
    let turned = |range: &TimeRange| match (&range.from, &range.to) {
        (Some(from), Some(to)) => from >= to,
        (None, None) => true,
        _ => false,
    };
    if limits.times.iter().any(turned) {
        return Err(Refusal::incorrect(
            "/times",
            "a range of time has a beginning before its end",
        ));
    }
    check_slices(&limits.slices)
}

fn check_slices(slices: &[NetSliceId]) -> Result<(), Refusal> {
    if slices.len() > SLICES_MAX {
        return Err(Refusal::incorrect(
            "/slices",
            format!("a policy names at most {SLICES_MAX} network slices"),
        ));
    }
    for (index, slice) in slices.iter().enumerate() {
        slice.check().map_err(|violation| {
            Refusal::incorrect(
                format!("/slices/{index}{}", violation.pointer),
                violation.reason,
            )
        })?;
        let named = [&slice.nsi_id, &slice.ensi];
        let wrong = |id: &String| id.is_empty() || id.len() > SLICE_BYTES_MAX;
        if named.into_iter().flatten().any(wrong) {
            return Err(Refusal::incorrect(
                format!("/slices/{index}"),
                format!("the id of a slice has 1 to {SLICE_BYTES_MAX} octets"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
