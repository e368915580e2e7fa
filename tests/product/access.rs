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
                "total": 100, "perSecond": 5, "times": [], "used": 0, "usage": [],
            },
            {
                "apiId": site.apis[0], "apiName": "weather", "apiInvokerId": id,
                "total": null, "perSecond": null,
                "times": [{ "from": "2026-01-31T08:00:00Z", "to": "2026-01-31T18:00:00Z" }],
                "used": 0, "usage": [],
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
