//! P-11 and B-13: no secret in any log, at any level, nor in the core function's folder; one line per request, which nobody
//! outside can break.

use std::{collections::BTreeMap, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};
use capif_client::{Invoker, Keystore, OnboardingRequest, Wish};
use capif_procedures::aefpsk::{self, Facts, Profile, SESSION_ID_LABEL, SESSION_KEY_LABEL};
use capif_spec::{publish_service::SecurityMethod, security::Scope};
use capif_transport::{
    Anchors, Client, ClientLimits, ClientTls, Identity, Psk, PskCredential, PskVersion, Session,
    SessionLabels, collect, empty, full,
};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{
    SOON,
    backend::Backend,
    process::{Machine, system_clock},
    raw::{Pems, Raw},
    reveal,
};

/// A core function and a gateway at the most talkative level, and an invoker.
struct Site {
    machine: Machine,
    ccf: crate::support::process::Service,
    gateway: crate::support::process::Service,
    root_pem: String,
    backend: Backend,
}

impl Site {
    async fn start(format: &str) -> Self {
        let mut machine = Machine::new();
        std::fs::create_dir_all(machine.folder("")).unwrap();
        machine.set("CAPIF_LOG__LEVEL", "trace");
        machine.set("CAPIF_LOG__FORMAT", format);
        machine.capif(&["init"]).await.done();
        let ready = if format == "json" {
            "ca_sha256"
        } else {
            "root CA sha256"
        };
        let ccf = machine.serve(&["serve"], ready).await;
        machine.capif(&["provider", "add", "acme"]).await.done();
        let backend = Backend::start();
        let url = backend.url();
        let arguments = [
            "gateway",
            "--bundle",
            "acme.bundle",
            "--api",
            "weather",
            "--upstream",
            &url,
            "--listen",
            "127.0.0.1:0",
        ];
        let gateway = machine.serve(&arguments, "capif invite").await;
        let root_pem = std::fs::read_to_string(machine.ccf_folder().join("ca/root.pem")).unwrap();
        Self {
            machine,
            ccf,
            gateway,
            root_pem,
            backend,
        }
    }

    fn client(&self, identity: Option<Identity>) -> Client {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&self.root_pem).unwrap()),
            identity,
            clock: system_clock(),
            session: None,
            tls12_only: false,
        };
        Client::new(tls, ClientLimits::default()).unwrap()
    }

    /// Negotiates Method 1 as an invoker would that knows the standard alone, and derives the key.
    async fn key_of(&self, invoker: &str, pems: &Pems, aef: &str) -> (String, Psk) {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&self.root_pem).unwrap()),
            identity: Some(pems.identity()),
            clock: system_clock(),
            session: Some(SessionLabels {
                key: SESSION_KEY_LABEL,
                id: SESSION_ID_LABEL,
            }),
            tls12_only: false,
        };
        let body = json!({
            "securityInfo": [{ "aefId": aef, "prefSecurityMethods": ["PSK"] }],
            "notificationDestination": "https://invoker.example/notify",
        });
        let path = format!("/capif-security/v1/trustedInvokers/{invoker}");
        let request = Request::put(format!("https://{}{path}", self.ccf_address().await))
            .header("content-type", "application/json")
            .body(full(body.to_string()))
            .unwrap();
        let client = Client::new(tls, ClientLimits::default()).unwrap();
        let answer = client.request(request).await.unwrap();
        let session = answer.extensions().get::<Arc<Session>>().unwrap().clone();
        let octets = collect(answer.into_body(), 1 << 20, SOON).await.unwrap();
        let answer: Value = serde_json::from_slice(&octets).unwrap();
        let text = answer["securityInfo"][0]["authenticationInfo"].as_str();
        let told: Value = serde_json::from_str(text.unwrap()).unwrap();
        let facts = Facts {
            profile: Profile::A1Exporter,
            key: session.exported_key(),
            session_id: session.exported_id(),
        };
        let key = aefpsk::derive(&facts, told["interface"].as_str().unwrap()).unwrap();
        (told["pskId"].as_str().unwrap().to_owned(), Psk::new(*key))
    }

    fn gateway_address(&self) -> String {
        let url = self.gateway.word_after("serving https://");
        url.split('/').next().unwrap().to_owned()
    }

    async fn ccf_address(&self) -> String {
        self.machine.invite().await.address
    }

    fn stderr(&self) -> String {
        format!("{}{}", self.ccf.stderr(), self.gateway.stderr())
    }
}

