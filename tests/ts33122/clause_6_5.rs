//! CAPIF-2e (TS 33.122 clause 6.5): who may call an API through the gateway, and by what.

mod check_authentication;
mod comparison;
mod forgeries;
mod hostile;
mod limits;
mod method_1;
mod method_3;
mod methods;
mod processes;
mod psk_peers;
mod wrong_method;

use capif_aef::Gateway;
use capif_client::{Invoker, Wish};
use capif_spec::{publish_service::SecurityMethod, security::Scope};
use capif_transport::{Identity, empty};
use http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::support::{
    World,
    backend::Backend,
    raw::{Pems, Raw},
    reveal,
    wire::{Answer, Caller, request},
};

/// Where every test calls.
const PATH: &str = "/weather/v1/today";

/// A gateway that accepts both methods, and an API behind it.
struct Site {
    world: World,
    backend: Backend,
    gateway: Gateway,
}

impl Site {
    async fn start() -> Self {
        let world = World::start().await;
        let backend = Backend::start();
        let methods = [SecurityMethod::Pki, SecurityMethod::Oauth];
        let gateway = world
            .gateway("acme", "weather", &backend.url(), &methods)
            .await;
        Self {
            world,
            backend,
            gateway,
        }
    }

    /// An onboarded invoker for whom this method was selected.
    async fn invoker(&self, name: &str, method: SecurityMethod) -> Invoker {
        let invoker = self.world.invoker(name, &[]).await;
        self.select(&invoker, method).await;
        invoker
    }

    /// Negotiates until this method is the selected one.
    async fn select(&self, invoker: &Invoker, method: SecurityMethod) {
        let wish = Wish {
            aef_id: self.gateway.aef_id().clone(),
            api_id: None,
            preferred: vec![method.clone()],
            profile: None,
        };
        let context = invoker.negotiate(&[wish]).await.unwrap();
        assert_eq!(context.security_info[0].sel_security_method, Some(method));
    }

    fn scope(&self) -> Scope {
        Scope {
            grants: vec![(self.gateway.aef_id().clone(), vec!["weather".to_owned()])],
        }
    }

    async fn token(&self, invoker: &Invoker) -> String {
        reveal(&invoker.token(&self.scope()).await.unwrap().access_token).to_owned()
    }

    /// A caller on connections of its own.
    fn caller(&self, identity: Option<Identity>) -> Caller {
        Caller::new(&self.world, self.gateway.address(), identity)
    }

    fn pems(&self, name: &str) -> Pems {
        Pems::of_invoker(&self.world.folder(name))
    }

    async fn raw(&self, who: Option<&Pems>) -> Raw {
        Raw::connect(self.gateway.local_addr(), &self.world.root_pem(), who).await
    }

    async fn by_token(&self, token: &str) -> Answer {
        self.caller(None)
            .bearer(Method::GET, PATH, token, None)
            .await
    }

    async fn by_certificate(&self, name: &str) -> Answer {
        let identity = self.pems(name).identity();
        self.caller(Some(identity))
            .json(Method::GET, PATH, None)
            .await
    }
}

/// A refusal with this status and challenge, of which the API saw nothing.
#[track_caller]
fn assert_refused(answer: &Answer, status: StatusCode, challenge: Option<&str>) {
    assert_eq!(answer.status, status, "{:?}", answer.json());
    answer.cause();
    let sent = answer
        .headers
        .get("www-authenticate")
        .map(|value| value.to_str().unwrap());
    assert_eq!(sent, challenge, "{:?}", answer.json());
    assert_eq!(answer.headers["cache-control"], "no-store");
}

const INVALID_TOKEN: Option<&str> = Some("Bearer error=\"invalid_token\"");
const INSUFFICIENT: Option<&str> = Some("Bearer error=\"insufficient_scope\"");

