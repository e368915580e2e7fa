//! Bad input: a 4xx problem that says what to do, and nothing changed (TS 29.222 clause 7.7, TS 29.500 clause 5.2.7.2, P-15).

use capif_ccf::api::operations::{BodyKind, CallerKind, OPERATIONS};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{World, keys, people, wire::Caller};

fn with_body(method: &Method, path: &str, media: &str, body: &[u8]) -> Request<Vec<u8>> {
    Request::builder()
        .method(method.clone())
        .uri(path)
        .header("content-type", media)
        .body(body.to_vec())
        .unwrap()
}

/// For each operation with a body, somebody who may call it, with a path of its own.
async fn callable(
    world: &World,
) -> Vec<(
    &'static str,
    Method,
    String,
    BodyKind,
    Caller,
    Option<String>,
)> {
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI", "OAUTH"]).await;
    let amy = world.raw_invoker(&[]).await;
    assert_eq!(
        amy.negotiate(&domain.aef.id, &["PKI"]).await.status,
        StatusCode::CREATED
    );
    let mut all = Vec::new();
    for operation in OPERATIONS
        .iter()
        .filter(|operation| operation.body != BodyKind::None)
    {
        let kind = operation.callers[0];
        let (party, credential) = match kind {
            CallerKind::Invoker => (Some(&amy.party), None),
            CallerKind::Aef => (Some(&domain.aef), None),
            CallerKind::Apf => (Some(&domain.apf), None),
            CallerKind::Amf => (Some(&domain.amf), None),
            CallerKind::OnboardingCredential => (None, Some(world.credential(&[]).await)),
            CallerKind::RegistrationCredential => {
                (None, Some(world.registration_credential("new").await))
            }
            CallerKind::Anyone => (None, None),
        };
        let own = if operation.path.contains("{registrationId}") {
            domain.id.clone()
        } else if operation.path.contains("trustedInvokers") {
            amy.id.clone()
        } else {
            party.map(|party| party.id.clone()).unwrap_or_default()
        };
        let mut first = true;
        let path: Vec<String> = operation
            .path
            .split('/')
            .map(|segment| match segment.starts_with('{') {
                true if std::mem::take(&mut first) => own.clone(),
                true => api.clone(),
                false => segment.to_owned(),
            })
            .collect();
        let caller = party.map_or_else(|| world.anonymous(), |party| party.caller.clone());
        all.push((
            operation.id,
            operation.method.clone(),
            path.join("/"),
            operation.body,
            caller,
            credential,
        ));
    }
    all
}

async fn state(world: &World) -> Vec<Vec<Value>> {
    let mut state = Vec::new();
    for what in [
        "invokers",
        "providers",
        "apis",
        "contexts",
        "events",
        "logs",
    ] {
        state.push(world.list(what).await);
    }
    state
}

/// A body that is no JSON, names a member twice, is too deep or of another type is refused with the cause for it.
#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let world = World::start().await;
    let operations = callable(&world).await;
    let before = state(&world).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: [&[u8]; 16] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1e400",
        b"\"text\"",
        b"{} {}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{\"apiName\":\"a\",\"apiName\":\"b\"}",
        b"{\"x\":1,\"\\u0078\":2}",
        b"{\"securityInfo\":7}",
        b"{\"onboardingInformation\":[]}",
        b"{\"apiProvFuncs\":\"AEF\"}",
        b"{\"events\":{}}",
        deep.as_bytes(),
    ];
    for (id, method, path, kind, caller, credential) in &operations {
        let media = kind.media_type().unwrap();
        for body in bodies {
            let mut request = with_body(method, path, media, body);
            if let Some(credential) = credential {
                request.headers_mut().insert(
                    "authorization",
                    format!("Bearer {credential}").parse().unwrap(),
                );
            }
            let answer = caller.send(request).await;
            let text = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            let status = answer.status;
            let unknown = [
                "{\"securityInfo\"",
                "{\"onboardingInformation\"",
                "{\"events\"",
            ];
            let of_unknown = unknown.iter().any(|member| text.starts_with(member));
            if *method == Method::PATCH && status == StatusCode::OK && of_unknown {
                // A patch of members that the type does not have changes nothing.
                continue;
            }
            assert!(
                status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED,
                "{id} with {text}: {status} {}",
                answer.json()
            );
            if *kind != BodyKind::Form {
                assert!(!answer.cause().is_empty(), "{id} with {text}");
            }
        }
    }
    assert_eq!(state(&world).await, before);
}

/// Every media type but the one of the operation answers 415, and a PATCH says which it takes.
#[tokio::test]
async fn other_media_types_are_refused() {
    let world = World::start().await;
    for (id, method, path, kind, caller, credential) in callable(&world).await {
        for media in [
            "text/plain",
            "application/json-patch+json",
            "application/xml",
            "*/*",
            "",
        ] {
            let mut request = with_body(&method, &path, media, b"{}");
            if let Some(credential) = &credential {
                request.headers_mut().insert(
                    "authorization",
                    format!("Bearer {credential}").parse().unwrap(),
                );
            }
            let answer = caller.send(request).await;
            if answer.status == StatusCode::NOT_IMPLEMENTED {
                continue;
            }
            assert_eq!(
                answer.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{id} with {media}"
            );
            if kind == BodyKind::MergePatch {
                assert_eq!(
                    answer.headers["accept-patch"],
                    "application/merge-patch+json"
                );
            }
        }
    }
}

