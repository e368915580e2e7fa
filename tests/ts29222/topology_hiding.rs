//! Topology hiding (TS 23.222 clauses 8.13 and 8.24, TS 29.222 clause 5.3.2.2, TS 33.122 R-4-01 and R-6.3-12).

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::events::{subscribe, subscription};
use crate::support::{
    World, keys,
    people::{self, Domain, Party, RawInvoker},
    receiver::Receiver,
};

/// What stands at the addresses that nobody may see.
const INSIDE: &str = "inside.example";

/// A domain with an AEF at its edge, and one behind it.
pub(super) struct Site {
    pub(super) domain: Domain,
    pub(super) edge: Party,
}

impl Site {
    pub(super) async fn new(world: &World, name: &str) -> Self {
        let domain = world.domain(name).await;
        let key = keys::p256();
        let mut functions = domain.details["apiProvFuncs"].as_array().unwrap().clone();
        functions.push(people::function("AEF", &keys::request(&key)));
        let answer = domain
            .amf
            .patch(&domain.path(), &json!({ "apiProvFuncs": functions }))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        let edge = world.function_of(&answer.json(), 3, &key);
        Self { domain, edge }
    }

    /// An API that the AEF behind exposes, at addresses that nobody may see.
    pub(crate) fn description(&self, name: &str) -> Value {
        let mut description = self.domain.description(name, &["PKI"]);
        let profile = &mut description["aefProfiles"][0];
        profile["interfaceDescriptions"] = json!([
            { "fqdn": format!("a.{INSIDE}"), "port": 7001 },
            { "fqdn": format!("b.{INSIDE}"), "port": 7002, "apiPrefix": "/b" },
        ]);
        profile["aefLocation"] = json!({ "dcId": INSIDE });
        profile["vendorSpecific-000001"] = json!({ "rack": INSIDE });
        description
    }

