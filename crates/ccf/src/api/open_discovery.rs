//! CAPIF_Open_Discover_Service_API (TS 29.222 clause 8.11): discovery before onboarding, by anyone, of what the operator laid open.
//!
//! `api-versions`, `api-supported-features` and `service-kpis` are objects in a style whose default is to stand there member by
//! member: `weather=v1,v2&maxReqRate=100`. Client libraries disagree about it, so that they are also read as one JSON object
//! (`api-versions={"weather":["v1"]}`), with the name of the parameter before each member (`api-versions[weather]=v1`), and as
//! names and values in turn (`service-kpis=maxReqRate,100`).
//!
//! Choice: of a member that stands alone under the name of an API, values like `v1` are versions, and hexadecimal digits features,
//! these only beside `api-names`.

use capif_procedures::{
    discovery::{self, Criteria},
    refusal::Refusal,
};
use capif_spec::{json, publish_service::ServiceKpis};
use http::StatusCode;
use serde_json::{Map, Value};

use super::{
    Answer, Call, json_answer,
    query::{Query, at, bounded, check, features, wrong},
};

const VERSIONS: &str = "api-versions";
const FEATURES: &str = "api-supported-features";
const KPIS: &str = "service-kpis";

/// The parameters of the standard (TS 29.222 table 8.11.2.2.3.1-1).
const PARAMETERS: [&str; 13] = [
    "api-names",
    VERSIONS,
    "comm-type",
    "protocols",
    "data-format",
    "api-cats",
    "preferred-aef-loc",
    "api-prov-names",
    FEATURES,
    KPIS,
    "api-ids",
    "res-ops",
    "supported-features",
];

/// The members of `service-kpis` that are numbers, then those that are texts.
const KPI_NUMBERS: [&str; 4] = ["maxReqRate", "maxRestime", "availability", "conBand"];
const KPI_TEXTS: [&str; 4] = ["avalComp", "avalGraComp", "avalMem", "avalStor"];

/// `GET service-apis`.
pub(crate) fn discover(call: Call) -> Answer {
    Box::pin(async move {
        let criteria = criteria(&Query(&call.query))?;
        let found = {
            let records = call.core.view.read();
            let policies = records.discovery_policies();
            let open = policies.open_sight(&call.core.config.discovery.open_apis);
            discovery::discover_openly(&criteria, &open, records.catalogue())?
        };
        json_answer(StatusCode::OK, &found)
    })
}

fn criteria(query: &Query<'_>) -> Result<Criteria, Refusal> {
    let mut criteria = Criteria {
        api_names: query.list("api-names")?,
        comm_type: query.text("comm-type"),
        protocols: query.list("protocols")?,
        data_format: query.text("data-format"),
        api_cats: query.list("api-cats")?,
        preferred_aef_loc: query.object("preferred-aef-loc")?,
        api_prov_names: query.list("api-prov-names")?,
        api_ids: query.list("api-ids")?,
        res_ops: query.objects("res-ops")?,
        supported_features: query.features("supported-features")?,
        ..Criteria::default()
    };
    let mut versions = members(query, VERSIONS)?;
    let mut offered = members(query, FEATURES)?;
    let mut kpis = members(query, KPIS)?;
    for (name, value) in query.0 {
        if PARAMETERS.contains(&name.as_str()) || name.contains('[') {
            continue;
        }
        let values: Vec<String> = value.split(',').map(str::to_owned).collect();
        if KPI_NUMBERS.contains(&name.as_str()) || KPI_TEXTS.contains(&name.as_str()) {
            kpis.push((name.clone(), values));
        } else if values.iter().all(|value| is_version(value)) {
            versions.push((name.clone(), values));
        } else if criteria.api_names.contains(name) {
            features(name, value)?;
            offered.push((name.clone(), values));
        }
    }
    for (name, values) in versions {
        if values.iter().any(String::is_empty) {
            return Err(wrong(VERSIONS, "lists one or more versions for each name"));
        }
        criteria.versions_of.entry(name).or_default().extend(values);
    }
    bounded(VERSIONS, criteria.versions_of.values().map(Vec::len).sum())?;
    for (name, values) in offered {
        let offered = features(FEATURES, &values.concat())?;
        if values.len() != 1 || criteria.features_of.insert(name, offered).is_some() {
            return Err(wrong(FEATURES, "has one value for each name"));
        }
    }
    criteria.service_kpis = service_kpis(kpis)?;
    Ok(criteria)
}

/// Whether a text looks like a major version in a URI (TS 29.501 clause 4.3.1.3).
fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The members of an object that is written under the name of its parameter.
fn members(query: &Query<'_>, name: &str) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    let split = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let mut found = Vec::new();
    for (parameter, value) in query.0 {
        let rest = parameter.strip_prefix(name);
        let inner = rest.and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
        if let Some(member) = inner {
            found.push((member.to_owned(), split(value)));
        }
    }
    let Some(text) = query.value(name) else {
        return Ok(found);
    };
    if text.trim_start().starts_with('{') {
        let document: Map<String, Value> = json::from_slice(text.as_bytes())
            .map_err(|error| at(name, &error.pointer, &error.reason))?;
        if document.is_empty() {
            return Err(wrong(name, "has at least one member"));
        }
        for (member, value) in document {
            found.push((member, scalars(name, value)?));
        }
    } else {
        let items = split(text);
        let mut items = items.into_iter();
        while let Some(member) = items.next() {
            let value = items.next().ok_or_else(|| {
                wrong(
                    name,
                    "is a JSON object, or names and values in turn, separated by commas",
                )
            })?;
            found.push((member, vec![value]));
        }
    }
    bounded(name, found.len())?;
    Ok(found)
}

/// The texts of a value that is a text, a number or a list of them.
fn scalars(name: &str, value: Value) -> Result<Vec<String>, Refusal> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(wrong(name, "has texts, numbers or lists of them as values")),
    };
    match value {
        Value::Array(items) if items.is_empty() => Err(wrong(name, "has no empty lists as values")),
        Value::Array(items) => items.into_iter().map(text).collect(),
        other => text(other).map(|text| vec![text]),
    }
}

/// Puts the members of `service-kpis` together.
fn service_kpis(members: Vec<(String, Vec<String>)>) -> Result<Option<ServiceKpis>, Refusal> {
    if members.is_empty() {
        return Ok(None);
    }
    let mut document = Map::new();
    for (name, values) in members {
        let [value] = values.as_slice() else {
            return Err(wrong(KPIS, "has one value for each member"));
        };
        let value = if KPI_NUMBERS.contains(&name.as_str()) {
            let number: u64 = value.parse().map_err(|_| {
                wrong(
                    KPIS,
                    "counts requests, seconds, percent and bandwidth in whole numbers",
                )
            })?;
            number.into()
        } else {
            Value::from(value.as_str())
        };
        if document.insert(name, value).is_some() {
            return Err(wrong(KPIS, "has one value for each member"));
        }
    }
    let kpis: ServiceKpis = json::from_value(Value::Object(document))
        .map_err(|error| at(KPIS, &error.pointer, &error.reason))?;
    check(KPIS, &kpis)?;
    Ok(Some(kpis))
}

#[cfg(test)]
mod tests;
