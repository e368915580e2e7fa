//! The sidecar: an application without any knowledge of CAPIF calls an API through it, and nobody else does.

use crate::support::{
    backend::Backend,
    eventually,
    plain::{self, Answer},
    process::{Machine, Service},
};

/// Everyone, from the core function to the sidecar.
struct Site {
    machine: Machine,
    _ccf: Service,
    gateway: Service,
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
        let gateway = gateway(&machine, &backend, "127.0.0.1:0", methods).await;
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
            _ccf: ccf,
            gateway,
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

    /// The weather of today, as an application asks for it.
    async fn today(&self) -> Answer {
        let host = self.address();
        let head = format!("GET /weather/v1/today HTTP/1.1\r\nHost: {host}");
        self.ask(&head, "").await
    }

    /// The id of the invoker that the sidecar is.
    async fn id(&self) -> String {
        let host = self.address();
        let head = format!("GET /.well-known/capif-sidecar HTTP/1.1\r\nHost: {host}");
        let status = self.ask(&head, "").await.json();
        status["apiInvokerId"].as_str().unwrap().to_owned()
    }

    /// Runs a command of the operator about this invoker.
    async fn operator(&self, command: &str) {
        let id = self.id().await;
        self.machine.capif(&[command, &id]).await.done();
    }
}

