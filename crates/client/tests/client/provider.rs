//! The API provider (TS 29.222 clauses 5.3, 5.4, 5.6, 5.8 and 5.11).

mod controlling;
mod renewal;
mod reuse;

use std::sync::{Arc, Mutex};

use capif_client::{
    Bundle, Departure, Error, ErrorKind, Invoker, OnboardingRequest, Provider, ProviderRequest,
};
use capif_spec::{
    common::{ApiInvokerId, Redacted, SubscriptionId, Uri},
    events::CapifEvent,
    logging::InvocationLog,
    publish_service::ServiceApiDescription,
};
use serde_json::{Value, json};

use crate::{
    moved::{elsewhere, on},
    world::{CREDENTIAL, Reply, Seen, World, answer, problem, usual},
};

const REGISTRATIONS: &str = "/api-provider-management/v1/registrations";
const SERVICE_APIS: &str = "/published-apis/v1/apf-1/service-apis";

fn bundle(world: &World) -> Bundle {
    Bundle {
        address: world.ccf.address.clone(),
        anchors_pem: world.authority.pem().to_owned(),
        domain_name: "acme".to_owned(),
        credential: Redacted::from(CREDENTIAL),
    }
}

fn two_aefs() -> ProviderRequest {
    ProviderRequest {
        aef_names: vec!["north".to_owned(), "south".to_owned()],
        hosts: vec!["gw.example".to_owned(), "127.0.0.1".to_owned()],
    }
}

/// Gives every function its id and certificate.
fn registered(world: &World, seen: &Seen) -> Value {
    let mut details = seen.json();
    details["apiProvDomId"] = json!("domain-1");
    let mut numbers = std::collections::BTreeMap::<String, usize>::new();
    for function in details["apiProvFuncs"].as_array_mut().unwrap() {
        let role = function["apiProvFuncRole"].as_str().unwrap().to_owned();
        let number = numbers.entry(role.clone()).or_default();
        *number += 1;
        let id = format!("{}-{number}", role.to_lowercase());
        let request = function["regInfo"]["apiProvPubKey"].as_str().unwrap();
        let certificate = world.authority.sign(request, &id, &role);
        function["apiProvFuncId"] = json!(id);
        function["regInfo"]["apiProvCert"] = json!(certificate);
    }
    details
}

/// A world whose CAPIF core function registers providers, after `change` had its turn.
async fn world(
    mut change: impl FnMut(&Seen, Value) -> Option<Reply> + Send + 'static,
) -> Arc<World> {
    let world = Arc::new(World::new().await);
    let weak = Arc::downgrade(&world);
    world.unusual(move |seen| {
        let world = weak.upgrade().unwrap();
        let details = match seen.path.as_str() {
            REGISTRATIONS => registered(&world, seen),
            _ => Value::Null,
        };
        change(seen, details.clone()).or_else(|| {
            Some(match (seen.method.as_str(), seen.path.as_str()) {
                ("POST", REGISTRATIONS) => answer(201, &details),
                ("DELETE", "/api-provider-management/v1/registrations/domain-1") => {
                    answer(204, &Value::Null)
                }
                _ => return None,
            })
        })
    });
    world
}

async fn try_register(world: &World, request: ProviderRequest) -> Result<Provider, Error> {
    Provider::register(world.keystore(), &bundle(world), request, world.clock()).await
}

fn api(aef: &str) -> ServiceApiDescription {
    serde_json::from_value(json!({
        "apiName": "weather",
        "aefProfiles": [{
            "aefId": aef,
            "versions": [{ "apiVersion": "v1" }],
            "securityMethods": ["PKI"],
            "domainName": "gw.example",
        }],
    }))
    .unwrap()
}

