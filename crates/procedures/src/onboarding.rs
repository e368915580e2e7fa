//! Onboarding of an API invoker (TS 33.122 clause 6.1, TS 23.222 clause 8.1, TS 29.222 clause 5.5.2.2).
//!
//! The credential is judged first, then the request; [`admit`] then says what may be certified, and
//! [`Admission::complete`] makes the one commit that brings profile, single use and event into the world together.
//! A refusal at any point leaves nothing behind.

use std::collections::BTreeSet;

use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, ApiList},
    common::{ApiInvokerId, DateTime, Redacted, SupportedFeatures},
    events::CapifEvent,
    publish_service::{SecurityMethod, ServiceApiDescription},
};

use crate::{
    changes::{Changes, Expect},
    discovery, events,
    refusal::Refusal,
    security_method::methods_of,
    state::{
        ApiReach, Bars, Certificate, CertificateOrder, CredentialUse, Digest, Invoker, PublicKey,
        RegisteredCredential, Role, ServiceApi, Subscription,
    },
};

/// Features of the API invoker management API that are served (TS 29.222 table 8.4.6-1): none yet beyond the base.
pub const FEATURES: &str = "0";

/// How many APIs one request may ask for.
pub const APIS_MAX: usize = 256;

/// An onboarding credential whose signature, issuer, audience and time were found good, or whose digest the provider had
/// handed over.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Who vouches for the holder.
    pub issuer: String,
    /// What marks it as used.
    pub single_use: Digest,
    /// When it ends.
    pub expires: DateTime,
    /// What its holder may reach.
    pub reach: ApiReach,
    /// The token's own digest when it was handed over in advance: that record goes with its use.
    pub registered: Option<Digest>,
}

impl Credential {
    /// The record of its use.
    #[must_use]
    pub fn used(&self) -> CredentialUse {
        CredentialUse {
            id: self.single_use.clone(),
            expires: self.expires.clone(),
        }
    }
}

/// The decision to onboard, before key and secret are made out.
#[derive(Debug)]
pub struct Admission {
    details: ApiInvokerEnrolmentDetails,
    credential: Credential,
    id: ApiInvokerId,
    order: CertificateOrder,
    reach: ApiReach,
    needs_secret: bool,
}

/// Decides whether an invoker is onboarded. `apis` are all published APIs.
///
/// # Errors
/// Refuses members that cannot be, and wishes beyond the credential.
pub fn admit<'a>(
    details: ApiInvokerEnrolmentDetails,
    credential: Credential,
    public_key: PublicKey,
    id: ApiInvokerId,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> Result<Admission, Refusal> {
    if details.api_invoker_id.is_some() {
        return Err(Refusal::incorrect(
            "/apiInvokerId",
            "`apiInvokerId` is given by the CAPIF core function: leave it out",
        ));
    }
    let reach = reach(&credential, details.api_list.as_ref())?;
    // An API that is wanted but not yet published may turn out to use Method 3, so only an enrolment whose every
    // API is known not to needs no secret (TS 33.122 clause 6.1 step 6).
    let mut unpublished = reach.api_names.clone();
    let mut oauth = reach.api_names.is_none();
    for api in apis.filter(|api| reach.includes(api)) {
        oauth |= offers(api, &SecurityMethod::Oauth);
        if let Some(names) = &mut unpublished {
            names.remove(&api.description.api_name);
        }
    }
    let needs_secret = oauth || unpublished.is_some_and(|names| !names.is_empty());
    let order = CertificateOrder::new(id.as_str(), Role::ApiInvoker, public_key, Vec::new());
    Ok(Admission {
        details,
        credential,
        id,
        order,
        reach,
        needs_secret,
    })
}

impl Admission {
    /// What the certificate authority is to sign.
    #[must_use]
    pub fn order(&self) -> &CertificateOrder {
        &self.order
    }