/// R-6.5.2.2-01 and R-6.5.2.3-04: a call goes through by certificate, and by token, whichever was selected.
#[tokio::test]
async fn a_call_goes_through_by_certificate_and_by_token() {
    for method in [SecurityMethod::Pki, SecurityMethod::Oauth] {
        let world = World::start().await;
        let backend = Backend::start();
        let gateway = world
            .gateway(
                "acme",
                "weather",
                &backend.url(),
                std::slice::from_ref(&method),
            )
            .await;
        let invoker = world.invoker("amy", &["weather"]).await;
        let request = Request::get("/weather/v1/today?x=1").body(empty()).unwrap();
        let response = invoker.call("weather", request).await.unwrap();
        assert_eq!(response.status(), 200, "{method}");
        let seen = backend.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].path, "/weather/v1/today");
        assert_eq!(seen[0].query.as_deref(), Some("x=1"));
        assert_eq!(
            seen[0].headers["capif-api-invoker-id"],
            invoker.id().as_str()
        );
        assert!(seen[0].headers.get("authorization").is_none());
        gateway.drain(crate::support::SOON).await;
        assert_eq!(world.list("logs").await.len(), 1);
    }
}

/// R-5-04 and RFC 6750 section 3: without any credential the answer is 401 with a challenge.
#[tokio::test]
async fn no_credential_is_answered_with_a_challenge() {
    let site = Site::start().await;
    for method in [
        Method::GET,
        Method::POST,
        Method::HEAD,
        Method::OPTIONS,
        Method::DELETE,
    ] {
        let answer = site
            .caller(None)
            .try_send(request(method.clone(), PATH, None, None))
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    assert!(site.backend.seen().is_empty());
}

/// R-6.5.2.3-04: exactly one access token, in the Authorization header and nowhere else (RFC 6750 section 2).
#[tokio::test]
async fn one_token_in_the_header_alone() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let token = site.token(&amy).await;
    let caller = site.caller(None);
    let bearer = format!("Bearer {token}");

    let twice = Request::get(PATH)
        .header("authorization", &bearer)
        .header("authorization", &bearer);
    let answer = caller.send(twice.body(Vec::new()).unwrap()).await;
    assert_refused(
        &answer,
        StatusCode::BAD_REQUEST,
        Some("Bearer error=\"invalid_request\""),
    );

    for name in [
        "access_token",
        "ACCESS_TOKEN",
        "%61ccess_token",
        "access%5Ftoken",
    ] {
        for query in [
            format!("{name}={token}"),
            format!("x=1&{name}={token}&y"),
            name.to_owned(),
        ] {
            for header in [None, Some(token.as_str())] {
                let path = format!("{PATH}?{query}");
                let answer = caller.send(request(Method::GET, &path, header, None)).await;
                assert_refused(
                    &answer,
                    StatusCode::BAD_REQUEST,
                    Some("Bearer error=\"invalid_request\""),
                );
            }
        }
    }
    let answer = caller.form(PATH, &[("access_token", &token)]).await;
    assert_refused(&answer, StatusCode::UNAUTHORIZED, Some("Bearer"));

    for value in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        token.clone(),
        format!("Basic {token}"),
        format!("DPoP {token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer {token}."),
        format!("Bearer {}", "x".repeat(9000)),
    ] {
        let one = Request::get(PATH)
            .header("authorization", value)
            .body(Vec::new())
            .unwrap();
        assert_refused(
            &caller.send(one).await,
            StatusCode::UNAUTHORIZED,
            INVALID_TOKEN,
        );
    }
    assert!(site.backend.seen().is_empty());
    // The scheme's name is the same in any case (RFC 9110 section 11.1).
    let one = Request::get(PATH).header("authorization", format!("bEARER {token}"));
    assert_eq!(caller.send(one.body(Vec::new()).unwrap()).await.status, 200);
}

