//! Discovery of service APIs (TS 29.222 clause 8.1.4).

use crate::{
    checked::{self, Checked, Violation},
    common::{SupportedFeatures, Uri},
    publish_service::{Operation, ServiceApiDescription},
};

object! {
    /// What was found (TS 29.222 clause 8.1.4.2.2).
    #[derive(Default)]
    pub struct DiscoveredApis {
        /// The APIs, each with the profiles that match; absent when nothing was found, never empty.
        #[serde(rename = "serviceAPIDescriptions")]
        pub service_api_descriptions: Option<Vec<ServiceApiDescription>>,
        /// Features, for negotiation.
        pub supp_feat: Option<SupportedFeatures>,
    }
}

object! {
    /// The address of a user for whom an API is sought; exactly one of the two.
    #[derive(Default)]
    pub struct IpAddrInfo {
        /// An IPv4 address.
        pub ipv4_addr: Option<String>,
        /// An IPv6 address.
        pub ipv6_addr: Option<String>,
    }
}

impl Checked for IpAddrInfo {
    fn check(&self) -> Result<(), Violation> {
        checked::exactly_one(&[
            ("ipv4Addr", self.ipv4_addr.is_some()),
            ("ipv6Addr", self.ipv6_addr.is_some()),
        ])
    }
}

object! {
    /// A resource and operations that a sought API must have.
    #[derive(Default)]
    pub struct ResOperInfo {
        /// The resource.
        pub resource: Option<Uri>,
        /// The HTTP methods; not empty.
        pub operations: Option<Vec<Operation>>,
        /// The custom operations; not empty.
        pub custom_serv_opers: Option<Vec<String>>,
    }
}

impl Checked for ResOperInfo {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("operations", &self.operations)?;
        checked::not_empty("customServOpers", &self.custom_serv_opers)
    }
}