async fn send(client: &Client, request: http::request::Builder, body: &str) -> (u16, Value) {
    let body = if body.is_empty() {
        empty()
    } else {
        full(body.to_owned())
    };
    let response = client.request(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let octets = collect(response.into_body(), 1 << 20, SOON).await.unwrap();
    (
        status,
        serde_json::from_slice(&octets).unwrap_or(Value::Null),
    )
}

/// What nobody but its owner may see.
#[derive(Default)]
struct Canaries(BTreeMap<String, Vec<u8>>);

impl Canaries {
    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        assert!(
            value.as_ref().len() >= 12,
            "{name} is too short to be searched for"
        );
        self.0.insert(name.to_owned(), value.as_ref().to_vec());
    }

    /// The signature and the claims of a token as well: a part tells as much as the whole.
    fn add_token(&mut self, name: &str, token: &str) {
        self.add(name, token);
        let parts: Vec<&str> = token.split('.').collect();
        self.add(&format!("{name}, claims"), parts[1]);
        self.add(&format!("{name}, signature"), parts[2]);
        self.add(
            &format!("{name}, octets"),
            BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap(),
        );
    }

    fn add_key(&mut self, name: &str, text: &str) {
        let der = pem::parse(text).unwrap().into_contents();
        self.add(name, text.trim());
        for (number, line) in text
            .lines()
            .filter(|line| !line.starts_with('-'))
            .enumerate()
        {
            self.add(&format!("{name}, line {number}"), line);
        }
        // The secret number itself (RFC 5915) stands behind `02 01 01 04 20`.
        let start = der
            .windows(5)
            .position(|window| window == [2, 1, 1, 4, 32])
            .unwrap()
            + 5;
        self.add(&format!("{name}, number"), &der[start..start + 32]);
    }

    /// Fails when one of them stands in these octets in any usual writing.
    fn assert_absent(&self, place: &str, octets: &[u8]) {
        for (name, value) in &self.0 {
            let hex: String = value.iter().map(|octet| format!("{octet:02x}")).collect();
            let decimal = value
                .iter()
                .take(8)
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            // Base64 of the middle, at each of its three phases, is part of the base64 of anything around it.
            let mut writings: Vec<Vec<u8>> = vec![
                value.clone(),
                hex.to_uppercase().into_bytes(),
                hex.into_bytes(),
                decimal.into_bytes(),
                BASE64_STANDARD.encode(value).into_bytes(),
                BASE64_URL_SAFE.encode(value).into_bytes(),
            ];
            for phase in 0..3 {
                let middle = &value[phase..];
                let middle = &middle[..middle.len() / 3 * 3];
                writings.push(BASE64_STANDARD_NO_PAD.encode(middle).into_bytes());
                writings.push(BASE64_URL_SAFE_NO_PAD.encode(middle).into_bytes());
            }
            for writing in writings {
                let found = memory_search(octets, &writing);
                assert!(!found, "{name} stands in {place}");
            }
        }
    }
}

