//! P-01: what was answered with 2xx survives `kill -9` right afterwards. P-42: SIGTERM lets what is under way finish.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use capif_client::{
    DiscoveryQuery, ErrorKind, Invoker, Keystore, OnboardingRequest, Provider, ProviderRequest,
};
use capif_spec::publish_service::ServiceApiDescription;
use http::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::process::{Machine, system_clock};

fn description(provider: &Provider, name: &str) -> ServiceApiDescription {
    serde_json::from_value(json!({
        "apiName": name,
        "aefProfiles": [{
            "aefId": provider.aef_id(),
            "versions": [{"apiVersion": "v1"}],
            "securityMethods": ["PKI"],
            "interfaceDescriptions": [{"ipv4Addr": "127.0.0.1", "port": 9443}],
        }],
    }))
    .unwrap()
}

async fn onboard(machine: &Machine, name: &str) -> Result<Invoker, capif_client::Error> {
    let enrolment = machine.invite().await;
    let keystore = Keystore::open(machine.folder(name)).unwrap();
    Invoker::onboard(
        keystore,
        &enrolment,
        OnboardingRequest::default(),
        system_clock(),
    )
    .await
}

/// Registration, publication, onboarding and offboarding, each followed by `kill -9` at once: whatever was answered holds after
/// the restart, and what was taken away stays away.
#[tokio::test]
async fn an_answered_change_survives_kill_9() {
    let mut machine = Machine::new();
    std::fs::create_dir_all(machine.folder("")).unwrap();
    machine.capif(&["init"]).await.done();
    let mut ccf = machine.core_function().await;

    let bundle = machine.bundle("acme").await;
    let keystore = Keystore::open(machine.folder("acme")).unwrap();
    let provider = Provider::register(
        keystore,
        &bundle,
        ProviderRequest::default(),
        system_clock(),
    )
    .await
    .unwrap();
    ccf.kill();
    ccf = machine.core_function().await;

    let mut published = Vec::new();
    let mut onboarded: Vec<Invoker> = Vec::new();
    for round in 0..8 {
        let name = format!("api{round}");
        provider
            .publish(&description(&provider, &name))
            .await
            .unwrap();
        if round % 3 == 0 {
            ccf.kill();
            ccf = machine.core_function().await;
        }
        published.push(name);
        for number in 0..=(round % 3) {
            onboarded.push(
                onboard(&machine, &format!("amy-{round}-{number}"))
                    .await
                    .unwrap(),
            );
        }
        ccf.kill();
        ccf = machine.core_function().await;

        let mut names: Vec<String> = provider
            .apis()
            .await
            .unwrap()
            .into_iter()
            .map(|api| api.api_name)
            .collect();
        names.sort();
        assert_eq!(names, published);
        for invoker in &onboarded {
            let found = invoker.discover(&DiscoveryQuery::default()).await.unwrap();
            assert_eq!(found.len(), published.len(), "{}", invoker.id());
        }
        if round % 2 == 1 {
            let leaving = onboarded.remove(0);
            let id = leaving.id().to_string();
            let (status, _) = machine
                .operator(Method::DELETE, &format!("/invokers/{id}"), None)
                .await;
            assert_eq!(status, 204);
            ccf.kill();
            ccf = machine.core_function().await;
            let error = leaving
                .discover(&DiscoveryQuery::default())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
            let (_, rows) = machine.operator(Method::GET, "/invokers", None).await;
            assert_eq!(rows.as_array().unwrap().len(), onboarded.len());
            assert!(!rows.to_string().contains(&id));
        }
    }
    assert!(
        machine
            .capif(&["config", "check"])
            .await
            .done()
            .stdout
            .is_empty()
    );
}

/// Of many onboardings at once, every one that was answered before the process was killed holds; the others are there whole or
/// not at all, and can be tried again.
#[tokio::test]
async fn of_many_at_once_every_answered_one_survives() {
    const AT_ONCE: usize = 12;
    let mut machine = Machine::new();
    std::fs::create_dir_all(machine.folder("")).unwrap();
    machine.capif(&["init"]).await.done();
    for kill_after in [1, 4, 9] {
        let mut ccf = machine.core_function().await;
        let machine_now = &machine;
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        let mut before = 0;
        for number in 0..AT_ONCE {
            let enrolment = machine_now.invite().await;
            let name = format!("amy-{kill_after}-{number}");
            let keystore = Keystore::open(machine_now.folder(&name)).unwrap();
            let answered = Arc::clone(&answered);
            tasks.push(tokio::spawn(async move {
                let onboarding = Invoker::onboard(
                    keystore,
                    &enrolment,
                    OnboardingRequest::default(),
                    system_clock(),
                );
                let outcome = onboarding.await;
                if outcome.is_ok() {
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                outcome
            }));
        }
        if kill_after > 1 {
            let (_, rows) = machine_now.operator(Method::GET, "/invokers", None).await;
            before = rows.as_array().unwrap().len();
        }
        crate::support::eventually("some were answered", || async {
            answered.load(Ordering::SeqCst) >= kill_after
        })
        .await;
        ccf.kill();
        let mut acknowledged = Vec::new();
        for task in tasks {
            acknowledged.extend(task.await.unwrap().ok());
        }
        assert!(acknowledged.len() >= kill_after);
        let _ccf = machine.core_function().await;
        let (_, rows) = machine.operator(Method::GET, "/invokers", None).await;
        let count = rows.as_array().unwrap().len();
        assert!(
            count >= acknowledged.len() && count <= before + 3 * AT_ONCE,
            "{count}"
        );
        for invoker in &acknowledged {
            assert!(rows.to_string().contains(invoker.id().as_str()));
            invoker.discover(&DiscoveryQuery::default()).await.unwrap();
        }
    }
}

/// SIGTERM ends the service within ten seconds with exit code 0, though connections are open and requests are half sent; the
/// next start finds everything.
#[tokio::test]
async fn sigterm_drains() {
    let mut machine = Machine::new();
    std::fs::create_dir_all(machine.folder("")).unwrap();
    machine.capif(&["init"]).await.done();
    let mut ccf = machine.core_function().await;
    let amy = onboard(&machine, "amy").await.unwrap();
    amy.discover(&DiscoveryQuery::default()).await.unwrap();
    let address = ccf.word_after("serving at ");
    let _idle = TcpStream::connect(address.trim_end_matches(';'))
        .await
        .unwrap();
    let management = ccf.word_after("health at http://");
    let management = management.split('/').next().unwrap().to_owned();
    let mut half = TcpStream::connect(&management).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nhost:")
        .await
        .unwrap();

    let (code, time) = ccf.terminate().await;
    assert_eq!(code, Some(0), "{}", ccf.stderr());
    assert!(
        time < Duration::from_millis(10_500),
        "{time:?}: {}",
        ccf.stderr()
    );
    let _ccf = machine.core_function().await;
    amy.discover(&DiscoveryQuery::default()).await.unwrap();
}
