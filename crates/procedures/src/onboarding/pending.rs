//! Enrolments that wait for the operator (TS 29.222 clause 5.5.2.2.2, TS 23.222 clause 8.1): delayed onboarding, and updates that
//! ask for more than before.
//!
//! What waits is the request itself, judged already; the credential is used up. Approval decides it anew, on what is published
//! then, and makes the one commit that an immediate answer would have made. Rejection and lapse leave nothing behind but that the
//! invoker is told, and a while's memory for who asks again.
//!
//! Who waits may send the very same request again, if it named its attempt: it is answered 202 while it waits, as an onboarding once
//! approved, and 403 when rejected. So an invoker that cannot be called back learns what became of it.

use capif_spec::{
    api_invoker_management::{
        ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch, ApiList, OnboardingFailReason,
        OnboardingInformation, OnboardingNotification,
    },
    common::{DateTime, Extra, Uri},
    publish_service::ServiceApiDescription,
    vendor::{EnrolmentTerms, MEMBER},
};
use serde_json::json;
use time::Duration;

use super::{
    Admission, Approved, Candidate, Credential, Denial, admit, enrolment_terms, repetition,
    update::Wish,
};
use crate::{
    changes::{Changes, Expect, Versioned},
    discovery::Published,
    refusal::Refusal,
    rotation::Terms,
    state::{Invoker, PendingEnrolment, PendingOnboarding, PendingWish, Rejection},
};

/// How many requests may wait at a time.
pub const PENDING_MAX: usize = 1000;

/// The largest request that may wait, in bytes of JSON, the descriptions of the wanted APIs left out.
const WISH_BYTES_MAX: usize = 64 * 1024;

/// The longest reason of a rejection, in characters.
const REASON_CHARS_MAX: usize = 256;

/// How long requests wait, and how many do already.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// How many wait.
    pub waiting: usize,
    /// How long one may wait, and how long its outcome is remembered.
    pub life: Duration,
}

impl Queue {
    /// Lets one more wait.
    fn enter(
        &self,
        id: &capif_spec::common::ApiInvokerId,
        wish: PendingWish,
        now: &DateTime,
    ) -> Result<PendingEnrolment, Refusal> {
        if self.waiting >= PENDING_MAX {
            return Err(Refusal::ApprovalsExhausted);
        }
        let bytes = serde_json::to_vec(&wish).map_or(usize::MAX, |text| text.len());
        if bytes > WISH_BYTES_MAX {
            return Err(Refusal::incorrect(
                "",
                format!(
                    "a request that waits for the operator's approval has at most {WISH_BYTES_MAX} bytes"
                ),
            ));
        }
        Ok(PendingEnrolment {
            id: id.clone(),
            wish,
            asked: now.clone(),
            expires: self.end(now),
            rejected: None,
        })
    }

    fn end(&self, now: &DateTime) -> DateTime {
        DateTime(now.0.saturating_add(self.life))
    }
}

/// Makes an onboarding wait that could be carried out. The credential is used up by it.
///
/// # Errors
/// Refuses one too many, and one too large.
pub fn postpone(admission: Admission, queue: Queue, now: &DateTime) -> Result<Changes, Refusal> {
    let credential = admission.credential;
    let mut details = admission.details;
    details.api_list = details.api_list.map(names_of);
    strip(&mut details.onboarding_information);
    let onboarding = PendingOnboarding {
        details,
        public_key: admission.order.public_key().clone(),
        issuer: credential.issuer.clone(),
        credential: credential.single_use.clone(),
        credential_expires: credential.expires.clone(),
        reach: credential.reach.clone(),
    };
    let wish = PendingWish::Onboarding(Box::new(onboarding));
    let pending = queue.enter(&admission.id, wish, now)?;
    let mut changes = Changes::new();
    // That it was used is known for as long as it can be asked with it what became of the onboarding.
    let remembered = DateTime(pending.expires.0.saturating_add(queue.life));
    let expires = credential.expires.clone().max(remembered);
    Credential {
        expires,
        ..credential
    }
    .use_up(&mut changes);
    changes.put(&pending, Expect::Absent);
    Ok(changes)
}

