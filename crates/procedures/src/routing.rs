//! Routing information: where an AEF that hides a topology sends calls (TS 23.222 clause 8.14, TS 29.222 clause 5.9).

use std::net::IpAddr;

use capif_spec::{
    common::AefId,
    publish_service::AefProfile,
    routing_info::{Ipv4AddressRange, Ipv6AddressRange, RoutingInfo, RoutingRule},
};

use crate::{
    refusal::Refusal,
    state::{ServiceApi, TopologyHiding},
    topology_hiding::{Rules, active_profiles},
};

/// The routing information of an API, for the AEF that hides its topology. For every other one there is none, whether the API
/// exists, is hidden, or neither (P-20).
///
/// # Errors
/// Refuses whoever does not hide the API.
pub fn information(
    api: Option<&ServiceApi>,
    rules: &Rules,
    aef_id: &AefId,
) -> Result<RoutingInfo, Refusal> {
    let api = api.filter(|api| api.hidden_by.as_ref() == Some(aef_id));
    let found = api.and_then(|api| Some(self::rules(api, rules.of(api)?)));
    Ok(RoutingInfo {
        routing_rules: found.ok_or(Refusal::NotFound {
            what: "routing information",
        })?,
        extra: Default::default(),
    })
}

/// One rule for each AEF behind that is active now; from where its calls come, as far as the operator said.
///
/// Choice: an AEF that no route names takes calls from anywhere; rules that name addresses stand before those, so that who takes the
/// first that fits takes the narrower one.
pub(crate) fn rules(api: &ServiceApi, hiding: &TopologyHiding) -> Vec<RoutingRule> {
    let behind = active_profiles(api.as_published());
    let rules = behind.into_iter().map(|profile| rule(profile, hiding));
    let (mut narrow, wide): (Vec<RoutingRule>, Vec<RoutingRule>) =
        rules.partition(|rule| rule.ipv4_addr_ranges.is_some() || rule.ipv6_addr_ranges.is_some());
    narrow.extend(wide);
    narrow
}

fn rule(profile: &AefProfile, hiding: &TopologyHiding) -> RoutingRule {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let routes = hiding.routes.iter();
    for route in routes.filter(|route| route.aef_id == profile.aef_id) {
        let (first, last) = route.from.ends();
        let (start, end) = (first.to_string(), last.to_string());
        match first {
            IpAddr::V4(_) => v4.push(Ipv4AddressRange {
                start,
                end,
                extra: Default::default(),
            }),
            IpAddr::V6(_) => v6.push(Ipv6AddressRange {
                start,
                end,
                extra: Default::default(),
            }),
        }
    }
    RoutingRule {
        ipv4_addr_ranges: (!v4.is_empty()).then_some(v4),
        ipv6_addr_ranges: (!v6.is_empty()).then_some(v6),
        aef_profile: profile.clone(),
        extra: Default::default(),
    }
}

#[cfg(test)]
mod tests;
