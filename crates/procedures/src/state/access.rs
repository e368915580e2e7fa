//! Records of access control: what invokers may use of an API, and what they have used (TS 23.222 clause 8.23).

use capif_spec::common::{ApiInvokerId, DateTime, NetSliceId, ServiceApiId};
use serde::{Deserialize, Serialize};

use crate::changes::{Kind, Record};

/// What invokers may use of an API, as the operator set it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessControlPolicy {
    /// The API.
    pub api_id: ServiceApiId,
    /// The one invoker that it counts for; every invoker without a policy of its own if absent.
    pub invoker_id: Option<ApiInvokerId>,
    /// The bounds.
    pub limits: Limits,
}

impl AccessControlPolicy {
    /// The id of the policy for an invoker, or for everyone.
    #[must_use]
    pub fn id(api: &ServiceApiId, invoker: Option<&ApiInvokerId>) -> String {
        // No invoker has this id: those given here begin with letters.
        let invoker = invoker.map_or("*", ApiInvokerId::as_str);
        format!("{api}/{invoker}")
    }

    /// The beginning of the ids of the policies of one API.
    #[must_use]
    pub fn prefix(api: &ServiceApiId) -> String {
        format!("{api}/")
    }
}

impl Record for AccessControlPolicy {
    const KIND: Kind = Kind::AccessControlPolicy;
    fn record_id(&self) -> String {
        Self::id(&self.api_id, self.invoker_id.as_ref())
    }
}

/// The bounds of a policy (TS 29.222 clause 8.6.4.2.3). What is absent is not bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// How many calls in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many calls within any one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u64>,
    /// When; at any time if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// In which network slices; in any if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<NetSliceId>,
}

/// A range of time, its end not included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeRange {
    /// When it begins; it always has if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime>,
    /// When it ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime>,
}

/// How many calls an invoker was allowed of an API while a total counted for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The invoker.
    pub invoker_id: ApiInvokerId,
    /// The API.
    pub api_id: ServiceApiId,
    /// The calls.
    pub calls: u64,
}

impl Usage {
    /// The id of what an invoker used of an API.
    #[must_use]
    pub fn id(invoker: &ApiInvokerId, api: &ServiceApiId) -> String {
        format!("{}{api}", Self::prefix(invoker.as_str()))
    }

    /// The beginning of the ids of everything that an invoker used.
    #[must_use]
    pub fn prefix(invoker: &str) -> String {
        format!("{invoker}/")
    }
}

impl Record for Usage {
    const KIND: Kind = Kind::Usage;
    fn record_id(&self) -> String {
        Self::id(&self.invoker_id, &self.api_id)
    }
}
