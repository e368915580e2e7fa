//! The gateway as its provider runs it: several processes, other methods without a restart, and what the command refuses.

use crate::support::{
    backend::Backend,
    eventually,
    process::{Machine, Service},
};

const TODAY: &str = "/weather/v1/today";

struct Site {
    machine: Machine,
    _ccf: Service,
    gateway: Service,
    backend: Backend,
}

impl Site {
    async fn start() -> Self {
        let mut machine = Machine::new();
        machine.capif(&["init"]).await.done();
        let ccf = machine.core_function().await;
        machine.capif(&["provider", "add", "acme"]).await.done();
        let backend = Backend::start();
        let url = backend.url();
        let first = [
            "gateway",
            "--bundle",
            "acme.bundle",
            "--dir",
            "gw",
            "--api",
            "weather",
        ];
        let more = ["--upstream", &url, "--listen", "127.0.0.1:0"];
        let gateway = machine
            .serve(&[&first[..], &more[..]].concat(), "capif invite")
            .await;
        Self {
            machine,
            _ccf: ccf,
            gateway,
            backend,
        }
    }

    /// A gateway in the same folder.
    async fn again(&self, more: &[&str]) -> Service {
        let url = self.backend.url();
        let arguments = [
            &[
                "gateway",
                "--dir",
                "gw",
                "--api",
                "weather",
                "--upstream",
                &url,
            ][..],
            &["--listen", "127.0.0.1:0"],
            more,
        ];
        self.machine
            .serve(&arguments.concat(), "capif invite")
            .await
    }

    async fn methods(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments = [
            &["api", "methods", "weather"],
            arguments,
            &["--dir", "gw", "--output", "json"],
        ];
        self.machine.capif(&arguments.concat()).await.done().json()
    }
}

/// `capif api methods` changes what is published, and says it; the running gateway follows, and so do invokers.
#[tokio::test]
async fn methods_change_without_a_restart() {
    let site = Site::start().await;
    let machine = &site.machine;
    assert!(
        site.gateway
            .stderr()
            .contains("on CAPIF-2e for invokers with PSK or PKI or OAUTH")
    );
    let published = site.methods(&[]).await;
    assert_eq!(
        published[0]["securityMethods"],
        serde_json::json!(["PSK", "PKI", "OAUTH"])
    );
    let address = site.gateway.word_after("serving https://");
    let address = address.split('/').next().unwrap();
    assert_eq!(published[0]["interface"], format!("https://{address}"));

    let invite = machine.capif(&["invite"]).await.done();
    let code = invite.stdout.trim();
    machine
        .capif(&["call", "--code", code, "GET", TODAY])
        .await
        .done();
    for methods in ["psk", "OAUTH", "PKI,PSK"] {
        let upper = methods.to_uppercase();
        let expected: Vec<&str> = upper.split(',').collect();
        let published = site.methods(&[methods]).await;
        assert_eq!(published[0]["securityMethods"], serde_json::json!(expected));
        assert_eq!(site.methods(&[]).await, published);
        machine.capif(&["call", "GET", TODAY]).await.done();
        eventually("the gateway takes them", || async {
            site.gateway.stderr().contains(&format!("methods={upper}"))
        })
        .await;
    }
    let table = machine
        .capif(&["api", "methods", "weather", "--dir", "gw"])
        .await
        .done();
    assert!(table.stdout.contains("PKI,PSK"), "{table:?}");
    assert_eq!(site.backend.seen().len(), 4);
}

/// What cannot be is refused with its exit code, and changes nothing.
#[tokio::test]
async fn mistakes_change_nothing() {
    let site = Site::start().await;
    let machine = &site.machine;
    let before = site.methods(&[]).await;
    for (arguments, code, text) in [
        (
            &["api", "methods", "weather", "PSK,BASIC", "--dir", "gw"][..],
            1,
            "BASIC",
        ),
        (
            &["api", "methods", "weather", "", "--dir", "gw"],
            1,
            "use PSK",
        ),
        (
            &["api", "methods", "tides", "PSK", "--dir", "gw"],
            3,
            "tides",
        ),
        (
            &["api", "methods", "weather", "PSK", "--dir", "nowhere"],
            3,
            "nowhere",
        ),
        (&["api", "methods", "weather", "PSK", "--dir", "."], 1, "."),
    ] {
        machine.capif(arguments).await.failed(code, text);
    }
    assert!(!machine.work().join("nowhere").exists());
    assert_eq!(site.methods(&[]).await, before);
}

