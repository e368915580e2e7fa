//! Which of the APIs that an invoker wants it is enrolled for, and why not for the others (TS 29.222 clauses 5.5.2.2 and 8.4.4.2.2).
//!
//! What is wanted is granted API by API: what the credential does not allow and what does not meet the invoker's own criteria is
//! refused by name, and the rest is granted. Nothing at all granted is a refusal of the request.
//!
//! Choice: an API that is wanted and that nobody has published yet is granted; criteria are looked at for what is published now.
//! Where several providers publish an API of one name, one that meets the criteria is enough.

use std::collections::{BTreeMap, BTreeSet};

use capif_spec::{
    api_invoker_management::{ApiList, EnrolFailCause, EnrolFailReason, OnboardingCriteria},
    common::{ApiInvokerId, DateTime},
};

use super::{APIS_MAX, criteria};
use crate::{
    changes::Changes,
    discovery::Published,
    events,
    refusal::Refusal,
    state::{ApiReach, ServiceApi, Subscription},
};

/// Of how many APIs that do not meet the criteria is told.
const FAILED_MAX: usize = 64;

/// What was granted of a wish.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grant {
    /// What the invoker reaches from then on.
    pub(super) reach: ApiReach,
    /// What was refused.
    pub(super) refused: Vec<EnrolFailReason>,
    /// The criteria that published APIs do not meet, if there are any.
    pub(super) failed: Option<FailedCriteria>,
}

/// Why an onboarding or an update is refused; beside the words the criteria, if it is for them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{refusal}")]
pub struct Denial {
    /// What is answered.
    pub refusal: Refusal,
    /// What providers are told.
    pub failed: Option<FailedCriteria>,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            failed: None,
        }
    }
}

/// Criteria, and the published APIs that do not meet them.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedCriteria {
    criteria: Vec<OnboardingCriteria>,
    apis: Vec<ServiceApi>,
}

impl FailedCriteria {
    /// Tells of them (API_INVOKER_ONBOARDING_CRITERIA_FAILED). `invoker` is who gave them, once it has an id.
    pub fn raise<'a>(
        &self,
        changes: &mut Changes,
        invoker: Option<&ApiInvokerId>,
        subscriptions: impl Iterator<Item = &'a Subscription>,
        now: &DateTime,
    ) {
        let occurrence =
            events::of_failed_criteria(invoker, self.criteria.clone(), self.apis.clone());
        events::raise(changes, occurrence, subscriptions, now);
    }
}

/// The names of the APIs that are wanted, each once; none stands for all that may be.
pub(super) fn wanted(list: Option<&ApiList>) -> Result<BTreeSet<String>, Refusal> {
    let wanted: BTreeSet<String> = list
        .and_then(|list| list.service_api_descriptions.as_ref())
        .into_iter()
        .flatten()
        .map(|api| api.api_name.clone())
        .collect();
    if wanted.len() > APIS_MAX {
        return Err(Refusal::incorrect(
            "/apiList/serviceAPIDescriptions",
            format!("at most {APIS_MAX} APIs can be asked for"),
        ));
    }
    Ok(wanted)
}

/// Grants what the credential allows of what was asked for, as far as it meets the criteria. `apis` are all published ones.
pub(super) fn grant<'a>(
    allowance: &ApiReach,
    wanted: BTreeSet<String>,
    criteria: &[OnboardingCriteria],
    apis: impl Published<'a>,
) -> Result<Grant, Denial> {
    criteria::bounded(criteria)?;
    let (within, beyond): (BTreeSet<String>, BTreeSet<String>) =
        wanted.into_iter().partition(|name| {
            let allowed = allowance.api_names.as_ref();
            allowed.is_none_or(|allowed| allowed.contains(name))
        });
    let asks_for_all = within.is_empty() && beyond.is_empty();
    let considered = ApiReach {
        domain: allowance.domain.clone(),
        api_names: if asks_for_all {
            allowance.api_names.clone()
        } else {
            Some(within)
        },
    };
    let judged = judge(criteria, &considered, apis);
    let mut refused: Vec<EnrolFailReason> = beyond
        .into_iter()
        .map(|name| reason(name, EnrolFailCause::AuthorizationIssue))
        .collect();
    let for_criteria = judged.unfit.iter().take(APIS_MAX);
    refused
        .extend(for_criteria.map(|name| reason(name.clone(), EnrolFailCause::OnboardingCriNotMet)));
    let failed = (!judged.unfit.is_empty()).then(|| FailedCriteria {
        criteria: criteria.to_vec(),
        apis: judged.failed.into_iter().cloned().collect(),
    });
    let granted = match considered.api_names {
        // Everything, those that are published later included.
        None if judged.unfit.is_empty() => None,
        None => Some(judged.fit),
        Some(names) => Some(names.difference(&judged.unfit).cloned().collect()),
    };
    if granted.as_ref().is_some_and(BTreeSet::is_empty) && !refused.is_empty() {
        return Err(Denial {
            refusal: Refusal::NoApiGranted {
                reasons: refused
                    .into_iter()
                    .map(|reason| (reason.api_name, reason.failure_code))
                    .collect(),
            },
            failed,
        });
    }
    // Only who asks for everything can come to so many.
    if let Some(names) = &granted
        && allowance.api_names.is_none()
        && names.len() > APIS_MAX
    {
        return Err(Refusal::incorrect(
            "/apiList/serviceAPIDescriptions",
            format!(
                "too many APIs meet the criteria: name those that are wanted, {APIS_MAX} at most"
            ),
        )
        .into());
    }
    Ok(Grant {
        reach: ApiReach {
            domain: allowance.domain.clone(),
            api_names: granted,
        },
        refused,
        failed,
    })
}

fn reason(api_name: String, failure_code: EnrolFailCause) -> EnrolFailReason {
    EnrolFailReason {
        api_name,
        failure_code,
        extra: Default::default(),
    }
}

/// What is published, by whether it meets the criteria.
#[derive(Default)]
struct Judged<'a> {
    /// Names of APIs of which one at least does.
    fit: BTreeSet<String>,
    /// Names of APIs of which none does.
    unfit: BTreeSet<String>,
    /// Some of those that do not.
    failed: Vec<&'a ServiceApi>,
}

fn judge<'a>(
    criteria: &[OnboardingCriteria],
    considered: &ApiReach,
    apis: impl Published<'a>,
) -> Judged<'a> {
    let mut judged = Judged::default();
    if criteria.is_empty() {
        return judged;
    }
    let mut unmet: BTreeMap<&str, Vec<&ServiceApi>> = BTreeMap::new();
    for api in apis.within(considered) {
        if criteria::meets(criteria, api) {
            judged.fit.insert(api.description.api_name.clone());
        } else {
            unmet
                .entry(&api.description.api_name)
                .or_default()
                .push(api);
        }
    }
    for (name, apis) in unmet {
        if !judged.fit.contains(name) {
            judged.unfit.insert(name.to_owned());
            let room = FAILED_MAX.saturating_sub(judged.failed.len());
            judged.failed.extend(apis.into_iter().take(room));
        }
    }
    judged
}

/// Whether a reach holds anything that another does not.
pub(super) fn grows(before: &ApiReach, after: &ApiReach) -> bool {
    let in_domain = before.domain.is_none() || before.domain == after.domain;
    let in_names = match (&before.api_names, &after.api_names) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(before), Some(after)) => after.is_subset(before),
    };
    let is_nothing = after.api_names.as_ref().is_some_and(BTreeSet::is_empty);
    !(is_nothing || in_domain && in_names)
}

#[cfg(test)]
mod tests;