#[tokio::test]
async fn registers_a_management_a_publishing_and_exposing_functions() {
    let world = world(|_, _| None).await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    assert_eq!(provider.domain_id().as_str(), "domain-1");
    assert_eq!(provider.amf_id().as_str(), "amf-1");
    assert_eq!(provider.apf_id().as_str(), "apf-1");
    assert_eq!(provider.aef_id().as_str(), "aef-1");
    let aefs: Vec<_> = provider
        .aefs()
        .map(|(id, name)| (id.as_str(), name))
        .collect();
    assert_eq!(aefs, [("aef-1", "north"), ("aef-2", "south")]);
    assert!(
        provider
            .aef_identity()
            .chain_pem()
            .contains("BEGIN CERTIFICATE")
    );

    let seen = &world.ccf.seen()[0];
    assert_eq!(seen.peer, None);
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {CREDENTIAL}"))
    );
    let sent = seen.json();
    assert_eq!(sent["regSec"], CREDENTIAL);
    assert_eq!(sent["apiProvName"], "acme");
    let functions = sent["apiProvFuncs"].as_array().unwrap();
    let roles: Vec<_> = functions
        .iter()
        .map(|function| &function["apiProvFuncRole"])
        .collect();
    assert_eq!(roles, ["AMF", "APF", "AEF", "AEF"]);
    let keys: std::collections::BTreeSet<_> = functions
        .iter()
        .map(|function| function["regInfo"]["apiProvPubKey"].to_string())
        .collect();
    assert_eq!(keys.len(), 4);
    for function in functions {
        let hosts = (function["apiProvFuncRole"] == "AEF")
            .then(|| json!({ "hosts": ["gw.example", "127.0.0.1"] }));
        assert_eq!(function.get("vendorSpecific-capif"), hosts.as_ref());
    }
    // Keys are in their files, the credential nowhere.
    let files = world.files();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "capif-amf.key",
        "capif-apf.key",
        "capif-aef-0.key",
        "capif-aef-1.key",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(files.iter().all(|(_, text)| !text.contains(CREDENTIAL)));
}

#[tokio::test]
async fn a_registration_is_opened_again_without_the_credential() {
    let world = world(|_, _| None).await;
    try_register(&world, two_aefs()).await.unwrap();
    let again = try_register(&world, two_aefs()).await.unwrap();
    assert_eq!(again.aef_id().as_str(), "aef-1");
    let opened = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(opened.domain_name(), "acme");
    assert_eq!(world.ccf.count("POST", REGISTRATIONS), 1);
    // The certificates name the hosts of then, whatever is asked for now.
    let request = ProviderRequest {
        hosts: vec!["other.example".to_owned()],
        ..two_aefs()
    };
    let again = try_register(&world, request).await.unwrap();
    assert_eq!(again.hosts(), ["gw.example", "127.0.0.1"]);
    assert_eq!(world.ccf.count("POST", REGISTRATIONS), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_word_for_word() {
    let mut lost = 0;
    let world = world(move |_, _| {
        lost += 1;
        (lost <= 2).then_some(Reply::Hang)
    })
    .await;
    for _ in 0..2 {
        let error = try_register(&world, two_aefs()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    }
    let error = Provider::open(world.keystore(), world.clock())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("same bundle"), "{error}");
    try_register(&world, two_aefs()).await.unwrap();
    let seen = world.ccf.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].json(), seen[1].json());
    assert_eq!(seen[0].json(), seen[2].json());
}

#[tokio::test]
async fn certificates_are_checked_function_by_function() {
    type Damage = fn(&mut Value, usize);
    for index in 0..4 {
        let damage: Arc<Mutex<Option<Damage>>> = Arc::default();
        let current = Arc::clone(&damage);
        let world = world(move |_, mut details| {
            let damage = (*current.lock().unwrap())?;
            damage(&mut details["apiProvFuncs"], index);
            Some(answer(201, &details))
        })
        .await;
        let stranger = |functions: &mut Value, index: usize| {
            let other = functions[(index + 1) % 4]["regInfo"]["apiProvCert"].clone();
            functions[index]["regInfo"]["apiProvCert"] = other;
        };
        let renamed = |functions: &mut Value, index: usize| {
            functions[index]["apiProvFuncId"] = json!("somebody-else");
        };
        let bare = |functions: &mut Value, index: usize| {
            functions[index]["regInfo"]
                .as_object_mut()
                .unwrap()
                .remove("apiProvCert");
        };
        let absent = |functions: &mut Value, index: usize| {
            functions.as_array_mut().unwrap().remove(index);
        };
        for place in [stranger as Damage, renamed, bare, absent] {
            *damage.lock().unwrap() = Some(place);
            let error = try_register(&world, two_aefs()).await.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::WrongCertificate { .. } | Error::BadAnswer { .. }
                ),
                "{index}: {error}"
            );
            assert!(
                Provider::open(world.keystore(), world.clock())
                    .await
                    .is_err()
            );
        }
        *damage.lock().unwrap() = None;
        try_register(&world, two_aefs()).await.unwrap();
    }
}

#[tokio::test]
async fn the_order_of_the_answer_does_not_matter() {
    let world = world(|_, mut details| {
        details["apiProvFuncs"].as_array_mut().unwrap().reverse();
        Some(answer(201, &details))
    })
    .await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    let aefs: Vec<_> = provider
        .aefs()
        .map(|(id, name)| (id.as_str(), name))
        .collect();
    assert_eq!(aefs, [("aef-1", "north"), ("aef-2", "south")]);
}

