//! The records that procedures decide on. Each is one JSON object in the store.

mod access;
mod account;
mod authority;
mod departure;
mod digest;
mod discovery;
mod hiding;
mod operator;
mod pem;
mod pending;
mod renewal;
mod reporting;
mod revoked;
mod revoked_certificate;
mod security;

use std::collections::BTreeSet;

use capif_spec::{
    api_invoker_management::OnboardingCriteria,
    common::{
        AefId, ApiInvokerId, ApiProviderDomainId, ApiProviderFunctionId, DateTime, Extra,
        ServiceApiId, SubscriptionId, SupportedFeatures, TestNotification, Uri,
    },
    events::{EventNotification, EventSubscription},
    logging::Log,
    publish_service::ServiceApiDescription,
};
use serde::{Deserialize, Serialize};

pub use self::{
    access::{AccessControlPolicy, Limits, TimeRange, Usage},
    account::Account,
    authority::{Generation, GenerationState, TokenKey},
    departure::{Departure, DepartureReason},
    digest::Digest,
    discovery::{Audience, DiscoveryPolicy, Scope},
    hiding::{Entry, Hidden, Network, Route, TopologyHiding},
    operator::{LogRetention, OperatorCredential},
    pem::{Frames, Pem},
    pending::{PendingEnrolment, PendingOnboarding, PendingWish, Rejection},
    renewal::{Demand, DemandReason, Handover, Renewal, Retiring, Successor},
    reporting::Reporting,
    revoked::{Bars, Callback, Revocation, Tidings},
    revoked_certificate::{RevocationReason, RevokedCertificate},
    security::{AefPsk, AefPsks, SealedKey, SecurityContext, SecurityEntry},
};
use crate::changes::{Kind, Record};

/// A public key that passed the checks of form, strength and, for a request, possession (TS 33.122 clause 6.1 step 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// The SubjectPublicKeyInfo as DER.
    pub spki: Vec<u8>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub digest: Digest,
}

/// What a procedure allows the certificate authority to sign. Only procedures make one, so that no certificate is
/// issued without a decision (TS 33.122 clause 6.1 step 6).
#[derive(Clone, Debug)]
pub struct CertificateOrder {
    id: String,
    role: Role,
    public_key: PublicKey,
    hosts: Vec<String>,
    not_after: Option<DateTime>,
}

impl CertificateOrder {
    pub(crate) fn new(id: &str, role: Role, public_key: PublicKey, hosts: Vec<String>) -> Self {
        Self {
            id: id.to_owned(),
            role,
            public_key,
            hosts,
            not_after: None,
        }
    }

    /// The same, to end no later than this.
    #[must_use]
    pub(crate) fn ending(mut self, not_after: Option<DateTime>) -> Self {
        self.not_after = not_after;
        self
    }

    /// When the certificate ends at the latest, if that is not left to the authority.
    #[must_use]
    pub fn not_after(&self) -> Option<&DateTime> {
        self.not_after.as_ref()
    }

    /// The id that becomes the common name (TS 29.222 table 8.4.4.2.5-1).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The role that becomes the organizational unit.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The key to certify.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Host names and addresses of a function that also serves; empty for those that only call.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }
}

/// The part that a certified entity plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// API invoker.
    #[serde(rename = "API_INVOKER")]
    ApiInvoker,
    /// API exposing function.
    #[serde(rename = "AEF")]
    Aef,
    /// API publishing function.
    #[serde(rename = "APF")]
    Apf,
    /// API management function.
    #[serde(rename = "AMF")]
    Amf,
    /// CAPIF core function.
    #[serde(rename = "CCF")]
    Ccf,
}

impl Role {
    /// The word that stands for the role in certificates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiInvoker => "API_INVOKER",
            Self::Aef => "AEF",
            Self::Apf => "APF",
            Self::Amf => "AMF",
            Self::Ccf => "CCF",
        }
    }
}

