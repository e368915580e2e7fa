//! Calls of service APIs (TS 33.122 clauses 6.5.2.2, 6.5.2.3 and 6.7).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use capif_client::{Error, ErrorKind, Invoker};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Body, collect, empty, full};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::world::{AEF, CREDENTIAL, INVOKER, Reply, SECRET, World, answer, problem};

const PATH: &str = "/weather/v1/today";
const CONTEXT: &str = "/capif-security/v1/trustedInvokers/invoker-1";
const UPDATE: &str = "/capif-security/v1/trustedInvokers/invoker-1/update";
const TOKEN: &str = "/capif-security/v1/securities/invoker-1/token";

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(empty()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let octets = collect(
        response.into_body(),
        1 << 20,
        std::time::Duration::from_secs(10),
    )
    .await
    .unwrap();
    String::from_utf8(octets.to_vec()).unwrap()
}

async fn call(invoker: &Invoker) -> Response<Body> {
    invoker.call("weather", get(PATH)).await.unwrap()
}

fn mismatch() -> Reply {
    answer(
        401,
        &json!({
            "status": 401,
            "cause": "SECURITY_METHOD_MISMATCH",
            "detail": "another method counts",
            "supportedMethods": ["PSK"],
            "instance": "https://127.0.0.1:1/steal",
        }),
    )
    .with("location", "https://127.0.0.1:1/steal")
}

#[tokio::test]
async fn with_a_token() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let response = call(&invoker).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, r#"{"sky":"blue"}"#);
    let seen = &world.aef.seen()[0];
    assert!(seen.is("GET", PATH));
    assert_eq!(seen.header("authorization"), Some("Bearer token-1"));
    // The certificate is there for an AEF that asks for it.
    assert_eq!(seen.peer.as_deref(), Some(INVOKER));

    // The second call asks the CAPIF core function nothing.
    world.ccf.forget();
    call(&invoker).await;
    assert!(world.ccf.seen().is_empty());
    assert_eq!(world.aef.seen().len(), 2);
}

#[tokio::test]
async fn with_a_certificate_alone() {
    let world = World::new().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    let response = call(&invoker).await;
    assert_eq!(response.status(), StatusCode::OK);
    let seen = &world.aef.seen()[0];
    assert_eq!(seen.peer.as_deref(), Some(INVOKER));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(world.ccf.count("POST", TOKEN), 0);
}

#[tokio::test]
async fn what_was_negotiated_serves_a_later_process() {
    let world = World::new().await;
    call(&world.onboarded().await).await;
    world.ccf.forget();
    let invoker = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    call(&invoker).await;
    let asked: Vec<_> = world.ccf.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        asked,
        [
            "/service-apis/v1/allServiceAPIs?api-invoker-id=invoker-1&api-name=weather",
            TOKEN
        ]
    );
}

#[tokio::test]
async fn the_secret_goes_to_the_token_endpoint_and_nowhere_else() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    world.aef.script(|_| mismatch());
    call(&invoker).await;
    world.aef.script(|_| {
        answer(401, &json!({})).with("www-authenticate", "Bearer error=\"invalid_token\"")
    });
    call(&invoker).await;
    let holds = |seen: &crate::world::Seen, word: &str| {
        String::from_utf8_lossy(&seen.body).contains(word)
            || seen.path.contains(word)
            || seen
                .headers
                .values()
                .any(|value| String::from_utf8_lossy(value.as_bytes()).contains(word))
    };
    assert!(!world.aef.seen().is_empty());
    for seen in world.aef.seen() {
        assert!(!holds(&seen, SECRET) && !holds(&seen, CREDENTIAL));
    }
    for seen in world.ccf.seen() {
        assert_eq!(holds(&seen, SECRET), seen.path == TOKEN, "{}", seen.path);
    }
}

#[tokio::test]
async fn the_request_is_passed_on_as_it_is() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let request = Request::post("/weather/v1/reports?city=%C3%A5&x=1")
        .header("content-type", "text/plain")
        .header("x-own", "kept")
        .header("authorization", "Basic forged")
        .header("host", "evil.example")
        .header("connection", "x-private, keep-alive")
        .header("x-private", "dropped")
        .header("keep-alive", "timeout=5")
        .header("proxy-authorization", "Basic forged")
        .header("te", "trailers")
        .header("upgrade", "websocket")
        .body(full("rain"))
        .unwrap();
    invoker.call("weather", request).await.unwrap();
    let seen = &world.aef.seen()[0];
    assert!(seen.is("POST", "/weather/v1/reports?city=%C3%A5&x=1"));
    assert_eq!(seen.body, "rain");
    assert_eq!(seen.header("x-own"), Some("kept"));
    assert_eq!(seen.header("content-type"), Some("text/plain"));
    assert_eq!(seen.header("authorization"), Some("Bearer token-1"));
    assert_ne!(seen.header("host"), Some("evil.example"));
    for name in [
        "x-private",
        "keep-alive",
        "proxy-authorization",
        "upgrade",
        "connection",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_a_refusal_is_given_back_whole() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for status in [301, 400, 401, 403, 404, 429, 500, 503] {
        world
            .aef
            .script(move |_| problem(status, "no").with("location", "https://127.0.0.1:1/"));
        let response = call(&invoker).await;
        assert_eq!(response.status().as_u16(), status);
        assert!(text(response).await.contains("\"detail\":\"no\""));
    }
    assert_eq!(world.aef.seen().len(), 8);
}