/// R-6.5.2.2-01: only an invoker's certificate of this CAPIF authority opens CAPIF-2e, no other role's.
#[tokio::test]
async fn only_certificates_of_invokers_count() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Pki).await;
    assert_eq!(site.by_certificate("amy").await.status, 200);
    let before = site.backend.seen().len();
    for role in ["amf", "apf", "aef"] {
        let identity = Pems::of_function(&site.world.folder("acme"), role).identity();
        let answer = site
            .caller(Some(identity))
            .json(Method::GET, PATH, None)
            .await;
        assert_refused(&answer, StatusCode::UNAUTHORIZED, INVALID_TOKEN);
    }
    // An invoker without a context at this AEF (R-6.5.1-02).
    let _bob = site.world.invoker("bob", &[]).await;
    assert_refused(
        &site.by_certificate("bob").await,
        StatusCode::UNAUTHORIZED,
        INVALID_TOKEN,
    );

    // The same name from another authority does not even get through the handshake.
    let other = World::start().await;
    let _other_amy = other.invoker("amy", &[]).await;
    let foreign = Pems::of_invoker(&other.folder("amy")).identity();
    assert!(
        site.caller(Some(foreign))
            .try_send(request(Method::GET, PATH, None, None))
            .await
            .is_none()
    );
    let own = self_signed(amy.id().as_str());
    assert!(
        site.caller(Some(own))
            .try_send(request(Method::GET, PATH, None, None))
            .await
            .is_none()
    );
    assert_eq!(site.backend.seen().len(), before);
}

fn self_signed(name: &str) -> Identity {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationalUnitName, "API_INVOKER");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).unwrap();
    Identity::from_pem(certificate.pem(), key.serialize_pem()).unwrap()
}

/// R-6.5.2.2-01: a certificate ends with its time, on new connections and on those that are open.
#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let site = Site::start().await;
    let _amy = site.invoker("amy", SecurityMethod::Pki).await;
    let caller = site.caller(Some(site.pems("amy").identity()));
    assert_eq!(caller.json(Method::GET, PATH, None).await.status, 200);
    site.world.clock.advance(time::Duration::days(91));
    let open = caller.json(Method::GET, PATH, None).await;
    assert_refused(&open, StatusCode::UNAUTHORIZED, INVALID_TOKEN);
    let new = site.caller(Some(site.pems("amy").identity()));
    assert!(
        new.try_send(request(Method::GET, PATH, None, None))
            .await
            .is_none()
    );
    assert_eq!(site.backend.seen().len(), 1);
}

/// D-29: beside a certificate only a token of the same invoker counts.
#[tokio::test]
async fn certificate_and_token_must_agree() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let bob = site.invoker("bob", SecurityMethod::Oauth).await;
    let (amys, bobs) = (site.token(&amy).await, site.token(&bob).await);
    let caller = site.caller(Some(site.pems("amy").identity()));
    let answer = caller.bearer(Method::GET, PATH, &bobs, None).await;
    assert_refused(&answer, StatusCode::UNAUTHORIZED, INVALID_TOKEN);
    assert!(site.backend.seen().is_empty());
    assert_eq!(
        caller.bearer(Method::GET, PATH, &amys, None).await.status,
        200
    );
}

