//! The sidecar: an application without any knowledge of CAPIF calls an API through it, and nobody else does.

use crate::support::{
    backend::Backend,
    plain::{self, Answer},
    process::{Machine, Service},
};

/// Everyone, from the core function to the sidecar.
struct Site {
    machine: Machine,
    _services: Vec<Service>,
    sidecar: Service,
    backend: Backend,
}

impl Site {
    async fn start(methods: &str) -> Self {
        let mut machine = Machine::new();
        machine.capif(&["init"]).await.done();
        let ccf = machine.core_function().await;
        machine.capif(&["provider", "add", "acme"]).await.done();
        let backend = Backend::start();
        let url = backend.url();
        let arguments = ["gateway", "--bundle", "acme.bundle", "--api", "weather"];
        let more = ["--upstream", &url, "--listen", "127.0.0.1:0"];
        let methods = ["--methods", methods];
        let all = [&arguments[..], &more, &methods].concat();
        let gateway = machine.serve(&all, "capif invite").await;
        let invite = machine.capif(&["invite", "--api", "weather"]).await.done();
        let code = invite.stdout.trim().to_owned();
        let sidecar = machine
            .serve(
                &["sidecar", "--code", &code, "--listen", "127.0.0.1:0"],
                "applications call",
            )
            .await;
        Self {
            machine,
            _services: vec![ccf, gateway],
            sidecar,
            backend,
        }
    }

    fn address(&self) -> String {
        let url = self.sidecar.word_after("applications call http://");
        url.split('/').next().unwrap().to_owned()
    }

    async fn ask(&self, head: &str, body: &str) -> Answer {
        plain::ask(&self.address(), head, body).await
    }
}

/// Whatever the method, the application sees plain HTTP; the API sees who calls.
#[tokio::test]
async fn an_application_calls_without_knowing_of_capif() {
    for methods in ["PSK", "PKI", "OAUTH"] {
        let site = Site::start(methods).await;
        let host = format!("Host: {}", site.address());
        let said = site
            .ask(
                &format!("GET /weather/v1/today?at=noon HTTP/1.1\r\n{host}"),
                "",
            )
            .await;
        assert_eq!(said.status, 200, "{methods}: {}", said.body);
        let post = format!(
            "POST /weather/v1/reports HTTP/1.1\r\n{host}\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nAuthorization: Basic eA=="
        );
        let said = site.ask(&post, "rain").await;
        assert_eq!(said.status, 200, "{methods}: {}", said.body);
        let seen = site.backend.seen();
        let paths: Vec<&str> = seen.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(
            paths,
            ["/weather/v1/today", "/weather/v1/reports"],
            "{methods}"
        );
        assert_eq!(seen[0].query.as_deref(), Some("at=noon"), "{methods}");
        assert_eq!(seen[1].body, b"rain", "{methods}");
        let status = site
            .ask(
                &format!("GET /.well-known/capif-sidecar HTTP/1.1\r\n{host}"),
                "",
            )
            .await;
        let id = status.json()["apiInvokerId"].as_str().unwrap().to_owned();
        for seen in &seen {
            let caller = seen.headers.get("capif-api-invoker-id").unwrap();
            assert_eq!(caller.to_str().unwrap(), id, "{methods}");
            assert!(seen.headers.get("authorization").is_none(), "{methods}");
        }
    }
}

/// What the sidecar cannot do it says, as a problem of its own and not of the API.
#[tokio::test]
async fn what_cannot_be_is_said() {
    let mut site = Site::start("PKI").await;
    let host = format!("Host: {}", site.address());
    for (path, status) in [("/", 404), ("/nothing/v1", 404)] {
        let said = site
            .ask(&format!("GET {path} HTTP/1.1\r\n{host}"), "")
            .await;
        assert_eq!(said.status, status, "{path}: {}", said.body);
        assert!(said.head.contains("application/problem+json"), "{path}");
        assert_eq!(said.json()["title"], "capif sidecar", "{path}");
    }
    // Web pages reach this address too, by a name of theirs or from their origin.
    for line in [
        "Host: evil.example".to_owned(),
        format!("{host}\r\nOrigin: https://evil.example"),
        format!("{host}\r\nSec-Fetch-Site: cross-site"),
    ] {
        let said = site
            .ask(&format!("GET /weather/v1/today HTTP/1.1\r\n{line}"), "")
            .await;
        assert_eq!(said.status, 403, "{line}: {}", said.body);
    }
    assert!(site.backend.seen().is_empty());

    // The second one finds the enrolment, and the place taken.
    let address = site.address();
    let second = site.machine.capif(&["sidecar", "--listen", &address]).await;
    second.failed(7, "--listen");
    let anywhere = ["sidecar", "--listen", "0.0.0.0:0"];
    let refused = site.machine.capif(&anywhere).await;
    refused.failed(1, "--allow-remote");
    let (code, _) = site.sidecar.terminate().await;
    assert_eq!(code, Some(0));
}