/// The certificate that an entity uses now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The chain as PEM, own certificate first, trust anchor left out.
    pub pem: Pem,
    /// SHA-256 of the own certificate: the whole of it identifies the caller, never its name alone (P-25).
    pub fingerprint: Digest,
    /// SHA-256 of the certified key.
    pub public_key: Digest,
    /// When it ends.
    pub not_after: DateTime,
    /// When its life began; unknown of certificates that were issued by earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<DateTime>,
    /// Its serial number in lower-case hexadecimal digits; empty of certificates that were issued by earlier versions.
    #[serde(default)]
    pub serial: String,
    /// The number of the authority that signed it.
    #[serde(default = "Certificate::first_authority")]
    pub authority: u32,
}

impl Certificate {
    fn first_authority() -> u32 {
        1
    }
}

/// Which service APIs an enrolment reaches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ApiReach {
    /// Only APIs of this provider domain; all domains if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<ApiProviderDomainId>,
    /// Only APIs of these names; all names if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_names: Option<BTreeSet<String>>,
}

impl ApiReach {
    /// Whether an API lies within reach.
    #[must_use]
    pub fn includes(&self, api: &ServiceApi) -> bool {
        self.admits(&api.domain_id, &api.description.api_name)
    }

    /// Whether the API of this name in this domain lies within reach.
    #[must_use]
    pub fn admits(&self, domain: &ApiProviderDomainId, api_name: &str) -> bool {
        self.domain.as_ref().is_none_or(|own| own == domain)
            && self
                .api_names
                .as_ref()
                .is_none_or(|names| names.contains(api_name))
    }
}

/// A single-use credential that has been used (D-26).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CredentialUse {
    /// Digest of issuer and `jti`, or of the whole token.
    pub id: Digest,
    /// From when on the credential is refused for its age, and this record is needless.
    pub expires: DateTime,
}

impl Record for CredentialUse {
    const KIND: Kind = Kind::CredentialUse;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// An onboarding credential that a provider handed over in advance, by its digest alone (TS 33.122 clause 6.1 step 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisteredCredential {
    /// SHA-256 of the token as the invoker will present it.
    pub token: Digest,
    /// Until when it may be used.
    pub expires: DateTime,
    /// What the invoker may reach.
    pub reach: ApiReach,
    /// Whether the operator approves whom it admits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

impl Record for RegisteredCredential {
    const KIND: Kind = Kind::RegisteredCredential;
    fn record_id(&self) -> String {
        self.token.to_string()
    }
}

/// The profile of an onboarded API invoker (TS 23.222 clause 8.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invoker {
    /// The id that the CCF gave.
    pub id: ApiInvokerId,
    /// The public key in the text that the invoker sent.
    pub public_key_text: Pem,
    /// The certificate in use.
    pub certificate: Certificate,
    /// SHA-256 of the Onboard_Secret, when one was given (TS 33.122 clause 6.1 step 6).
    pub onboard_secret: Option<Digest>,
    /// Where the invoker takes notifications.
    pub notification_destination: Uri,
    /// The WebSocket over which it takes them instead (TS 29.122 clause 5.2.5.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_uri: Option<Uri>,
    /// What the invoker says of itself.
    pub information: Option<String>,
    /// What it may reach.
    pub reach: ApiReach,
    /// What its credential allowed, of which it chose; what it reaches if absent, as in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<ApiReach>,
    /// The features agreed on.
    pub features: SupportedFeatures,
    /// When it was onboarded.
    pub onboarded: DateTime,
    /// Who vouched for it: the issuer of its credential.
    pub issuer: String,
    /// What the operator shut it out of.
    #[serde(default, skip_serializing_if = "Bars::is_empty")]
    pub bars: Bars,
    /// When the Onboard_Secret ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_expires: Option<DateTime>,
    /// When the enrolment ends; never if absent (TS 23.222 clause 8.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime>,
    /// How certificate and secret are renewed.
    #[serde(default, skip_serializing_if = "Renewal::is_default")]
    pub renewal: Renewal,
    /// What it asks of the APIs that it is enrolled for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<OnboardingCriteria>,
    /// Whether the operator approves what it asks for beyond what it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

impl Invoker {
    /// Where it is told what becomes of its enrolment.
    #[must_use]
    pub fn told_at(&self) -> &Uri {
        let websocket = self.websocket_uri.as_ref();
        websocket.unwrap_or(&self.notification_destination)
    }
}

impl Record for Invoker {
    const KIND: Kind = Kind::Invoker;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// A registered API provider domain (TS 23.222 clause 8.28).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderDomain {
    /// The id that the CCF gave.
    pub id: ApiProviderDomainId,
    /// The name under which the operator admitted it.
    pub name: String,
    /// The name that the provider gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
    /// What the provider says of its domain.
    pub information: Option<String>,
    /// What it says beyond the schema.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
    /// Its functions in the order of the request.
    pub functions: Vec<ApiProviderFunctionId>,
    /// The features agreed on.
    pub features: SupportedFeatures,
    /// When it was registered.
    pub registered: DateTime,
    /// Who vouched for it: the issuer of its credential. Absent from records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The credential with which it may register again, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
}

/// A registration credential that its domain may use again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reuse {
    /// What marks it as used.
    pub credential: Digest,
    /// Until when it can be used.
    pub until: DateTime,
}

