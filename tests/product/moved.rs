//! A core function that has moved: everybody who knew it at the old address goes on at the new one.

use std::collections::BTreeMap;

use capif_aef::Gateway;
use capif_ccf::{
    ccf::{Ccf, StartError},
    config::MovedSection,
};
use capif_client::{
    Departure, Enrolment, EnrolmentCode, Error, Invoker, OnboardingRequest, Provider,
    ProviderRequest, RenewalOptions, Wish,
};
use capif_spec::publish_service::SecurityMethod;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World,
    backend::Backend,
    eventually, keys,
    people::{INVOKERS, enrolment},
    plain,
    process::Machine,
    raw::Raw,
    site::{ALL, API, PATH},
    wire::{Answer, Caller, request},
};

/// A core function with a gateway, and an invoker for each method that has called.
struct Setting {
    world: World,
    gateway: Gateway,
    invokers: Vec<(SecurityMethod, Invoker)>,
    backend: Backend,
}

impl Setting {
    async fn start() -> Self {
        let world = World::start().await;
        let backend = Backend::start();
        let gateway = world.gateway("acme", API, &backend.url(), &ALL).await;
        let mut setting = Self {
            world,
            gateway,
            invokers: Vec::new(),
            backend,
        };
        for method in ALL {
            let invoker = setting.world.invoker(method.as_str(), &[]).await;
            setting.negotiate(&invoker, &method).await;
            setting.invokers.push((method, invoker));
        }
        setting.calls().await;
        setting
    }

    async fn negotiate(&self, invoker: &Invoker, method: &SecurityMethod) {
        let wish = Wish {
            preferred: vec![method.clone()],
            ..Wish::at(self.gateway.aef_id().clone())
        };
        let context = invoker.negotiate(&[wish]).await.unwrap();
        let selected = context.security_info[0].sel_security_method.as_ref();
        assert_eq!(selected, Some(method));
    }

    async fn calls(&self) {
        for (method, invoker) in &self.invokers {
            assert_eq!(call(invoker).await, StatusCode::OK, "{method}");
        }
    }

    /// The address that somebody's folder holds.
    fn kept(&self, name: &str, file: &str, state: &str) -> String {
        let path = self.world.folder(name).join(file);
        let held: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        held[state]["address"].as_str().unwrap().to_owned()
    }

    fn kept_by_invoker(&self, method: &SecurityMethod) -> String {
        self.kept(method.as_str(), "capif-invoker.json", "onboarded")
    }

    fn kept_by_gateway(&self) -> String {
        self.kept("acme", "capif-provider.json", "registered")
    }
}

/// An invoker of the same folder, as a later process opens it.
async fn reopened(world: &World, method: &SecurityMethod) -> Invoker {
    let keystore = world.keystore(method.as_str());
    Invoker::open(keystore, world.clock()).await.unwrap()
}

async fn call(invoker: &Invoker) -> StatusCode {
    let request = Request::get(PATH).body(capif_transport::empty()).unwrap();
    invoker.call(API, request).await.unwrap().status()
}

/// Calls, new agreements, renewal, events, newcomers and departures: nobody does anything about the move.
#[tokio::test]
async fn everything_goes_on_at_the_new_address() {
    for permanent in [false, true] {
        let mut setting = Setting::start().await;
        let old = setting.world.address().to_owned();
        let new = setting.world.move_away(permanent).await;
        setting.calls().await;
        for (method, invoker) in &setting.invokers {
            setting.negotiate(invoker, method).await;
            invoker.discover(&Default::default()).await.unwrap();
            let renewed = invoker.renew(RenewalOptions::default()).await.unwrap();
            assert!(renewed.confirmed);
        }
        setting.calls().await;
        let here = if permanent { new.address() } else { &old };
        for (method, invoker) in &setting.invokers {
            assert_eq!(invoker.ccf_address(), here);
            assert_eq!(setting.kept_by_invoker(method), here);
        }
        eventually("the gateway keeps the address", || async {
            setting.kept_by_gateway() == here
        })
        .await;

        // Somebody of whom the gateway hears at the new address alone.
        let newcomer = new.invoker("newcomer", &[]).await;
        assert_eq!(call(&newcomer).await, StatusCode::OK);
        assert_eq!(new.list("invokers").await.len(), 4);

        for (method, invoker) in setting.invokers {
            let id = invoker.id().to_string();
            assert_eq!(invoker.offboard().await.unwrap(), Departure::Confirmed);
            let left = new.list("invokers").await;
            assert!(
                left.iter().all(|row| row["apiInvokerId"] != id.as_str()),
                "{method}"
            );
        }
        assert_eq!(new.list("invokers").await.len(), 1);
        assert!(setting.backend.seen().len() >= 3 * ALL.len());
    }
}