#[tokio::test]
async fn a_changed_method_is_asked_for_once_and_the_call_repeated() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    // The AEF goes over from tokens to certificates.
    world.facts.lock().unwrap().method = Some("PKI");
    world.aef.script(|seen| match seen.header("authorization") {
        Some(_) => mismatch(),
        None => answer(200, &json!({ "sky": "grey" })),
    });
    world.ccf.forget();
    world.aef.forget();
    let request = Request::post(PATH).body(full("body")).unwrap();
    let response = invoker.call("weather", request).await.unwrap();
    assert_eq!(text(response).await, r#"{"sky":"grey"}"#);
    let seen = world.aef.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].body, "body");
    assert_eq!(world.ccf.count("POST", UPDATE), 1);
    assert_eq!(
        invoker.security_context().unwrap().security_info[0].sel_security_method,
        Some(SecurityMethod::Pki)
    );
    call(&invoker).await;
    assert_eq!(world.ccf.count("POST", UPDATE), 1);
}

#[tokio::test]
async fn an_aef_that_was_replaced_by_another_is_found_again() {
    for method in ["PKI", "OAUTH"] {
        let world = World::new().await;
        world.facts.lock().unwrap().method = Some(method);
        let invoker = world.onboarded().await;
        call(&invoker).await;
        // Another AEF took its place, and the old one knows only that it is no longer the right one.
        let successor = crate::world::Peer::new(
            world.authority.server("aef-2"),
            world.authority.anchors(),
            world.clock(),
            |_| answer(200, &json!({})),
        )
        .await;
        {
            let mut facts = world.facts.lock().unwrap();
            facts.aef_id = "aef-2";
            facts.aef_port = successor.port;
        }
        let facts = Arc::clone(&world.facts);
        world.unusual(move |seen| {
            let text = String::from_utf8_lossy(&seen.body);
            (seen.path != TOKEN && text.contains("aef-1"))
                .then(|| problem(404, "no API of this invoker is exposed by AEF `aef-1`"))
                .or_else(|| Some(crate::world::usual(&facts, seen)))
        });
        world.aef.script(|_| mismatch());
        assert_eq!(call(&invoker).await.status(), StatusCode::OK, "{method}");
        let context = invoker.security_context().unwrap();
        assert_eq!(context.security_info.len(), 1);
        assert_eq!(context.security_info[0].aef_id, Some("aef-2".into()));
    }
}

#[tokio::test]
async fn only_the_indicator_itself_makes_the_invoker_ask() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    world.ccf.forget();
    let cause = json!({ "cause": "SECURITY_METHOD_MISMATCH" });
    let similar: [fn(&serde_json::Value) -> Reply; 7] = [
        |cause| answer(403, cause),
        |cause| answer(400, cause),
        |cause| answer(200, cause),
        |cause| answer(401, cause).with("content-type", "application/json"),
        |_| answer(401, &json!({ "cause": "security_method_mismatch" })),
        |_| answer(401, &json!({ "detail": "SECURITY_METHOD_MISMATCH" })),
        |cause| answer(401, &json!([cause])),
    ];
    for (index, reply) in similar.into_iter().enumerate() {
        let cause = cause.clone();
        world.aef.script(move |_| reply(&cause));
        world.aef.forget();
        call(&invoker).await;
        assert_eq!(world.aef.seen().len(), 1, "{index}");
    }
    assert!(world.ccf.seen().is_empty());
    // Nor does one too large to be read.
    world.aef.script(|_| {
        answer(
            401,
            &json!({ "cause": "SECURITY_METHOD_MISMATCH", "x": "y".repeat(70_000) }),
        )
    });
    let error = invoker.call("weather", get(PATH)).await.unwrap_err();
    assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
    assert!(world.ccf.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_replaced_once() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    world.aef.script(|seen| match seen.header("authorization") {
        Some("Bearer token-1") => answer(401, &json!({})).with(
            "www-authenticate",
            "Bearer realm=\"x\", error=\"invalid_token\"",
        ),
        _ => answer(200, &json!({})),
    });
    assert_eq!(call(&invoker).await.status(), StatusCode::OK);
    assert_eq!(world.ccf.count("POST", TOKEN), 2);

    world.aef.script(|_| {
        answer(401, &json!({})).with("www-authenticate", "Bearer error=\"invalid_token\"")
    });
    world.aef.forget();
    assert_eq!(call(&invoker).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.aef.seen().len(), 2);
    assert_eq!(world.ccf.count("POST", TOKEN), 3);
    assert_eq!(world.ccf.count("POST", UPDATE), 0);
}