/// What of a list of wanted APIs says which are meant.
pub(super) fn names_of(list: ApiList) -> ApiList {
    let apis = list.service_api_descriptions;
    ApiList {
        service_api_descriptions: apis.map(|apis| {
            apis.into_iter()
                .map(|api| ServiceApiDescription::named(api.api_name))
                .collect()
        }),
        ..ApiList::default()
    }
}

/// Takes out what the core function gives. A secret is not kept in the clear.
pub(super) fn strip(information: &mut OnboardingInformation) {
    information.api_invoker_certificate = None;
    information.onboarding_secret = None;
}

/// Answers a request to be onboarded that came again: it waits.
///
/// # Errors
/// Refuses what was rejected, and the credential as used where the request is another one.
pub fn again(
    details: &ApiInvokerEnrolmentDetails,
    has_ended: bool,
    held: &PendingEnrolment,
    now: &DateTime,
) -> Result<(), Refusal> {
    let used = || repetition::refusal(has_ended);
    let PendingWish::Onboarding(onboarding) = &held.wish else {
        return Err(used());
    };
    let attempt = enrolment_terms(details)?.attempt;
    let same = attempt.is_some()
        && attempt == enrolment_terms(&onboarding.details)?.attempt
        && details.onboarding_information.api_invoker_public_key
            == onboarding
                .details
                .onboarding_information
                .api_invoker_public_key;
    if !same || held.expires <= *now {
        return Err(used());
    }
    standing(held)
}

/// Whether a request still waits.
///
/// # Errors
/// Says so when it was rejected.
pub(super) fn standing(held: &PendingEnrolment) -> Result<(), Refusal> {
    match &held.rejected {
        None => Ok(()),
        Some(rejection) => Err(Refusal::EnrolmentRejected {
            reason: rejection.reason.clone(),
        }),
    }
}

/// Decides an onboarding that the operator approved. `None` if it is an update that waits.
///
/// # Errors
/// As [`admit`], and where the operator has decided otherwise before.
pub fn approve<'a>(
    held: &Versioned<PendingEnrolment>,
    apis: impl Published<'a>,
    terms: &Terms,
    queue: Queue,
    now: &DateTime,
) -> Result<Option<Admission>, Denial> {
    undecided(&held.record)?;
    let PendingWish::Onboarding(onboarding) = &held.record.wish else {
        return Ok(None);
    };
    let candidate = Candidate {
        credential: Credential {
            issuer: onboarding.issuer.clone(),
            single_use: onboarding.credential.clone(),
            expires: onboarding.credential_expires.clone(),
            reach: onboarding.reach.clone(),
            registered: None,
            approval: true,
        },
        public_key: onboarding.public_key.clone(),
        id: held.record.id.clone(),
    };
    let admission = admit(onboarding.details.clone(), candidate, apis, terms, now)?;
    Ok(Some(Admission {
        approved: Some(Approved {
            revision: held.revision,
            until: queue.end(now),
        }),
        ..admission
    }))
}

fn undecided(held: &PendingEnrolment) -> Result<(), Refusal> {
    match held.rejected {
        None => Ok(()),
        Some(_) => Err(Refusal::NotFound {
            what: "request that waits for approval",
        }),
    }
}

/// What is rejected, with what its invoker is told and where.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// What is written.
    pub changes: Changes,
    /// What the invoker is told.
    pub notification: OnboardingNotification,
}

/// Rejects what waits. `unmet` says that the invoker's own criteria stand in the way by now.
///
/// # Errors
/// Refuses a reason that cannot be, and what was decided before.
pub fn reject(
    held: &Versioned<PendingEnrolment>,
    reason: Option<&str>,
    unmet: bool,
    now: &DateTime,
) -> Result<Rejected, Refusal> {
    undecided(&held.record)?;
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| {
        reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control)
    }) {
        return Err(Refusal::incorrect(
            "/reason",
            format!("a reason is one line of at most {REASON_CHARS_MAX} characters"),
        ));
    }
    let mut record = held.record.clone();
    if let PendingWish::Onboarding(onboarding) = &mut record.wish {
        forget(&mut onboarding.details);
    }
    record.rejected = Some(Rejection {
        at: now.clone(),
        reason: reason.map(str::to_owned),
    });
    let mut changes = Changes::new();
    changes.put(&record, Expect::At(held.revision));
    let fail_reason = if unmet {
        OnboardingFailReason::OnboardingCriNotMet
    } else {
        OnboardingFailReason::ApiInvokerNotAllowed
    };
    Ok(Rejected {
        changes,
        notification: failure(fail_reason, reason),
    })
}

