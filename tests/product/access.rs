//! `capif policy`, `revoke`, `permit` and `list alarms`: what an operator types, and what it gets.

use capif_client::{Invoker, Keystore, OnboardingRequest, Provider, ProviderRequest, Wish};
use capif_spec::publish_service::{SecurityMethod, ServiceApiDescription};
use serde_json::json;

use crate::support::process::{Machine, Service, system_clock};

/// A core function with one provider for each of these APIs, and an invoker who negotiated with all of them.
struct Site {
    machine: Machine,
    _ccf: Service,
    invoker: Invoker,
    /// The ids of the APIs in order.
    apis: Vec<String>,
}

impl Site {
    async fn start(apis: &[&str]) -> Self {
        let mut machine = Machine::new();
        std::fs::create_dir_all(machine.folder("")).unwrap();
        machine.capif(&["init"]).await.done();
        let ccf = machine.core_function().await;
        let mut ids = Vec::new();
        let mut wishes = Vec::new();
        for (number, api) in apis.iter().enumerate() {
            let name = format!("provider{number}");
            let bundle = machine.bundle(&name).await;
            let keystore = Keystore::open(machine.folder(&name)).unwrap();
            let request = ProviderRequest::default();
            let provider = Provider::register(keystore, &bundle, request, system_clock())
                .await
                .unwrap();
            let description: ServiceApiDescription = serde_json::from_value(json!({
                "apiName": api,
                "aefProfiles": [{
                    "aefId": provider.aef_id(),
                    "versions": [{ "apiVersion": "v1" }],
                    "securityMethods": ["PKI"],
                    "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": 1 }],
                }],
            }))
            .unwrap();
            let published = provider.publish(&description).await.unwrap();
            ids.push(published.api_id.unwrap().to_string());
            wishes.push(Wish {
                aef_id: provider.aef_id().clone(),
                api_id: None,
                preferred: vec![SecurityMethod::Pki],
                profile: None,
            });
        }
        let invoker = Invoker::onboard(
            Keystore::open(machine.folder("amy")).unwrap(),
            &machine.invite().await,
            OnboardingRequest::default(),
            system_clock(),
        )
        .await
        .unwrap();
        invoker.negotiate(&wishes).await.unwrap();
        Self {
            machine,
            _ccf: ccf,
            invoker,
            apis: ids,
        }
    }
}

/// Policies are set, listed as a table and as JSON, and removed; mistakes say what to do.
#[tokio::test]
async fn policies_are_set_listed_and_removed() {
    let site = Site::start(&["weather"]).await;
    let machine = &site.machine;
    let id = site.invoker.id().to_string();
    let set = machine
        .capif(&[
            "policy",
            "set",
            "--api",
            "weather",
            "--total",
            "100",
            "--per-second",
            "5",
        ])
        .await
        .done();
    assert_eq!(set.stdout, "");
    assert!(set.stderr.contains("everyone at weather"), "{set:?}");
    machine
        .capif(&[
            "policy",
            "set",
            "--api-id",
            &site.apis[0],
            "--invoker",
            &id,
            "--from",
            "2026-01-31T08:00:00Z",
            "--to",
            "2026-01-31T18:00:00Z",
        ])
        .await
        .done();
    let listed = machine
        .capif(&["policy", "list", "--api", "weather", "--output", "json"])
        .await
        .done()
        .json();
    assert_eq!(
        listed,
        json!([
            {
                "apiId": site.apis[0], "apiName": "weather", "apiInvokerId": null,
                "total": 100, "perSecond": 5, "times": [], "slices": [], "used": 0, "usage": [],
            },
            {
                "apiId": site.apis[0], "apiName": "weather", "apiInvokerId": id,
                "total": null, "perSecond": null,
                "times": [{ "from": "2026-01-31T08:00:00Z", "to": "2026-01-31T18:00:00Z" }],
                "slices": [], "used": 0, "usage": [],
            },
        ])
    );
    let table = machine.capif(&["policy", "list"]).await.done().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("API ") && lines[0].contains("PER SECOND"));
    assert!(lines[1].contains("everyone") && lines[1].contains("100"));
    assert!(lines[2].contains(&id) && lines[2].ends_with("2026-01-31T18:00:00Z"));
    let none = machine
        .capif(&["policy", "list", "--api", "tides", "--output", "json"])
        .await
        .done()
        .json();
    assert_eq!(none, json!([]));

    let removed = ["policy", "remove", "--api", "weather", "--invoker", &id];
    machine.capif(&removed).await.done();
    machine
        .capif(&removed)
        .await
        .failed(3, "no such access control policy");
    machine
        .capif(&["policy", "set", "--api", "tides", "--total", "1"])
        .await
        .failed(3, "no such service API");
    machine
        .capif(&[
            "policy",
            "set",
            "--api",
            "weather",
            "--invoker",
            "INV0",
            "--total",
            "1",
        ])
        .await
        .failed(3, "no such API invoker");
    machine
        .capif(&[
            "policy",
            "set",
            "--api",
            "weather",
            "--from",
            "2026-01-31T18:00:00Z",
            "--to",
            "2026-01-31T08:00:00Z",
        ])
        .await
        .failed(1, "a beginning before its end");
    machine
        .capif(&[
            "policy",
            "set",
            "--api",
            "weather",
            "--from",
            "2026-01-31T18:00:00Z",
            "--from",
            "2026-02-01T18:00:00Z",
        ])
        .await
        .failed(1, "as many --to as --from");
    assert_eq!(
        machine
            .capif(&["policy", "set", "--api", "weather"])
            .await
            .code,
        1
    );
}

