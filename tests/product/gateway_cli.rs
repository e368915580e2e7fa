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