impl Record for ProviderDomain {
    const KIND: Kind = Kind::ProviderDomain;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// One function of a provider domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderFunction {
    /// The id that the CCF gave.
    pub id: ApiProviderFunctionId,
    /// The domain it belongs to.
    pub domain_id: ApiProviderDomainId,
    /// AEF, APF or AMF.
    pub role: Role,
    /// The public key in the text that the provider sent.
    pub public_key_text: Pem,
    /// The certificate in use.
    pub certificate: Certificate,
    /// What the provider says of the function.
    pub information: Option<String>,
    /// Host names and addresses where it serves.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What the provider says of the function beyond the schema.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
    /// The same of its key.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub key_extra: Extra,
    /// How its certificate is renewed.
    #[serde(default, skip_serializing_if = "Renewal::is_default")]
    pub renewal: Renewal,
}

impl Record for ProviderFunction {
    const KIND: Kind = Kind::ProviderFunction;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// A published service API (TS 23.222 clause 8.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceApi {
    /// The id that the CCF gave.
    pub id: ServiceApiId,
    /// The APF that published it.
    pub apf_id: ApiProviderFunctionId,
    /// The domain of that APF.
    pub domain_id: ApiProviderDomainId,
    /// What everyone but its publisher is shown of it, the id included: without the AEFs where it is not active, and with the AEF
    /// that hides a topology in the place of those behind it.
    pub description: ServiceApiDescription,
    /// What was published, where something else is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Box<ServiceApiDescription>>,
    /// The AEF that hides the topology behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_by: Option<AefId>,
}

impl ServiceApi {
    /// What was published, for its publisher and for the AEF that hides the topology behind it.
    #[must_use]
    pub fn as_published(&self) -> &ServiceApiDescription {
        self.published.as_deref().unwrap_or(&self.description)
    }

    /// Whether any AEF serves it now (feature ApiStatusMonitoring); without a status all do.
    #[must_use]
    pub fn is_active(&self) -> bool {
        let status = self.description.api_status.as_ref();
        let serves = |aef: &AefId| status.is_none_or(|status| status.aef_ids.contains(aef));
        let profiles = self.description.aef_profiles.as_deref();
        profiles.is_none_or(|profiles| profiles.iter().any(|profile| serves(&profile.aef_id)))
    }

    /// Whether an AEF serves it, or would if it were active or not hidden.
    #[must_use]
    pub fn involves(&self, aef: &AefId) -> bool {
        let shown = self.description.aef_profiles.iter().flatten();
        let published = self.as_published().aef_profiles.iter().flatten();
        shown.chain(published).any(|profile| profile.aef_id == *aef)
    }
}