    pub(super) async fn publish(&self, name: &str) -> String {
        let apis = self.domain.apis();
        let answer = self.domain.apf.post(&apis, &self.description(name)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        answer.json()["apiId"].as_str().unwrap().to_owned()
    }

    pub(super) fn hiding(&self, what: Value) -> Value {
        json!({
            "what": what,
            "aefId": self.edge.id,
            "interfaces": [{ "ipv4Addr": "127.0.0.1", "port": 8443 }],
            "securityMethods": ["OAUTH", "PKI"],
        })
    }
}

pub(super) async fn operator(world: &World, path: &str, body: Value) -> Value {
    let (status, said) = world.operator(Method::POST, path, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    said
}

/// Everything that is said of APIs to an invoker.
async fn seen(world: &World, site: &Site, invoker: &RawInvoker) -> Vec<Value> {
    let search = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    let search = |more: &str| format!("{search}&supported-features=f{more}");
    let enrolled = world.raw_invoker(&[]).await;
    vec![
        invoker.get(&search("")).await.json(),
        invoker
            .get(&search(&format!("&aef-id={}", site.domain.aef.id)))
            .await
            .json(),
        world
            .anonymous()
            .json(Method::GET, "/open-api-disc/v1/service-apis", None)
            .await
            .json(),
        enrolled.details,
        invoker
            .negotiate(&site.domain.aef.id, &["PKI"])
            .await
            .json(),
    ]
}

/// R-4-01, R-6.3-12: once an API is hidden, no answer names the AEF behind, its addresses, or where it stands: not discovery, open
/// discovery, onboarding or negotiation; its publisher alone sees what it published.
#[tokio::test]
async fn nothing_behind_is_seen() {
    let world =
        World::with(|config| config.discovery.open_apis = ["weather".to_owned()].into()).await;
    let site = Site::new(&world, "acme").await;
    let id = site.publish("weather").await;
    let path = format!("{}/{id}", site.domain.apis());
    let published = site.domain.apf.get(&path).await.json();
    let amy = world.raw_invoker(&[]).await;
    let before = seen(&world, &site, &amy).await;
    assert!(before[0].to_string().contains(INSIDE));
    assert_eq!(
        amy.negotiate(&site.domain.aef.id, &["PKI"]).await.status,
        StatusCode::CREATED
    );

    let said = operator(
        &world,
        "/hidden",
        site.hiding(json!({ "api": { "name": "weather" } })),
    )
    .await;
    assert_eq!(said, json!({ "apis": 1 }));
    let after = seen(&world, &site, &amy).await;
    for (index, answer) in after.iter().enumerate() {
        let text = answer.to_string();
        assert!(!text.contains(INSIDE), "{index}: {text}");
        // The negotiation names what was asked for.
        let names_it = text.contains(site.domain.aef.id.as_str());
        assert!(!names_it || index == 4, "{index}: {text}");
    }
    let profile = &after[0]["serviceAPIDescriptions"][0]["aefProfiles"];
    assert_eq!(profile.as_array().unwrap().len(), 1);
    assert_eq!(profile[0]["aefId"], site.edge.id.as_str());
    assert_eq!(
        profile[0]["interfaceDescriptions"],
        json!([{ "ipv4Addr": "127.0.0.1", "port": 8443 }])
    );
    assert_eq!(profile[0]["versions"], json!([{ "apiVersion": "v1" }]));
    assert_eq!(after[1], json!({ "suppFeat": "f" }));
    assert_eq!(site.domain.apf.get(&path).await.json(), published);
    let listed = site.domain.apf.get(&site.domain.apis()).await.json();
    assert_eq!(listed, json!([published]));

    // What was agreed on with the AEF behind grants nothing; the one in front is who to agree with.
    let behind = format!("{}?authorizationInfo=true", amy.context());
    let answer = site.domain.aef.get(&behind).await.json();
    let rights = answer["securityInfo"][0]["authorizationInfo"]
        .as_str()
        .unwrap();
    assert!(rights.contains("\"apis\":[]"), "{rights}");
    assert_eq!(
        amy.negotiate(&site.domain.aef.id, &["PKI"]).await.status,
        StatusCode::BAD_REQUEST
    );
    let agreed = amy.negotiate(&site.edge.id, &["OAUTH"]).await;
    assert_eq!(agreed.status, StatusCode::CREATED, "{}", agreed.json());
    assert_eq!(
        agreed.json()["securityInfo"][0]["selSecurityMethod"],
        "OAUTH"
    );
    let scope = format!("3gpp#{}:weather", site.edge.id);
    assert_eq!(amy.token(Some(&scope)).await.status, StatusCode::OK);

    // Policies are for who takes the calls.
    let policy = json!({ "api": { "id": id }, "total": 5 });
    operator(&world, "/policies", policy).await;
    let list = |aef: &Party| {
        format!(
            "/access-control-policy/v1/accessControlPolicyList/{id}?aef-id={}",
            aef.id
        )
    };
    assert_eq!(
        site.edge.get(&list(&site.edge)).await.status,
        StatusCode::OK
    );
    let aef = &site.domain.aef;
    assert_eq!(aef.get(&list(aef)).await.status, StatusCode::NOT_FOUND);

    let removed = operator(
        &world,
        "/hidden/remove",
        json!({ "what": { "api": { "id": id } } }),
    )
    .await;
    assert_eq!(removed, json!({ "apis": 1 }));
    assert!(
        seen(&world, &site, &amy).await[0]
            .to_string()
            .contains(INSIDE)
    );
    assert!(world.list("hidden").await.is_empty());
}

/// TS 29.222 clause 5.3.2.2: the AEF that hides hears what it hides, of each change behind it, and of the end; nobody else does, and
/// what others hear of the API shows nothing.
#[tokio::test]
async fn who_hides_is_told() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    let site = Site::new(&world, "acme").await;
    let hiding = ["API_TOPOLOGY_HIDING_CREATED", "API_TOPOLOGY_HIDING_REVOKED"];
    subscribe(&site.edge, &subscription(&hiding, &receiver.url("/edge"))).await;
    subscribe(
        &site.domain.aef,
        &subscription(&hiding, &receiver.url("/behind")),
    )
    .await;
    subscribe(
        &site.domain.amf,
        &subscription(
            &["SERVICE_API_UPDATE", "SERVICE_API_AVAILABLE"],
            &receiver.url("/amf"),
        ),
    )
    .await;
    // Decided before anything is published.
    let name = json!({ "name": "weather" });
    assert_eq!(
        operator(&world, "/hidden", site.hiding(name.clone())).await,
        json!({ "apis": 0 })
    );
    let id = site.publish("weather").await;
    let path = format!("{}/{id}", site.domain.apis());
    let mut changed = site.description("weather");
    changed["aefProfiles"][0]["interfaceDescriptions"][0]["port"] = json!(7009);
    assert_eq!(
        site.domain.apf.put(&path, &changed).await.status,
        StatusCode::OK
    );
    changed["description"] = json!("tomorrow's");
    assert_eq!(
        site.domain.apf.put(&path, &changed).await.status,
        StatusCode::OK
    );
    assert_eq!(
        site.domain.apf.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );

    receiver.acknowledged(5).await;
    let at = |path: &str| -> Vec<Value> {
        let seen = receiver.seen().into_iter();
        seen.filter(|notice| notice.path == path)
            .map(|notice| notice.body)
            .collect()
    };
    let edge = at("/edge");
    let events: Vec<&str> = edge
        .iter()
        .map(|notice| notice["events"].as_str().unwrap())
        .collect();
    assert_eq!(events, [hiding[0], hiding[0], hiding[1]]);
    let told = |notice: &Value| notice["eventDetail"]["apiTopoHide"].clone();
    assert_eq!(told(&edge[0])["apiId"], id.as_str());
    let profile = |notice: &Value| told(notice)["routingRules"][0]["aefProfile"].clone();
    assert_eq!(profile(&edge[0])["aefId"], site.domain.aef.id.as_str());
    assert_eq!(profile(&edge[0])["interfaceDescriptions"][0]["port"], 7001);
    assert_eq!(profile(&edge[1])["interfaceDescriptions"][0]["port"], 7009);
    assert!(at("/behind").is_empty());
    // That something moved behind is nothing that others hear of.
    let amf = at("/amf");
    assert_eq!(amf.len(), 2, "{amf:?}");
    assert_eq!(
        amf[1]["eventDetail"]["serviceAPIDescriptions"][0]["description"],
        "tomorrow's"
    );
    assert!(!amf.iter().any(|notice| notice.to_string().contains(INSIDE)));
    // The rule is for what is published under the name later.
    let rows = world.list("hidden").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["state"], "nothing is published");
    operator(&world, "/hidden/remove", json!({ "what": name })).await;
    assert!(world.list("hidden").await.is_empty());
}

