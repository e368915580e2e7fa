//! CAPIF_API_Invoker_Management_API (TS 29.222 clause 8.4).

use capif_procedures::{offboarding, onboarding, refusal::Refusal};
use capif_spec::{api_invoker_management::ApiInvokerEnrolmentDetails, common::ApiInvokerId};

use super::{Answer, Call, created, no_content};
use crate::{
    authority::keys,
    credential::{self, Purpose},
    random,
};

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
        if credential::is_used(core.store.as_ref(), &credential).await? {
            return Err(Refusal::CredentialUsed.into());
        }
        let details: ApiInvokerEnrolmentDetails = call.checked()?;
        let key = keys::judge(&details.onboarding_information.api_invoker_public_key)?;
        let id = ApiInvokerId::new(random::id("INV")?);
        let admission = {
            let records = core.view.read();
            onboarding::admit(details, credential, key, id.clone(), records.apis())?
        };
        let certificate = core.authority.sign(admission.order(), call.now.0)?;
        let secret = if admission.needs_secret() {
            Some(random::secret()?)
        } else {
            None
        };
        let (changes, answer) = {
            let records = core.view.read();
            admission.complete(
                certificate,
                secret,
                records.apis(),
                records.subscriptions(),
                call.now.clone(),
            )
        };
        core.commit(changes).await?;
        created(
            core,
            &format!("/api-invoker-management/v1/onboardedInvokers/{id}"),
            &answer,
        )
    })
}

/// `DELETE onboardedInvokers/{onboardingId}`: TS 33.122 clause 6.8 steps 2 to 7.
pub(crate) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        let id = call.caller.invoker()?.record.id.clone();
        // The session ends with this answer, whatever becomes of others (step 6).
        call.connection.close_after_response();
        call.core
            .transact(|records| {
                let invoker = records.invoker(id.as_str()).ok_or(Refusal::NotFound {
                    what: "API invoker",
                })?;
                Ok((
                    offboarding::offboard(invoker, records.around(id.as_str()), &call.now),
                    (),
                ))
            })
            .await?;
        call.core
            .close_connections_of(id.as_str(), Some(&call.connection));
        Ok(no_content())
    })
}
