//! Enrolments that wait for the operator, as the edge sees them (TS 29.222 clauses 5.5.2.2 and 5.5.2.4): what is asked for again, and
//! what becomes of it when the operator decides, or nobody does.
//!
//! The outcome goes to the invoker's notification destination like every other callback, until it is acknowledged. That of an
//! approval carries certificate and Onboard_Secret, so it lies sealed in the store until then.

use std::sync::Arc;

use capif_procedures::{
    changes::{Changes, Versioned},
    onboarding::{
        Admission, Denial,
        pending::{self, Queue},
        update::{self, Approval, JudgedKey, Means, Wish},
    },
    refusal::Refusal,
    rotation::Standing,
    state::{Callback, PendingEnrolment, SealedKey, Tidings},
};
use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, OnboardingNotification},
    common::{ApiInvokerId, DateTime, Uri},
};
use capif_transport::Body;
use http::{Response, StatusCode};
use zeroize::Zeroizing;

use super::{
    issues::OF_DENIED,
    onboarding::{RESOURCE, issue, test},
    problem::ApiError,
    renewal,
};
use crate::{
    audit::Act,
    config,
    core::{ATTEMPTS_MAX, Core},
    destination::Content,
    view::Records,
};

/// 202: the request waits.
pub(super) fn accepted() -> Response<Body> {
    let mut response = Response::new(capif_transport::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// How many wait, and how long one may.
pub(crate) fn queue(core: &Core, records: &Records) -> Queue {
    let undecided = |held: &&PendingEnrolment| held.rejected.is_none();
    Queue {
        waiting: records.all_pending().filter(undecided).count(),
        life: core.config.onboarding.pending(),
    }
}

/// Whether the operator has a say in updates.
pub(super) fn of_updates(core: &Core) -> Approval {
    match core.config.onboarding.approval {
        config::Approval::None => Approval::AsOnboarded,
        config::Approval::Operator => Approval::Always,
    }
}

/// Tells providers of criteria that were not met although nothing comes of the request, and hands on why. `asker` is who asks: its
/// repetitions are told a few times.
pub(super) async fn denied(
    core: &Core,
    denial: Denial,
    id: &ApiInvokerId,
    is_enrolled: bool,
    asker: &str,
) -> ApiError {
    let is_told = || {
        core.denials
            .count(asker, 1, OF_DENIED, core.clock.now())
            .is_ok()
    };
    if let Some(failed) = &denial.failed
        && is_told()
    {
        let mut changes = Changes::new();
        let named = is_enrolled.then_some(id);
        let listeners = |records: &Records, changes: &mut Changes| {
            failed.raise(changes, named, records.listeners(id.as_str()), &core.now());
        };
        listeners(&core.view.read(), &mut changes);
        if !changes.is_empty()
            && let Err(error) = core.housekeep(changes).await
        {
            tracing::warn!(error = %error.log(), "failed criteria were not told of");
        }
    }
    denial.refusal.into()
}

const WAITING: Refusal = Refusal::NotFound {
    what: "request that waits for approval",
};

/// What was decided on.
pub(crate) struct Decided {
    /// Whether the invoker is told at its notification destination.
    pub(crate) told: bool,
}

/// The operator lets an enrolment pass.
pub(crate) async fn approve(core: &Core, id: &str) -> Result<Decided, ApiError> {
    let mut attempts = 0;
    loop {
        let held = core.view.read().pending(id).cloned().ok_or(WAITING)?;
        attempts += 1;
        match approve_as_it_is(core, &held).await {
            // It moved meanwhile, or what it is decided on did.
            Err(ApiError::Busy) if attempts < ATTEMPTS_MAX => {}
            outcome => return outcome,
        }
    }
}

async fn approve_as_it_is(
    core: &Core,
    held: &Arc<Versioned<PendingEnrolment>>,
) -> Result<Decided, ApiError> {
    let now = core.now();
    let terms = core.terms();
    let admission = {
        let records = core.view.read();
        let queue = queue(core, &records);
        pending::approve(held, records.catalogue(), &terms, queue, &now)
            .map_err(|denial| denial.refusal)?
    };
    match admission {
        Some(admission) => onboard(core, held, admission, &now).await,
        None => update(core, held, &now).await,
    }
}

async fn onboard(
    core: &Core,
    held: &Versioned<PendingEnrolment>,
    admission: Admission,
    now: &DateTime,
) -> Result<Decided, ApiError> {
    let id = &held.record.id;
    let (certificate, secret) = issue(core, &admission, id, now).await?;
    let (changes, told) = {
        let records = core.view.read();
        let (mut changes, answer) = admission.complete(
            certificate,
            secret,
            records.catalogue(),
            records.listeners(id.as_str()),
            records.tally(),
            now.clone(),
        );
        // A way that is shut by now cannot be tested, and stands in nobody's way.
        let _untested = test(core, &records, &mut changes, id, &answer);
        let answer = renewal::with_trust(core, answer, now);
        let told = tell_success(core, &records, held, &mut changes, answer, now)?;
        (changes, told)
    };
    let act = Act::by_operator("Approve", id.as_str()).detail("onboarding");
    core.commit(&act, changes).await?;
    Ok(Decided { told })
}

async fn update(
    core: &Core,
    held: &Versioned<PendingEnrolment>,
    now: &DateTime,
) -> Result<Decided, ApiError> {
    let id = &held.record.id;
    let wish: Wish = pending::update_of(&held.record).ok_or(WAITING)?;
    let terms = core.terms();
    let (changes, ended, told) = {
        let records = core.view.read();
        let invoker = records.invoker(id.as_str()).ok_or(WAITING)?;
        let means = Means {
            // Nothing is certified, and nothing handed over: an approval is not about that.
            judge: &no_key,
            open: &|_| None,
            terms: &terms,
            standing: &Standing::Active,
            approval: Approval::Given,
            pending: Some(held),
            now,
        };
        let plan = update::plan(&wish, invoker, records.catalogue(), means)
            .map_err(|denial| denial.refusal)?;
        let (mut changes, ended, answer) = plan.complete(
            None,
            records.catalogue(),
            records.subscriptions_held_by(id.as_str()),
            renewal::around(&records, id),
            records.tally(),
            now,
        )?;
        let told = tell_success(core, &records, held, &mut changes, answer, now)?;
        (changes, ended, told)
    };
    let act = Act::by_operator("Approve", id.as_str()).detail("update");
    core.commit(&act, changes).await?;
    core.close_connections_under(&ended);
    Ok(Decided { told })
}

fn no_key(_: &str) -> Result<JudgedKey, Refusal> {
    Err(Refusal::OnboardingInformationFixed)
}

/// The operator turns an enrolment down.
pub(crate) async fn reject(
    core: &Core,
    id: &str,
    reason: Option<&str>,
) -> Result<Decided, ApiError> {
    let act = Act::by_operator("Reject", id).detail(reason.unwrap_or_default());
    core.transact(&act, |records| {
        let held = records.pending(id).ok_or(WAITING)?;
        let now = core.now();
        let attempt = pending::approve(
            held,
            records.catalogue(),
            &core.terms(),
            queue(core, records),
            &now,
        );
        let unmet = attempt.is_err_and(|denial| denial.failed.is_some());
        let rejected = pending::reject(held, reason, unmet, &now)?;
        let mut changes = rejected.changes;
        let tidings = Tidings::Onboarding(Box::new(rejected.notification));
        let told = tell(core, records, &held.record, &mut changes, tidings, &now);
        Ok((changes, Decided { told }))
    })
    .await
}

/// Ends what waited too long.
pub(crate) async fn lapse(core: &Core, id: &str, now: &DateTime) -> Result<(), ApiError> {
    core.transact(&Act::by_task("Lapse", id), |records| {
        let held = records.pending(id);
        let Some(held) = held.filter(|held| held.record.expires <= *now) else {
            return Ok((Changes::new(), ()));
        };
        let (mut changes, notification) = pending::lapse(held);
        if let Some(notification) = notification {
            let tidings = Tidings::Onboarding(Box::new(notification));
            tell(core, records, &held.record, &mut changes, tidings, now);
        }
        Ok((changes, ()))
    })
    .await
}

/// Where the invoker is told, if it can be. Who was onboarded before may have a WebSocket.
fn destination(core: &Core, records: &Records, held: &PendingEnrolment) -> Option<Uri> {
    let id = &held.id;
    let profile = records.invoker(id.as_str()).map(|held| &held.record);
    let websocket = profile.and_then(|profile| profile.websocket_uri.as_ref());
    let destination = websocket.or_else(|| pending::destination(held, profile))?;
    core.calls_back(records, id, destination, Content::Enrolment)
        .then(|| destination.clone())
}

fn tell(
    core: &Core,
    records: &Records,
    held: &PendingEnrolment,
    changes: &mut Changes,
    notification: Tidings,
    now: &DateTime,
) -> bool {
    let Some(destination) = destination(core, records, held) else {
        return false;
    };
    let callback = Callback {
        invoker_id: held.id.clone(),
        destination,
        notification,
        raised: now.clone(),
    };
    changes.append(callback.lane(), &callback);
    true
}

fn tell_success(
    core: &Core,
    records: &Records,
    held: &Versioned<PendingEnrolment>,
    changes: &mut Changes,
    answer: ApiInvokerEnrolmentDetails,
    now: &DateTime,
) -> Result<bool, ApiError> {
    let held = &held.record;
    let Some(destination) = destination(core, records, held) else {
        return Ok(false);
    };
    let resource = Uri::from(format!("{}{RESOURCE}/{}", core.api_root, held.id));
    let notification: OnboardingNotification = pending::success(resource, answer);
    let text = serde_json::to_vec(&notification).map_err(ApiError::Encoding)?;
    let text = Zeroizing::new(text);
    let purpose = Callback::purpose(&held.id, &destination);
    let sealed = core.sealing.seal_octets(&text, &purpose);
    let sealed = SealedKey::new(sealed.ok_or(ApiError::Internal("a notification was not sealed"))?);
    Ok(tell(
        core,
        records,
        held,
        changes,
        Tidings::Sealed { sealed },
        now,
    ))
}
