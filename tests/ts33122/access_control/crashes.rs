//! R-ACL-01, P-01: what was granted is remembered, whatever becomes of the core function.

use capif_client::{Keystore, OnboardingRequest, Provider, ProviderRequest, Wish};
use capif_spec::publish_service::{SecurityMethod, ServiceApiDescription};
use capif_transport::{
    Anchors, Client, ClientLimits, ClientTls, Identity, SharedClock, collect, full,
};
use http::{Method, Request};
use serde_json::{Value, json};

use super::Scene;
use crate::support::{
    SOON,
    process::{Machine, system_clock},
    raw::Pems,
};

/// A total survives a restart; of a rate, the second in which nobody was counting lets nothing through.
#[tokio::test]
async fn a_restart_forgets_no_call() {
    let mut scene = Scene::new().await;
    scene.policy(json!({ "total": 10, "perSecond": 6 })).await;
    assert_eq!(scene.granted(6).await, 6);
    scene.world.stop().await;
    scene.world.resume().await;
    assert_eq!(
        scene.ask(6).await,
        json!({ "granted": 0, "exhausted": "rate", "retryAfterMs": 1000 })
    );
    scene.world.clock.advance(time::Duration::SECOND);
    assert_eq!(
        scene.ask(6).await,
        json!({ "granted": 4, "exhausted": "total" })
    );
}

/// An AEF on a machine of its own, that asks the program.
struct Asker {
    address: String,
    root: String,
    pems: Pems,
    api: String,
    invoker: String,
}

impl Asker {
    /// What was granted; nothing if the program did not answer.
    async fn granted(&self, clock: SharedClock, wanted: u64) -> Option<u64> {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&self.root).unwrap()),
            identity: Some(Identity::from_pem(&self.pems.chain, &self.pems.key).unwrap()),
            clock,
            session: None,
            tls12_only: false,
        };
        let client = Client::new(tls, ClientLimits::default()).unwrap();
        let body = json!({ "apiInvokerId": self.invoker, "wanted": wanted });
        let request = Request::post(format!(
            "https://{}/capif-allowances/v1/{}",
            self.address, self.api
        ))
        .header("content-type", "application/json")
        .body(full(body.to_string()))
        .unwrap();
        let response = client.request(request).await.ok()?;
        assert_eq!(response.status(), 200);
        let body = collect(response.into_body(), 1 << 20, SOON).await.ok()?;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        answer["granted"].as_u64()
    }
}

/// Askers at once while the program is killed again and again: what was granted and answered never exceeds the total; what was
/// granted and not answered is lost to the invoker, not to the API.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_grants_nothing_twice() {
    const TOTAL: u64 = 400;
    let mut machine = Machine::new();
    std::fs::create_dir_all(machine.folder("")).unwrap();
    machine.capif(&["init"]).await.done();
    let mut ccf = machine.core_function().await;
    let bundle = machine.bundle("acme").await;
    let provider = Provider::register(
        Keystore::open(machine.folder("acme")).unwrap(),
        &bundle,
        ProviderRequest::default(),
        system_clock(),
    )
    .await
    .unwrap();
    let description: ServiceApiDescription = serde_json::from_value(json!({
        "apiName": "weather",
        "aefProfiles": [{
            "aefId": provider.aef_id(),
            "versions": [{ "apiVersion": "v1" }],
            "securityMethods": ["PKI"],
            "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": 9443 }],
        }],
    }))
    .unwrap();
    let api = provider.publish(&description).await.unwrap();
    let invoker = capif_client::Invoker::onboard(
        Keystore::open(machine.folder("amy")).unwrap(),
        &machine.invite().await,
        OnboardingRequest::default(),
        system_clock(),
    )
    .await
    .unwrap();
    let wish = Wish {
        aef_id: provider.aef_id().clone(),
        api_id: None,
        preferred: vec![SecurityMethod::Pki],
        profile: None,
    };
    invoker.negotiate(&[wish]).await.unwrap();
    machine
        .capif(&["policy", "set", "--api", "weather", "--total", "400"])
        .await
        .done();

    let asker = std::sync::Arc::new(Asker {
        address: bundle.address.clone(),
        root: bundle.anchors_pem.clone(),
        pems: Pems::of_function(&machine.folder("acme"), "aef"),
        api: api.api_id.unwrap().to_string(),
        invoker: invoker.id().to_string(),
    });
    let mut granted = 0;
    for round in 0..4 {
        let askers: Vec<_> = (0..8)
            .map(|number: u64| {
                let asker = std::sync::Arc::clone(&asker);
                tokio::spawn(async move {
                    let mut sum = 0;
                    for turn in 0..10 {
                        let wanted = 1 + (number + turn) % 3;
                        match asker.granted(system_clock(), wanted).await {
                            Some(got) => sum += got,
                            None => break,
                        }
                    }
                    sum
                })
            })
            .collect();
        // In the middle of it.
        tokio::time::sleep(std::time::Duration::from_millis(60 + 40 * round)).await;
        ccf.kill();
        for asker in askers {
            granted += asker.await.unwrap();
        }
        ccf = machine.core_function().await;
    }
    assert!(granted > 0 && granted <= TOTAL, "{granted}");
    let (_, rows) = machine.operator(Method::GET, "/policies", None).await;
    let used = rows[0]["used"].as_u64().unwrap();
    assert!(used >= granted && used <= TOTAL, "{granted} of {used}");
    let mut rest = 0;
    loop {
        match asker.granted(system_clock(), 50).await.unwrap() {
            0 => break,
            got => rest += got,
        }
    }
    assert_eq!(used + rest, TOTAL);
}
