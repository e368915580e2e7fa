//! Onboarding as the invoker sees it (TS 33.122 clause 6.1, TS 29.222 clause 5.5.2.2).
//!
//! A lost answer must not cost the credential (P-08). So the private key and the request are on the disk before anything
//! is sent, and the next attempt repeats the very same request: the CAPIF core function can recognise it. The answer is
//! on the disk before it is returned.

use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, ApiList, OnboardingInformation},
    common::{DateTime, Redacted, SupportedFeatures, Uri},
    publish_service::ServiceApiDescription,
    vendor::EnrolmentTerms,
};
use capif_transport::{Anchors, SharedClock};
use http::{Method, StatusCode};

use super::{
    Invoker, renewal,
    state::{NAME, Onboarded, Pending, Record, State},
    trust::Trust,
};
use crate::{
    address::Address,
    ccf::{Call, Ccf, is_id},
    enrolment::Enrolment,
    error::Error,
    key::PrivateKey,
    keystore::{Keystore, Locked},
    provider, random,
};

const OPERATION: &str = "the onboarding";

/// Feature bits 3, PatchUpdate, and 4, ExpirationTime, of the API invoker management API (TS 29.222 table 8.4.6-1).
pub(super) const FEATURES: &str = "C";

/// The number of the feature by which single members change.
pub(super) const PATCH_UPDATE: u32 = 3;

/// What an invoker asks for when it enrols.
#[derive(Clone, Debug, PartialEq)]
pub struct OnboardingRequest {
    /// The names of the APIs that are wanted; none means all that the credential allows.
    pub apis: Vec<String>,
    /// Where the CAPIF core function sends notifications.
    pub notification_destination: Uri,
    /// Free text about the invoker, shown to the operator.
    pub information: Option<String>,
    /// Until when the enrolment is to last; as long as the CAPIF core function likes if absent.
    pub expires: Option<DateTime>,
}

/// All APIs that the credential allows, and a destination where nobody listens. The standard demands a destination; an
/// invoker that cannot be called gives this one, in a domain that never exists (RFC 2606 section 2), and asks for the state of
/// things instead.
impl Default for OnboardingRequest {
    fn default() -> Self {
        Self {
            apis: Vec::new(),
            notification_destination: Uri::from("https://api-invoker.invalid/"),
            information: None,
            expires: None,
        }
    }
}

pub(super) async fn onboard(
    keystore: Keystore,
    enrolment: &Enrolment,
    request: OnboardingRequest,
    clock: SharedClock,
) -> Result<Invoker, Error> {
    let address: Address = enrolment.address.parse()?;
    let anchors = anchors(&enrolment.anchors_pem)?;
    let keystore = keystore.lock().await?;
    provider::refuse_shared_folder(&keystore)?;
    let prepared = match State::load(&keystore)? {
        Some(State::Onboarded(held)) if held.is_at(&address) => {
            tracing::debug!(ccf = %address, "already onboarded: the credential is not used");
            held.clear_keys(&keystore)?;
            return Invoker::assemble(keystore.clone(), clock);
        }
        Some(State::Onboarded(held)) => {
            return Err(Error::EnrolledElsewhere {
                address: held.address,
            });
        }
        Some(State::Pending(pending)) if pending.address == address.as_str() => {
            let key = keystore.key(NAME)?;
            key.map(|key| (key, pending))
        }
        _ => None,
    };
    let (key, pending) = match prepared {
        Some(prepared) => prepared,
        None => prepare(&keystore, &address)?,
    };

    // No certificate of our own yet: the credential stands for it, on a connection of its own that both sides give up
    // after the answer (TS 33.122 annex B.1).
    let ccf = Ccf::new(address.clone(), anchors, None, clock.clone())?;
    let details = details(request, &pending);
    let call = Call::new(
        OPERATION,
        Method::POST,
        "/api-invoker-management/v1/onboardedInvokers".to_owned(),
    )
    .json(&details)?
    .bearer(&enrolment.credential)
    .advice(advice);
    let answer = ccf.send(call).await?;
    if answer.status == StatusCode::ACCEPTED {
        return Err(Error::ApprovalPending {
            address: address.to_string(),
        });
    }
    let mut details: ApiInvokerEnrolmentDetails = answer.json()?;
    let id = details
        .api_invoker_id
        .clone()
        .filter(|id| is_id(id.as_str()))
        .ok_or_else(|| answer.unusable("it gives no usable `apiInvokerId`"))?;
    let information = &mut details.onboarding_information;
    let certificate = information
        .api_invoker_certificate
        .as_deref()
        .ok_or_else(|| answer.unusable("it holds no `apiInvokerCertificate`"))?;
    key.check(certificate, id.as_str(), clock.now())
        .map_err(|reason| Error::WrongCertificate {
            address: address.to_string(),
            who: format!("API invoker {id}"),
            reason,
        })?;

    let onboarding_secret = information.onboarding_secret.take();
    let mut onboarded = Onboarded {
        address: address.to_string(),
        former_addresses: Vec::new(),
        anchors_pem: enrolment.anchors_pem.clone(),
        distrusted: Vec::new(),
        key: NAME.to_owned(),
        onboarding_id: answer.created_id().unwrap_or_else(|| id.to_string()),
        onboarding_secret,
        details,
        security: None,
        keys: Vec::new(),
        negotiations: 0,
        keys_under: 0,
        revision: 0,
        renewals: 0,
        renewal: Record::default(),
    };
    // While the authority is being replaced, some who are called are still of the one before.
    let named = EnrolmentTerms::of(&onboarded.details.extra).unwrap_or_default();
    if let Some(Ok(named)) = named.trust.as_ref().map(Trust::named) {
        let begun = Trust::of(&onboarded);
        named.and_anchors_of(&begun).put(&mut onboarded);
    }
    onboarded.move_to(&ccf.address());
    renewal::note(&mut onboarded, &DateTime(clock.now()));
    // Left over from another enrolment in this folder.
    onboarded.clear_keys(&keystore)?;
    State::Onboarded(Box::new(onboarded)).store(&keystore)?;
    tracing::info!(invoker = %id, ccf = %ccf.address(), "onboarded");
    Invoker::assemble(keystore.clone(), clock)
}

