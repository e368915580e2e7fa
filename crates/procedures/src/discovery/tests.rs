use std::sync::Arc;

use capif_spec::{common::AefId, discover_service::DiscoveredApis};
use serde_json::{Value, json};

use super::*;
use crate::{
    fixtures::*,
    refusal::RequestFault,
    state::{ApiReach, Audience, DiscoveryPolicy, Scope},
};

mod answer;
mod criteria;
mod features;
mod indexing;
mod model;
mod open;
mod policies;
mod published;
mod scale;
mod tallies;

/// The answer as it is read by who gets it.
fn discover(
    criteria: Criteria,
    reach: &ApiReach,
    catalogue: &Catalogue,
) -> Result<DiscoveredApis, Refusal> {
    let found = super::discover(criteria, reach, catalogue)?;
    let text = found.to_json();
    let answer: DiscoveredApis = serde_json::from_slice(&text).unwrap();
    assert_eq!(
        found.len(),
        answer.service_api_descriptions.as_ref().map_or(0, Vec::len)
    );
    Ok(answer)
}

/// The APIs of these tests: `weather` by two AEFs, `traffic` by one, and a `weather` of another domain.
fn apis() -> Vec<ServiceApi> {
    let first = json!({
        "aefId": "AEF1",
        "versions": [
            { "apiVersion": "v1", "resources": [{
                "resourceName": "today", "commType": "REQUEST_RESPONSE", "uri": "/today",
            }]},
            { "apiVersion": "v2", "custOperations": [{
                "commType": "SUBSCRIBE_NOTIFY", "custOpName": "watch",
            }]},
        ],
        "protocol": "HTTP_2",
        "dataFormat": "JSON",
        "domainName": "one.example",
        "securityMethods": ["PKI"],
    });
    let second = json!({
        "aefId": "AEF2",
        "versions": [{ "apiVersion": "v1" }],
        "protocol": "HTTP_1_1",
        "dataFormat": "XML",
        "domainName": "two.example",
        "securityMethods": ["OAUTH"],
    });
    let mut weather = api("A1", "weather", &[wire(first), wire(second.clone())]);
    weather.description.service_api_category = Some("nature".to_owned());
    weather.description.api_prov_name = Some("the office".to_owned());
    weather.description.api_supp_feats = Some("16".into());
    let traffic = api("A2", "traffic", &[wire(second.clone())]);
    let mut abroad = api("A3", "weather", &[wire(second)]);
    abroad.description.api_supp_feats = Some("1".into());
    vec![weather, traffic, elsewhere(abroad, "APF9", "DOM9")]
}

fn catalogue(apis: &[ServiceApi]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for api in apis {
        catalogue.put(Arc::new(versioned(api.clone())));
    }
    catalogue
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// What is found: each API with its profiles, as `A1: AEF1 AEF2`.
fn found(criteria: &Criteria, reach: &ApiReach, apis: &[ServiceApi]) -> Vec<String> {
    let answer = discover(criteria.clone(), reach, &catalogue(apis)).unwrap();
    let descriptions = answer.service_api_descriptions.into_iter().flatten();
    descriptions
        .map(|description| {
            let profiles = description.aef_profiles.iter().flatten();
            let profiles: Vec<&str> = profiles.map(|profile| profile.aef_id.as_str()).collect();
            format!("{}: {}", description.api_id.unwrap(), profiles.join(" "))
        })
        .collect()
}

const ALL: [&str; 3] = ["A1: AEF1 AEF2", "A2: AEF2", "A3: AEF2"];
