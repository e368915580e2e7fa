//! What an AEF's word that another method counts sets in motion, and what it does not (TS 33.122 clause 6.7, P-28).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use capif_client::{Error, ErrorKind, Invoker, Wish};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Body, empty, full};
use http::{Request, Response, StatusCode};
use serde_json::json;

use crate::world::{AEF, Authority, Keys, Peer, Reply, Seen, World, answer, problem, usual};

const PATH: &str = "/weather/v1/today";
const UPDATE: &str = "/capif-security/v1/trustedInvokers/invoker-1/update";
const TOKEN: &str = "/capif-security/v1/securities/invoker-1/token";
const METHODS: [&str; 3] = ["PSK", "PKI", "OAUTH"];

/// More than one AEF's word is worth, however often it is given.
const QUESTIONS_MAX: usize = 5;

async fn try_call(invoker: &Invoker) -> Result<Response<Body>, Error> {
    let request = Request::get(PATH).body(empty()).unwrap();
    invoker.call("weather", request).await
}

async fn call(invoker: &Invoker) -> StatusCode {
    try_call(invoker).await.unwrap().status()
}

fn mismatch() -> Reply {
    answer(
        401,
        &json!({
            "status": 401,
            "cause": "SECURITY_METHOD_MISMATCH",
            "supportedMethods": ["PSK"],
            "instance": "https://127.0.0.1:1/steal",
        }),
    )
    .with("location", "https://127.0.0.1:1/steal")
}

/// The method that a call came by.
fn method(seen: &Seen) -> &'static str {
    match (&seen.key, seen.header("authorization")) {
        (Some(_), _) => "PSK",
        (None, Some(_)) => "OAUTH",
        (None, None) => "PKI",
    }
}

/// An AEF that takes one method, and says of all others that they do not count.
fn takes(right: &'static str) -> impl FnMut(&Seen) -> Reply + Send + 'static {
    move |seen| {
        if seen.path != PATH || method(seen) == right {
            answer(200, &json!({}))
        } else {
            mismatch()
        }
    }
}

#[tokio::test]
async fn all_changes_of_method_are_recovered_from() {
    for from in METHODS {
        for to in METHODS.into_iter().filter(|to| *to != from) {
            let world = World::new().await;
            world.facts.lock().unwrap().method = Some(from);
            world.aef.script(takes(from));
            let invoker = world.onboarded().await;
            assert_eq!(call(&invoker).await, 200, "{from}");
            world.facts.lock().unwrap().method = Some(to);
            world.aef.script(takes(to));
            world.aef.forget();
            let request = Request::post(PATH).body(full("body")).unwrap();
            let response = invoker.call("weather", request).await.unwrap();
            assert_eq!(response.status(), 200, "{from} to {to}");
            let calls: Vec<_> = world.aef.seen();
            let calls: Vec<_> = calls.iter().filter(|seen| seen.path == PATH).collect();
            assert_eq!(calls.len(), 2, "{from} to {to}");
            assert_eq!(calls[1].body, "body");
            assert_eq!((method(calls[0]), method(calls[1])), (from, to));
            assert_eq!(world.ccf.count("POST", UPDATE), 1, "{from} to {to}");
            assert_eq!(call(&invoker).await, 200);
            assert_eq!(world.ccf.count("POST", UPDATE), 1, "{from} to {to}");
        }
    }
}

/// R-6.7-04: many calls are on their way while the method changes again and again; the application notices nothing.
#[tokio::test]
async fn changes_in_a_row_under_load_reach_no_application() {
    let world = World::new().await;
    let right = Arc::new(Mutex::new("PKI"));
    world.facts.lock().unwrap().method = Some("PKI");
    {
        let right = Arc::clone(&right);
        world
            .aef
            .script(move |seen| takes(*right.lock().unwrap())(seen));
    }
    let invoker = Arc::new(world.onboarded().await);
    assert_eq!(call(&invoker).await, 200);
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (invoker, over, served) =
                (Arc::clone(&invoker), Arc::clone(&over), Arc::clone(&served));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(call(&invoker).await, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for to in METHODS.into_iter().cycle().take(30) {
        world.facts.lock().unwrap().method = Some(to);
        *right.lock().unwrap() = to;
        // Until somebody has called by the new method, with no wait for the others.
        let before = served.load(Ordering::Relaxed);
        while served.load(Ordering::Relaxed) < before + 3
            && tasks.iter().any(|task| !task.is_finished())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) >= 90);
}

/// For a moment the AEF may not have heard of what was agreed on since.
#[tokio::test]
async fn an_aef_that_has_not_heard_yet_is_waited_for() {
    for right in METHODS {
        let world = World::new().await;
        world.facts.lock().unwrap().method = Some(right);
        let invoker = world.onboarded().await;
        let refusals = AtomicUsize::new(0);
        world.aef.script(move |seen| {
            if seen.path == PATH && refusals.fetch_add(1, Ordering::Relaxed) < 4 {
                mismatch()
            } else {
                answer(200, &json!({}))
            }
        });
        assert_eq!(call(&invoker).await, 200, "{right}");
        assert!(world.ccf.count("POST", UPDATE) <= 3, "{right}");
    }
}

/// P-28: whatever an AEF says, however often and to however many calls, the core function is hardly asked.
#[tokio::test]
async fn an_aef_that_always_complains_is_hardly_believed() {
    let world = World::new().await;
    let invoker = Arc::new(world.onboarded().await);
    let wish = Wish {
        preferred: vec![SecurityMethod::Oauth, SecurityMethod::Pki],
        ..Wish::at(AEF.into())
    };
    invoker.negotiate(&[wish]).await.unwrap();
    assert_eq!(call(&invoker).await, 200);
    world.aef.script(|_| mismatch());
    world.ccf.forget();
    let began = Instant::now();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let invoker = Arc::clone(&invoker);
            tokio::spawn(async move { call(&invoker).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::UNAUTHORIZED);
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(world.ccf.count("POST", UPDATE), QUESTIONS_MAX);

    // From now on neither is anybody asked nor does a call wait or come back.
    world.aef.forget();
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(call(&invoker).await, StatusCode::UNAUTHORIZED);
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(world.aef.seen().len(), 20);
    assert_eq!(world.ccf.count("POST", UPDATE), QUESTIONS_MAX);
    // What it named was neither wished for nor looked at.
    for seen in world.ccf.seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains("PSK"));
    }
    // One that is right sometimes gets no more out of it.
    let odd = AtomicUsize::new(0);
    world.aef.script(move |_| {
        if odd.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            mismatch()
        } else {
            answer(200, &json!({}))
        }
    });
    for _ in 0..20 {
        call(&invoker).await;
    }
    assert_eq!(world.ccf.count("POST", UPDATE), QUESTIONS_MAX);
}

