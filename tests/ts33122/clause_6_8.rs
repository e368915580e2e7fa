//! Offboarding (TS 33.122 clause 6.8): what is left of an invoker afterwards, which is nothing.

mod completeness;
mod restarts;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use capif_aef::Gateway;
use capif_ccf::store::{EmbeddedStore, Page, Store};
use capif_client::{Departure, DiscoveryQuery, ErrorKind, Invoker, Wish};
use capif_procedures::changes::Kind;
use capif_spec::{publish_service::SecurityMethod, security::Scope};
use capif_transport::{Anchors, Body, Client, ClientLimits, ClientTls, empty, full};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{
    SOON, World, eventually,
    raw::{Pems, Raw},
    reveal,
    upstream::{Upstream, piecewise},
    wire::{Caller, request},
};

/// Who begins an offboarding.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Invoker,
    Operator,
}

type Streams = Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>;

/// A gateway in front of an API with a long answer at `/weather/v1/stream`.
struct Site {
    world: World,
    gateway: Gateway,
    upstream: Upstream,
    /// The long answers that are under way.
    streams: Streams,
}

impl Site {
    async fn start() -> Self {
        let world = World::start().await;
        let streams = Streams::default();
        let held = Arc::clone(&streams);
        let upstream = Upstream::start(move |request: Request<Body>| {
            let held = Arc::clone(&held);
            async move {
                if request.uri().path() != "/weather/v1/stream" {
                    return Response::new(full("sunny"));
                }
                let (sender, body) = piecewise();
                sender.send(Bytes::from_static(b"first")).unwrap();
                held.lock().unwrap().push(sender);
                Response::new(body)
            }
        });
        let methods = [SecurityMethod::Pki, SecurityMethod::Oauth];
        let gateway = world
            .gateway("acme", "weather", &upstream.url(), &methods)
            .await;
        Self {
            world,
            gateway,
            upstream,
            streams,
        }
    }

    async fn member(&self, name: &str, method: SecurityMethod) -> Member {
        let invoker = self.world.invoker(name, &[]).await;
        let wish = Wish {
            aef_id: self.gateway.aef_id().clone(),
            api_id: None,
            preferred: vec![method.clone()],
            profile: None,
        };
        invoker.negotiate(&[wish]).await.unwrap();
        let token = if method == SecurityMethod::Oauth {
            let scope = Scope {
                grants: vec![(self.gateway.aef_id().clone(), vec!["weather".to_owned()])],
            };
            Some(reveal(&invoker.token(&scope).await.unwrap().access_token).to_owned())
        } else {
            None
        };
        Member {
            id: invoker.id().to_string(),
            pems: Pems::of_invoker(&self.world.folder(name)),
            invoker,
            token,
        }
    }

    /// A caller of the gateway by the member's method, on connections of its own.
    fn at_gateway(&self, member: &Member) -> Caller {
        Caller::new(&self.world, self.gateway.address(), member.shown())
    }

    fn at_ccf(&self, member: &Member) -> Caller {
        Caller::new(
            &self.world,
            self.world.address(),
            Some(member.pems.identity()),
        )
    }

    /// A streaming answer of the gateway over HTTP/2, of which the first piece has come.
    async fn stream(&self, member: &Member) -> Body {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&self.world.root_pem()).unwrap()),
            identity: member.shown(),
            clock: self.world.clock(),
            session: None,
            tls12_only: false,
        };
        let client = Client::new(tls, ClientLimits::default()).unwrap();
        let mut request = Request::get(format!(
            "https://{}/weather/v1/stream",
            self.gateway.address()
        ));
        if let Some(token) = &member.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = client
            .request(request.body(empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "first");
        body
    }

    /// A kept HTTP/1.1 connection to the gateway on which one call went through.
    async fn raw(&self, member: &Member) -> Raw {
        let who = member.token.is_none().then_some(&member.pems);
        let mut raw = Raw::connect(self.gateway.local_addr(), &self.world.root_pem(), who).await;
        raw.send(member.call("/weather/v1/today")).await;
        let answer = raw.answer().await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        raw
    }

    async fn offboard(&self, member: &Member, by: By) {
        match by {
            By::Invoker => {
                let path = format!("/api-invoker-management/v1/onboardedInvokers/{}", member.id);
                let answer = self.at_ccf(member).json(Method::DELETE, &path, None).await;
                assert_eq!(
                    (answer.status, answer.body.len()),
                    (StatusCode::NO_CONTENT, 0)
                );
            }
            By::Operator => {
                let path = format!("/invokers/{}", member.id);
                let (status, _) = self.world.operator(Method::DELETE, &path, None).await;
                assert_eq!(status, StatusCode::NO_CONTENT);
            }
        }
    }

    async fn acknowledged(&self) {
        eventually("the gateway acknowledges", || async {
            self.world
                .list("events")
                .await
                .iter()
                .all(|row| row["waiting"] == 0)
        })
        .await;
    }
}

