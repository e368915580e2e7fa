//! The body of the request: what is refused leaves nothing behind, and the credential with it is still good, since a mistake in
//! a body is mended by another try (R-6.1-10, P-08).

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World, keys,
    people::{INVOKERS, enrolment, enrolment_for},
    wire::Answer,
};

async fn send(world: &World, credential: &str, media: Option<&str>, body: Vec<u8>) -> Answer {
    let mut request =
        Request::post(INVOKERS).header("authorization", format!("Bearer {credential}"));
    if let Some(media) = media {
        request = request.header("content-type", media);
    }
    world.anonymous().send(request.body(body).unwrap()).await
}

/// TS 29.222 clause 8.4.4.2.2 and TS 29.500 clause 5.2.7.2: members that are missing, of a wrong type, given twice or not for
/// the invoker to give are refused with 400, a cause and the culprit.
#[tokio::test]
async fn a_malformed_body_is_refused_and_leaves_nothing_behind() {
    let world = World::start().await;
    let credential = world.credential(&["weather"]).await;
    let key = keys::request(&keys::p256());
    let good = enrolment(&key);
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        match pointer.rsplit_once('/') {
            Some(("", member)) => body[member] = value,
            Some((parent, member)) => body.pointer_mut(parent).unwrap()[member] = value,
            None => body = value,
        }
        body.to_string()
    };
    let without = |member: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(member);
        body.to_string()
    };
    let text = good.to_string();
    let cases: Vec<(String, &str, &str)> = vec![
        (String::new(), "INVALID_MSG_FORMAT", ""),
        ("{".to_owned(), "INVALID_MSG_FORMAT", ""),
        ("null".to_owned(), "MANDATORY_IE_INCORRECT", ""),
        ("[]".to_owned(), "MANDATORY_IE_INCORRECT", ""),
        ("\u{feff}{}".to_owned(), "INVALID_MSG_FORMAT", ""),
        (format!("{text} {text}"), "INVALID_MSG_FORMAT", ""),
        (
            "{}".to_owned(),
            "MANDATORY_IE_MISSING",
            "/onboardingInformation",
        ),
        (
            without("onboardingInformation"),
            "MANDATORY_IE_MISSING",
            "/onboardingInformation",
        ),
        (
            without("notificationDestination"),
            "MANDATORY_IE_MISSING",
            "/notificationDestination",
        ),
        (
            with("/onboardingInformation", json!({})),
            "MANDATORY_IE_MISSING",
            "/onboardingInformation/apiInvokerPublicKey",
        ),
        (
            with("/onboardingInformation", json!([])),
            "MANDATORY_IE_INCORRECT",
            "/onboardingInformation",
        ),
        (
            with("/onboardingInformation/apiInvokerPublicKey", json!(7)),
            "MANDATORY_IE_INCORRECT",
            "/onboardingInformation/apiInvokerPublicKey",
        ),
        (
            with("/onboardingInformation/apiInvokerPublicKey", Value::Null),
            "MANDATORY_IE_INCORRECT",
            "/onboardingInformation/apiInvokerPublicKey",
        ),
        (
            with("/notificationDestination", json!(true)),
            "MANDATORY_IE_INCORRECT",
            "/notificationDestination",
        ),
        (
            with("/notificationDestination", json!("nowhere")),
            "MANDATORY_IE_INCORRECT",
            "/notificationDestination",
        ),
        (
            with("/notificationDestination", json!("https://user@host/")),
            "MANDATORY_IE_INCORRECT",
            "/notificationDestination",
        ),
        (
            with("/apiInvokerId", json!("INV1")),
            "MANDATORY_IE_INCORRECT",
            "/apiInvokerId",
        ),
        (
            with("/apiInvokerId", Value::Null),
            "MANDATORY_IE_INCORRECT",
            "/apiInvokerId",
        ),
        (
            with("/apiList", json!("weather")),
            "MANDATORY_IE_INCORRECT",
            "/apiList",
        ),
        (
            with("/apiList", json!({ "serviceAPIDescriptions": [] })),
            "MANDATORY_IE_INCORRECT",
            "/apiList/serviceAPIDescriptions",
        ),
        (
            with(
                "/apiList",
                json!({ "serviceAPIDescriptions": [{ "apiName": "weather" }, {}] }),
            ),
            "MANDATORY_IE_MISSING",
            "/apiList/serviceAPIDescriptions/1/apiName",
        ),
        (
            with("/supportedFeatures", json!("xyz")),
            "MANDATORY_IE_INCORRECT",
            "/supportedFeatures",
        ),
        (
            with("/expTime", json!("tomorrow")),
            "MANDATORY_IE_INCORRECT",
            "/expTime",
        ),
        (
            text.replacen(
                '{',
                "{\"notificationDestination\":\"https://other.example/\",",
                1,
            ),
            "INVALID_MSG_FORMAT",
            "/notificationDestination",
        ),
        (
            text.replacen(
                '{',
                "{\"notificationDestin\\u0061tion\":\"https://other.example/\",",
                1,
            ),
            "INVALID_MSG_FORMAT",
            "/notificationDestination",
        ),
        (
            text.replacen('{', "{\"x\":1,\"x\":1,", 1),
            "INVALID_MSG_FORMAT",
            "/x",
        ),
        (
            text.replacen('{', "{\"x\":{\"y\":1,\"y\":1},", 1),
            "INVALID_MSG_FORMAT",
            "/x/y",
        ),
        (
            text.replacen(
                '{',
                &format!("{{\"x\":{}{},", "[".repeat(100), "]".repeat(100)),
                1,
            ),
            "INVALID_MSG_FORMAT",
            "",
        ),
    ];
    for (body, cause, culprit) in cases {
        let answer = send(
            &world,
            &credential,
            Some("application/json"),
            body.clone().into_bytes(),
        )
        .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.cause(), cause, "{body}: {}", answer.json());
        let named = &answer.json()["invalidParams"][0]["param"];
        assert!(
            named.as_str().unwrap_or_default().starts_with(culprit),
            "{body}: {named}"
        );
    }
    nothing_left(&world).await;
    let answer = world.onboard(&credential, &good).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
}