/// The gateway of the provider, registered at its first start.
async fn gateway(machine: &Machine, backend: &Backend, listen: &str, methods: &str) -> Service {
    let url = backend.url();
    let arguments = ["gateway", "--bundle", "acme.bundle", "--api", "weather"];
    let more = ["--upstream", &url, "--listen", listen, "--methods", methods];
    let all = [&arguments[..], &more].concat();
    machine.serve(&all, "capif invite").await
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
        let id = site.id().await;
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
    let port = site.address().split_once(':').unwrap().1.to_owned();
    for line in [
        "Host: evil.example".to_owned(),
        // Browsers take these for other machines, and do not say for which page they ask.
        format!("Host: 0.0.0.0:{port}"),
        format!("Host: [::ffff:7f00:1]:{port}"),
        format!("Host: 192.0.2.1:{port}"),
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

/// What applications send and how they read is theirs to choose.
#[tokio::test]
async fn requests_of_every_form_pass() {
    let site = Site::start("OAUTH").await;
    let host = format!("Host: {}", site.address());
    let ask = async |line: &str, more: &str, body: &str| {
        let head = format!("{line}\r\n{host}{more}");
        site.ask(&head, body).await
    };
    let said = ask("HEAD /weather/v1/today HTTP/1.1", "", "").await;
    assert_eq!(
        (said.status, said.body.as_str()),
        (200, ""),
        "{}",
        said.head
    );
    assert!(said.head.contains("x-backend: echo"), "{}", said.head);
    assert!(!said.head.contains("x-hop"), "{}", said.head);
    let said = ask("OPTIONS /weather/v1/today HTTP/1.1", "", "").await;
    assert!(
        said.body.contains("OPTIONS /weather/v1/today"),
        "{}",
        said.body
    );
    let said = ask("GET /weather/v1/today HTTP/1.0", "", "").await;
    assert_eq!(said.body, "GET /weather/v1/today");
    assert!(said.head.starts_with("http/1.0 200"), "{}", said.head);

    let chunked = "\r\nTransfer-Encoding: chunked";
    let said = ask(
        "PUT /weather/v1/a HTTP/1.1",
        chunked,
        "4\r\nrain\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(said.status, 200, "{}", said.body);
    let large = "x".repeat(3 << 20);
    let expecting = format!(
        "\r\nExpect: 100-continue\r\nContent-Length: {}",
        large.len()
    );
    let said = ask("POST /weather/v1/b HTTP/1.1", &expecting, &large).await;
    assert!(
        said.head.starts_with("http/1.1 100 continue"),
        "{}",
        said.head
    );
    assert!(said.body.starts_with("HTTP/1.1 200"), "{}", said.body);
    let seen = site.backend.seen();
    let of = |path: &str| &seen.iter().find(|seen| seen.path == path).unwrap().body;
    assert_eq!(of("/weather/v1/a"), b"rain");
    assert_eq!(of("/weather/v1/b").len(), large.len());

    // What a browser shows of one API does not call the others.
    let said = ask(
        "GET /weather/v1/today HTTP/1.1",
        "\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate",
        "",
    )
    .await;
    assert!(
        said.head.contains("content-security-policy: sandbox"),
        "{}",
        said.head
    );
    // Ways to get past the API, or to somewhere else.
    for (line, status) in [
        ("GET //weather/v1/today HTTP/1.1", 404),
        ("GET /weather/v1/../today HTTP/1.1", 400),
        ("GET /weather/v1/%2e%2e/today HTTP/1.1", 400),
        ("GET /weather/v1/a%2fb HTTP/1.1", 400),
        ("GET http://other.example/weather/v1/today HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 404),
        ("CONNECT other.example:443 HTTP/1.1", 501),
    ] {
        let before = site.backend.seen().len();
        let said = ask(line, "", "").await;
        assert_eq!(said.status, status, "{line}: {}", said.body);
        assert_eq!(site.backend.seen().len(), before, "{line}");
    }
}

/// A sidecar that was killed finds everything again; two on one folder serve side by side.
#[tokio::test]
async fn a_crash_and_a_second_one_do_no_harm() {
    for methods in ["PSK", "OAUTH"] {
        let mut site = Site::start(methods).await;
        assert_eq!(site.today().await.status, 200);
        let id = site.id().await;
        site.sidecar.kill();
        let again = ["sidecar", "--listen", "127.0.0.1:0"];
        site.sidecar = site.machine.serve(&again, "applications call").await;
        assert_eq!(site.id().await, id);
        assert_eq!(site.today().await.status, 200, "{methods}");
        let other = site.machine.serve(&again, "applications call").await;
        let first = std::mem::replace(&mut site.sidecar, other);
        assert_eq!(site.today().await.status, 200, "{methods}");
        site.sidecar = first;
        assert_eq!(site.today().await.status, 200, "{methods}");
    }
}

/// Revoked, permitted, under another method, offboarded: the application hears of it in words that say what helps.
#[tokio::test]
async fn what_others_decide_reaches_the_application() {
    let mut site = Site::start("PSK").await;
    assert_eq!(site.today().await.status, 200);
    let address = site.gateway.word_after("serving https://");
    let address = address.split('/').next().unwrap().to_owned();
    site.gateway.terminate().await;
    let said = site.today().await;
    assert_eq!(said.status, 502, "{}", said.body);
    assert!(said.body.contains("cannot reach"), "{}", said.body);
    site.gateway = gateway(&site.machine, &site.backend, &address, "PKI").await;
    let said = site.today().await;
    assert_eq!(said.status, 200, "another method: {}", said.body);

    site.operator("revoke").await;
    // The gateway hears of it a moment later.
    eventually("it is refused", || async {
        site.today().await.status == 502
    })
    .await;
    let said = site.today().await;
    assert!(said.body.contains("capif permit"), "{}", said.body);
    site.operator("permit").await;
    // Nor does it hear of the permission sooner.
    eventually("it is let in", || async {
        site.today().await.status == 200
    })
    .await;
    site.operator("renew").await;
    let said = site.today().await;
    assert_eq!(said.status, 200, "{}", said.body);
    site.operator("offboard").await;
    let said = site.today().await;
    assert_eq!(said.status, 502, "{}", said.body);
    assert!(
        said.body.contains("capif invoker offboard"),
        "{}",
        said.body
    );
}

/// An enrolment for an API without tokens has no secret for them. When the API wants tokens later, the advice that is given helps.
#[tokio::test]
async fn a_secret_that_was_never_needed_is_had_by_renewal() {
    let mut site = Site::start("PSK").await;
    let address = site.gateway.word_after("serving https://");
    let address = address.split('/').next().unwrap().to_owned();
    site.gateway.terminate().await;
    site.gateway = gateway(&site.machine, &site.backend, &address, "OAUTH").await;
    let said = site.today().await;
    assert_eq!(said.status, 502, "{}", said.body);
    assert!(said.body.contains("capif invoker renew"), "{}", said.body);
    site.machine.capif(&["invoker", "renew"]).await.done();
    let said = site.today().await;
    assert_eq!(said.status, 200, "{}", said.body);
}
