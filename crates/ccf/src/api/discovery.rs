//! CAPIF_Discover_Service_API (TS 29.222 clause 8.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use capif_procedures::{
    discovery::{self, Criteria, VendorCriterion},
    refusal::Refusal,
};
use capif_spec::{common::NetSliceId, discover_service::IpAddrInfo};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Answer, Call, json_text,
    query::{Query, check, wrong},
};

/// How many criteria about vendor members a query may have.
const VENDOR_CRITERIA_MAX: usize = 16;

/// What the name of a parameter about a vendor member begins with (TS 29.222 clause 7.11).
const VENDOR: &str = "vend-spec-";

/// `GET allServiceAPIs`.
pub(crate) fn discover(call: Call) -> Answer {
    Box::pin(async move {
        let invoker = call.caller.invoker()?;
        let query = Query(&call.query);
        // It says who asks, and is no criterion.
        if query.mandatory("api-invoker-id")? != invoker.record.id.as_str() {
            return Err(Refusal::NotTheCaller { place: "query" }.into());
        }
        let criteria = criteria(&query)?;
        let invoker = &invoker.record;
        let text = {
            let records = call.core.view.read();
            let policies = records.discovery_policies();
            let sight = policies.sight(&invoker.id, &invoker.reach);
            discovery::discover(criteria, sight, records.catalogue())?.to_json()
        };
        Ok(json_text(StatusCode::OK, text))
    })
}

/// Reads the criteria (TS 29.222 table 8.1.2.2.3.1-1). Parameters that are not known are ignored (TS 29.500 clause 5.2.9).
fn criteria(query: &Query<'_>) -> Result<Criteria, Refusal> {
    let one = |name: &str| -> Vec<String> { query.text(name).into_iter().collect() };
    Ok(Criteria {
        api_names: one("api-name"),
        api_version: query.text("api-version"),
        comm_type: query.text("comm-type"),
        protocols: query.text("protocol").into_iter().collect(),
        aef_id: query.text("aef-id"),
        data_format: query.text("data-format"),
        api_cats: one("api-cat"),
        preferred_aef_loc: query.object("preferred-aef-loc")?,
        api_prov_names: one("req-api-prov-name"),
        api_supported_features: query.features("api-supported-features")?,
        ue_ip_addr: user(query)?,
        service_kpis: query.object("service-kpis")?,
        net_slices: slices(query)?,
        grant_types: query.json_list("grant-types")?,
        api_ids: query.list("api-ids")?,
        res_ops: query.objects("res-ops")?,
        vendor: vendor(query)?,
        supported_features: query.features("supported-features")?,
        ..Criteria::default()
    })
}

/// The slices of `net-slice-info`.
pub(super) fn slices(query: &Query<'_>) -> Result<Vec<NetSliceId>, Refusal> {
    let name = "net-slice-info";
    let slices: Vec<NetSliceId> = query.json_list(name)?;
    slices.iter().try_for_each(|slice| check(name, slice))?;
    Ok(slices)
}

fn user(query: &Query<'_>) -> Result<Option<IpAddr>, Refusal> {
    let name = "ue-ip-addr";
    let Some(info) = query.object::<IpAddrInfo>(name)? else {
        return Ok(None);
    };
    let address = match (&info.ipv4_addr, &info.ipv6_addr) {
        (Some(text), _) => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        (None, Some(text)) => text.parse::<Ipv6Addr>().map(IpAddr::V6),
        (None, None) => return Ok(None),
    };
    address
        .map(Some)
        .map_err(|_| wrong(name, "holds no IPv4 or IPv6 address under its member"))
}

/// `vend-spec-<name>={"target": <JSON pointer>, "value": <value>}`.
fn vendor(query: &Query<'_>) -> Result<Vec<VendorCriterion>, Refusal> {
    #[derive(Deserialize)]
    struct Wanted {
        target: String,
        value: Value,
    }
    let mut criteria = Vec::new();
    for (parameter, _) in query.0 {
        let Some(name) = parameter.strip_prefix(VENDOR) else {
            continue;
        };
        if criteria.len() >= VENDOR_CRITERIA_MAX {
            return Err(wrong(
                parameter,
                &format!("is one of more than {VENDOR_CRITERIA_MAX} of its kind"),
            ));
        }
        if let Some(Wanted { target, value }) = query.json(parameter)? {
            criteria.push(VendorCriterion::new(parameter, name, &target, value)?);
        }
    }
    Ok(criteria)
}

#[cfg(test)]
mod tests;