/// TS 29.222 clause 7.3 and TS 29.500: another media type is 415, a body over the limit is 413, with nothing read on.
#[tokio::test]
async fn wrong_media_types_and_oversized_bodies_are_refused() {
    let world = World::start().await;
    let credential = world.credential(&[]).await;
    let good = enrolment(&keys::request(&keys::p256()));
    for media in [
        None,
        Some("text/plain"),
        Some("application/merge-patch+json"),
        Some("application/jsonx"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data"),
        Some(""),
    ] {
        let answer = send(&world, &credential, media, good.to_string().into_bytes()).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{media:?}"
        );
        assert_eq!(answer.cause(), "INVALID_MSG_FORMAT");
    }
    // One octet over the limit, as one piece of blanks after a good body.
    let limit = world.config.limits.body_bytes_max;
    assert_eq!(limit, 1 << 20);
    let mut body = good.to_string().into_bytes();
    body.resize(limit + 1, b' ');
    let answer = send(&world, &credential, Some("application/json"), body.clone()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.cause(), "INCORRECT_LENGTH");
    nothing_left(&world).await;
    body.resize(limit, b' ');
    let answer = send(
        &world,
        &credential,
        Some("application/json; charset=utf-8"),
        body,
    )
    .await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "exactly the limit passes: {}",
        answer.json()
    );
}

/// R-6.1-06: the credential comes first: who has none learns nothing about the body.
#[tokio::test]
async fn the_credential_is_judged_before_the_body() {
    let world = World::start().await;
    for body in ["", "{", "{}"] {
        let answer = send(&world, "forged", Some("application/json"), body.into()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{body}");
    }
    let answer = world
        .anonymous()
        .json(Method::POST, INVOKERS, Some(&json!({})))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
}

/// TS 29.222 clause 8.4.4.2.2: what the core function gives is never taken from the request; features that were not agreed on
/// are not answered (clause 7.8), least of all an expiry that nobody keeps.
#[tokio::test]
async fn members_that_the_core_function_gives_are_not_taken_from_the_request() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("by-certificate", &["PKI"]).await;
    let mut body = enrolment_for(&keys::request(&keys::p256()), &["by-certificate"]);
    body["onboardingInformation"]["apiInvokerCertificate"] = json!("mine");
    body["onboardingInformation"]["onboardingSecret"] = json!("0123456789");
    body["failureReasons"] = json!([{ "apiName": "x", "failureCode": "UNSPECIFIED" }]);
    body["expTime"] = json!("2099-01-01T00:00:00Z");
    body["apiList"]["serviceAPIDescriptions"][0]["apiId"] = json!("API1");
    let answer = world
        .onboard(&world.credential(&["by-certificate"]).await, &body)
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let details = answer.json();
    let information = &details["onboardingInformation"];
    assert!(
        information["apiInvokerCertificate"]
            .as_str()
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    assert!(information.get("onboardingSecret").is_none());
    assert!(details.get("failureReasons").is_none());
    assert!(details.get("expTime").is_none());
    assert_ne!(
        details["apiList"]["serviceAPIDescriptions"][0]["apiId"],
        "API1"
    );
}

/// What a refusal must not leave: no row in the operator's list, no record of the request in the store.
pub(super) async fn nothing_left(world: &World) {
    assert!(world.list("invokers").await.is_empty());
    assert!(!world.store_holds(b"invoker.example"));
}