/// What was said for good needs no signpost any more: neither for who goes on nor for who comes back.
#[tokio::test]
async fn for_good_is_remembered_when_the_signpost_is_gone() {
    let mut setting = Setting::start().await;
    let bundle = setting.world.bundle("another").await;
    let new = setting.world.move_away(true).await;
    for (_, invoker) in &setting.invokers {
        invoker.discover(&Default::default()).await.unwrap();
    }
    eventually("the gateway keeps the address", || async {
        setting.kept_by_gateway() == new.address()
    })
    .await;
    // The bundle of before still opens what was made with it at the new address.
    let keystore = setting.world.keystore("another");
    let clock = setting.world.clock();
    let register = || {
        let request = ProviderRequest::default();
        Provider::register(keystore.clone(), &bundle, request, clock.clone())
    };
    let provider = register().await.unwrap();
    assert_eq!(provider.ccf_address(), new.address());
    setting.world.stop().await;

    assert_eq!(
        *register().await.unwrap().domain_id(),
        *provider.domain_id()
    );
    provider.apis().await.unwrap();
    for (method, invoker) in &setting.invokers {
        setting.negotiate(invoker, method).await;
        let reopened = reopened(&setting.world, method).await;
        reopened.discover(&Default::default()).await.unwrap();
        assert_eq!(call(&reopened).await, StatusCode::OK);
    }
    // The gateway comes back too.
    let first = setting
        .world
        .gateway_config("acme", None, API, &setting.backend.url(), &ALL);
    let (aef, socket) = (
        setting.gateway.aef_id().clone(),
        setting.gateway.local_addr(),
    );
    setting
        .gateway
        .drain(std::time::Duration::from_secs(5))
        .await;
    let mut config = first;
    config.listen = socket;
    let gateway = Gateway::start(config).await.unwrap();
    assert_eq!(*gateway.aef_id(), aef);
    for (method, _) in &setting.invokers {
        assert_eq!(
            call(&reopened(&setting.world, method).await).await,
            StatusCode::OK
        );
    }
}

