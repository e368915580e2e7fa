//! Discovery of service APIs before onboarding (TS 29.222 clause 8.11.4): a reduced view without addresses and methods.

use crate::{
    common::{AefId, ServiceApiId, SupportedFeatures},
    publish_service::{AefLocation, ApiStatus, DataFormat, Protocol, ServiceKpis, Version},
};

object! {
    /// What was found.
    pub struct OpenDiscoveryResp {
        /// The APIs; may be empty.
        pub disc_apis: Vec<OpenApiDetails>,
        /// Features, for negotiation.
        pub supp_feat: Option<SupportedFeatures>,
    }
}

object! {
    /// An API as everyone may see it.
    pub struct OpenApiDetails {
        /// The name.
        pub api_name: String,
        /// The id.
        pub api_id: Option<ServiceApiId>,
        /// On which AEFs it is active.
        pub api_status: Option<ApiStatus>,
        /// A text for people.
        pub description: Option<String>,
        /// The category.
        #[serde(rename = "serviceAPICategory")]
        pub service_api_category: Option<String>,
        /// Features of the API.
        pub api_supp_feats: Option<SupportedFeatures>,
        /// The provider's name.
        pub api_prov_name: Option<String>,
        /// How it is exposed; not empty.
        pub aef_profiles: Option<Vec<OpenAefProfile>>,
    }
}

object! {
    /// How one AEF exposes an API, as everyone may see it.
    #[derive(Default)]
    pub struct OpenAefProfile {
        /// The AEF.
        pub aef_id: Option<AefId>,
        /// The versions; not empty.
        pub versions: Option<Vec<Version>>,
        /// The protocol.
        pub protocol: Option<Protocol>,
        /// How bodies are written.
        pub data_format: Option<DataFormat>,
        /// Where the AEF stands.
        pub aef_location: Option<AefLocation>,
        /// What the service can bear.
        pub service_kpis: Option<ServiceKpis>,
    }
}