/// Leaves of a request what it is recognised by.
fn forget(details: &mut ApiInvokerEnrolmentDetails) {
    let terms = EnrolmentTerms::of(&details.extra).unwrap_or_default();
    let mut extra = Extra::default();
    terms.write(&mut extra);
    details.extra = extra;
    details.api_list = None;
    details.api_invoker_information = None;
    details.onboarding_information.onboarding_criteria = None;
    details.onboarding_information.extra = Extra::default();
}

/// Ends what has waited too long. The invoker is told unless it was told before that it is rejected.
#[must_use]
pub fn lapse(held: &Versioned<PendingEnrolment>) -> (Changes, Option<OnboardingNotification>) {
    let mut changes = Changes::new();
    changes.delete::<PendingEnrolment>(held.record.id.as_str(), Expect::At(held.revision));
    let is_news = held.record.rejected.is_none();
    let told = is_news.then(|| {
        let reason = "nobody decided on it in time";
        failure(OnboardingFailReason::OtherReason, Some(reason))
    });
    (changes, told)
}

/// Where the invoker of a request is told of its outcome. `profile` is that of an invoker that was onboarded before.
#[must_use]
pub fn destination<'a>(
    held: &'a PendingEnrolment,
    profile: Option<&'a Invoker>,
) -> Option<&'a Uri> {
    match &held.wish {
        PendingWish::Onboarding(onboarding) => Some(&onboarding.details.notification_destination),
        PendingWish::Replacement(_) | PendingWish::Modification(_) => {
            profile.map(|profile| &profile.notification_destination)
        }
    }
}

/// The notification of success (TS 29.222 clause 5.5.2.4).
#[must_use]
pub fn success(
    resource_location: Uri,
    details: ApiInvokerEnrolmentDetails,
) -> OnboardingNotification {
    OnboardingNotification {
        result: true,
        resource_location: Some(resource_location),
        api_list: details.api_list.clone(),
        api_invoker_enrolment_details: Some(details),
        fail_reason: None,
        extra: Extra::default(),
    }
}

fn failure(reason: OnboardingFailReason, words: Option<&str>) -> OnboardingNotification {
    let words = words.map(|words| (MEMBER.to_owned(), json!({ "reason": words })));
    OnboardingNotification {
        result: false,
        resource_location: None,
        api_invoker_enrolment_details: None,
        api_list: None,
        fail_reason: Some(reason),
        extra: words.into_iter().collect(),
    }
}

/// Makes an update wait. The same one again changes nothing; another one takes its place.
pub(super) fn postpone_update(
    wish: &Wish,
    invoker: &Invoker,
    held: Option<&Versioned<PendingEnrolment>>,
    queue: Queue,
    now: &DateTime,
) -> Result<Changes, Refusal> {
    let wish = wish.kept();
    if let Some(held) = held
        && held.record.wish == wish
        && *now < held.record.expires
    {
        standing(&held.record)?;
        return Ok(Changes::new());
    }
    // One that takes another's place is none more.
    let replaces = held.is_some_and(|held| held.record.rejected.is_none());
    let queue = Queue {
        waiting: queue.waiting.saturating_sub(usize::from(replaces)),
        ..queue
    };
    let pending = queue.enter(&invoker.id, wish, now)?;
    let mut changes = Changes::new();
    // An invoker that goes in the same moment takes it along.
    changes.require::<Invoker>(invoker.id.as_str(), Expect::Present);
    let expect = held.map_or(Expect::Absent, |held| Expect::At(held.revision));
    changes.put(&pending, expect);
    Ok(changes)
}

/// An update that waited, as it is carried out.
#[must_use]
pub fn update_of(held: &PendingEnrolment) -> Option<Wish> {
    let wish = match &held.wish {
        PendingWish::Onboarding(_) => return None,
        PendingWish::Replacement(details) => Wish::from(ApiInvokerEnrolmentDetails::clone(details)),
        PendingWish::Modification(patch) => {
            Wish::from(ApiInvokerEnrolmentDetailsPatch::clone(patch))
        }
    };
    Some(wish.keeping())
}

#[cfg(test)]
mod tests;
