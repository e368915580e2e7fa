//! CAPIF_API_Invoker_Management_API (TS 29.222 clause 8.4).

use std::sync::Arc;

use capif_procedures::{
    changes::{Changes, Versioned},
    delivery, offboarding,
    onboarding::{
        self, Admission, Candidate, Credential, NewSecret, handover_purpose, pending, repetition,
        update::{self, Issued, JudgedKey, Means, Plan, Wish},
    },
    refusal::Refusal,
    rotation,
    state::{Certificate, DepartureReason, Invoker},
};
use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch},
    common::{ApiInvokerId, DateTime},
};
use capif_transport::Body;
use http::{Response, StatusCode};

use super::{
    Answer, Call, approval, created, issues::OF_INVOKER, json_answer, no_content, preference,
    problem::ApiError, renewal,
};
use crate::{
    authority::keys,
    config::Approval,
    core::{ATTEMPTS_MAX, Core},
    credential::{self, Purpose},
    destination::Content,
    random,
    view::Records,
};

/// What the audit trail says where nothing changes and a secret is handed over once more.
const ANSWERED_AGAIN: &str = "answered again";

/// What it says where an enrolment is to be decided on by the operator.
const WAITS: &str = "waits for approval";

pub(super) const RESOURCE: &str = "/api-invoker-management/v1/onboardedInvokers";

/// `POST onboardedInvokers`: TS 33.122 clause 6.1 steps 4 to 7.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let core = &call.core;
        let verified = credential::recognise(
            &core.verifiers,
            call.bearer()?,
            Purpose::Onboarding,
            &call.now,
        )
        .await?;
        let has_ended = verified.has_ended;
        let mut credential = verified.credential;
        credential.approval |= core.config.onboarding.approval == Approval::Operator;
        // Also judged by the commit, which alone decides among several at once.
        if verified.is_used
            || has_ended
            || credential::is_used(core.store.as_ref(), &credential).await?
        {
            return again(&call, &credential, has_ended).await;
        }
        let mut details: ApiInvokerEnrolmentDetails = call.checked()?;
        let candidate = Candidate {
            credential: credential.clone(),
            public_key: keys::judge(&details.onboarding_information.api_invoker_public_key)?,
            id: ApiInvokerId::new(random::id("INV")?),
        };
        let id = candidate.id.clone();
        assign(core, &mut details, &id);
        let terms = core.terms();
        let admission = {
            let records = core.view.read();
            onboarding::admit(details, candidate, records.catalogue(), &terms, &call.now)
        };
        let admission = match admission {
            Ok(admission) => admission,
            Err(denial) => {
                let asker = credential.single_use.to_string();
                return Err(approval::denied(core, denial, &id, false, &asker).await);
            }
        };
        if credential.approval {
            let changes = {
                let records = core.view.read();
                if !admission.can_be_fetched() {
                    let told_at = admission.told_at();
                    core.judge_destination(&records, id.as_str(), told_at, Content::Enrolment)
                        .map_err(|_| unreachable())?;
                }
                let queue = approval::queue(core, &records);
                pending::postpone(admission, queue, &call.now)?
            };
            let act = call.act(id.as_str()).detail(WAITS);
            return match core.commit(&act, changes).await {
                Ok(()) => Ok(approval::accepted()),
                Err(ApiError::Refused(Refusal::CredentialUsed)) => {
                    again(&call, &credential, has_ended).await
                }
                Err(error) => Err(error),
            };
        }
        let (certificate, secret) = issue(core, &admission, &id, &call.now).await?;
        let (changes, answer) = {
            let records = core.view.read();
            let (mut changes, answer) = admission.complete(
                certificate,
                secret,
                records.catalogue(),
                records.listeners(id.as_str()),
                records.tally(),
                call.now.clone(),
            );
            test(core, &records, &mut changes, &id, &answer)?;
            (changes, answer)
        };
        match core.commit(&call.act(id.as_str()), changes).await {
            Ok(()) => {
                let answer = renewal::with_trust(core, answer, &call.now);
                created(core, &format!("{RESOURCE}/{id}"), &answer)
            }
            // The same request came twice at once.
            Err(ApiError::Refused(Refusal::CredentialUsed)) => {
                again(&call, &credential, has_ended).await
            }
            Err(error) => Err(error),
        }
    })
}