/// R-6.5.1-01: the secured session is dedicated: one connection never serves two invokers.
#[tokio::test]
async fn a_connection_belongs_to_one_invoker() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let bob = site.invoker("bob", SecurityMethod::Oauth).await;
    let (amys, bobs) = (site.token(&amy).await, site.token(&bob).await);

    let shared = site.caller(None);
    assert_eq!(
        shared.bearer(Method::GET, PATH, &amys, None).await.status,
        200
    );
    let answer = shared.bearer(Method::GET, PATH, &bobs, None).await;
    assert_refused(&answer, StatusCode::MISDIRECTED_REQUEST, None);
    assert_eq!(
        shared.bearer(Method::GET, PATH, &amys, None).await.status,
        200
    );

    let mut raw = site.raw(None).await;
    for (token, status) in [(&bobs, "200"), (&amys, "421"), (&bobs, "200")] {
        raw.send(format!(
            "GET {PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
        let answer = raw.answer().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    assert_eq!(site.backend.seen().len(), 4);
}

/// R-6.5.2.3-05: what is asked for is judged after who asks: an unknown API is 404 for known invokers only.
#[tokio::test]
async fn an_unknown_api_is_told_to_known_invokers_alone() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let token = site.token(&amy).await;
    for path in [
        "/",
        "/weather",
        "/weather/",
        "/weather/v2/today",
        "/Weather/v1/today",
        "/other/v1",
        "/weather/v1%20/x",
    ] {
        let answer = site.caller(None).json(Method::GET, path, None).await;
        assert_refused(&answer, StatusCode::UNAUTHORIZED, Some("Bearer"));
        let answer = site
            .caller(None)
            .bearer(Method::GET, path, &token, None)
            .await;
        assert_refused(&answer, StatusCode::NOT_FOUND, None);
        assert_eq!(answer.cause(), "RESOURCE_URI_STRUCTURE_NOT_FOUND");
    }
    assert!(site.backend.seen().is_empty());
}

/// R-6.5.2.3-05: what the context does not grant is refused with 403, whichever the method.
#[tokio::test]
async fn an_api_that_is_not_granted_is_refused() {
    let site = Site::start().await;
    let provider = capif_client::Provider::open(site.world.keystore("acme"), site.world.clock())
        .await
        .unwrap();
    let mut second = provider.apis().await.unwrap().remove(0);
    second.api_name = "tides".to_owned();
    second.api_id = None;
    provider.publish(&second).await.unwrap();
    for (name, method) in [("amy", SecurityMethod::Oauth), ("bob", SecurityMethod::Pki)] {
        let invoker = site.world.invoker(name, &["tides"]).await;
        site.select(&invoker, method.clone()).await;
        let answer = if method == SecurityMethod::Oauth {
            let tides = vec![(site.gateway.aef_id().clone(), vec!["tides".to_owned()])];
            let token = invoker.token(&Scope { grants: tides }).await.unwrap();
            site.by_token(reveal(&token.access_token)).await
        } else {
            site.by_certificate(name).await
        };
        assert_refused(&answer, StatusCode::FORBIDDEN, INSUFFICIENT);
    }
    assert!(site.backend.seen().is_empty());
}

/// P-06 and D-37: without the core function, what is known counts for 60 seconds, and nothing is guessed.
#[tokio::test]
async fn without_the_core_function_nothing_is_believed_for_long() {
    let mut site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let bob = site.invoker("bob", SecurityMethod::Pki).await;
    let token = site.token(&amy).await;
    assert_eq!(site.by_token(&token).await.status, 200);
    site.world.stop().await;

    for seconds in [0, 31, 28] {
        site.world.clock.advance(time::Duration::seconds(seconds));
        assert_eq!(site.by_token(&token).await.status, 200, "{seconds}");
    }
    // Never heard of, and never guessed about.
    let answer = site.by_certificate("bob").await;
    assert_refused(&answer, StatusCode::SERVICE_UNAVAILABLE, None);
    assert_eq!(answer.headers["retry-after"], "1");

    site.world.clock.advance(time::Duration::seconds(1));
    assert_refused(
        &site.by_token(&token).await,
        StatusCode::SERVICE_UNAVAILABLE,
        None,
    );
    assert_eq!(site.backend.seen().len(), 4);

    site.world.resume().await;
    assert_eq!(site.by_token(&token).await.status, 200);
    assert_eq!(site.by_certificate("bob").await.status, 200);
    assert_eq!(
        site.world.list("invokers").await.len(),
        2,
        "{} {}",
        amy.id(),
        bob.id()
    );
}

/// The problem's members besides those of TS 29.122.
fn supported_methods(answer: &Answer) -> Vec<String> {
    let methods: Vec<Value> = answer.json()["supportedMethods"]
        .as_array()
        .unwrap()
        .clone();
    methods
        .iter()
        .map(|method| method.as_str().unwrap().to_owned())
        .collect()
}