/// An invoker with what it would use.
struct Member {
    invoker: Invoker,
    id: String,
    pems: Pems,
    token: Option<String>,
}

impl Member {
    fn shown(&self) -> Option<capif_transport::Identity> {
        self.token.is_none().then(|| self.pems.identity())
    }

    fn request(&self) -> Request<Vec<u8>> {
        request(
            Method::GET,
            "/weather/v1/today",
            self.token.as_deref(),
            None,
        )
    }

    fn call(&self, path: &str) -> String {
        let token = self.token.as_ref();
        let credential = token
            .map(|token| format!("authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n{credential}\r\n")
    }
}

/// R-6.8-04 to R-6.8-13: everything goes, at the core function and at the gateway, and the gateway acknowledges; whoever began
/// and whichever method counted.
#[tokio::test]
async fn an_offboarded_invoker_is_gone_everywhere() {
    for (by, method) in [
        (By::Invoker, SecurityMethod::Oauth),
        (By::Invoker, SecurityMethod::Pki),
        (By::Operator, SecurityMethod::Oauth),
        (By::Operator, SecurityMethod::Pki),
    ] {
        gone_everywhere(by, method).await;
    }
}

async fn gone_everywhere(by: By, method: SecurityMethod) {
    let mut site = Site::start().await;
    let amy = site.member("amy", method.clone()).await;
    let bob = site.member("bob", method).await;

    // Everything that may be open: at the gateway in HTTP/1.1 and HTTP/2, idle and in the middle of an answer; at the core
    // function as well.
    let at_gateway = site.at_gateway(&amy);
    assert_eq!(at_gateway.send(amy.request()).await.status, 200);
    let mut kept = site.raw(&amy).await;
    let mut busy = site.raw(&amy).await;
    busy.send(amy.call("/weather/v1/stream")).await;
    busy.read_until(SOON, |octets| octets.ends_with(b"first\r\n"))
        .await;
    let mut stream = site.stream(&amy).await;
    let mut bobs_stream = site.stream(&bob).await;
    let at_ccf = site.at_ccf(&amy);
    let contexts = format!("/capif-security/v1/trustedInvokers/{}", amy.id);
    let mut ccf_kept = Raw::connect(
        site.world.ccf().local_addr(),
        &site.world.root_pem(),
        Some(&amy.pems),
    )
    .await;
    let discovery = format!("/service-apis/v1/allServiceAPIs?api-invoker-id={}", amy.id);
    ccf_kept
        .send(format!("GET {discovery} HTTP/1.1\r\nhost: ccf\r\n\r\n"))
        .await;
    assert!(ccf_kept.answer().await.starts_with("HTTP/1.1 200 "));

    // A subscription, and a notification that waits for somebody who never listens.
    let subscription = json!({
        "events": ["SERVICE_API_AVAILABLE"],
        "notificationDestination": "https://127.0.0.1:1/notifications",
    });
    let subscriptions = format!("/capif-events/v1/{}/subscriptions", amy.id);
    let answer = at_ccf
        .json(Method::POST, &subscriptions, Some(&subscription))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.json());
    let provider = capif_client::Provider::open(site.world.keystore("acme"), site.world.clock())
        .await
        .unwrap();
    let mut second = provider.apis().await.unwrap().remove(0);
    second.api_name = "tides".to_owned();
    second.api_id = None;
    provider.publish(&second).await.unwrap();
    let waiting = |rows: Vec<serde_json::Value>| {
        rows.iter()
            .filter(|row| row["subscriber"] == amy.id)
            .map(|row| row["waiting"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert!(waiting(site.world.list("events").await) > 0);

    // Step 1 to 4, while others go on.
    let others = Others::start(site.at_gateway(&bob), bob.request());
    others.some().await;
    site.offboard(&amy, by).await;

    // Step 3: what is kept at the core function.
    let rows = |what: &'static str| site.world.list(what);
    assert!(
        rows("invokers")
            .await
            .iter()
            .all(|row| row["apiInvokerId"] != amy.id)
    );
    assert!(
        rows("contexts")
            .await
            .iter()
            .all(|row| row["apiInvokerId"] != amy.id)
    );
    assert!(
        rows("events")
            .await
            .iter()
            .all(|row| row["subscriber"] != amy.id)
    );

    // Step 6: its sessions with the core function.
    assert!(ccf_kept.read_to_end().await.is_empty());
    for who in [&at_ccf, &site.at_ccf(&amy)] {
        let answer = who.json(Method::GET, &discovery, None).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{:?}",
            answer.json()
        );
        answer.cause();
        let body = json!({"securityInfo": [], "notificationDestination": "https://127.0.0.1:1/"});
        assert_eq!(
            who.json(Method::PUT, &contexts, Some(&body)).await.status,
            StatusCode::UNAUTHORIZED
        );
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", amy.id.as_str()),
        ];
        let token = who
            .form(
                &format!("/capif-security/v1/securities/{}/token", amy.id),
                &form,
            )
            .await;
        assert_eq!(token.status, StatusCode::UNAUTHORIZED, "{:?}", token.json());
    }

    // Steps 7 to 10: the gateway forgets, tears down, and only then acknowledges.
    site.acknowledged().await;
    assert!(kept.read_to_end().await.is_empty());
    let rest = busy.read_to_end().await;
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "the long answer must not look complete"
    );
    let end = tokio::time::timeout(SOON, stream.frame()).await.unwrap();
    assert!(
        !matches!(end, Some(Ok(_)) | None),
        "the long answer must not look complete: {end:?}"
    );
    for who in [&at_gateway, &site.at_gateway(&amy)] {
        let answer = who.send(amy.request()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        answer.cause();
    }

    // Nobody else noticed.
    others.some().await;
    others.stop().await;
    for sender in site.streams.lock().unwrap().iter() {
        let _amys_are_gone = sender.send(Bytes::from_static(b"second"));
    }
    let next = tokio::time::timeout(SOON, bobs_stream.frame())
        .await
        .unwrap();
    assert_eq!(next.unwrap().unwrap().into_data().unwrap(), "second");
    assert!(site.upstream.connections() > 0);

    // Nothing stands under the id, but what was logged about calls, and that it was done.
    site.gateway.drain(std::time::Duration::ZERO).await;
    site.world.stop().await;
    let kinds = kinds_that_name(&site.world, &amy.id).await;
    assert_eq!(
        kinds,
        BTreeSet::from(["Audit".to_owned(), "InvocationLog".to_owned()]),
        "{by:?}"
    );
    assert!(
        kinds_that_name(&site.world, &bob.id)
            .await
            .contains("Invoker")
    );
}

/// Another invoker's traffic, all of which must be served.
struct Others {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Others {
    fn start(caller: Caller, request: Request<Vec<u8>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let task = {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(caller.send(request.clone()).await.status, 200);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        Self { stop, served, task }
    }

    /// Waits until some more calls were served.
    async fn some(&self) {
        let before = self.served.load(Ordering::SeqCst);
        eventually("others are served", || async {
            self.served.load(Ordering::SeqCst) > before + 3
        })
        .await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

/// The kinds of records whose key or value holds this text. The core function must be stopped.
async fn kinds_that_name(world: &World, text: &str) -> BTreeSet<String> {
    let store = EmbeddedStore::open(&world.dir.path().join("store")).unwrap();
    let mut kinds = BTreeSet::new();
    let mut records = 0;
    for kind in Kind::ALL {
        let mut after = None;
        loop {
            let page = Page {
                kind,
                prefix: String::new(),
                after: after.take(),
                limit: 500,
            };
            let found = store.scan(page).await.unwrap();
            records += found.len();
            for (key, stored) in &found {
                let named = stored
                    .value
                    .windows(text.len())
                    .any(|window| window == text.as_bytes());
                if named || key.id.contains(text) {
                    kinds.insert(format!("{kind:?}"));
                }
            }
            let Some((last, _)) = found.last() else { break };
            after = Some(last.id.clone());
        }
    }
    assert!(records > 0);
    kinds
}

/// R-6.8-08: the invoker erases all that it held, and the session ends with the answer (R-6.8-09).
#[tokio::test]
async fn the_invoker_erases_what_it_held() {
    let site = Site::start().await;
    let amy = site.member("amy", SecurityMethod::Oauth).await;
    let path = format!("/api-invoker-management/v1/onboardedInvokers/{}", amy.id);
    assert!(site.world.folder("amy").exists());
    assert_eq!(amy.invoker.offboard().await.unwrap(), Departure::Confirmed);
    assert!(!site.world.folder("amy").exists());

    let bob = site.member("bob", SecurityMethod::Pki).await;
    let mut raw = Raw::connect(
        site.world.ccf().local_addr(),
        &site.world.root_pem(),
        Some(&bob.pems),
    )
    .await;
    let path = path.replace(&amy.id, &bob.id);
    // The second request comes along with the first.
    let delete = format!("DELETE {path} HTTP/1.1\r\nhost: ccf\r\n\r\n");
    raw.send(format!("{delete}{delete}")).await;
    let answers = String::from_utf8(raw.read_to_end().await).unwrap();
    assert!(answers.starts_with("HTTP/1.1 204 "), "{answers}");
    assert!(
        answers.to_ascii_lowercase().contains("connection: close"),
        "{answers}"
    );
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
}

/// R-6.8-02 and R-6.8-03: only the invoker itself, and an id that is not there is refused like another's.
#[tokio::test]
async fn only_the_own_id_is_taken() {
    let site = Site::start().await;
    let amy = site.member("amy", SecurityMethod::Oauth).await;
    let bob = site.member("bob", SecurityMethod::Oauth).await;
    let before = site.world.list("invokers").await;
    let mut answers = Vec::new();
    for id in [amy.id.as_str(), "INV0", "AEF0", "x"] {
        let path = format!("/api-invoker-management/v1/onboardedInvokers/{id}");
        let answer = site.at_ccf(&bob).json(Method::DELETE, &path, None).await;
        answers.push((
            answer.status,
            answer.cause(),
            answer.json()["detail"].clone(),
        ));
        let anonymous = Caller::new(&site.world, site.world.address(), None);
        assert_eq!(
            anonymous.json(Method::DELETE, &path, None).await.status,
            StatusCode::UNAUTHORIZED
        );
        for role in ["amf", "apf", "aef"] {
            let identity = Pems::of_function(&site.world.folder("acme"), role).identity();
            let caller = Caller::new(&site.world, site.world.address(), Some(identity));
            let answer = caller.json(Method::DELETE, &path, None).await;
            assert!([StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&answer.status));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, StatusCode::FORBIDDEN);
    let (status, _) = site
        .world
        .operator(Method::DELETE, "/invokers/INV0", None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(site.world.list("invokers").await, before);
}

/// R-6.8-03: who was offboarded is refused like somebody who never was there, however often.
#[tokio::test]
async fn offboarding_twice_is_refused_like_an_unknown_invoker() {
    let site = Site::start().await;
    let amy = site.member("amy", SecurityMethod::Oauth).await;
    site.offboard(&amy, By::Operator).await;
    let path = format!("/api-invoker-management/v1/onboardedInvokers/{}", amy.id);
    let again = site.at_ccf(&amy).json(Method::DELETE, &path, None).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    let unknown = path.replace(&amy.id, "INV0");
    let never = site.at_ccf(&amy).json(Method::DELETE, &unknown, None).await;
    assert_eq!((again.status, again.cause()), (never.status, never.cause()));
    assert_eq!(again.json()["detail"], never.json()["detail"]);
    let (status, first) = site
        .world
        .operator(Method::DELETE, &format!("/invokers/{}", amy.id), None)
        .await;
    let (_, second) = site
        .world
        .operator(Method::DELETE, "/invokers/INV0", None)
        .await;
    assert_eq!(
        (status, &first["detail"]),
        (StatusCode::NOT_FOUND, &second["detail"])
    );

    // The client sees that it is known no more, and erases its folder all the same.
    let error = amy
        .invoker
        .discover(&DiscoveryQuery::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(
        amy.invoker.offboard().await.unwrap(),
        Departure::KnownNoMore
    );
    assert!(!site.world.folder("amy").exists());
}

/// R-6.8-04: at once means at once: of calls that race with the offboarding none is served that began after the
/// acknowledgement, and no two offboardings both succeed.
#[tokio::test]
async fn offboardings_and_calls_race_well() {
    let site = Site::start().await;
    for round in 0..5 {
        let amy = site
            .member(&format!("amy{round}"), SecurityMethod::Oauth)
            .await;
        let path = format!("/invokers/{}", amy.id);
        let (first, second) = tokio::join!(
            site.world.operator(Method::DELETE, &path, None),
            site.world.operator(Method::DELETE, &path, None),
        );
        let mut statuses = [first.0.as_u16(), second.0.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 404]);
        let caller = site.at_gateway(&amy);
        let calls = (0..20).map(|_| {
            tokio::spawn({
                let (caller, request) = (caller.clone(), amy.request());
                async move {
                    caller
                        .try_send(request)
                        .await
                        .map(|answer| answer.status.as_u16())
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        site.acknowledged().await;
        for call in calls {
            call.await.unwrap();
        }
        let after = caller
            .try_send(amy.request())
            .await
            .map(|answer| answer.status.as_u16());
        assert_eq!(after.unwrap_or(401), 401);
        assert_eq!(site.at_gateway(&amy).send(amy.request()).await.status, 401);
    }
}

/// R-6.8-10: only the core function tells the gateway whom to forget; nobody else's word ends a session.
#[tokio::test]
async fn nobody_else_makes_the_gateway_forget() {
    let site = Site::start().await;
    let amy = site.member("amy", SecurityMethod::Pki).await;
    let bob = site.member("bob", SecurityMethod::Pki).await;
    let caller = site.at_gateway(&amy);
    assert_eq!(caller.send(amy.request()).await.status, 200);
    let event = json!({
        "subscriptionId": "x",
        "events": "API_INVOKER_OFFBOARDED",
        "eventDetail": {"apiInvokerIds": [amy.id]},
    });
    let revocation =
        json!({"revokeInfo": {"apiInvokerId": amy.id, "apiIds": [], "cause": "OTHER_REASON"}});
    let mut strangers = vec![None, Some(bob.pems.identity()), Some(amy.pems.identity())];
    for role in ["amf", "apf", "aef"] {
        strangers.push(Some(
            Pems::of_function(&site.world.folder("acme"), role).identity(),
        ));
    }
    for identity in strangers {
        let expected = match identity {
            None => StatusCode::UNAUTHORIZED,
            Some(_) => StatusCode::FORBIDDEN,
        };
        let stranger = Caller::new(&site.world, site.gateway.address(), identity);
        for (path, body) in [
            ("/capif-events/v1/notifications", &event),
            ("/aef-security/v1/revoke-authorization", &revocation),
            ("/aef-security/v1/anything", &revocation),
        ] {
            let answer = stranger.json(Method::POST, path, Some(body)).await;
            assert_eq!(answer.status, expected, "{path}");
            answer.cause();
        }
    }
    // With the core function away, only what the gateway remembers lets anybody in.
    let mut site = site;
    site.world.stop().await;
    assert_eq!(caller.send(amy.request()).await.status, 200);
}
