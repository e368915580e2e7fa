//! The immediate report.

use super::*;
use crate::state::{Invoker, SecurityContext, ServiceApi};

fn told(
    role: Role,
    events: &[&str],
    features: &str,
    apis: &[ServiceApi],
    invokers: &[(Invoker, Option<SecurityContext>)],
) -> Vec<(String, Value)> {
    let mut held = subscription("AEF", role, events);
    held.reach = domain_only("DOM");
    held.subscription.supported_features = Some(features.into());
    held.subscription.event_req = Some(wire(json!({ "immRep": true })));
    let mut changes = Changes::new();
    let present = || Present {
        apis: apis.iter(),
        invokers: invokers
            .iter()
            .map(|(invoker, context)| (invoker, context.as_ref())),
        policies: Box::new(|api: &ServiceApi, aef: &AefId| {
            let list = json!([{ "apiInvokerId": "INV", "allowedTotalInvocations": 3 }]);
            (api.id.as_str() == "API1" && aef.as_str() == "AEF").then(|| wire(list))
        }),
        hidden: Box::new(|api: &ServiceApi| {
            let hiding = json!({ "apiId": api.id, "routingRules": [] });
            (api.id.as_str() == "API3").then(|| ("AEF".into(), wire(hiding)))
        }),
    };
    tell_present(&mut changes, &held, present(), &now());
    assert!(
        appended::<Notification>(&changes)
            .iter()
            .all(|waiting| waiting.at_once)
    );
    // Who does not ask for it is told nothing.
    held.subscription.event_req = Some(wire(json!({ "immRep": false })));
    let mut none = Changes::new();
    tell_present(&mut none, &held, present(), &now());
    assert!(none.is_empty());
    let told = notified(&changes).into_iter();
    told.map(|(_, event, detail)| (event, detail)).collect()
}

fn named(id: &str, name: &str) -> ServiceApi {
    api(id, name, &[profile("AEF", &[Pki])])
}

fn inactive(id: &str, name: &str) -> ServiceApi {
    let mut api = named(id, name);
    api.description.api_status = Some(wire(json!({ "aefIds": [] })));
    api
}

/// TS 29.523: what is the case when the subscription is made is told at once, to each as far as it may hear of it.
#[test]
fn how_things_stand_is_told_at_once() {
    let apis = [
        named("API1", "weather"),
        inactive("API2", "traffic"),
        elsewhere(named("API3", "maps"), "APF9", "DOM9"),
        named("API4", "news"),
    ];
    let invokers = [
        (invoker("INV1"), None),
        (invoker_within("INV2", names(&["weather"])), None),
        (invoker_within("INV3", names(&["maps"])), None),
        (invoker_within("INV4", domain_only("DOM9")), None),
        (
            invoker_within("INV5", names(&[])),
            Some(context("INV5", vec![entry_at("AEF", Some(Pki))])),
        ),
    ];
    let all = CapifEvent::KNOWN;
    let event = |event: &str, detail: Value| (event.to_owned(), detail);
    assert_eq!(
        told(Role::Aef, all, "4", &apis, &invokers),
        [
            event(
                "SERVICE_API_AVAILABLE",
                json!({ "apiIds": ["API1", "API4"] })
            ),
            event("SERVICE_API_UNAVAILABLE", json!({ "apiIds": ["API2"] })),
            event(
                "API_INVOKER_ONBOARDED",
                json!({ "apiInvokerIds": ["INV1", "INV2", "INV5"] })
            ),
            event(
                "ACCESS_CONTROL_POLICY_UPDATE",
                json!({ "accCtrlPolList": {
                    "apiId": "API1",
                    "apiInvokerPolicies": [{ "apiInvokerId": "INV", "allowedTotalInvocations": 3 }],
                } }),
            ),
            // Of another domain, and put to it by name.
            event(
                "API_TOPOLOGY_HIDING_CREATED",
                json!({ "apiTopoHide": { "apiId": "API3", "routingRules": [] } }),
            ),
        ]
    );
    // Without the feature nothing can be asked of reports.
    assert_eq!(told(Role::Aef, all, "0", &apis, &invokers), []);
    assert_eq!(
        told(Role::ApiInvoker, all, "4", &apis, &invokers)
            .iter()
            .map(|(event, _)| event.as_str())
            .collect::<Vec<_>>(),
        ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE"]
    );
    assert_eq!(
        told(Role::Aef, &["SERVICE_API_UPDATE"], "4", &apis, &invokers),
        []
    );
    assert_eq!(told(Role::Aef, all, "4", &[], &[]), []);
}

/// An immediate report is bounded, and told in pieces that a receiver can take.
#[test]
fn an_immediate_report_is_bounded() {
    let apis: Vec<ServiceApi> = (0..1100)
        .map(|index| named(&format!("API{index}"), "weather"))
        .collect();
    let event = ["SERVICE_API_AVAILABLE"];
    let sizes = |features: &str| -> Vec<usize> {
        let told = told(Role::Aef, &event, features, &apis, &[]);
        told.iter()
            .map(|(_, detail)| detail["apiIds"].as_array().unwrap().len())
            .collect()
    };
    assert_eq!(sizes("4"), vec![100; 10]);
    assert_eq!(sizes("C"), vec![10; 100]);
}
