//! CAPIF_API_Invoker_Management_API (TS 29.222 clause 8.4).

use capif_procedures::{
    changes::Changes,
    offboarding,
    onboarding::{
        self, Candidate, Credential, handover_purpose, repetition,
        update::{self, Issued, JudgedKey, Means, Wish},
    },
    refusal::Refusal,
    rotation,
    state::DepartureReason,
};
use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch},
    common::ApiInvokerId,
};
use capif_transport::Body;
use http::{Response, StatusCode};

use super::{
    Answer, Call, created, issues::OF_INVOKER, json_answer, no_content, problem::ApiError, renewal,
};
use crate::{
    authority::keys,
    core::ATTEMPTS_MAX,
    credential::{self, Purpose},
    random,
};

/// What the audit trail says where nothing changes and a secret is handed over once more.
const ANSWERED_AGAIN: &str = "answered again";

const RESOURCE: &str = "/api-invoker-management/v1/onboardedInvokers";

/// `POST onboardedInvokers`: TS 33.122 clause 6.1 steps 4 to 7.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let core = &call.core;
        let verified = credential::verify(
            &core.verifiers,
            call.bearer()?,
            Purpose::Onboarding,
            &call.now,
        )
        .await?;
        let credential = verified.credential;
        // Also judged by the commit, which alone decides among several at once.
        if verified.is_used || credential::is_used(core.store.as_ref(), &credential).await? {
            return again(&call, &credential).await;
        }
        let details: ApiInvokerEnrolmentDetails = call.checked()?;
        let candidate = Candidate {
            credential: credential.clone(),
            public_key: keys::judge(&details.onboarding_information.api_invoker_public_key)?,
            id: ApiInvokerId::new(random::id("INV")?),
        };
        let id = candidate.id.clone();
        let terms = core.terms();
        let admission = {
            let records = core.view.read();
            onboarding::admit(details, candidate, records.apis(), &terms, &call.now)?
        };
        let certificate = core.authorities.sign(admission.order(), call.now.0).await?;
        let secret = if admission.needs_secret() {
            let attempt = admission.attempt().map(ToString::to_string);
            let purpose = handover_purpose(&id, &attempt.unwrap_or_default());
            Some(renewal::new_secret(core, &purpose)?)
        } else {
            None
        };
        let (changes, answer) = {
            let records = core.view.read();
            admission.complete(
                certificate,
                secret,
                records.apis(),
                records.listeners(id.as_str()),
                call.now.clone(),
            )
        };
        match core.commit(&call.act(id.as_str()), changes).await {
            Ok(()) => {
                let answer = renewal::with_trust(core, answer, &call.now);
                created(core, &format!("{RESOURCE}/{id}"), &answer)
            }
            // The same request came twice at once.
            Err(ApiError::Refused(Refusal::CredentialUsed)) => again(&call, &credential).await,
            Err(error) => Err(error),
        }
    })
}

/// Answers an onboarding once more, for who lost the answer.
async fn again(call: &Call, credential: &Credential) -> Result<Response<Body>, ApiError> {
    let core = &call.core;
    // Whoever is not sure to have the answer has the same request to send.
    let Ok(details) = call.checked::<ApiInvokerEnrolmentDetails>() else {
        return Err(Refusal::CredentialUsed.into());
    };
    let answer = {
        let records = core.view.read();
        repetition::again(
            details,
            credential,
            records.enrolled_by(&credential.single_use).into_iter(),
            records.apis(),
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
        let details: ApiInvokerEnrolmentDetails = call.checked()?;
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
        let plan = {
            let records = core.view.read();
            let held = records
                .invoker(id.as_str())
                .ok_or(Refusal::CertificateUnknown)?;
            // What the caller showed may count for less by now.
            let standing = rotation::standing(&held.record, &shown.fingerprint, &terms, &call.now);
            let means = Means {
                judge: &judged,
                open: &|handover| renewal::open_secret(core, id, handover),
                terms: &terms,
                standing: &standing,
                now: &call.now,
            };
            update::plan(wish, held, records.apis(), means)?
        };
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
            plan.complete(
                issued,
                records.apis(),
                records.subscriptions_held_by(id.as_str()),
                renewal::around(&records, id),
                &call.now,
            )?
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
                return json_answer(StatusCode::OK, &answer);
            }
            // The profile moved meanwhile: decided anew.
            Err(ApiError::Busy) if attempts < ATTEMPTS_MAX => {}
            Err(error) => return Err(error),
        }
    }
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