#[tokio::test]
async fn a_partial_registration_is_no_registration() {
    let world = world(|_, mut details| {
        details["failReason"] = json!("AEF refused\u{1b}[2J");
        details["apiProvFuncs"].as_array_mut().unwrap().pop();
        Some(answer(201, &details))
    })
    .await;
    let error = try_register(&world, two_aefs()).await.unwrap_err();
    assert!(error.to_string().contains("AEF refused"), "{error}");
    assert!(!error.to_string().contains('\u{1b}'));
}

#[tokio::test]
async fn a_refused_bundle_says_what_to_do() {
    let world = world(|_, _| Some(problem(401, "used before"))).await;
    let error = try_register(&world, two_aefs()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.to_string().contains("new bundle"), "{error}");
    assert!(!format!("{error} {error:?}").contains(CREDENTIAL));
    let none = ProviderRequest {
        aef_names: Vec::new(),
        ..two_aefs()
    };
    let error = try_register(&world, none).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[tokio::test]
async fn invoker_and_provider_do_not_share_a_folder() {
    let first = world(|_, _| None).await;
    try_register(&first, two_aefs()).await.unwrap();
    let error = first.try_onboard().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");

    let second = world(|_, _| None).await;
    Invoker::onboard(
        second.keystore(),
        &second.enrolment(),
        OnboardingRequest::default(),
        second.clock(),
    )
    .await
    .unwrap();
    let error = try_register(&second, two_aefs()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

#[tokio::test]
async fn publishing_twice_updates() {
    let published: Arc<Mutex<Vec<Value>>> = Arc::default();
    let list = Arc::clone(&published);
    let world = world(move |seen, _| {
        let mut list = list.lock().unwrap();
        Some(match (seen.method.as_str(), seen.path.as_str()) {
            ("GET", SERVICE_APIS) => answer(200, &Value::Array(list.clone())),
            ("POST", SERVICE_APIS) => {
                let mut api = seen.json();
                assert_eq!(api.get("apiId"), None);
                api["apiId"] = json!("api-1");
                list.push(api.clone());
                answer(201, &api)
            }
            ("PUT", "/published-apis/v1/apf-1/service-apis/api-1") => {
                list[0] = seen.json();
                match seen.json().get("description") {
                    Some(_) => answer(200, &seen.json()),
                    None => answer(204, &Value::Null),
                }
            }
            ("DELETE", "/published-apis/v1/apf-1/service-apis/api-1") => {
                list.clear();
                answer(204, &Value::Null)
            }
            _ => return None,
        })
    })
    .await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    world.ccf.forget();
    let first = provider.publish(&api("aef-1")).await.unwrap();
    let id = first.api_id.clone().unwrap();
    assert_eq!(id.as_str(), "api-1");
    let second = provider.publish(&api("aef-2")).await.unwrap();
    assert_eq!(second.api_id, Some(id.clone()));
    let mut described = api("aef-2");
    described.description = Some("sun and rain".to_owned());
    let third = provider.publish(&described).await.unwrap();
    assert_eq!(third.description, described.description);
    assert_eq!(provider.apis().await.unwrap().len(), 1);
    assert_eq!(world.ccf.count("POST", SERVICE_APIS), 1);
    provider.unpublish(&id).await.unwrap();
    assert!(provider.apis().await.unwrap().is_empty());
    // All of it as the publishing function.
    for seen in world.ccf.seen() {
        assert_eq!(seen.peer.as_deref(), Some("apf-1"), "{}", seen.path);
    }
}

#[tokio::test]
async fn an_exposing_function_asks_hears_and_logs_under_its_own_name() {
    let world = world(|seen, _| {
        let path = seen.path.as_str();
        Some(match (seen.method.as_str(), path) {
            ("POST", "/capif-events/v1/aef-1/subscriptions") => answer(201, &seen.json())
                .with("location", "https://ccf/capif-events/v1/aef-1/subscriptions/s%2D1"),
            ("PUT", "/capif-events/v1/aef-1/subscriptions/s-1") => answer(200, &seen.json()),
            ("DELETE", "/capif-events/v1/aef-1/subscriptions/s-1") => answer(204, &Value::Null),
            ("GET", "/capif-security/v1/trustedInvokers/invoker-1?authenticationInfo=true&authorizationInfo=true") => {
                answer(200, &json!({
                    "securityInfo": [{ "aefId": "aef-1", "prefSecurityMethods": ["PKI"], "selSecurityMethod": "PKI" }],
                    "notificationDestination": "https://api-invoker.invalid/",
                }))
            }
            ("GET", "/.well-known/jwks.json") => answer(200, &json!({ "keys": [] })),
            ("POST", "/api-invocation-logs/v1/aef-2/logs") => answer(201, &seen.json()),
            _ => return None,
        })
    })
    .await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    world.ccf.forget();
    let events = vec![CapifEvent::ApiInvokerOffboarded];
    let destination = Uri::from("https://gw.example:9443/events");
    let id = provider
        .subscribe(events.clone(), destination.clone())
        .await
        .unwrap();
    assert_eq!(id, SubscriptionId::from("s-1"));
    assert_eq!(
        world.ccf.seen()[0].json(),
        json!({
            "events": ["API_INVOKER_OFFBOARDED"],
            "notificationDestination": "https://gw.example:9443/events",
            "supportedFeatures": "4",
        })
    );
    provider
        .update_subscription(&id, events, destination)
        .await
        .unwrap();
    provider.unsubscribe(&id).await.unwrap();

    let invoker = ApiInvokerId::from("invoker-1");
    let context = provider.security_context(&invoker).await.unwrap().unwrap();
    assert_eq!(context.security_info.len(), 1);
    let stranger = ApiInvokerId::from("in/vo?ker");
    assert_eq!(provider.security_context(&stranger).await.unwrap(), None);
    let asked = world.ccf.seen().pop().unwrap().path;
    assert!(
        asked.starts_with("/capif-security/v1/trustedInvokers/in%2Fvo%3Fker?"),
        "{asked}"
    );

    assert_eq!(provider.jwks().await.unwrap(), json!({ "keys": [] }));
    assert!(
        world
            .ccf
            .seen()
            .iter()
            .all(|seen| seen.peer.as_deref() == Some("aef-1"))
    );

    let log = |aef: &str| -> InvocationLog {
        serde_json::from_value(json!({
            "aefId": aef,
            "apiInvokerId": "invoker-1",
            "logs": [{
                "apiId": "api-1", "apiName": "weather", "apiVersion": "v1", "resourceName": "today",
                "protocol": "HTTP_1_1", "result": "200",
            }],
        }))
        .unwrap()
    };
    provider.send_log(&log("aef-2")).await.unwrap();
    assert_eq!(
        world.ccf.seen().pop().unwrap().peer.as_deref(),
        Some("aef-2")
    );
    let error = provider.send_log(&log("aef-3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

#[tokio::test]
async fn deregistering_leaves_nothing_behind() {
    let first = world(|_, _| None).await;
    let provider = try_register(&first, two_aefs()).await.unwrap();
    first.ccf.forget();
    assert_eq!(provider.deregister().await.unwrap(), Departure::Confirmed);
    assert_eq!(first.ccf.seen()[0].peer.as_deref(), Some("amf-1"));
    assert!(!first.folder().exists());

    let second = world(|seen, _| (seen.method == "DELETE").then(|| problem(404, "unknown"))).await;
    let provider = try_register(&second, two_aefs()).await.unwrap();
    assert_eq!(provider.deregister().await.unwrap(), Departure::KnownNoMore);
    assert!(!second.folder().exists());

    let third = world(|seen, _| (seen.method == "DELETE").then(|| problem(500, "oops"))).await;
    let provider = try_register(&third, two_aefs()).await.unwrap();
    provider.deregister().await.unwrap_err();
    assert!(third.folder().exists());
}

/// What is said for good by a core function that has moved is kept, and the bundle of before still opens the folder.
#[tokio::test]
async fn a_core_function_that_has_moved_is_followed() {
    let world = world(|_, _| None).await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    let new = elsewhere(&world).await;
    let known = Arc::clone(&world.facts);
    new.script(move |seen| match seen.path.as_str() {
        SERVICE_APIS => answer(200, &json!([])),
        _ => usual(&known, seen),
    });
    let to = new.address.clone();
    let status = Arc::new(Mutex::new(307));
    let says = Arc::clone(&status);
    world.unusual(move |seen| Some(on(*says.lock().unwrap(), &to, seen)));

    provider.apis().await.unwrap();
    assert_eq!(provider.ccf_address(), world.ccf.address);
    *status.lock().unwrap() = 308;
    provider.apis().await.unwrap();
    assert_eq!(provider.ccf_address(), new.address);
    world.ccf.forget();
    provider.apis().await.unwrap();

    let opened = try_register(&world, two_aefs()).await.unwrap();
    assert_eq!(opened.ccf_address(), new.address);
    opened.apis().await.unwrap();
    assert!(world.ccf.seen().is_empty());
    // Another process of the folder hears of it by the folder.
    assert!(!provider.reload().unwrap());
}
