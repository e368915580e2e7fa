//! Routing of calls by an AEF that hides a topology (TS 29.222 clause 8.10.4).

pub use crate::common::{Ipv4AddressRange, Ipv6AddressRange};
use crate::publish_service::AefProfile;

object! {
    /// To where the calls of one API go.
    pub struct RoutingInfo {
        /// The rules; not empty.
        pub routing_rules: Vec<RoutingRule>,
    }
}

object! {
    /// To where calls from some addresses go; from every address if no range is given.
    pub struct RoutingRule {
        /// IPv4 addresses; not empty.
        pub ipv4_addr_ranges: Option<Vec<Ipv4AddressRange>>,
        /// IPv6 addresses; not empty.
        pub ipv6_addr_ranges: Option<Vec<Ipv6AddressRange>>,
        /// The AEF that serves them.
        pub aef_profile: AefProfile,
    }
}