/// What was said for the time being is asked anew each time.
#[tokio::test]
async fn for_the_time_being_is_not_remembered() {
    let mut setting = Setting::start().await;
    let new = setting.world.move_away(false).await;
    let (method, invoker) = &setting.invokers[1];
    invoker.discover(&Default::default()).await.unwrap();
    setting.world.stop().await;
    let reopened = reopened(&setting.world, method).await;
    let error = reopened.discover(&Default::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    setting.world.resume().await;
    reopened.discover(&Default::default()).await.unwrap();
    assert_eq!(reopened.ccf_address(), setting.world.address());
    assert_ne!(reopened.ccf_address(), new.address());
}

/// A code that still names the old address serves once, at the new one.
#[tokio::test]
async fn a_code_of_the_old_address_onboards_at_the_new_one() {
    for permanent in [false, true] {
        let mut world = World::start().await;
        let old = world.address().to_owned();
        let new = world.move_away(permanent).await;
        let enrolment = new.invite(&[]).await;
        let root = pem::parse(&enrolment.anchors_pem).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, root.contents());
        let code = EnrolmentCode {
            address: old.clone(),
            ca_sha256: digest.as_ref().try_into().unwrap(),
            credential: enrolment.credential,
        };
        let onboard = |name: &'static str| {
            let (keystore, clock, code) = (world.keystore(name), world.clock(), code.clone());
            async move {
                let enrolment = Enrolment::from_code(&code, clock.clone()).await.unwrap();
                let request = OnboardingRequest::default();
                Invoker::onboard(keystore, &enrolment, request, clock).await
            }
        };
        let invoker = onboard("first").await.unwrap();
        let here = if permanent { new.address() } else { &old };
        assert_eq!(invoker.ccf_address(), here);
        let rows = new.list("invokers").await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["apiInvokerId"], invoker.id().as_str());
        // Once, and with the same code the folder is merely opened.
        assert_eq!(onboard("first").await.unwrap().id(), invoker.id());
        let error = onboard("second").await.unwrap_err();
        let Error::Refused { status, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

/// A signpost that leads to somebody else: a gateway's certificate is of the same authority, and still no core function's.
#[tokio::test]
async fn nobody_is_followed_who_is_no_core_function() {
    let mut setting = Setting::start().await;
    setting.world.stop().await;
    setting.world.config.moved.to = format!("https://{}", setting.gateway.address());
    setting.world.config.moved.permanent = true;
    setting.world.resume().await;
    let (method, invoker) = &setting.invokers[1];
    let before = setting.backend.seen().len();
    let error = invoker.discover(&Default::default()).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    assert!(
        error.to_string().contains(setting.gateway.address()),
        "{error}"
    );
    assert_eq!(setting.kept_by_invoker(method), setting.world.address());
    assert_eq!(setting.backend.seen().len(), before);
}

/// The names of all files of a folder but for the people's, with what they hold.
fn content(folder: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && name != "people" {
            let inner = content(&entry.path()).into_iter();
            all.extend(inner.map(|(file, octets)| (format!("{name}/{file}"), octets)));
        } else if kind.is_file() {
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// It answers what there is to answer, and does nothing else: no task runs, no operator is served, nothing is written.
#[tokio::test]
async fn what_stays_behind_does_nothing() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let new = world.move_away(true).await;
    let before = content(world.dir.path());

    let to = format!("https://{}", new.address());
    let path = format!("{INVOKERS}/{}?a=%20\"b\"", invoker.id);
    let answer = invoker.delete(&path.replace('"', "%22")).await;
    assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
    let expected = format!("{to}{}", path.replace('"', "%22"));
    assert_eq!(answer.headers["location"], expected);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.cause(), "");
    let detail = answer.json()["detail"].clone();
    assert!(detail.as_str().unwrap().contains(&to), "{detail}");
    assert!(
        new.list("invokers").await.len() == 1,
        "nobody was asked there"
    );

    // Anybody is sent on, and what is nothing here leads nowhere.
    let anybody = world.anonymous();
    let ask = |method: Method, path: &str| {
        let (anybody, request) = (anybody.clone(), request(method, path, None, None));
        async move { anybody.send(request).await }
    };
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
    ] {
        let answer = ask(Method::GET, path).await;
        assert_eq!(answer.headers["location"], format!("{to}{path}"));
    }
    for (method, path, status) in [
        (Method::GET, "/", 400),
        (Method::GET, "/elsewhere", 404),
        (Method::PUT, INVOKERS, 405),
        (Method::GET, "/capif-events/v1/../x", 400),
        (Method::GET, "/capif-events/v1/%2e%2e/x", 400),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.headers.contains_key("location"), "{path}");
    }
    let mut raw = Raw::connect(world.address().parse().unwrap(), &world.root_pem(), None).await;
    raw.send("GET //evil.example/x HTTP/1.1\r\nhost: evil.example\r\n\r\n")
        .await;
    let answer = raw.answer().await;
    assert!(!answer.contains("location: "), "{answer}");
    // Whatever host it was asked by.
    raw.send("GET /.well-known/jwks.json HTTP/1.1\r\nhost: evil.example\r\n\r\n")
        .await;
    let answer = raw.answer().await;
    assert!(
        answer.contains(&format!("location: {to}/.well-known/jwks.json\r\n")),
        "{answer}"
    );
    let long = json!({ "long": "x".repeat(2 << 20) });
    let answer = anybody.json(Method::POST, INVOKERS, Some(&long)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    // A credential that comes along opens nothing here, and is good there.
    let credential = new.credential(&[]).await;
    let body = enrolment(&keys::request(&keys::p256()));
    let answer = world.onboard(&credential, &body).await;
    assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(
        new.onboard(&credential, &body).await.status,
        StatusCode::CREATED
    );

    let (status, said) = world.operator(Method::GET, "/invokers", None).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert!(said["detail"].as_str().unwrap().contains(&to), "{said}");
    let probes = world.config.management.listen.to_string();
    for (path, status, text) in [
        ("/livez", 200, format!("moved to {to}\n")),
        ("/readyz", 200, format!("moved to {to}\n")),
        ("/readyz?verbose", 200, format!("moved to {to}\n")),
        ("/elsewhere", 404, String::new()),
    ] {
        let answer = plain::ask(&probes, &format!("GET {path} HTTP/1.1\r\nHost: x"), "").await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.starts_with(&text), "{path}");
    }
    // Years later nothing was expired, renewed or rolled.
    world.clock.advance(time::Duration::days(400));
    world.stop().await;
    world.resume().await;
    assert_eq!(ask(Method::GET, "/.well-known/jwks.json").await.status, 308);
    world.stop().await;
    assert!(
        before.iter().eq(content(world.dir.path()).iter()),
        "something was written"
    );

    let clock = world.clock();
    let started = Ccf::start(world.dir.path(), world.config.clone(), clock).await;
    assert!(matches!(started, Err(StartError::Moved(_))));
    // Where the store was taken away, the certificates in the folder are enough.
    std::fs::remove_dir_all(world.dir.path().join("store")).unwrap();
    world.resume().await;
    assert_eq!(ask(Method::GET, "/.well-known/jwks.json").await.status, 308);
    assert!(!world.dir.path().join("store").exists());
}