/// D-20: a handshake by key that does not work out makes the invoker ask, whatever the reason.
#[tokio::test]
async fn a_dead_key_is_replaced() {
    let world = World::new().await;
    world.facts.lock().unwrap().method = Some("PSK");
    let invoker = world.onboarded().await;
    invoker.negotiate(&[Wish::at(AEF.into())]).await.unwrap();
    world.keys.forget();
    assert_eq!(call(&invoker).await, 200);
    assert_eq!(world.ccf.count("POST", UPDATE), 1);
    assert_eq!(call(&invoker).await, 200);
    assert_eq!(world.ccf.count("POST", UPDATE), 1);
}

#[tokio::test]
async fn an_aef_that_takes_no_key_is_asked_about_a_few_times() {
    let world = World::new().await;
    {
        let mut facts = world.facts.lock().unwrap();
        facts.method = Some("PSK");
        // The AEF hears of nothing.
        facts.keys = Keys::default();
    }
    let invoker = world.onboarded().await;
    let error = try_call(&invoker).await.unwrap_err();
    assert!(matches!(error, Error::KeyRefused { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(world.ccf.count("POST", UPDATE), QUESTIONS_MAX);
    for _ in 0..5 {
        try_call(&invoker).await.unwrap_err();
    }
    assert_eq!(world.ccf.count("POST", UPDATE), QUESTIONS_MAX);
    // Nobody was called by another method than the one that the core function named.
    assert!(world.aef.seen().iter().all(|seen| seen.path != PATH));
}

#[tokio::test]
async fn a_certificate_that_is_refused_makes_the_invoker_ask() {
    let world = World::new().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    let stranger = Authority::new("another root");
    let strict = Peer::new(
        world.authority.server(AEF),
        stranger.anchors(),
        world.clock(),
        |_| answer(200, &json!({})),
    )
    .await;
    world.facts.lock().unwrap().aef_port = strict.port;
    let error = try_call(&invoker).await.unwrap_err();
    assert!(matches!(error, Error::CertificateRefused { .. }), "{error}");
    let asked = world.ccf.count("POST", UPDATE);
    assert!((1..=QUESTIONS_MAX).contains(&asked), "{asked}");
}

/// The core function itself can be the one who says so: it issues no token where tokens do not count.
#[tokio::test]
async fn a_token_that_is_not_issued_makes_the_invoker_ask() {
    for code in ["unauthorized_client", "invalid_scope"] {
        let world = World::new().await;
        let invoker = world.onboarded().await;
        invoker.negotiate(&[Wish::at(AEF.into())]).await.unwrap();
        world.facts.lock().unwrap().method = Some("PKI");
        world.unusual(move |seen| {
            (seen.path == TOKEN).then(|| answer(400, &json!({ "error": code })))
        });
        assert_eq!(call(&invoker).await, 200, "{code}");
        assert_eq!(world.ccf.count("POST", UPDATE), 1, "{code}");
    }
}

/// What another process found out is not asked again.
#[tokio::test]
async fn what_another_process_agreed_on_is_taken_up() {
    for to in METHODS {
        let world = World::new().await;
        world.facts.lock().unwrap().method = Some("PKI");
        let one = world.onboarded().await;
        assert_eq!(call(&one).await, 200);
        let other = Invoker::open(world.keystore(), world.clock())
            .await
            .unwrap();
        world.facts.lock().unwrap().method = Some(to);
        other.negotiate(&[Wish::at(AEF.into())]).await.unwrap();
        assert_eq!(call(&other).await, 200);
        // An AEF that takes only what was agreed on last.
        world.aef.script(takes(to));
        world.ccf.forget();
        assert_eq!(call(&one).await, 200, "{to}");
        let asked = world.ccf.seen();
        let asked: Vec<_> = asked.iter().filter(|seen| seen.path == UPDATE).collect();
        assert!(asked.is_empty(), "{to}");
    }
}

#[tokio::test]
async fn a_method_that_was_taken_away_is_a_clear_refusal() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    assert_eq!(call(&invoker).await, 200);
    world.facts.lock().unwrap().method = None;
    world.aef.script(|_| mismatch());
    let error = try_call(&invoker).await.unwrap_err();
    assert!(matches!(error, Error::NoCommonMethod { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("capif permit"), "{error}");
}

/// An AEF that knows of no agreement is no reason to give up: what it held may have been revoked, and be granted again.
#[tokio::test]
async fn an_invoker_that_the_aef_does_not_know_asks() {
    for method in ["PSK", "PKI"] {
        let world = World::new().await;
        world.facts.lock().unwrap().method = Some(method);
        let invoker = world.onboarded().await;
        assert_eq!(call(&invoker).await, 200, "{method}");
        let asked = Arc::new(AtomicBool::new(false));
        let (noted, facts) = (Arc::clone(&asked), Arc::clone(&world.facts));
        world.unusual(move |seen| {
            noted.fetch_or(seen.path == UPDATE, Ordering::Relaxed);
            Some(usual(&facts, seen))
        });
        world.aef.script(move |seen| {
            if asked.load(Ordering::Relaxed) || seen.path != PATH {
                return answer(200, &json!({}));
            }
            let cause = json!({ "cause": "SECURITY_KEY_INVALID" });
            answer(401, &cause).with("www-authenticate", "Bearer error=\"invalid_token\"")
        });
        assert_eq!(call(&invoker).await, 200, "{method}");
        assert_eq!(world.ccf.count("POST", UPDATE), 1, "{method}");
    }
}

#[tokio::test]
async fn a_safe_call_whose_connection_broke_is_sent_once_more() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let broken = AtomicBool::new(false);
    world.aef.script(move |_| {
        if broken.swap(true, Ordering::Relaxed) {
            answer(200, &json!({}))
        } else {
            Reply::Hang
        }
    });
    assert_eq!(call(&invoker).await, 200);
    // But only once, and only if it changes nothing.
    world.aef.script(|_| Reply::Hang);
    world.aef.forget();
    try_call(&invoker).await.unwrap_err();
    assert_eq!(world.aef.seen().len(), 2);
    world.aef.forget();
    let request = Request::post(PATH).body(empty()).unwrap();
    invoker.call("weather", request).await.unwrap_err();
    assert_eq!(world.aef.seen().len(), 1);
}

#[tokio::test]
async fn a_core_function_that_is_away_is_said_to_be() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    assert_eq!(call(&invoker).await, 200);
    world.aef.script(|_| mismatch());
    world.unusual(|_| Some(problem(503, "later")));
    let error = try_call(&invoker).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}
