//! Registration of API provider domains and their functions (TS 29.222 clause 8.9.4).

use crate::{
    checked::{self, Checked, Violation},
    common::{ApiProviderDomainId, ApiProviderFunctionId, Redacted, SupportedFeatures},
};

object! {
    /// An API provider domain: what its management function sends to register it, and gets back (TS 29.222 clause
    /// 8.9.4.2.2).
    pub struct ApiProviderEnrolmentDetails {
        /// The id that the CCF gave: absent in the request to register, present in every other message.
        pub api_prov_dom_id: Option<ApiProviderDomainId>,
        /// The credential that admits the domain.
        pub reg_sec: Redacted,
        /// In a request the functions that the domain has, in an answer those that were registered; not empty.
        pub api_prov_funcs: Option<Vec<ApiProviderFunctionDetails>>,
        /// What the provider says of its domain.
        pub api_prov_dom_info: Option<String>,
        /// Features, for negotiation.
        pub supp_feat: Option<SupportedFeatures>,
        /// Why functions are missing in the answer; present if at least one is.
        pub fail_reason: Option<String>,
        /// The provider's name.
        pub api_prov_name: Option<String>,
    }
}

impl Checked for ApiProviderEnrolmentDetails {
    fn check(&self) -> Result<(), Violation> {
        checked::list("apiProvFuncs", &self.api_prov_funcs)?;
        checked::bounded("apiProvDomInfo", &self.api_prov_dom_info)?;
        checked::bounded("apiProvName", &self.api_prov_name)
    }
}

object! {
    /// Changes to an API provider domain, as a merge patch.
    #[derive(Default)]
    pub struct ApiProviderEnrolmentDetailsPatch {
        /// The functions that the domain has; not empty.
        pub api_prov_funcs: Option<Vec<ApiProviderFunctionDetails>>,
        /// What the provider says of its domain.
        pub api_prov_dom_info: Option<String>,
    }
}

impl Checked for ApiProviderEnrolmentDetailsPatch {
    fn check(&self) -> Result<(), Violation> {
        checked::list("apiProvFuncs", &self.api_prov_funcs)?;
        checked::bounded("apiProvDomInfo", &self.api_prov_dom_info)
    }
}

object! {
    /// One function of a domain (TS 29.222 clause 8.9.4.2.3).
    pub struct ApiProviderFunctionDetails {
        /// The id that the CCF gave.
        pub api_prov_func_id: Option<ApiProviderFunctionId>,
        /// Its key and certificate.
        pub reg_info: RegistrationInformation,
        /// The part that it plays.
        pub api_prov_func_role: ApiProviderFuncRole,
        /// What the provider says of it.
        pub api_prov_func_info: Option<String>,
    }
}

impl Checked for ApiProviderFunctionDetails {
    fn check(&self) -> Result<(), Violation> {
        checked::inside("regInfo", &self.reg_info)?;
        checked::bounded("apiProvFuncInfo", &self.api_prov_func_info)
    }
}

object! {
    /// Key and certificate of a function (TS 29.222 clause 8.9.4.2.4).
    pub struct RegistrationInformation {
        /// The public key, or a certificate request that proves possession of the private one.
        pub api_prov_pub_key: String,
        /// The certificate, from the CCF.
        pub api_prov_cert: Option<String>,
    }
}

impl Checked for RegistrationInformation {
    fn check(&self) -> Result<(), Violation> {
        checked::bounded("apiProvPubKey", &self.api_prov_pub_key)
    }
}

open_enumeration! {
    /// The part that a function plays (TS 29.222 clause 8.9.4.3.3).
    pub enum ApiProviderFuncRole {
        /// API exposing function.
        Aef = "AEF",
        /// API publishing function.
        Apf = "APF",
        /// API management function.
        Amf = "AMF",
    }
}
