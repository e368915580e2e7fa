//! `check-authentication` (TS 33.122 clause 6.5.1, TS 29.222 clause 9.1.2.2): anybody may have the gateway ask about an invoker before it
//! calls, and nobody learns anything by it (D-31).

use capif_spec::publish_service::SecurityMethod;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World,
    lines::Lines,
    site::{ALL, Site},
    wire::{Answer, Caller},
};

const PATH: &str = "/aef-security/v1/check-authentication";

fn asks(id: &str) -> Value {
    json!({ "apiInvokerId": id, "supportedFeatures": "0" })
}

fn anybody(site: &Site) -> Caller {
    Caller::new(&site.world, site.gateway.address(), None)
}

async fn check(site: &Site, id: &str) -> Answer {
    anybody(site)
        .json(Method::POST, PATH, Some(&asks(id)))
        .await
}

/// R-6.5.1-03 and D-31: one answer, for an invoker that is ready, one that has no context, and one that there is not.
#[tokio::test]
async fn the_answer_is_the_same_for_everyone() {
    let site = Site::start(&ALL).await;
    let ready = site.world.raw_invoker(&[]).await;
    let idle = site.world.raw_invoker(&[]).await;
    let gone = site.world.raw_invoker(&[]).await;
    for (invoker, method) in [(&ready, &ALL[0]), (&gone, &ALL[1])] {
        let _credential = site.negotiate(invoker, method).await;
    }
    let path = format!("/invokers/{}", gone.id);
    site.world.operator(Method::DELETE, &path, None).await;
    site.settled().await;
    for id in [&ready.id, &idle.id, &gone.id, "INVnobody", "\u{e9} \n"] {
        for _ in 0..2 {
            let answer = check(&site, id).await;
            assert_eq!(answer.status, StatusCode::OK, "{id}");
            assert_eq!(answer.json(), json!({ "supportedFeatures": "0" }));
            let mut headers: Vec<&str> = answer.headers.keys().map(|name| name.as_str()).collect();
            headers.sort_unstable();
            assert_eq!(
                headers,
                ["cache-control", "content-length", "content-type", "date"]
            );
        }
    }
}

/// R-6.5.1-03: what is remembered costs no question to the core function; what is not, exactly one, and the same for everyone.
#[tokio::test]
async fn a_check_costs_one_question_or_none() {
    let lines = Lines::keep();
    let questions = || lines.with("operation", "GetSecIndTrustedAPIInv").len();
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let _credential = site.negotiate(&amy, &SecurityMethod::Pki).await;
    let before = questions();
    for (index, id) in [amy.id.as_str(), "INVnobody"].into_iter().enumerate() {
        for _ in 0..5 {
            check(&site, id).await;
            assert_eq!(questions(), before + index + 1, "{id}");
        }
    }
    // Many at once share the question.
    let many = (0..20).map(|_| check(&site, "INVnobody-else"));
    futures_util::future::join_all(many).await;
    assert_eq!(questions(), before + 3);
}

/// R-6.5.1-03: what was asked for ahead is there when the core function is not.
#[tokio::test]
async fn a_check_makes_ready() {
    for method in ALL {
        let mut site = Site::start(&ALL).await;
        let amy = site.world.raw_invoker(&[]).await;
        let bob = site.world.raw_invoker(&[]).await;
        let credential = site.negotiate(&amy, &method).await;
        let bobs = site.negotiate(&bob, &method).await;
        assert_eq!(check(&site, &amy.id).await.status, 200);
        // The policy is asked for with the first call.
        assert_eq!(site.line(&amy, &credential).status().await, 200);
        site.world.stop().await;
        assert_eq!(site.line(&amy, &credential).status().await, 200, "{method}");
        let answer = site.line(&bob, &bobs).call().await;
        assert!(answer.is_none_or(|answer| answer.status == 503), "{method}");
    }
}

/// TS 29.222 clause 9.1: what is no check is refused, and nothing is asked for it.
#[tokio::test]
async fn what_is_no_check_is_refused() {
    let lines = Lines::keep();
    let site = Site::start(&ALL).await;
    let caller = anybody(&site);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = caller.json(method, PATH, Some(&asks("INV1"))).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        answer.cause();
    }
    let post = |content_type: Option<&str>, body: Vec<u8>| {
        let mut request = Request::post(PATH);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        request.body(body).unwrap()
    };
    let sound = asks("INV1").to_string().into_bytes();
    for content_type in [None, Some("text/plain"), Some("application/jsonx")] {
        let answer = caller.send(post(content_type, sound.clone())).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        answer.cause();
    }
    for body in [
        Vec::new(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        asks("").to_string().into_bytes(),
        asks(&"x".repeat(257)).to_string().into_bytes(),
        br#"{"apiInvokerId":7,"supportedFeatures":"0"}"#.to_vec(),
        br#"{"apiInvokerId":"INV1","apiInvokerId":"INV2","supportedFeatures":"0"}"#.to_vec(),
        br#"{"apiInvokerId":"INV1"}"#.to_vec(),
        br#"{"apiInvokerId":"INV1","supportedFeatures":"xyz"}"#.to_vec(),
        b"\xff\xfe".to_vec(),
    ] {
        let answer = caller.send(post(Some("application/json"), body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.cause(), "INVALID_MSG_FORMAT");
    }
    let large = asks(&"x".repeat(5000)).to_string().into_bytes();
    let answer = caller.send(post(Some("application/json"), large)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.cause(), "INCORRECT_LENGTH");
    assert!(lines.with("operation", "GetSecIndTrustedAPIInv").is_empty());
    let answer = caller
        .send(post(Some("application/json; charset=utf-8"), sound))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// D-31: each address has so many questions, and is told when it has had them; calls go on.
#[tokio::test]
async fn questions_are_limited_per_address() {
    let world = World::start().await;
    let site = Site::of(world, &ALL, |_| {}).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Pki).await;
    let caller = anybody(&site);
    let body = asks("INV1");
    let mut answered = 0;
    let refused = loop {
        let answer = caller.json(Method::POST, PATH, Some(&body)).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        answered += 1;
        assert!(answered < 5000, "there is no limit");
    };
    assert!(answered >= 200);
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "1");
    refused.cause();
    assert_eq!(site.line(&amy, &credential).status().await, 200);
}
