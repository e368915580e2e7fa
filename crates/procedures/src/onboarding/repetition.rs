//! The answer to an onboarding, given again (P-08).
//!
//! The credential serves once, so whoever lost the answer would be shut out. Who named its attempt gets the same answer again for
//! the same credential, name and key, until the certificate in it is seen in use.

use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails,
    common::{DateTime, Redacted},
};

use super::{Credential, Echo, enrolment_terms, grant, in_use, profile};
use crate::{
    discovery::Published,
    refusal::Refusal,
    rotation,
    state::{Digest, Handover, Invoker},
};

/// Gives the answer again. `invokers` are all that there are; `open` opens the sealed secret of one. A credential that `has_ended`
/// counts for an onboarding that had to wait for the operator.
///
/// # Errors
/// Refuses the credential as used, or as past its time, in every other case.
pub fn again<'a>(
    details: ApiInvokerEnrolmentDetails,
    credential: &Credential,
    has_ended: bool,
    mut invokers: impl Iterator<Item = &'a Invoker>,
    apis: impl Published<'a>,
    open: &dyn Fn(&Invoker, &Handover) -> Option<Redacted>,
    now: &DateTime,
) -> Result<ApiInvokerEnrolmentDetails, Refusal> {
    let used = || refusal(has_ended);
    let enrolment = enrolment_terms(&details)?;
    let attempt = enrolment.attempt.as_ref().ok_or_else(used)?;
    let key = Digest::of(
        details
            .onboarding_information
            .api_invoker_public_key
            .as_bytes(),
    );
    let of_credential = |invoker: &&Invoker| {
        let handover = invoker.renewal.handover.as_ref();
        handover.is_some_and(|held| held.credential.as_ref() == Some(&credential.single_use))
    };
    let invoker = invokers.find(of_credential).ok_or_else(used)?;
    let handover = invoker.renewal.handover.as_ref().ok_or_else(used)?;
    let same = handover.request == attempt.as_str() && handover.public_key_text == key;
    let waited = handover.until.as_ref().is_some_and(|until| now < until);
    let counts = *now < invoker.certificate.not_after
        && !rotation::is_over(invoker, now)
        && (waited || !has_ended);
    if !same || !counts {
        return Err(used());
    }
    let secret = match &handover.secret {
        Some(_) => Some(open(invoker, handover).ok_or_else(used)?),
        None => None,
    };
    // What was refused then, as far as it would be now.
    let allowance = invoker.allowance.as_ref().unwrap_or(&invoker.reach);
    let wanted = grant::wanted(details.api_list.as_ref())?;
    let refused = grant::grant(allowance, wanted, &invoker.criteria, apis.clone());
    let echo = Echo {
        of_details: details.extra,
        of_information: details.onboarding_information.extra,
        asked_features: enrolment.features.is_some(),
        features: details.supported_features.map(|_| invoker.features.clone()),
        // The first answer said so, and the test followed it.
        test: None,
    };
    Ok(profile::represent(
        invoker,
        in_use(invoker, secret),
        echo,
        refused.map(|grant| grant.refused).unwrap_or_default(),
        apis,
    ))
}

/// What a credential is refused for that has served.
#[must_use]
pub fn refusal(has_ended: bool) -> Refusal {
    if has_ended {
        Refusal::CredentialExpired
    } else {
        Refusal::CredentialUsed
    }
}