impl Record for ServiceApi {
    const KIND: Kind = Kind::ServiceApi;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// The claim of an API on its name within a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceApiName {
    /// The domain.
    pub domain_id: ApiProviderDomainId,
    /// The name.
    pub api_name: String,
    /// Who holds it.
    pub api_id: ServiceApiId,
}

impl ServiceApiName {
    /// The id of the claim on a name.
    #[must_use]
    pub fn id(domain: &ApiProviderDomainId, api_name: &str) -> String {
        format!("{domain}/{api_name}")
    }
}

impl Record for ServiceApiName {
    const KIND: Kind = Kind::ServiceApiName;
    fn record_id(&self) -> String {
        Self::id(&self.domain_id, &self.api_name)
    }
}

/// An event subscription (TS 23.222 clause 8.8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// The id that the CCF gave.
    pub id: SubscriptionId,
    /// Who subscribed: an API invoker or a provider function.
    pub subscriber: String,
    /// The part that the subscriber plays.
    pub role: Role,
    /// What the subscriber may hear of: events about other APIs do not concern it.
    pub reach: ApiReach,
    /// What was subscribed to, with the features agreed on.
    pub subscription: EventSubscription,
}

impl Subscription {
    /// The beginning of the ids of everything that belongs to a subscriber.
    #[must_use]
    pub fn prefix(subscriber: &str) -> String {
        format!("{subscriber}/")
    }
}

impl Record for Subscription {
    const KIND: Kind = Kind::Subscription;
    fn record_id(&self) -> String {
        format!("{}/{}", self.subscriber, self.id)
    }
}

/// A notification on its way: removed by its acknowledgement alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Who hears it.
    pub subscriber: String,
    /// What is sent.
    pub notification: EventNotification,
    /// When it was raised.
    pub raised: DateTime,
    /// Whether it waits for no period to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_once: bool,
}

impl Notification {
    /// The beginning of the ids of the notifications of one subscription.
    #[must_use]
    pub fn prefix(subscriber: &str, subscription: &SubscriptionId) -> String {
        format!("{subscriber}/{subscription}/")
    }
}

impl Record for Notification {
    const KIND: Kind = Kind::Notification;
    fn record_id(&self) -> String {
        // Notifications are appended: the commit completes this with the sequence.
        Self::prefix(&self.subscriber, &self.notification.subscription_id)
    }
}

/// A test of the way to a subscriber, among the notifications that wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Who hears it.
    pub subscriber: String,
    /// What is sent.
    pub notification: TestNotification,
    /// When it was raised.
    pub raised: DateTime,
}

impl Record for Test {
    const KIND: Kind = Kind::Notification;
    fn record_id(&self) -> String {
        // Written under the id that its subscription has for it.
        Subscription::prefix(&self.subscriber)
    }
}

/// One invocation as an AEF reported it (TS 23.222 clause 8.19).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvocationLogEntry {
    /// Who exposed the API.
    pub aef_id: AefId,
    /// Who called.
    pub api_invoker_id: ApiInvokerId,
    /// The call.
    pub log: Log,
    /// When the report came in.
    pub received: DateTime,
}

impl InvocationLogEntry {
    /// When the call was: as its report says, otherwise when that came in.
    #[must_use]
    pub fn time(&self) -> &DateTime {
        self.log.invocation_time.as_ref().unwrap_or(&self.received)
    }

    /// The beginning of the ids of the entries of one AEF.
    #[must_use]
    pub fn prefix(aef_id: &AefId) -> String {
        format!("{aef_id}/")
    }
}

impl Record for InvocationLogEntry {
    const KIND: Kind = Kind::InvocationLog;
    fn record_id(&self) -> String {
        Self::prefix(&self.aef_id)
    }
}
