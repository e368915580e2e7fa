//! Onboarding of API invokers, its update and its end (TS 29.222 clause 8.4.4).

use crate::{
    checked::{self, Checked, Violation},
    common::{AefId, ApiInvokerId, DateTime, Redacted, SupportedFeatures, Uri, WebsockNotifConfig},
    publish_service::{SecurityMethod, ServiceApiDescription},
};

object! {
    /// The profile of an API invoker: what it sends to be enrolled, and what it gets back (TS 29.222 clause 8.4.4.2.2).
    pub struct ApiInvokerEnrolmentDetails {
        /// The id that the CCF gave: absent in the request to onboard, present in every other message.
        pub api_invoker_id: Option<ApiInvokerId>,
        /// Key, certificate and secret.
        pub onboarding_information: OnboardingInformation,
        /// Where the invoker takes notifications.
        pub notification_destination: Uri,
        /// Whether a test notification is wanted.
        pub request_test_notification: Option<bool>,
        /// Whether notifications are wanted over a WebSocket.
        pub websock_notif_config: Option<WebsockNotifConfig>,
        /// In a request the APIs that are wanted, in an answer those that are allowed.
        pub api_list: Option<ApiList>,
        /// What the invoker says of itself.
        pub api_invoker_information: Option<String>,
        /// When the enrolment ends; never if absent.
        pub exp_time: Option<DateTime>,
        /// Features, for negotiation.
        pub supported_features: Option<SupportedFeatures>,
        /// Which of the wanted APIs were refused, and why; not empty.
        pub failure_reasons: Option<Vec<EnrolFailReason>>,
    }
}

impl Checked for ApiInvokerEnrolmentDetails {
    fn check(&self) -> Result<(), Violation> {
        checked::inside("onboardingInformation", &self.onboarding_information)?;
        checked::callback("notificationDestination", &self.notification_destination)?;
        checked::inside("apiList", &self.api_list)?;
        checked::bounded("apiInvokerInformation", &self.api_invoker_information)?;
        checked::not_empty("failureReasons", &self.failure_reasons)
    }
}

object! {
    /// Changes to the profile of an API invoker, as a merge patch.
    #[derive(Default)]
    pub struct ApiInvokerEnrolmentDetailsPatch {
        /// Key, certificate and secret.
        pub onboarding_information: Option<OnboardingInformation>,
        /// Where the invoker takes notifications.
        pub notification_destination: Option<Uri>,
        /// The APIs that are wanted.
        pub api_list: Option<ApiList>,
        /// What the invoker says of itself.
        pub api_invoker_information: Option<String>,
        /// When the enrolment ends; `Some(None)`, which is `null` on the wire, takes the end away.
        pub exp_time: Option<Option<DateTime>>,
    }
}

impl Checked for ApiInvokerEnrolmentDetailsPatch {
    fn check(&self) -> Result<(), Violation> {
        checked::inside("onboardingInformation", &self.onboarding_information)?;
        checked::callback("notificationDestination", &self.notification_destination)?;
        checked::inside("apiList", &self.api_list)?;
        checked::bounded("apiInvokerInformation", &self.api_invoker_information)
    }
}

object! {
    /// Key, certificate and secret of an API invoker (TS 29.222 clause 8.4.4.2.3).
    pub struct OnboardingInformation {
        /// The public key, or a certificate request that proves possession of the private one.
        pub api_invoker_public_key: String,
        /// The certificate, from the CCF.
        pub api_invoker_certificate: Option<String>,
        /// The Onboard_Secret, from the CCF (TS 33.122 clause 6.1).
        pub onboarding_secret: Option<Redacted>,
        /// What the invoker asks of the APIs it is enrolled for; not empty.
        pub onboarding_criteria: Option<Vec<OnboardingCriteria>>,
    }
}

impl Checked for OnboardingInformation {
    fn check(&self) -> Result<(), Violation> {
        checked::bounded("apiInvokerPublicKey", &self.api_invoker_public_key)?;
        checked::list("onboardingCriteria", &self.onboarding_criteria)
    }
}