/// The account service, and what tells of revoked certificates, are sent on to their own new addresses, if there are any.
#[tokio::test]
async fn the_other_doors_lead_to_their_own() {
    let mut world = World::with(|config| {
        config.account_service.enabled = true;
        config.account_service.listen = "127.0.0.1:0".parse().unwrap();
        config.operator.listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let (accounts, _) = world.ccf().account_addrs().unwrap();
    world.config.account_service.listen = accounts;
    let operators = world.ccf().operator_addr().unwrap();
    let revocation = world.config.revocation.listen.to_string();
    let elsewhere = |config: &mut capif_ccf::config::Config| {
        config.account_service.enabled = false;
        config.operator.listen = None;
    };
    let new = world
        .move_as(elsewhere, |to| MovedSection {
            to,
            permanent: true,
            accounts: "https://accounts.example".to_owned(),
            revocation: "http://crl.example:8481".to_owned(),
        })
        .await;
    let at = |address: std::net::SocketAddr| Caller::new(&world, &address.to_string(), None);
    let body = json!({ "username": "amy", "password": "secret" });
    let answer = at(accounts)
        .json(Method::POST, "/getauth?x=y", Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(
        answer.headers["location"],
        "https://accounts.example:443/getauth?x=y"
    );
    let answer = plain::ask(&revocation, "GET /crl/1.crl HTTP/1.1\r\nHost: x", "").await;
    assert_eq!(answer.status, 308);
    assert!(
        answer
            .head
            .contains("location: http://crl.example:8481/crl/1.crl")
    );
    let answer = at(operators).json(Method::GET, "/invokers", None).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains(new.address())
    );
}

/// The copy serves with a certificate for its own names, and what is said by whole addresses names the new one.
#[tokio::test]
async fn the_new_place_has_its_own_name() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    let subscription = json!({
        "events": ["SERVICE_API_UPDATE"],
        "notificationDestination": "https://127.0.0.1:1/events",
        "requestTestNotification": false,
        "websockNotifConfig": { "requestWebsocketUri": true },
        "supportedFeatures": "3",
    });
    let events = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let made = domain.aef.post(&events, &subscription).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    let of = |answer: &Answer| answer.headers["location"].to_str().unwrap().to_owned();
    let (location, held) = (of(&made), made.json());
    assert!(location.starts_with(&format!("https://{}/", world.address())));

    let mut address = String::new();
    let new = world
        .move_as(
            |config| {
                config.ccf.address = format!("localhost:{}", config.ccf.listen.port());
                config.ccf.names = vec!["ccf.new.example".to_owned()];
                address.clone_from(&config.ccf.address);
            },
            |to| MovedSection {
                to,
                ..MovedSection::default()
            },
        )
        .await;
    assert_eq!(new.address(), address);
    let aef = new.with_certificate(&domain.aef.pems);
    let made = aef.json(Method::POST, &events, Some(&subscription)).await;
    assert!(of(&made).starts_with(&format!("https://{address}/")));
    // A resource is found by its path, whatever host its address named when it was made.
    let path = location.split_once(world.address()).unwrap().1;
    let sent_on = domain.aef.put(path, &held).await;
    assert_eq!(of(&sent_on), format!("https://{address}{path}"));
    let put = aef.json(Method::PUT, path, Some(&held)).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.json());
    assert_eq!(put.json()["websockNotifConfig"], held["websockNotifConfig"]);
    assert!(names(&new).await.contains("ccf.new.example"));
    assert!(!names(&world).await.contains("ccf.new.example"));
}

/// The host names in the certificate that a core function shows.
async fn names(world: &World) -> String {
    let address = world.config.ccf.listen;
    let stream = crate::support::raw::tls(address, &world.root_pem(), None, b"http/1.1").await;
    let stream = stream.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    format!("{:?}", names.value.general_names)
}

/// At the command line: the start says it, and so does every command to the operator's socket.
#[tokio::test]
async fn the_command_line_says_where_it_is() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let mut ccf = machine.core_function().await;
    ccf.terminate().await;
    machine.set("CAPIF_MOVED__TO", "https://new.example:8443");
    machine.set("CAPIF_MOVED__PERMANENT", "true");
    let mut moved = machine.serve(&["serve"], "moved: whoever asks at").await;
    let said = moved.stderr();
    assert!(
        said.contains("https://new.example:8443 for good (308)"),
        "{said}"
    );
    machine
        .capif(&["list", "invokers"])
        .await
        .failed(2, "has moved to https://new.example:8443");
    let (code, _) = moved.terminate().await;
    assert_eq!(code, Some(0));
    machine.set("CAPIF_MOVED__TO", "new.example:8443");
    machine
        .capif(&["config", "check"])
        .await
        .failed(1, "moved.to");
}
