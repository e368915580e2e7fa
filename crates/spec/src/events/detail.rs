//! What events are about.

use crate::{
    access_control_policy::ApiInvokerPolicy,
    api_invoker_management::OnboardingCriteria,
    checked::{self, Checked, Violation},
    common::{ApiInvokerId, ServiceApiId},
    logging::InvocationLog,
    publish_service::ServiceApiDescription,
    routing_info::RoutingRule,
};

object! {
    /// What an event is about; which members are there depends on the event (TS 29.222 clause 8.3.4.2.5).
    #[derive(Default)]
    pub struct CapifEventDetail {
        /// Descriptions of APIs; not empty.
        #[serde(rename = "serviceAPIDescriptions")]
        pub service_api_descriptions: Option<Vec<ServiceApiDescription>>,
        /// APIs; not empty.
        pub api_ids: Option<Vec<ServiceApiId>>,
        /// API invokers; not empty.
        pub api_invoker_ids: Option<Vec<ApiInvokerId>>,
        /// The access control policies of an API.
        pub acc_ctrl_pol_list: Option<AccessControlPolicyListExt>,
        /// Calls; not empty.
        pub invocation_logs: Option<Vec<InvocationLog>>,
        /// The topology to hide.
        pub api_topo_hide: Option<TopologyHiding>,
        /// The criteria that could not be met; not empty.
        pub onboarding_criteria: Option<Vec<OnboardingCriteria>>,
        /// Counts of enrolments; not empty.
        pub onboarded_count: Option<Vec<ApiInvokerCount>>,
        /// Counts of discoveries; not empty.
        pub discovery_count: Option<Vec<DiscoveryCount>>,
    }
}

object! {
    /// The access control policies of an API, with the API.
    pub struct AccessControlPolicyListExt {
        /// The API.
        pub api_id: ServiceApiId,
        /// One policy per API invoker.
        pub api_invoker_policies: Option<Vec<ApiInvokerPolicy>>,
    }
}

object! {
    /// The topology of an API that an AEF hides (TS 29.222 clause 8.3.4.2.7).
    pub struct TopologyHiding {
        /// The API.
        pub api_id: ServiceApiId,
        /// To where its calls go; not empty.
        pub routing_rules: Vec<RoutingRule>,
    }
}

object! {
    /// How many API invokers asked to be enrolled for an API.
    pub struct ApiInvokerCount {
        /// The API.
        pub api_id: ServiceApiId,
        /// How many.
        pub count: u64,
    }
}

object! {
    /// How often an API was discovered; at least one of the two counts.
    pub struct DiscoveryCount {
        /// The API.
        pub api_id: ServiceApiId,
        /// How often it was asked for.
        pub discovery_req_count: Option<u64>,
        /// How often it was answered.
        pub discovery_rsp_count: Option<u64>,
    }
}

impl Checked for DiscoveryCount {
    fn check(&self) -> Result<(), Violation> {
        checked::at_least_one(&[
            ("discoveryReqCount", self.discovery_req_count.is_some()),
            ("discoveryRspCount", self.discovery_rsp_count.is_some()),
        ])
    }
}