/// What an AEF hid does not come to light when the AEF goes: the API is shown to nobody until the operator decides anew, also after a
/// restart.
#[tokio::test]
async fn what_was_hidden_stays_hidden() {
    let mut world = World::start().await;
    let site = Site::new(&world, "acme").await;
    let id = site.publish("weather").await;
    operator(
        &world,
        "/hidden",
        site.hiding(json!({ "api": { "id": id } })),
    )
    .await;
    let amy = world.raw_invoker(&[]).await;
    let search = format!("/service-apis/v1/allServiceAPIs?api-invoker-id={}", amy.id);
    let found = amy.get(&search).await.json();
    assert_eq!(
        found["serviceAPIDescriptions"][0]["aefProfiles"][0]["aefId"],
        site.edge.id.as_str()
    );

    let functions = &site.domain.details["apiProvFuncs"];
    let left = json!({ "apiProvFuncs": functions });
    assert_eq!(
        site.domain
            .amf
            .patch(&site.domain.path(), &left)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(amy.get(&search).await.json(), json!({}));
    assert_eq!(
        world.list("hidden").await[0]["state"],
        "not shown: the AEF is gone"
    );
    // Nor does a new description bring it to light.
    let path = format!("{}/{id}", site.domain.apis());
    let again = site.description("weather");
    assert_eq!(
        site.domain.apf.put(&path, &again).await.status,
        StatusCode::OK
    );
    assert_eq!(amy.get(&search).await.json(), json!({}));

    world.stop().await;
    world.resume().await;
    let amy = world.with_certificate(&amy.pems);
    let apf = world.with_certificate(&site.domain.apf.pems);
    assert_eq!(amy.json(Method::GET, &search, None).await.json(), json!({}));
    let published = apf.json(Method::GET, &path, None).await.json();
    assert!(published.to_string().contains(INSIDE));
    operator(
        &world,
        "/hidden/remove",
        json!({ "what": { "api": { "id": id } } }),
    )
    .await;
    let found = amy.json(Method::GET, &search, None).await.json();
    assert!(found.to_string().contains(INSIDE));
}

/// The operator is told what cannot be, and how to mend it; nothing is changed by it.
#[tokio::test]
async fn decisions_that_cannot_be() {
    let world = World::start().await;
    let site = Site::new(&world, "acme").await;
    let other = Site::new(&world, "umbrella").await;
    let id = site.publish("weather").await;
    let what = json!({ "api": { "id": id } });
    let good = site.hiding(what.clone());
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body
    };
    for (body, status) in [
        (with("aefId", json!("AEF0")), StatusCode::NOT_FOUND),
        (
            with("aefId", json!(site.domain.apf.id)),
            StatusCode::BAD_REQUEST,
        ),
        (with("aefId", json!(other.edge.id)), StatusCode::BAD_REQUEST),
        (
            with("what", json!({ "api": { "id": "API0" } })),
            StatusCode::NOT_FOUND,
        ),
        // It exposes nothing by which it would be known where.
        (with("interfaces", json!([])), StatusCode::BAD_REQUEST),
        (
            with("interfaces", json!([{ "port": 1 }])),
            StatusCode::BAD_REQUEST,
        ),
        (
            with("securityMethods", json!(["MAGIC"])),
            StatusCode::BAD_REQUEST,
        ),
        (
            with(
                "routes",
                json!([{ "from": "192.0.2.1/24", "aefId": site.domain.aef.id }]),
            ),
            StatusCode::BAD_REQUEST,
        ),
        (
            with(
                "routes",
                json!([{ "from": "192.0.2.0/24", "aefId": site.edge.id }]),
            ),
            StatusCode::BAD_REQUEST,
        ),
        (with("surprise", json!(1)), StatusCode::BAD_REQUEST),
    ] {
        let (answered, said) = world
            .operator(Method::POST, "/hidden", Some(body.clone()))
            .await;
        assert_eq!(answered, status, "{body}: {said}");
    }
    assert!(world.list("hidden").await.is_empty());
    let (status, _) = world
        .operator(
            Method::POST,
            "/hidden/remove",
            Some(json!({ "what": what })),
        )
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Of another provider, if that is meant; by the interface of what it exposes itself, if none is named.
    let abroad = json!({ "what": what, "aefId": other.domain.aef.id, "abroad": true });
    let (status, _) = world
        .operator(Method::POST, "/hidden", Some(abroad.clone()))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    other.domain.publish("tides", &["PKI"]).await;
    operator(&world, "/hidden", abroad).await;
    let rows = world.list("hidden").await;
    assert_eq!(rows[0]["aefId"], other.domain.aef.id.as_str());
    assert_eq!(rows[0]["interfaces"][0]["port"], 8443);
    assert_eq!(rows[0]["behind"], json!([site.domain.aef.id]));
    assert_eq!(rows[0]["state"], "in effect");
}