#[tokio::test]
async fn a_body_that_streams_is_sent_once() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    world.facts.lock().unwrap().method = Some("PKI");
    world.aef.script(|seen| match seen.header("authorization") {
        Some(_) => mismatch(),
        None => answer(200, &json!({})),
    });
    let stream = || {
        let frames = ["one ", "two"].map(|part| {
            Ok(hyper::body::Frame::data(Bytes::from_static(
                part.as_bytes(),
            )))
        });
        let body: Body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        Request::post(PATH).body(body).unwrap()
    };
    world.aef.forget();
    let response = invoker.call("weather", stream()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.aef.seen().len(), 1);
    assert_eq!(world.aef.seen()[0].body, "one two");
    // But the invoker knows better from now on.
    let response = invoker.call("weather", stream()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_common_method_is_a_clear_refusal() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for (method, word) in [(None, "no security method"), (Some("NEW"), "NEW")] {
        world.facts.lock().unwrap().method = method;
        let error = invoker.call("weather", get(PATH)).await.unwrap_err();
        assert!(matches!(error, Error::NoCommonMethod { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(world.aef.seen().is_empty());
    // As soon as there is one, it serves.
    world.facts.lock().unwrap().method = Some("PKI");
    assert_eq!(call(&invoker).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_method_that_was_not_wished_for_is_not_obeyed() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    invoker
        .negotiate(&[capif_client::Wish {
            aef_id: AEF.into(),
            api_id: None,
            preferred: vec![SecurityMethod::Pki],
            profile: None,
        }])
        .await
        .unwrap();
    // The CAPIF core function insists on OAUTH.
    let error = invoker.call("weather", get(PATH)).await.unwrap_err();
    assert!(matches!(error, Error::NoCommonMethod { .. }), "{error}");
    let last = world.ccf.seen().pop().unwrap();
    let wishes = last.json()["securityInfo"].clone();
    assert!(!wishes.to_string().contains("OAUTH"), "{wishes}");
    assert!(world.aef.seen().is_empty());
}

#[tokio::test]
async fn an_unknown_api_is_said_to_be_unknown() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for _ in 0..2 {
        world.ccf.forget();
        let request = get("/traffic/v1/jams");
        let error = invoker.call("traffic", request).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchApi { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        // Asked once each time: it may have been published meanwhile.
        assert_eq!(world.ccf.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_address_in_the_request_is_refused() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let request = get("https://evil.example/weather/v1/today");
    let error = invoker.call("weather", request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

#[tokio::test]
async fn an_aef_outside_the_trust_domain_gets_nothing() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let impostor = crate::world::Authority::new("CAPIF root");
    let peer = crate::world::Peer::new(
        impostor.server(AEF),
        impostor.anchors(),
        world.clock(),
        |_| answer(200, &json!({})),
    )
    .await;
    world.facts.lock().unwrap().aef_port = peer.port;
    let error = invoker.call("weather", get(PATH)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(peer.seen().is_empty());
}

/// Chain and host do not make an AEF the one that was meant: its certificate must carry the id that the CAPIF core function
/// named.
#[tokio::test]
async fn another_aef_at_the_right_address_gets_nothing() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let other = crate::world::Peer::new(
        world.authority.server("aef-2"),
        world.authority.anchors(),
        world.clock(),
        |_| answer(200, &json!({})),
    )
    .await;
    world.facts.lock().unwrap().aef_port = other.port;
    let error = invoker.call("weather", get(PATH)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(other.seen().is_empty());
}

/// An AEF that was registered anew has another id and another certificate at the same address: discovery names it.
#[tokio::test]
async fn an_aef_with_a_new_id_is_found_again() {
    let world = World::new().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    call(&invoker).await;
    let successor = crate::world::Peer::new(
        world.authority.server("aef-2"),
        world.authority.anchors(),
        world.clock(),
        |_| answer(200, &json!({})),
    )
    .await;
    {
        let mut facts = world.facts.lock().unwrap();
        facts.aef_id = "aef-2";
        facts.aef_port = successor.port;
    }
    drop(world.aef);
    // A request that was just on its way on the connection that broke is not repeated: it may have been carried out.
    if let Err(error) = invoker.call("weather", get(PATH)).await {
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
        assert_eq!(call(&invoker).await.status(), StatusCode::OK);
    }
    assert_eq!(successor.seen().len(), 1);
}

#[tokio::test]
async fn an_aef_that_moved_is_found_again() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = free.local_addr().unwrap().port();
    drop(free);
    world.facts.lock().unwrap().aef_port = gone;
    let error = invoker.call("weather", get(PATH)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    world.facts.lock().unwrap().aef_port = world.aef.port;
    assert_eq!(call(&invoker).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn many_calls_at_once_negotiate_once() {
    let world = World::new().await;
    let invoker = Arc::new(world.onboarded().await);
    let done = Arc::new(Mutex::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (invoker, done) = (Arc::clone(&invoker), Arc::clone(&done));
            tokio::spawn(async move {
                assert_eq!(call(&invoker).await.status(), StatusCode::OK);
                *done.lock().unwrap() += 1;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*done.lock().unwrap(), 20);
    assert_eq!(world.ccf.count("PUT", CONTEXT), 1);
    assert_eq!(world.ccf.count("POST", UPDATE), 0);
    assert_eq!(world.ccf.count("POST", TOKEN), 1);
}
