//! What is sought.

use std::{collections::BTreeMap, net::IpAddr};

use capif_spec::{
    common::{NetSliceId, SupportedFeatures},
    discover_service::ResOperInfo,
    publish_service::{AefLocation, CommunicationType, DataFormat, Protocol, ServiceKpis},
    security::OAuthGrantType,
};

use super::{
    API_SUPPORTED_FEATURE_QUERY, RNAA, SLICE_BASED_API_EXPOSURE, VEND_SPEC_QUERY_PARAMS,
    VendorCriterion,
};
use crate::refusal::{Refusal, RequestFault};

/// How many values one criterion may list.
pub const LIST_MAX: usize = 256;

/// What is sought; every criterion given must hold (TS 29.222 tables 8.1.2.2.3.1-1 and 8.11.2.2.3.1-1). A list is met by any
/// of its values unless it says otherwise; an empty one asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// `api-name`, `api-names`.
    pub api_names: Vec<String>,
    /// `api-version`.
    pub api_version: Option<String>,
    /// `api-versions`: of APIs of these names only.
    pub versions_of: BTreeMap<String, Vec<String>>,
    /// `comm-type`.
    pub comm_type: Option<CommunicationType>,
    /// `protocol`, `protocols`.
    pub protocols: Vec<Protocol>,
    /// `aef-id`.
    pub aef_id: Option<String>,
    /// `data-format`.
    pub data_format: Option<DataFormat>,
    /// `api-cat`, `api-cats`.
    pub api_cats: Vec<String>,
    /// `preferred-aef-loc`: a preference, without effect where nothing found stands there.
    pub preferred_aef_loc: Option<AefLocation>,
    /// `req-api-prov-name`, `api-prov-names`.
    pub api_prov_names: Vec<String>,
    /// `api-supported-features` of discovery: all of them, and only beside a name.
    pub api_supported_features: Option<SupportedFeatures>,
    /// `api-supported-features` of open discovery: of APIs of these names only, which are named themselves.
    pub features_of: BTreeMap<String, SupportedFeatures>,
    /// `ue-ip-addr`.
    pub ue_ip_addr: Option<IpAddr>,
    /// `service-kpis`: at least as good.
    pub service_kpis: Option<ServiceKpis>,
    /// `net-slice-info`: in all of these slices.
    pub net_slices: Vec<NetSliceId>,
    /// `grant-types`: all of them.
    pub grant_types: Vec<OAuthGrantType>,
    /// `api-ids`, in discovery only alone.
    pub api_ids: Vec<String>,
    /// `res-ops`: all of them.
    pub res_ops: Vec<ResOperInfo>,
    /// `vend-spec-…`: all of them.
    pub vendor: Vec<VendorCriterion>,
    /// `supported-features`.
    pub supported_features: Option<SupportedFeatures>,
}

impl Criteria {
    /// Checks which criteria of discovery exclude or need each other.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if !self.api_ids.is_empty() && self.any_besides_ids() {
            return Err(refused(
                "api-ids",
                "`api-ids` excludes every parameter but `api-invoker-id` and `supported-features`",
            ));
        }
        if self.api_supported_features.is_some() && self.api_names.is_empty() {
            return Err(refused(
                "api-supported-features",
                "`api-supported-features` needs `api-name` beside it",
            ));
        }
        Ok(())
    }

    /// Checks which criteria of open discovery need each other.
    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        if !self.features_of.is_empty() && self.api_names.is_empty() {
            return Err(refused(
                "api-supported-features",
                "`api-supported-features` needs `api-names` beside it",
            ));
        }
        if !self.res_ops.is_empty() && self.api_names.is_empty() {
            return Err(refused("res-ops", "`res-ops` needs `api-names` beside it"));
        }
        if self
            .features_of
            .keys()
            .any(|name| !self.api_names.contains(name))
        {
            return Err(refused(
                "api-supported-features",
                "`api-supported-features` is about APIs that `api-names` names",
            ));
        }
        Ok(())
    }

    /// The criteria that count when these features of discovery were agreed on.
    pub(super) fn within(mut self, features: &SupportedFeatures) -> Self {
        if !features.has(API_SUPPORTED_FEATURE_QUERY) {
            self.api_supported_features = None;
        }
        if !features.has(VEND_SPEC_QUERY_PARAMS) {
            self.vendor.clear();
        }
        if !features.has(RNAA) {
            self.grant_types.clear();
        }
        if !features.has(SLICE_BASED_API_EXPOSURE) {
            self.net_slices.clear();
        }
        self
    }

    fn any_besides_ids(&self) -> bool {
        let without = Self {
            api_ids: Vec::new(),
            supported_features: None,
            ..self.clone()
        };
        without != Self::default()
    }
}

fn refused(parameter: &str, reason: &str) -> Refusal {
    Refusal::Malformed {
        pointer: parameter.to_owned(),
        reason: reason.to_owned(),
        fault: RequestFault::Query,
    }
}
