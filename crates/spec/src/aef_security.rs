//! What an AEF is asked about security, by API invokers and the CCF (TS 29.222 clause 9.1.4).

use crate::{
    checked::{self, Checked, Violation},
    common::{ApiInvokerId, SupportedFeatures},
    security::SecurityNotification,
};

object! {
    /// An API invoker asks the AEF to make itself ready for it (TS 29.222 clause 9.1.4.2.2).
    pub struct CheckAuthenticationReq {
        /// The API invoker.
        pub api_invoker_id: ApiInvokerId,
        /// Features, for negotiation; mandatory here.
        pub supported_features: SupportedFeatures,
    }
}

impl Checked for CheckAuthenticationReq {
    fn check(&self) -> Result<(), Violation> {
        Ok(())
    }
}

object! {
    /// The AEF is ready.
    pub struct CheckAuthenticationRsp {
        /// Features, for negotiation; mandatory here.
        pub supported_features: SupportedFeatures,
    }
}

object! {
    /// The CCF tells the AEF that authorization was taken away.
    pub struct RevokeAuthorizationReq {
        /// From whom and for what.
        pub revoke_info: SecurityNotification,
        /// Features, for negotiation; mandatory here.
        pub supported_features: SupportedFeatures,
    }
}

impl Checked for RevokeAuthorizationReq {
    fn check(&self) -> Result<(), Violation> {
        checked::inside("revokeInfo", &self.revoke_info)
    }
}

object! {
    /// The AEF knows.
    pub struct RevokeAuthorizationRsp {
        /// Features, for negotiation; mandatory here.
        pub supported_features: SupportedFeatures,
    }
}