/// A revocation takes effect with the command and is taken back by the other; the listing of invokers shows it, and so does the one
/// of alarms if a gateway does not confirm, after a minute.
#[tokio::test]
async fn a_revocation_and_a_permission() {
    let site = Site::start(&["weather", "tides"]).await;
    let machine = &site.machine;
    let id = site.invoker.id().to_string();
    let barred = async || {
        let rows = machine
            .capif(&["list", "invokers", "--output", "json"])
            .await
            .done()
            .json();
        rows[0]["barred"].clone()
    };
    let selected = async || {
        let rows = machine
            .capif(&["list", "contexts", "--output", "json"])
            .await
            .done()
            .json();
        rows.as_array().unwrap().len()
    };
    assert_eq!((barred().await, selected().await), (json!(null), 2));

    let revoked = machine
        .capif(&["revoke", &id, "--api", "weather"])
        .await
        .done();
    assert_eq!(revoked.stdout, "");
    let advice = format!("capif permit {id} --api weather");
    assert!(revoked.stderr.contains(&advice), "{revoked:?}");
    assert!(revoked.stderr.contains("is being told"), "{revoked:?}");
    assert_eq!(
        (barred().await, selected().await),
        (json!([site.apis[0]]), 1)
    );

    machine.capif(&["revoke", &id]).await.done();
    assert_eq!((barred().await, selected().await), (json!("all"), 0));
    let table = machine.capif(&["list", "invokers"]).await.done().stdout;
    assert!(table.contains("BARRED"), "{table}");
    machine
        .capif(&["permit", &id, "--api", "weather"])
        .await
        .failed(1, "permit it as a whole first");
    let permitted = machine.capif(&["permit", &id]).await.done();
    assert!(permitted.stderr.contains("negotiate"), "{permitted:?}");
    let again = machine.capif(&["permit", &id]).await.done();
    assert!(again.stderr.contains("was not shut out"), "{again:?}");
    assert_eq!(barred().await, json!(null));

    // Not yet a minute old.
    let alarms = machine
        .capif(&["list", "alarms", "--output", "json"])
        .await
        .done()
        .json();
    assert_eq!(alarms, json!([]));
    machine
        .capif(&["revoke", "INV0"])
        .await
        .failed(3, "no such API invoker");
    machine
        .capif(&["permit", "INV0"])
        .await
        .failed(3, "no such API invoker");
}

/// Of several APIs of one name the operator has to choose: the refusal lists the ids.
#[tokio::test]
async fn a_name_of_several_apis_is_refused_with_their_ids() {
    let site = Site::start(&["weather", "weather"]).await;
    let machine = &site.machine;
    let id = site.invoker.id().to_string();
    for command in [
        vec!["policy", "set", "--total", "1"],
        vec!["policy", "remove"],
        vec!["revoke", &id],
        vec!["permit", &id],
    ] {
        let by_name = [&command[..], &["--api", "weather"]].concat();
        let refused = machine.capif(&by_name).await.failed(7, "several APIs");
        for api in &site.apis {
            assert!(refused.stderr.contains(api), "{refused:?}");
        }
    }
    let second = &site.apis[1];
    machine
        .capif(&["policy", "set", "--api-id", second, "--total", "1"])
        .await
        .done();
    machine
        .capif(&["revoke", &id, "--api-id", second])
        .await
        .done();
}