/// Makes out what an admission is to bring: the certificate, and the Onboard_Secret where one is due.
pub(super) async fn issue(
    core: &Core,
    admission: &Admission,
    id: &ApiInvokerId,
    now: &DateTime,
) -> Result<(Certificate, Option<NewSecret>), ApiError> {
    let certificate = core.authorities.sign(admission.order(), now.0).await?;
    if !admission.needs_secret() {
        return Ok((certificate, None));
    }
    let attempt = admission.attempt().map(ToString::to_string);
    let purpose = handover_purpose(id, &attempt.unwrap_or_default());
    Ok((certificate, Some(renewal::new_secret(core, &purpose)?)))
}

/// What an enrolment that waits for approval leads to must come to its invoker in some way.
fn unreachable() -> Refusal {
    Refusal::incorrect(
        "/notificationDestination",
        "this enrolment needs approval, and its outcome can be neither sent here nor fetched: name a destination over https that the \
         operator lets callbacks go to, or an `attempt` by which the same request can be sent again",
    )
}

/// Names the WebSocket that an enrolment gets if it asks for one.
fn assign(core: &Core, details: &mut ApiInvokerEnrolmentDetails, id: &ApiInvokerId) {
    let address = core.config.address();
    let uri = delivery::websocket_uri(&address, id.as_str(), delivery::ONBOARDING);
    delivery::assign(&mut details.websock_notif_config, uri);
}

/// Tests the way to an invoker, if that was asked for.
pub(super) fn test(
    core: &Core,
    records: &Records,
    changes: &mut Changes,
    id: &ApiInvokerId,
    answer: &ApiInvokerEnrolmentDetails,
) -> Result<(), Refusal> {
    if answer.request_test_notification != Some(true) {
        return Ok(());
    }
    let websocket = answer.websock_notif_config.as_ref();
    let path = format!("{RESOURCE}/{id}");
    core.test_way(
        records,
        changes,
        id,
        (&answer.notification_destination, websocket),
        (delivery::ONBOARDING, &path),
    )
}

/// Answers an onboarding once more, for who lost the answer or waits for it.
async fn again(
    call: &Call,
    credential: &Credential,
    has_ended: bool,
) -> Result<Response<Body>, ApiError> {
    let core = &call.core;
    // Whoever is not sure to have the answer has the same request to send.
    let Ok(details) = call.checked::<ApiInvokerEnrolmentDetails>() else {
        return Err(repetition::refusal(has_ended).into());
    };
    let waiting = core.view.read().asked_by(&credential.single_use).cloned();
    if let Some(waiting) = waiting {
        pending::again(&details, has_ended, &waiting.record, &call.now)?;
        return Ok(approval::accepted());
    }
    let answer = {
        let records = core.view.read();
        repetition::again(
            details,
            credential,
            has_ended,
            records.enrolled_by(&credential.single_use).into_iter(),
            records.catalogue(),
            &|invoker, handover| renewal::open_secret(core, &invoker.id, handover),
            &call.now,
        )?
    };
    let id = answer.api_invoker_id.as_ref().map(ApiInvokerId::as_str);
    let id = id.unwrap_or_default();
    core.commit(&call.act(id).detail(ANSWERED_AGAIN), Changes::new())
        .await?;
    let path = format!("{RESOURCE}/{id}");
    let answer = renewal::with_trust(core, answer, &call.now);
    created(core, &path, &answer)
}

/// `PUT onboardedInvokers/{onboardingId}`: TS 29.222 clause 5.5.2.5.
pub(crate) fn replace(call: Call) -> Answer {
    Box::pin(async move {
        let mut details: ApiInvokerEnrolmentDetails = call.checked()?;
        assign(&call.core, &mut details, &call.caller.invoker()?.record.id);
        change(&call, &details.into()).await
    })
}

/// `PATCH onboardedInvokers/{onboardingId}`: TS 29.222 clause 5.5.2.5, RFC 7396.
pub(crate) fn modify(call: Call) -> Answer {
    Box::pin(async move {
        let patch: ApiInvokerEnrolmentDetailsPatch = call.checked()?;
        change(&call, &patch.into()).await
    })
}