    /// Whether an Onboard_Secret is due.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        self.needs_secret
    }

    /// Makes the commit and the answer. `secret` is the Onboard_Secret with its digest, when one is due.
    #[must_use]
    pub fn complete<'a>(
        self,
        certificate: Certificate,
        secret: Option<(Redacted, Digest)>,
        apis: impl Iterator<Item = &'a ServiceApi>,
        subscriptions: impl Iterator<Item = &'a Subscription>,
        now: DateTime,
    ) -> (Changes, ApiInvokerEnrolmentDetails) {
        let (secret, secret_digest) = secret.unzip();
        let mut details = self.details;
        let features = SupportedFeatures::from(FEATURES);
        let agreed = details
            .supported_features
            .as_ref()
            .map(|wanted| wanted.intersect(&features));
        let invoker = Invoker {
            id: self.id.clone(),
            public_key_text: details
                .onboarding_information
                .api_invoker_public_key
                .clone(),
            onboard_secret: secret_digest,
            notification_destination: details.notification_destination.clone(),
            information: details.api_invoker_information.clone(),
            reach: self.reach,
            features: agreed.clone().unwrap_or(features),
            onboarded: now.clone(),
            issuer: self.credential.issuer.clone(),
            bars: Bars::default(),
            certificate,
        };

        let mut changes = Changes::new();
        changes.put(&self.credential.used(), Expect::Absent);
        if let Some(token) = self.credential.registered {
            changes.delete::<RegisteredCredential>(token.to_string(), Expect::Present);
        }
        changes.put(&invoker, Expect::Absent);
        events::raise(
            &mut changes,
            events::of_invoker(CapifEvent::ApiInvokerOnboarded, &self.id),
            subscriptions,
            &now,
        );

        let allowed = allowed(apis.filter(|api| invoker.reach.includes(api)));
        details.api_invoker_id = Some(self.id);
        details.onboarding_information.api_invoker_certificate = Some(invoker.certificate.pem);
        details.onboarding_information.onboarding_secret = secret;
        details.api_list = (!allowed.is_empty()).then(|| ApiList {
            service_api_descriptions: Some(allowed),
            ..ApiList::default()
        });
        details.supported_features = agreed;
        // Features that were not agreed on are not answered (TS 29.222 clause 7.8).
        details.request_test_notification = None;
        details.websock_notif_config = None;
        details.exp_time = None;
        details.failure_reasons = None;
        details.onboarding_information.onboarding_criteria = None;
        (changes, details)
    }
}

/// The largest list of APIs that the answer holds in full, in bytes of JSON.
const LIST_BYTES_MAX: usize = 256 * 1024;

/// The allowed APIs for the answer: in full, or by name and id alone when that would be too much; discovery tells the rest.
fn allowed<'a>(apis: impl Iterator<Item = &'a ServiceApi>) -> Vec<ServiceApiDescription> {
    let mut allowed: Vec<ServiceApiDescription> = apis.map(discovery::view).collect();
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

/// What the invoker reaches: what the credential allows, narrowed to what was asked for.
fn reach(credential: &Credential, wanted: Option<&ApiList>) -> Result<ApiReach, Refusal> {
    let wanted: BTreeSet<String> = wanted
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
    let mut reach = credential.reach.clone();
    if !wanted.is_empty() {
        let names = match &reach.api_names {
            Some(allowed) => wanted.intersection(allowed).cloned().collect(),
            None => wanted,
        };
        if names.is_empty() {
            return Err(Refusal::incorrect(
                "/apiList/serviceAPIDescriptions",
                "the credential allows none of the APIs asked for: ask the provider for one that does",
            ));
        }
        reach.api_names = Some(names);
    }
    Ok(reach)
}

fn offers(api: &ServiceApi, method: &SecurityMethod) -> bool {
    api.description
        .aef_profiles
        .iter()
        .flatten()
        .any(|profile| methods_of(profile).contains(method))
}

#[cfg(test)]
mod tests;