/// What is discovered is set by command, listed and removed, and counts at once; slices are read in the words of the standard.
#[tokio::test]
async fn discovery_is_set_listed_and_removed() {
    let site = Site::start(&["weather", "traffic"]).await;
    let machine = &site.machine;
    let id = site.invoker.id().to_string();
    let policy = async |args: &[&str]| {
        let args = [&["policy"], args].concat();
        machine.capif(&args).await.done()
    };
    let found = async || {
        let found = site.invoker.discover(&Default::default()).await.unwrap();
        let apis = found.into_iter();
        let mut names: Vec<String> = apis.map(|api| api.api_name).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(found().await, "traffic weather");
    let set = policy(&["discovery", "set", "--hide", "--api", "weather"]).await;
    assert!(
        set.stderr.contains("weather is hidden from each invoker")
            && set.stderr.contains("1 API is published")
            && set.stderr.contains("capif revoke"),
        "{set:?}"
    );
    assert_eq!(found().await, "traffic");
    let one = ["--invoker", &id];
    policy(
        &[
            &["discovery", "set", "--show", "--api", "weather"],
            &one[..],
        ]
        .concat(),
    )
    .await;
    assert_eq!(found().await, "traffic weather");
    policy(&[&["discovery", "set", "--hide", "--all"], &one[..]].concat()).await;
    assert_eq!(found().await, "weather");
    let table = policy(&["discovery", "list"]).await.stdout;
    assert!(table.contains("WHO") && table.contains(&id), "{table}");
    let listed = policy(&["discovery", "list", "--output", "json"]).await;
    let rows: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 3);

    policy(&[&["discovery", "remove", "--all"], &one[..]].concat()).await;
    policy(&["discovery", "remove", "--api", "weather"]).await;
    machine
        .capif(&["policy", "discovery", "remove", "--api", "weather"])
        .await
        .failed(3, "no such discovery policy");
    let neither = machine
        .capif(&["policy", "discovery", "set", "--api", "weather"])
        .await;
    assert!(neither.stderr.contains("--hide"), "{neither:?}");

    let open = policy(&["open", "add", "--category", "sky"]).await;
    assert!(open.stderr.contains("0 APIs are published"), "{open:?}");
    let table = policy(&["open", "list"]).await.stdout;
    assert!(
        table.contains("category") && table.contains("sky"),
        "{table}"
    );
    assert!(!table.contains(&id), "{table}");
    policy(&["open", "remove", "--category", "sky"]).await;

    let set = policy(&[
        "set", "--api", "traffic", "--slice", "1-00000a", "--slice", "nsi=one",
    ])
    .await;
    assert!(set.stderr.contains("cannot tell"), "{set:?}");
    let listed = policy(&["list", "--output", "json"]).await;
    let rows: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(
        rows[0]["slices"],
        json!([{ "snssai": { "sst": 1, "sd": "00000a" } }, { "nsiId": "one" }])
    );
}

/// One AEF is shown in the place of those that expose an API, and they again; mistakes say what to do.
#[tokio::test]
async fn a_topology_is_hidden_and_shown() {
    let site = Site::start(&["weather", "tides"]).await;
    let machine = &site.machine;
    let apis = || async {
        let listed = machine.capif(&["list", "apis", "--output", "json"]).await;
        let rows = listed.done().json().as_array().unwrap().clone();
        let named = |name: &str| {
            rows.iter()
                .find(|row| row["apiName"] == name)
                .unwrap()
                .clone()
        };
        (named("weather"), named("tides"))
    };
    let (weather, tides) = apis().await;
    let aef = |row: &serde_json::Value| row["aefProfiles"][0]["aefId"].as_str().unwrap().to_owned();
    let (own, foreign) = (aef(&weather), aef(&tides));
    let route = format!("192.0.2.0/24={own}");
    let interface = ["--interface", "edge.example:443", "--method", "oauth"];
    let mut hide = vec!["hide", "weather", "--by", &own, "--route", &route];
    hide.extend(interface);
    let done = machine.capif(&hide).await.done();
    assert!(done.stderr.contains("1 API is shown so"), "{done:?}");
    let (weather, _) = apis().await;
    assert_eq!(weather["hiddenBy"], own.as_str());
    assert_eq!(
        weather["aefProfiles"][0]["interfaceDescriptions"],
        json!([{ "fqdn": "edge.example", "port": 443 }])
    );
    assert_eq!(
        weather["aefProfiles"][0]["securityMethods"],
        json!(["OAUTH"])
    );
    let listed = machine.capif(&["list", "hidden"]).await.done().stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(
        lines[1].contains("weather") && lines[1].contains(&route),
        "{listed}"
    );
    assert!(lines[1].ends_with("in effect"), "{listed}");

    let abroad = ["hide", &site.apis[0], "--by", &foreign];
    let refused = machine.capif(&abroad).await;
    refused.failed(1, "--other-provider");
    machine
        .capif(&["hide", "--name", "sea", "--by", &own])
        .await
        .done();
    machine
        .capif(&["hide", "--name", "sea", "--remove"])
        .await
        .done();
    machine.capif(&["hide", "weather", "--remove"]).await.done();
    let again = machine.capif(&["hide", "weather", "--remove"]).await;
    again.failed(3, "no such rule of topology hiding");
    let unknown = machine.capif(&["hide", "sea", "--by", &own]).await;
    unknown.failed(3, "no such service API");
    assert_eq!(apis().await.0["hiddenBy"], json!(null));
}
