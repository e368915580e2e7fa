//! Answers to queries of invocation logs (TS 29.222 clause 8.8.4).

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::{common::SupportedFeatures, logging::InvocationLog};

object! {
    /// Several invocation logs.
    pub struct InvocationLogs {
        /// The logs; not empty.
        pub multiple_invocation_logs: Vec<InvocationLog>,
        /// Features, for negotiation.
        pub supported_features: Option<SupportedFeatures>,
    }
}

/// One invocation log or several: the schema has both, told apart by their members.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum InvocationLogsRetrieveRes {
    /// One.
    One(InvocationLog),
    /// Several.
    Several(InvocationLogs),
}

impl<'de> Deserialize<'de> for InvocationLogsRetrieveRes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        let answer = if document.get("multipleInvocationLogs").is_some() {
            InvocationLogs::deserialize(document).map(Self::Several)
        } else {
            InvocationLog::deserialize(document).map(Self::One)
        };
        answer.map_err(de::Error::custom)
    }
}