/// A body over the limit answers 413, whether its length is said or not.
#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let world = World::with(|config| config.limits.body_bytes_max = 1000).await;
    let credential = world.credential(&[]).await;
    let mut body = people::enrolment(&keys::public_pem(&keys::p256()));
    body["apiInvokerInformation"] = "x".repeat(1000).into();
    let answer = world.onboard(&credential, &body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.cause(), "INCORRECT_LENGTH");
    // The credential was not used by that.
    body["apiInvokerInformation"] = "x".into();
    assert_eq!(
        world.onboard(&credential, &body).await.status,
        StatusCode::CREATED
    );
}

/// Paths that are not there, not in canonical form, or take other methods say so.
#[tokio::test]
async fn paths_and_methods() {
    let world = World::start().await;
    let caller = world.anonymous();
    for (path, status, cause) in [
        ("/", StatusCode::BAD_REQUEST, "INVALID_API"),
        (
            "/nothing/here",
            StatusCode::NOT_FOUND,
            "RESOURCE_URI_STRUCTURE_NOT_FOUND",
        ),
        (
            "//service-apis/v1/allServiceAPIs",
            StatusCode::BAD_REQUEST,
            "INVALID_API",
        ),
        (
            "/service-apis/v1/../v1/allServiceAPIs",
            StatusCode::BAD_REQUEST,
            "INVALID_API",
        ),
        (
            "/service-apis/v1/allServiceAPIs/",
            StatusCode::BAD_REQUEST,
            "INVALID_API",
        ),
        (
            "/service-apis/v1%2fallServiceAPIs",
            StatusCode::BAD_REQUEST,
            "INVALID_API",
        ),
        (
            "/service-apis/v1/all;x/y",
            StatusCode::BAD_REQUEST,
            "INVALID_API",
        ),
    ] {
        let answer = caller.json(Method::GET, path, None).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.cause(), cause, "{path}");
    }
    let answer = caller
        .json(Method::DELETE, "/service-apis/v1/allServiceAPIs", None)
        .await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "GET");
}

/// Thousands of documents made from valid ones by a seeded generator: never a 5xx, and the core function goes on.
#[tokio::test]
async fn mutated_documents_never_break_anything() {
    let world = World::start().await;
    let operations = callable(&world).await;
    let seeds = [
        people::enrolment_for(&keys::public_pem(&keys::p256()), &["weather"]),
        people::wishes(&[("AEF0", &["PKI", "OAUTH"])]),
        json!({ "apiName": "weather", "aefProfiles": [people::profile("AEF0", &["PKI"])] }),
        people::registration(
            "x",
            &[people::function("AEF", &keys::public_pem(&keys::p256()))],
        ),
        json!({ "events": ["SERVICE_API_UPDATE"], "notificationDestination": "https://a.example/", "eventFilters": [{"apiIds": ["x"]}], "supportedFeatures": "4" }),
        json!({ "aefId": "AEF0", "apiInvokerId": "INV0", "logs": [{ "apiId": "a", "apiName": "b", "apiVersion": "v1", "resourceName": "r", "protocol": "HTTP_1_1", "result": "200" }] }),
        json!({ "apiInvokerId": "INV0", "apiIds": ["a"], "cause": "OVERLIMIT_USAGE" }),
        json!({ "tokenSha256": "00", "expires": "2030-01-01T00:00:00Z" }),
    ];
    let mut random = Random(0x5eed_0001);
    for (id, method, path, kind, caller, credential) in &operations {
        if *kind == BodyKind::Form {
            continue;
        }
        for _ in 0..120 {
            let mut document = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(3) {
                mutate(&mut document, &mut random);
            }
            let mut request = with_body(
                method,
                path,
                kind.media_type().unwrap(),
                document.to_string().as_bytes(),
            );
            if let Some(credential) = credential {
                request.headers_mut().insert(
                    "authorization",
                    format!("Bearer {credential}").parse().unwrap(),
                );
            }
            let answer = caller.send(request).await;
            assert!(
                !answer.status.is_server_error() || answer.status == StatusCode::NOT_IMPLEMENTED,
                "{id} with {document}: {} {}",
                answer.status,
                answer.json()
            );
        }
    }
    assert_eq!(world.list("invokers").await.len(), 1);
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Changes one place of a document.
fn mutate(value: &mut Value, random: &mut Random) {
    let descend = random.below(4) != 0;
    match value {
        Value::Object(members) if descend && !members.is_empty() => {
            let index = random.below(members.len());
            let name = members.keys().nth(index).unwrap().clone();
            if random.below(6) == 0 {
                members.remove(&name);
            } else {
                mutate(&mut members[&name], random);
            }
        }
        Value::Array(items) if descend && !items.is_empty() => {
            let index = random.below(items.len());
            if random.below(6) == 0 {
                items.clear();
            } else {
                mutate(&mut items[index], random);
            }
        }
        other => {
            *other = match random.below(12) {
                0 => Value::Null,
                1 => json!(-1),
                2 => json!(1e300),
                3 => json!([]),
                4 => json!({}),
                5 => json!(""),
                6 => json!("x".repeat(70_000)),
                7 => json!("\u{0}\r\n\u{1b}[31m"),
                8 => json!(true),
                9 => json!("../../etc"),
                10 => json!([[[[{}]]]]),
                _ => json!("9999-99-99T99:99:99Z"),
            };
        }
    }
}