/// A gateway that keeps nothing finds its domain again by a reusable bundle, publishes without doubles, and stays the same to its
/// invokers. With an ordinary bundle it says what to do.
#[tokio::test]
async fn a_gateway_without_its_folder_finds_its_domain_again() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let _ccf = machine.core_function().await;
    let added = ["provider", "add", "acme", "--reusable", "--days", "30"];
    let added = machine.capif(&added).await.done();
    assert!(
        added.stderr.contains("can take this provider over"),
        "{added:?}"
    );
    let backend = Backend::start();
    let url = backend.url();
    let start = async |bundle: &'static str, dir: &'static str| {
        let arguments = [
            "gateway",
            "--bundle",
            bundle,
            "--dir",
            dir,
            "--api",
            "weather",
            "--upstream",
            &url,
            "--listen",
            "127.0.0.1:0",
        ];
        machine.serve(&arguments, "capif invite").await
    };
    let mut gateway = start("acme.bundle", "gw").await;
    let invite = machine.capif(&["invite"]).await.done();
    let code = invite.stdout.trim();
    let call = ["call", "--code", code, "GET", TODAY];
    machine.capif(&call).await.done();
    let listed = async |what: &str| {
        let listed = ["list", what, "--output", "json"];
        machine.capif(&listed).await.done().json()
    };
    let ids = async || {
        let (providers, apis) = (listed("providers").await, listed("apis").await);
        assert_eq!(providers.as_array().unwrap().len(), 1, "{providers}");
        assert_eq!(apis.as_array().unwrap().len(), 1, "{apis}");
        assert_eq!(listed("events").await.as_array().unwrap().len(), 1);
        let functions = providers[0]["functions"].as_array().unwrap().clone();
        let functions: Vec<_> = functions.iter().map(|row| row["id"].clone()).collect();
        (
            providers[0]["apiProvDomId"].clone(),
            functions,
            apis[0]["apiId"].clone(),
        )
    };
    let first = ids().await;
    for _ in 0..2 {
        gateway.terminate().await;
        std::fs::remove_dir_all(machine.work().join("gw")).unwrap();
        gateway = start("acme.bundle", "gw").await;
        assert_eq!(ids().await, first);
        machine.capif(&["call", "GET", TODAY]).await.done();
    }
    // With its folder it needs no bundle at all, and is the same still.
    gateway.terminate().await;
    gateway = start("acme.bundle", "gw").await;
    assert_eq!(ids().await, first);
    gateway.terminate().await;

    let id = first.0.as_str().unwrap();
    let out = ["provider", "bundle", id, "--out", "next.bundle"];
    machine.capif(&out).await.done();
    machine.capif(&out).await.failed(7, "next.bundle");
    std::fs::remove_dir_all(machine.work().join("gw")).unwrap();
    let refused = async |bundle: &str| {
        let arguments = [
            "gateway", "--bundle", bundle, "--dir", "gw", "--api", "weather",
        ];
        let more = ["--upstream", &url, "--listen", "127.0.0.1:0"];
        let outcome = machine.capif(&[&arguments[..], &more].concat()).await;
        outcome.failed(4, "--reusable");
    };
    refused("acme.bundle").await;
    gateway = start("next.bundle", "gw").await;
    assert_eq!(ids().await, first);
    gateway.terminate().await;
    machine
        .capif(&["provider", "bundle", id, "--remove"])
        .await
        .done();
    std::fs::remove_dir_all(machine.work().join("gw")).unwrap();
    refused("next.bundle").await;

    machine.capif(&["provider", "add", "tides"]).await.done();
    start("tides.bundle", "gw").await.terminate().await;
    std::fs::remove_dir_all(machine.work().join("gw")).unwrap();
    refused("tides.bundle").await;
}

/// Two gateways with one bundle and no common folder: the one before raises an alarm, and does not start again, so that they do not
/// take turns.
#[tokio::test]
async fn a_gateway_whose_bundle_another_one_uses_says_so() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let _ccf = machine.core_function().await;
    let added = ["provider", "add", "acme", "--reusable"];
    machine.capif(&added).await.done();
    let backend = Backend::start();
    let url = backend.url();
    let arguments = |dir: &'static str| {
        let bundle = ["gateway", "--bundle", "acme.bundle", "--dir", dir];
        let api = ["--api", "weather", "--upstream", &url];
        let rest = ["--listen", "127.0.0.1:0", "--stale-after", "2"];
        [&bundle[..], &api, &rest].concat()
    };
    let mut first = machine.serve(&arguments("one"), "capif invite").await;
    let second = machine.serve(&arguments("two"), "capif invite").await;
    eventually("the first one says so", || async {
        first.stderr().contains("alarm=\"superseded\"")
            || first.stderr().contains("alarm=superseded")
    })
    .await;
    assert!(!second.stderr().contains("superseded"));
    first.terminate().await;
    let again = machine.capif(&arguments("one")).await;
    again.failed(7, "give both one --dir");
}

/// A second process joins the first with an interface of its own, and a restart keeps what is published.
#[tokio::test]
async fn processes_of_one_provider_stand_beside_each_other() {
    let mut site = Site::start().await;
    site.methods(&["PKI"]).await;
    let second = site
        .again(&["--join", "--psk-tls", "1.2", "--stale-after", "5"])
        .await;
    let published = site.methods(&[]).await;
    assert_eq!(published.as_array().unwrap().len(), 2);
    assert!(
        second.stderr().contains("for invokers with PKI,"),
        "{}",
        second.stderr()
    );
    assert_eq!(site.gateway.terminate().await.0, Some(0));
    drop(second);
    let alone = site
        .again(&["--interface", "CAPIF-2", "--oauth-mutual-tls"])
        .await;
    assert!(alone.stderr().contains("on CAPIF-2 for invokers with PKI,"));
    let published = site.methods(&[]).await;
    assert_eq!(published.as_array().unwrap().len(), 1);
    assert_eq!(published[0]["securityMethods"], serde_json::json!(["PKI"]));
}