/// Makes the key pair and the request, and puts both on the disk.
fn prepare(keystore: &Locked, address: &Address) -> Result<(PrivateKey, Pending), Error> {
    let key = keystore.make_key(NAME)?;
    let certificate_request = key
        .request("api-invoker")
        .map_err(crate::keystore::KeystoreError::Key)?;
    let pending = Pending {
        address: address.to_string(),
        certificate_request,
        attempt: Some(Redacted::from(random::id()?)),
    };
    State::Pending(pending.clone()).store(keystore)?;
    Ok((key, pending))
}

fn details(request: OnboardingRequest, pending: &Pending) -> ApiInvokerEnrolmentDetails {
    let attempt = pending.attempt.as_ref();
    let attempt = attempt.and_then(|attempt| attempt.expose().parse().ok());
    let wanted: Vec<ServiceApiDescription> = request.apis.into_iter().map(wanted).collect();
    ApiInvokerEnrolmentDetails {
        api_invoker_id: None,
        onboarding_information: OnboardingInformation {
            api_invoker_public_key: pending.certificate_request.clone(),
            api_invoker_certificate: None,
            onboarding_secret: None,
            onboarding_criteria: None,
            extra: Default::default(),
        },
        notification_destination: request.notification_destination,
        request_test_notification: None,
        websock_notif_config: None,
        api_list: (!wanted.is_empty()).then(|| ApiList {
            service_api_descriptions: Some(wanted),
            ..ApiList::default()
        }),
        api_invoker_information: request.information,
        exp_time: request.expires,
        supported_features: Some(SupportedFeatures::from(FEATURES)),
        failure_reasons: None,
        extra: renewal::offer(attempt),
    }
}

/// An API that is asked for: its name says which (TS 29.222 clause 8.4.4.2.4).
fn wanted(api_name: String) -> ServiceApiDescription {
    ServiceApiDescription::named(api_name)
}

pub(crate) fn anchors(pem: &str) -> Result<Anchors, Error> {
    Anchors::from_pem(pem).map_err(|error| Error::Malformed {
        what: "root certificate",
        reason: error.to_string(),
    })
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "ask the API provider for a new enrolment code"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "try again later with the same code"
        }
        status if status.is_server_error() => {
            "the fault is on its side: try again with the same code, and tell its operator if it stays"
        }
        status if status.is_redirection() => {
            "it names another address, which is not followed: ask the provider for a code with the right one"
        }
        _ => "check what was asked for, and ask the API provider if it should be allowed",
    }
}
