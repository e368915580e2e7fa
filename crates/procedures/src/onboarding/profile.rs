//! The profile of an API invoker as it is answered (TS 29.222 clause 8.4.4.2.2).

use capif_spec::{
    api_invoker_management::{
        ApiInvokerEnrolmentDetails, ApiList, EnrolFailReason, OnboardingInformation,
    },
    common::{DateTime, Extra, Redacted, SupportedFeatures, WebsockNotifConfig},
    publish_service::{SecurityMethod, ServiceApiDescription},
    vendor::{EnrolmentTerms, RENEWAL, RenewalTerms, RequestName},
};
use time::Duration;

use super::EXPIRATION_TIME;
use crate::{
    discovery::{self, Published},
    refusal::Refusal,
    security_method::methods_of,
    state::{ApiReach, Certificate, Invoker, Pem, ServiceApi},
};

/// The largest list of APIs that an answer holds in full, in bytes of JSON.
const LIST_BYTES_MAX: usize = 256 * 1024;

/// How many APIs an answer lists; discovery tells of all.
pub(super) const LIST_MAX: usize = 1000;

/// The part of an answer that certificate and secret are in.
pub(super) struct Handed<'a> {
    pub(super) public_key_text: &'a Pem,
    pub(super) certificate: &'a Certificate,
    /// The Onboard_Secret, in the one answer that hands it over.
    pub(super) secret: Option<Redacted>,
    pub(super) secret_expires: Option<&'a DateTime>,
    /// The name of the renewal that is answered, and its overlap.
    pub(super) renewal: Option<(&'a RequestName, Duration)>,
}

/// What a request said beyond the schema: it comes back as it was (TS 29.222 clause 7.11), but for what is said here.
#[derive(Debug, Default)]
pub(super) struct Echo {
    pub(super) of_details: Extra,
    pub(super) of_information: Extra,
    /// What of the features of this product's own is answered, if they were asked for.
    pub(super) asked_features: bool,
    /// The features of the standard, if they are answered.
    pub(super) features: Option<SupportedFeatures>,
    /// Whether a test notification follows.
    pub(super) test: Option<bool>,
}

/// The profile of an invoker. Of features that are not agreed on nothing is said (TS 29.222 clause 7.8).
pub(super) fn represent<'a>(
    invoker: &Invoker,
    handed: Handed<'_>,
    echo: Echo,
    refused: Vec<EnrolFailReason>,
    apis: impl Published<'a>,
) -> ApiInvokerEnrolmentDetails {
    let Echo {
        of_details: mut extra,
        of_information: mut information_extra,
        asked_features,
        features,
        test,
    } = echo;
    let agreed = invoker.renewal.agreed;
    let terms = EnrolmentTerms {
        features: (agreed || asked_features)
            .then(|| agreed.then(|| RENEWAL.to_owned()).into_iter().collect()),
        attempt: None,
        trust: None,
    };
    terms.write(&mut extra);
    let renewal = handed.renewal;
    let terms = if agreed {
        RenewalTerms {
            renewal: renewal.map(|(name, _)| name.clone()),
            certificate_expires: Some(handed.certificate.not_after.clone()),
            secret_expires: handed.secret_expires.cloned(),
            overlap_seconds: renewal
                .map(|(_, overlap)| u64::try_from(overlap.whole_seconds()).unwrap_or_default()),
        }
    } else {
        RenewalTerms::default()
    };
    terms.write(&mut information_extra);
    let allowed = allowed(apis.within(&invoker.reach));
    ApiInvokerEnrolmentDetails {
        api_invoker_id: Some(invoker.id.clone()),
        onboarding_information: OnboardingInformation {
            api_invoker_public_key: handed.public_key_text.to_string(),
            api_invoker_certificate: Some(handed.certificate.pem.to_string()),
            onboarding_secret: handed.secret,
            onboarding_criteria: (!invoker.criteria.is_empty()).then(|| invoker.criteria.clone()),
            extra: information_extra,
        },
        notification_destination: invoker.notification_destination.clone(),
        request_test_notification: test,
        websock_notif_config: invoker.websocket_uri.clone().map(|uri| WebsockNotifConfig {
            websocket_uri: Some(uri),
            ..WebsockNotifConfig::default()
        }),
        api_list: (!allowed.is_empty()).then(|| ApiList {
            service_api_descriptions: Some(allowed),
            ..ApiList::default()
        }),
        api_invoker_information: invoker.information.clone(),
        exp_time: invoker
            .expires
            .clone()
            .filter(|_| invoker.features.has(EXPIRATION_TIME)),
        supported_features: features,
        failure_reasons: (!refused.is_empty()).then_some(refused),
        extra,
    }
}

/// The allowed APIs for the answer: in full, or by name and id alone when that would be too much, and never more than so many;
/// discovery tells the rest.
fn allowed<'a>(apis: impl Iterator<Item = &'a ServiceApi>) -> Vec<ServiceApiDescription> {
    let mut allowed: Vec<ServiceApiDescription> =
        apis.take(LIST_MAX).map(discovery::view).collect();
    let size = serde_json::to_vec(&allowed).map_or(usize::MAX, |text| text.len());
    if size > LIST_BYTES_MAX {
        for api in &mut allowed {
            api.aef_profiles = None;
            api.description = None;
            api.net_slice_info = None;
            api.extra = Default::default();
        }
    }
    allowed
}

/// Whether an Onboard_Secret is due. An API that is wanted but not yet published may turn out to use Method 3, so only an
/// enrolment whose every API is known not to needs no secret (TS 33.122 clause 6.1 step 6).
pub(super) fn needs_secret<'a>(reach: &ApiReach, apis: impl Published<'a>) -> bool {
    let Some(mut unpublished) = reach.api_names.clone() else {
        return true;
    };
    for api in apis.within(reach) {
        if offers(api, &SecurityMethod::Oauth) {
            return true;
        }
        unpublished.remove(&api.description.api_name);
    }
    !unpublished.is_empty()
}

fn offers(api: &ServiceApi, method: &SecurityMethod) -> bool {
    api.description
        .aef_profiles
        .iter()
        .flatten()
        .any(|profile| methods_of(profile).contains(method))
}

/// When an enrolment ends: as was asked, within what the operator allows. As long as one likes ends never.
pub(super) fn granted_end(
    asked: Option<&DateTime>,
    life: Option<Duration>,
    now: &DateTime,
) -> Result<Option<DateTime>, Refusal> {
    if asked.is_some_and(|asked| asked <= now) {
        return Err(Refusal::incorrect(
            "/expTime",
            "`expTime` has passed: give a time to come, or leave it out; DELETE ends the enrolment now",
        ));
    }
    let latest = life.map(|life| DateTime(now.0.saturating_add(life)));
    Ok(match (asked.cloned(), latest) {
        (Some(asked), Some(latest)) => Some(asked.min(latest)),
        (asked, latest) => asked.or(latest),
    })
}