/// Carries an update out on the profile as it is, and anew when the profile moved meanwhile.
async fn change(call: &Call, wish: &Wish) -> Result<Response<Body>, ApiError> {
    let core = &call.core;
    let id = &call.caller.invoker()?.record.id;
    let shown = call.shown.as_ref().ok_or(Refusal::CertificateRequired)?;
    let terms = core.terms();
    let mut attempts = 0;
    loop {
        let (before, plan) = {
            let records = core.view.read();
            let held = records
                .invoker(id.as_str())
                .ok_or(Refusal::CertificateUnknown)?;
            // What the caller showed may count for less by now.
            let standing = rotation::standing(&held.record, &shown.fingerprint, &terms, &call.now);
            let held_back = records.pending(id.as_str());
            let means = Means {
                approval: approval::of_updates(core),
                pending: held_back.map(AsRef::as_ref),
                judge: &judged,
                open: &|handover| renewal::open_secret(core, id, handover),
                terms: &terms,
                standing: &standing,
                now: &call.now,
            };
            let plan = update::plan(wish, held, records.catalogue(), means);
            (Arc::clone(held), plan)
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(denial) => {
                return Err(approval::denied(core, denial, id, true, id.as_str()).await);
            }
        };
        if plan.waits() {
            attempts += 1;
            match wait(call, plan).await {
                Err(ApiError::Busy) if attempts < ATTEMPTS_MAX => continue,
                outcome => return outcome,
            }
        }
        if attempts == 0 && plan.order().is_some() {
            let counted = core.issues.count(id.as_str(), 1, OF_INVOKER, call.now.0);
            counted.map_err(ApiError::CertificatesExhausted)?;
        }
        let issued = match plan.order() {
            None => None,
            Some(order) => Some(Issued {
                certificate: core.authorities.sign(order, call.now.0).await?,
                secret: match plan.secret_purpose() {
                    None => None,
                    Some(purpose) => Some(renewal::new_secret(core, &purpose)?),
                },
            }),
        };
        let act = call.act(id.as_str());
        let act = if issued.is_some() {
            act.detail("certificate renewed")
        } else {
            act
        };
        let (changes, ended, answer) = {
            let records = core.view.read();
            let (mut changes, ended, answer) = plan.complete(
                issued,
                records.catalogue(),
                records.subscriptions_held_by(id.as_str()),
                renewal::around(&records, id),
                records.tally(),
                &call.now,
            )?;
            test(core, &records, &mut changes, id, &answer)?;
            (changes, ended, answer)
        };
        attempts += 1;
        let committed = if !changes.is_empty() {
            core.commit(&act, changes).await
        } else if answer.onboarding_information.onboarding_secret.is_some() {
            core.commit(&act.detail(ANSWERED_AGAIN), changes).await
        } else {
            Ok(())
        };
        match committed {
            Ok(()) => {
                core.close_connections_under(&ended);
                let told = json_answer(StatusCode::OK, &answer)?;
                return Ok(preference::whole_if(tells(&answer, &before), told));
            }
            // The profile moved meanwhile: decided anew.
            Err(ApiError::Busy) if attempts < ATTEMPTS_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the answer to an update tells its invoker what nothing else will: a certificate or secret, an address, a refusal.
fn tells(answer: &ApiInvokerEnrolmentDetails, before: &Versioned<Invoker>) -> bool {
    let before = &before.record;
    let information = &answer.onboarding_information;
    let certificate = information.api_invoker_certificate.as_ref();
    let websocket = answer.websock_notif_config.as_ref();
    let websocket = websocket.and_then(|config| config.websocket_uri.as_ref());
    information.onboarding_secret.is_some()
        || certificate.is_some_and(|pem| before.certificate.pem != **pem)
        || websocket.is_some_and(|uri| before.websocket_uri.as_ref() != Some(uri))
        || answer.failure_reasons.is_some()
}

/// Has an update wait for the operator. The profile stays as it is until then.
async fn wait(call: &Call, plan: Plan) -> Result<Response<Body>, ApiError> {
    let core = &call.core;
    let id = &call.caller.invoker()?.record.id;
    let changes = {
        let queue = approval::queue(core, &core.view.read());
        plan.postpone(queue, &call.now)?
    };
    if !changes.is_empty() {
        let act = call.act(id.as_str()).detail(WAITS);
        core.commit(&act, changes).await?;
    }
    Ok(approval::accepted())
}

fn judged(text: &str) -> Result<JudgedKey, Refusal> {
    Ok(JudgedKey {
        key: keys::judge(text)?,
        is_proved: keys::is_request(text),
    })
}

/// `DELETE onboardedInvokers/{onboardingId}`: TS 33.122 clause 6.8 steps 2 to 7.
pub(crate) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        let id = call.caller.invoker()?.record.id.clone();
        // The session ends with this answer, whatever becomes of others (step 6).
        call.connection.close_after_response();
        call.core
            .transact(&call.act(id.as_str()), |records| {
                let invoker = records.invoker(id.as_str()).ok_or(Refusal::NotFound {
                    what: "API invoker",
                })?;
                let leave = call.core.leave(DepartureReason::Invoker);
                let around = records.around(id.as_str());
                Ok((offboarding::offboard(invoker, around, leave, &call.now), ()))
            })
            .await?;
        call.core
            .close_connections_of(id.as_str(), Some(&call.connection));
        Ok(no_content())
    })
}