object! {
    /// A list of APIs.
    #[derive(Default)]
    pub struct ApiList {
        /// The APIs; not empty.
        #[serde(rename = "serviceAPIDescriptions")]
        pub service_api_descriptions: Option<Vec<ServiceApiDescription>>,
    }
}

impl Checked for ApiList {
    fn check(&self) -> Result<(), Violation> {
        checked::list("serviceAPIDescriptions", &self.service_api_descriptions)
    }
}

object! {
    /// Tells an invoker how an onboarding or update ended that could not be answered at once.
    pub struct OnboardingNotification {
        /// Whether it succeeded. If so, location and details are there, else neither is.
        pub result: bool,
        /// The resource that was made.
        pub resource_location: Option<Uri>,
        /// What would have been the answer.
        pub api_invoker_enrolment_details: Option<ApiInvokerEnrolmentDetails>,
        /// The APIs that are allowed.
        pub api_list: Option<ApiList>,
        /// Why it failed.
        pub fail_reason: Option<OnboardingFailReason>,
    }
}

object! {
    /// What an invoker asks of APIs.
    pub struct OnboardingCriteria {
        /// The security methods it can use; not empty.
        pub sec_methods: Vec<SecurityMethod>,
        /// To which APIs this applies.
        pub related_criteria: Option<RelatedCriteria>,
    }
}

impl Checked for OnboardingCriteria {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("secMethods", &self.sec_methods)?;
        checked::inside("relatedCriteria", &self.related_criteria)
    }
}

object! {
    /// To which APIs criteria apply; at least one of the three.
    #[derive(Default)]
    pub struct RelatedCriteria {
        /// Those of these AEFs; not empty.
        pub aef_ids: Option<Vec<AefId>>,
        /// Those named; not empty.
        pub apis: Option<Vec<ApiInfo>>,
        /// Those of these categories; not empty.
        #[serde(rename = "serviceAPICategories")]
        pub service_api_categories: Option<Vec<String>>,
    }
}

impl Checked for RelatedCriteria {
    fn check(&self) -> Result<(), Violation> {
        checked::at_least_one(&[
            ("aefIds", self.aef_ids.is_some()),
            (
                "serviceAPICategories",
                self.service_api_categories.is_some(),
            ),
            ("apis", self.apis.is_some()),
        ])?;
        checked::not_empty("aefIds", &self.aef_ids)?;
        checked::not_empty("serviceAPICategories", &self.service_api_categories)?;
        checked::list("apis", &self.apis)
    }
}

object! {
    /// An API by name.
    pub struct ApiInfo {
        /// The name.
        pub api_name: String,
        /// The versions that the invoker can use; not empty.
        pub supported_api_versions: Option<Vec<String>>,
    }
}

impl Checked for ApiInfo {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("supportedApiVersions", &self.supported_api_versions)
    }
}

object! {
    /// Why an invoker was not enrolled for one API.
    pub struct EnrolFailReason {
        /// The API. Choice: the published schema gives this member no type; its name and its use ask for one name.
        pub api_name: String,
        /// The reason.
        pub failure_code: EnrolFailCause,
    }
}

open_enumeration! {
    /// Why an invoker was not enrolled for one API.
    pub enum EnrolFailCause {
        /// The invoker is not authorized for it.
        AuthorizationIssue = "AUTHORIZATION_ISSUE",
        /// The invoker's criteria are not met by it.
        OnboardingCriNotMet = "ONBOARDING_CRI_NOT_MET",
        /// No reason is given.
        Unspecified = "UNSPECIFIED",
    }
}

open_enumeration! {
    /// Why an invoker was not onboarded.
    pub enum OnboardingFailReason {
        /// The invoker is not allowed.
        ApiInvokerNotAllowed = "API_INVOKER_NOT_ALLOWED",
        /// The invoker's criteria are not met.
        OnboardingCriNotMet = "ONBOARDING_CRI_NOT_MET",
        /// Another reason: the value `OTHER` that the standard names, unlike a value that it does not name.
        OtherReason = "OTHER",
    }
}

#[cfg(test)]
mod tests;
