//! Logs of service API invocations (TS 29.222 clause 8.7.4).

use serde_json::Value;

use crate::{
    checked::{self, Checked, Violation},
    common::{AefId, ApiInvokerId, DateTime, NetSliceId, ServiceApiId, SupportedFeatures, Uri},
    publish_service::{InterfaceDescription, Operation, Protocol},
};

object! {
    /// Calls of one API invoker that one AEF reports (TS 29.222 clause 8.7.4.2.2).
    pub struct InvocationLog {
        /// The AEF.
        pub aef_id: AefId,
        /// The API invoker.
        pub api_invoker_id: ApiInvokerId,
        /// The calls; not empty.
        pub logs: Vec<Log>,
        /// Features, for negotiation.
        pub supported_features: Option<SupportedFeatures>,
    }
}

impl Checked for InvocationLog {
    fn check(&self) -> Result<(), Violation> {
        checked::list("logs", &self.logs)
    }
}

object! {
    /// One call (TS 29.222 clause 8.7.4.2.3).
    pub struct Log {
        /// The API.
        pub api_id: ServiceApiId,
        /// Its name.
        pub api_name: String,
        /// Its version.
        pub api_version: String,
        /// The resource.
        pub resource_name: String,
        /// The URI that was called.
        pub uri: Option<Uri>,
        /// The protocol.
        pub protocol: Protocol,
        /// The HTTP method.
        pub operation: Option<Operation>,
        /// How it ended: for HTTP the status.
        pub result: String,
        /// When.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "DateTime::of_log"
        )]
        pub invocation_time: std::option::Option<DateTime>,
        /// How many milliseconds it took.
        pub invocation_latency: Option<DurationMs>,
        /// What was sent, in any form, also as `null`.
        pub input_parameters: Option<Value>,
        /// What came back, in any form, also as `null`.
        pub output_parameters: Option<Value>,
        /// Where the API invoker called from.
        pub src_interface: Option<InterfaceDescription>,
        /// Where it called.
        pub dest_interface: Option<InterfaceDescription>,
        /// Who stood in between: node identifiers of RFC 7239 section 6, joined by a comma and a blank.
        pub fwd_interface: Option<String>,
        /// The network slice.
        pub net_slice_info: Option<NetSliceId>,
    }
}

impl Checked for Log {
    fn check(&self) -> Result<(), Violation> {
        for (member, text) in [
            ("apiName", &self.api_name),
            ("apiVersion", &self.api_version),
            ("resourceName", &self.resource_name),
            ("result", &self.result),
        ] {
            checked::bounded(member, text)?;
        }
        checked::inside("srcInterface", &self.src_interface)?;
        checked::inside("destInterface", &self.dest_interface)?;
        checked::bounded("fwdInterface", &self.fwd_interface)?;
        checked::inside("netSliceInfo", &self.net_slice_info)
    }
}

/// A time span in milliseconds.
pub type DurationMs = u64;

#[cfg(test)]
mod tests;
