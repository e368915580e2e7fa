//! The records that procedures decide on. Each is one JSON object in the store.

mod access;
mod authority;
mod departure;
mod renewal;
mod revoked;
mod revoked_certificate;
mod security;

use std::collections::BTreeSet;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_spec::{
    common::{
        AefId, ApiInvokerId, ApiProviderDomainId, ApiProviderFunctionId, DateTime, ServiceApiId,
        SubscriptionId, SupportedFeatures, Uri,
    },
    events::{EventNotification, EventSubscription},
    logging::Log,
    publish_service::ServiceApiDescription,
};
use serde::{Deserialize, Serialize};

pub use self::{
    access::{AccessControlPolicy, Limits, TimeRange, Usage},
    authority::{Generation, GenerationState, TokenKey},
    departure::{Departure, DepartureReason},
    renewal::{Demand, DemandReason, Handover, Renewal, Retiring, Successor},
    revoked::{Bars, Callback, Revocation, Tidings},
    revoked_certificate::{RevocationReason, RevokedCertificate},
    security::{AefPsk, AefPsks, SealedKey, SecurityContext, SecurityEntry},
};
use crate::changes::{Kind, Record};

/// A SHA-256 digest, written as 64 hexadecimal digits. Comparison takes the same time wherever the difference lies.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest with these octets.
    #[must_use]
    pub fn new(octets: [u8; 32]) -> Self {
        let halves = octets.iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
        let digits = halves.filter_map(|half| char::from_digit(u32::from(half), 16));
        Self(digits.collect())
    }

    /// The digest of some octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
        let mut out = [0; 32];
        for (place, octet) in out.iter_mut().zip(digest.as_ref()) {
            *place = *octet;
        }
        Self::new(out)
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The octets, as tokens write them: base64url without padding (RFC 8705 section 3.1).
    #[must_use]
    pub fn to_base64url(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.octets())
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> [u8; 32] {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default();
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(self.0.as_bytes().chunks(2)) {
            let number = pair
                .iter()
                .fold(0, |number, half| number * 16 + digit(*half));
            *octet = u8::try_from(number).unwrap_or_default();
        }
        octets
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Digest {}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

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
    pub pem: String,
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
        self.domain
            .as_ref()
            .is_none_or(|domain| *domain == api.domain_id)
            && self
                .api_names
                .as_ref()
                .is_none_or(|names| names.contains(&api.description.api_name))
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
    pub public_key_text: String,
    /// The certificate in use.
    pub certificate: Certificate,
    /// SHA-256 of the Onboard_Secret, when one was given (TS 33.122 clause 6.1 step 6).
    pub onboard_secret: Option<Digest>,
    /// Where the invoker takes notifications.
    pub notification_destination: Uri,
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
    /// What the provider says of its domain.
    pub information: Option<String>,
    /// Its functions in the order of the request.
    pub functions: Vec<ApiProviderFunctionId>,
    /// The features agreed on.
    pub features: SupportedFeatures,
    /// When it was registered.
    pub registered: DateTime,
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
    pub public_key_text: String,
    /// The certificate in use.
    pub certificate: Certificate,
    /// What the provider says of the function.
    pub information: Option<String>,
    /// Host names and addresses where it serves.
    #[serde(default)]
    pub hosts: Vec<String>,
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
    /// The description as published, the id included.
    pub description: ServiceApiDescription,
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
