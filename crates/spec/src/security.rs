//! Security contexts of API invokers, their revocation, and access tokens (TS 29.222 clause 8.5.4).

mod scope;
mod token;

pub use self::{
    scope::{SCOPE_BYTES_MAX, Scope, ScopeError},
    token::{
        AccessTokenClaims, AccessTokenErr, AccessTokenError, AccessTokenReq, AccessTokenRsp,
        Confirmation, ResOwnerId,
    },
};
use crate::{
    checked::{self, Checked, Violation},
    common::{
        AefId, ApiInvokerId, Redacted, ServiceApiId, SupportedFeatures, Uri, WebsockNotifConfig,
    },
    publish_service::{InterfaceDescription, SecurityMethod},
    vendor::MethodTerms,
};

object! {
    /// The security context of an API invoker: in its request what it can do, in the answer what was selected (TS 29.222
    /// clause 8.5.4.2.2).
    pub struct ServiceSecurity {
        /// One entry per interface, AEF or API; not empty.
        pub security_info: Vec<SecurityInformation>,
        /// Where the invoker wants to hear of a revocation.
        pub notification_destination: Uri,
        /// Whether a test notification is wanted.
        pub request_test_notification: Option<bool>,
        /// Whether notifications are wanted over a WebSocket.
        pub websock_notif_config: Option<WebsockNotifConfig>,
        /// Features, for negotiation.
        pub supported_features: Option<SupportedFeatures>,
    }
}

impl Checked for ServiceSecurity {
    fn check(&self) -> Result<(), Violation> {
        checked::list("securityInfo", &self.security_info)?;
        checked::callback("notificationDestination", &self.notification_destination)
    }
}

object! {
    /// One entry of a security context (TS 29.222 clause 8.5.4.2.3).
    pub struct SecurityInformation {
        /// The interface that it is about; excludes `aef_id`.
        pub interface_details: Option<InterfaceDescription>,
        /// The AEF that it is about; excludes `interface_details`.
        pub aef_id: Option<AefId>,
        /// The one API that it is about, with the feature SecurityInfoPerAPI.
        pub api_id: Option<ServiceApiId>,
        /// The methods that the invoker can use; not empty.
        pub pref_security_methods: Vec<SecurityMethod>,
        /// The method that the CCF selected; absent in an answer if none is possible.
        pub sel_security_method: Option<SecurityMethod>,
        /// What is needed to authenticate, in a form that the CCF defines.
        pub authentication_info: Option<String>,
        /// What is needed to authorize, in a form that the CCF defines.
        pub authorization_info: Option<String>,
        /// The ways to a token; not empty.
        pub grant_type: Option<Vec<OAuthGrantType>>,
    }
}

impl Checked for SecurityInformation {
    fn check(&self) -> Result<(), Violation> {
        checked::exactly_one(&[
            ("interfaceDetails", self.interface_details.is_some()),
            ("aefId", self.aef_id.is_some()),
        ])?;
        checked::inside("interfaceDetails", &self.interface_details)?;
        checked::not_empty("prefSecurityMethods", &self.pref_security_methods)?;
        checked::bounded("authenticationInfo", &self.authentication_info)?;
        checked::bounded("authorizationInfo", &self.authorization_info)?;
        checked::not_empty("grantType", &self.grant_type)?;
        MethodTerms::of(self).map(drop)
    }
}

object! {
    /// Tells that authorization was taken away (TS 29.222 clause 8.5.4.2.4).
    pub struct SecurityNotification {
        /// From whom.
        pub api_invoker_id: ApiInvokerId,
        /// At which AEF.
        pub aef_id: Option<AefId>,
        /// For which APIs; not empty.
        pub api_ids: Vec<ServiceApiId>,
        /// The one token that is no longer good.
        pub access_token: Option<Redacted>,
        /// Why.
        pub cause: Cause,
    }
}

impl Checked for SecurityNotification {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("apiIds", &self.api_ids)
    }
}

open_enumeration! {
    /// Why authorization was taken away (TS 29.222 clause 8.5.4.3.3).
    pub enum Cause {
        /// The invoker used more than it may.
        OverlimitUsage = "OVERLIMIT_USAGE",
        /// Something unexpected.
        UnexpectedReason = "UNEXPECTED_REASON",
        /// The provider no longer authorizes the invoker.
        AuthorizationIssue = "AUTHORIZATION_ISSUE",
        /// Another reason.
        OtherReason = "OTHER_REASON",
    }
}

open_enumeration! {
    /// A way to an access token.
    pub enum OAuthGrantType {
        /// Client credentials (RFC 6749 section 4.4).
        ClientCredentials = "CLIENT_CREDENTIALS",
        /// Authorization code (RFC 6749 section 4.1).
        AuthorizationCode = "AUTHORIZATION_CODE",
        /// Authorization code with proof key (RFC 7636).
        AuthorizationCodeWithPkce = "AUTHORIZATION_CODE_WITH_PKCE",
    }
}

#[cfg(test)]
mod tests;