fn memory_search(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = haystack;
    while let Some(position) = rest.iter().position(|octet| *octet == first) {
        rest = &rest[position..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

/// The whole of the main job with canaries, at the most talkative level; then every log line, every file of the core function and
/// what the system shows of the processes is searched for them.
#[tokio::test]
async fn no_secret_is_written_anywhere() {
    let mut site = Site::start("json").await;
    let mut canaries = Canaries::default();
    let bundle: capif_client::Bundle =
        std::fs::read_to_string(site.machine.work().join("acme.bundle"))
            .unwrap()
            .parse()
            .unwrap();
    canaries.add_token("registration credential", reveal(&bundle.credential));
    let enrolment = site.machine.invite().await;
    canaries.add_token("onboarding credential", reveal(&enrolment.credential));
    let unused = site.machine.invite().await;
    canaries.add_token("unused credential", reveal(&unused.credential));

    let folder = site.machine.folder("amy");
    let keystore = Keystore::open(&folder).unwrap();
    let amy = Invoker::onboard(
        keystore,
        &enrolment,
        OnboardingRequest::default(),
        system_clock(),
    )
    .await
    .unwrap();
    let state: Value =
        serde_json::from_slice(&std::fs::read(folder.join("capif-invoker.json")).unwrap()).unwrap();
    let secret = state["onboarded"]["onboardingSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    canaries.add("Onboard_Secret", &secret);
    canaries.add(
        "Onboard_Secret, octets",
        BASE64_URL_SAFE_NO_PAD.decode(&secret).unwrap(),
    );
    let pems = Pems::of_invoker(&folder);
    canaries.add_key("the invoker's key", &pems.key);
    let gateways = files_below(&site.machine.work().parent().unwrap().join("home/state"));
    let keys: Vec<_> = gateways
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "key"))
        .collect();
    assert_eq!(keys.len(), 3, "{gateways:?}");
    for path in keys {
        canaries.add_key(
            &path.display().to_string(),
            &std::fs::read_to_string(path).unwrap(),
        );
    }

    // Calls by token, then by certificate.
    let apis = amy
        .discover(&capif_client::DiscoveryQuery::named("weather"))
        .await
        .unwrap();
    let aef_id = apis[0].aef_profiles.as_ref().unwrap()[0].aef_id.clone();
    for method in [SecurityMethod::Oauth, SecurityMethod::Pki] {
        let wish = Wish {
            aef_id: aef_id.clone(),
            api_id: None,
            preferred: vec![method.clone()],
            profile: None,
        };
        amy.negotiate(&[wish]).await.unwrap();
        if method == SecurityMethod::Oauth {
            let scope = Scope {
                grants: vec![(aef_id.clone(), vec!["weather".to_owned()])],
            };
            let token = amy.token(&scope).await.unwrap();
            canaries.add_token("access token", reveal(&token.access_token));
        }
        let call = Request::get("/weather/v1/today").body(empty()).unwrap();
        assert_eq!(amy.call("weather", call).await.unwrap().status(), 200);
    }
    // And by a key, which this test derives by itself.
    let (identity, key) = site.key_of(amy.id().as_str(), &pems, aef_id.as_str()).await;
    canaries.add("AEF_PSK", key.expose());
    let credential = PskCredential {
        identity,
        key,
        version: PskVersion::Tls13,
    };
    let by_key = Client::psk(credential, ClientLimits::default()).unwrap();
    let url = format!("https://{}/weather/v1/today", site.gateway_address());
    assert_eq!(send(&by_key, Request::get(url), "").await.0, 200);
    assert_eq!(site.backend.seen().len(), 3);

    // Refusals, whose reasons must not quote what was refused.
    let (ccf, gateway) = (site.ccf_address().await, site.gateway_address());
    let (anonymous, by_certificate) = (site.client(None), site.client(Some(pems.identity())));
    let canary = |name: &str| format!("canary{name}7f3a9c51d2e8");
    for name in [
        "header", "query", "secret", "body", "cookie", "basic", "path",
    ] {
        canaries.add(name, canary(name));
    }
    let basic = BASE64_STANDARD.encode(format!("{}:{}", amy.id(), canary("basic")));
    for (identity, address) in [
        (None, &ccf),
        (Some(pems.identity()), &ccf),
        (None, &gateway),
        (Some(pems.identity()), &gateway),
    ] {
        for path in [
            "/api-invoker-management/v1/onboardedInvokers".to_owned(),
            "/weather/v1/today".to_owned(),
            format!("/weather/v1/today?access_token={}", canary("query")),
            format!(
                "/service-apis/v1/allServiceAPIs?api-invoker-id={}&x={}",
                amy.id(),
                canary("query")
            ),
            format!("/capif-security/v1/securities/{}/token", amy.id()),
        ] {
            for authorization in [
                format!("Bearer {}", canary("header")),
                format!("Basic {basic}"),
                canary("header"),
            ] {
                let request = Request::post(format!("https://{address}{path}"))
                    .header("authorization", authorization)
                    .header("cookie", canary("cookie"))
                    .header("content-type", "application/json");
                // On a connection of its own, since an onboarding ends the one that it came on.
                let client = site.client(identity.clone());
                let (status, _) = send(
                    &client,
                    request,
                    &json!({"onboardingSecret": canary("body")}).to_string(),
                )
                .await;
                assert!((400..500).contains(&status), "{address}{path}: {status}");
            }
        }
    }
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
        amy.id(),
        canary("secret"),
        canary("body")
    );
    let request = Request::post(format!(
        "https://{ccf}/capif-security/v1/securities/{}/token",
        amy.id()
    ))
    .header("content-type", "application/x-www-form-urlencoded");
    let (status, answer) = send(&by_certificate, request, &form).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (401, Some("invalid_client"))
    );
    // An onboarding that fails after its credential was good.
    let request = Request::post(format!(
        "https://{ccf}/api-invoker-management/v1/onboardedInvokers"
    ))
    .header(
        "authorization",
        format!("Bearer {}", reveal(&unused.credential)),
    )
    .header("content-type", "application/json");
    let body = json!({
        "notificationDestination": canary("body"),
        "onboardingInformation": {"apiInvokerPublicKey": pems.key, "onboardingSecret": canary("secret")},
    });
    assert_eq!(send(&anonymous, request, &body.to_string()).await.0, 400);
    let (status, _) = site
        .machine
        .operator(
            Method::POST,
            "/invites",
            Some(json!({"apis": canary("body")})),
        )
        .await;
    assert_eq!(status, 400);

    for service in [&site.ccf, &site.gateway] {
        for what in ["cmdline", "environ"] {
            if let Ok(shown) = std::fs::read(format!("/proc/{}/{what}", service.id())) {
                canaries.assert_absent(what, &shown);
            }
        }
    }
    amy.offboard().await.unwrap();
    assert_eq!(site.gateway.terminate().await.0, Some(0));
    assert_eq!(site.ccf.terminate().await.0, Some(0));
    canaries.assert_absent(
        "the gateway's log",
        &std::fs::read(site.gateway.log()).unwrap(),
    );
    canaries.assert_absent(
        "the core function's log",
        &std::fs::read(site.ccf.log()).unwrap(),
    );
    let files = files_below(&site.machine.ccf_folder());
    assert!(files.len() > 5, "{files:?}");
    for path in files {
        canaries.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

/// Each request leaves one line, with the id that its problem carries.
#[tokio::test]
async fn one_line_per_request() {
    let site = Site::start("json").await;
    let (ccf, gateway) = (site.ccf_address().await, site.gateway_address());
    let client = site.client(None);
    let mut ids = Vec::new();
    for address in [&ccf, &gateway] {
        for path in [
            "/",
            "/weather/v1/today",
            "/nowhere",
            "/service-apis/v1/allServiceAPIs?api-invoker-id=x",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let request = Request::builder()
                    .method(method)
                    .uri(format!("https://{address}{path}"));
                let (status, problem) = send(&client, request, "").await;
                ids.push((problem["requestId"].as_str().unwrap().to_owned(), status));
            }
        }
    }
    let log = site.stderr();
    let mut lines = 0;
    for line in log.lines().filter(|line| line.contains("capif::request")) {
        let line: Value = serde_json::from_str(line).unwrap();
        lines += 1;
        for member in [
            "timestamp",
            "level",
            "request_id",
            "interface",
            "caller",
            "operation",
            "method",
            "status",
        ] {
            assert!(!line[member].is_null(), "{member}: {line}");
        }
    }
    assert!(lines >= ids.len());
    for (id, status) in &ids {
        let found: Vec<Value> = log
            .lines()
            .filter(|line| line.contains(id.as_str()) && line.contains("capif::request"))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(found.len(), 1, "{id}");
        assert_eq!(found[0]["status"], *status);
        assert!(
            found[0]["duration_us"].is_i64() || found[0]["duration_us"].is_u64(),
            "{}",
            found[0]
        );
    }
}

/// What comes from outside can neither begin a line nor drive a terminal, in either format.
#[tokio::test]
async fn nobody_outside_breaks_a_line() {
    for format in ["text", "json"] {
        let site = Site::start(format).await;
        let (ccf, gateway) = (site.ccf_address().await, site.gateway_address());
        let names = [
            "%1b[31mred",
            "a%0d%0a2026-01-01T00:00:00Z%20forged",
            "%0aforged",
            "%00",
            "%c2%9b31m",
            "%e2%80%ae",
            "${jndi:ldap://x}",
            "{{7*7}}",
            "%22%7d%0a%7b%22forged%22:1",
            "\u{1b}[31m",
            "a\tb",
            "\u{9b}31m",
            "\u{202e}x",
        ];
        for address in [&ccf, &gateway] {
            for name in names {
                for path in [
                    format!("/{name}"),
                    format!("/weather/v1/{name}"),
                    format!("/api-invoker-management/v1/onboardedInvokers/{name}"),
                    format!("/service-apis/v1/allServiceAPIs?api-invoker-id={name}"),
                ] {
                    let mut raw =
                        Raw::connect(address.parse().unwrap(), &site.root_pem, None).await;
                    raw.send(format!(
                        "GET {path} HTTP/1.1\r\nhost: x\r\nuser-agent: {name}\r\nauthorization: Bearer {name}\r\nconnection: close\r\n\r\n"
                    ))
                    .await;
                    let answer = raw.answer().await;
                    assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
                }
            }
        }
        for line in site.ccf.stderr().lines() {
            assert!(
                !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
            if format == "json" {
                let value: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(
                    value["level"].is_string() && value.get("forged").is_none(),
                    "{line}"
                );
            } else {
                let begins =
                    line.as_bytes().get(4) == Some(&b'-') && line.as_bytes().get(10) == Some(&b'T');
                assert!(
                    begins
                        || ["CAPIF core", "health at", "compat: opencapif"]
                            .iter()
                            .any(|note| line.starts_with(note)),
                    "{line:?}"
                );
                assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
            }
        }
        for line in site.gateway.stderr().lines() {
            assert!(
                !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
            if format == "json" && line.starts_with('{') {
                serde_json::from_str::<Value>(line).unwrap();
            }
        }
    }
}
