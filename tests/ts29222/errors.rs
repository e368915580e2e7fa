//! Bad input to every operation (TS 29.222 clause 7.7, TS 29.500 clause 5.2.7.2, P-15): a 4xx problem report with its cause, never
//! 5xx, and nothing is changed.

mod mutations;

use capif_ccf::api::operations::{BodyKind, CallerKind, OPERATIONS, Operation};
use http::{Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Choice, Scene, Who};
use crate::support::{
    World,
    people::{INVOKERS, REGISTRATIONS},
    raw,
    wire::Answer,
};

/// Who may call an operation, with what it takes beyond a certificate.
pub(super) struct Ready<'a> {
    pub(super) operation: &'a Operation,
    pub(super) who: Who,
    pub(super) credential: Option<String>,
}

impl Ready<'_> {
    pub(super) fn request(&self, scene: &Scene) -> Request<Vec<u8>> {
        let mut request = scene.request(self.operation, &self.who, Choice::Own);
        if let Some(credential) = &self.credential {
            let value = format!("Bearer {credential}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
            if self.operation.id == "CreateApiProvRegist" {
                let mut body: Value = serde_json::from_slice(request.body()).unwrap();
                body["regSec"] = json!(credential);
                *request.body_mut() = body.to_string().into_bytes();
            }
        }
        request
    }
}

/// Every operation that takes a body and is served, with a caller for whom it is.
pub(super) async fn with_bodies<'a>(world: &World, scene: &Scene) -> Vec<Ready<'a>> {
    let everybody = scene.everybody();
    let mut all = Vec::new();
    for operation in OPERATIONS {
        if operation.body == BodyKind::None {
            continue;
        }
        let kind = operation.callers[0];
        let credential = match kind {
            CallerKind::OnboardingCredential => Some(world.credential(&[]).await),
            CallerKind::RegistrationCredential => {
                Some(world.registration_credential("fresh").await)
            }
            _ => None,
        };
        let who = match credential {
            Some(_) => Who {
                pems: None,
                ..everybody[0].clone()
            },
            None => everybody
                .iter()
                .find(|who| who.kind == Some(kind))
                .unwrap()
                .clone(),
        };
        all.push(Ready {
            operation,
            who,
            credential,
        });
    }
    assert_eq!(all.len(), 20);
    all
}

/// Checks that an answer is a refusal that helps.
fn helps(what: &str, answer: &Answer) {
    assert!(
        answer.status.is_client_error(),
        "{what}: {} {}",
        answer.status,
        answer.json()
    );
    if answer.json().get("error").is_some() {
        assert_eq!(answer.headers["content-type"], "application/json", "{what}");
        assert!(answer.json()["error_description"].is_string(), "{what}");
    } else {
        assert!(!answer.cause().is_empty(), "{what}: {}", answer.json());
        assert_eq!(
            answer.headers["x-request-id"],
            answer.json()["requestId"].as_str().unwrap(),
            "{what}"
        );
    }
}

async fn everything(world: &World) -> Vec<Value> {
    let mut lists = Vec::new();
    for list in [
        "invokers",
        "providers",
        "apis",
        "contexts",
        "events",
        "logs",
    ] {
        lists.extend(world.list(list).await);
    }
    lists
}

/// TS 29.500 clause 5.2.7.2: bodies that are not JSON, repeat a member, nest without end or are of another shape are 400 with a
/// cause; another media type is 415, for PATCH with the one that is taken; a body over the limit is 413.
#[tokio::test]
async fn malformed_bodies_are_refused_by_every_operation() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let ready = with_bodies(&world, &scene).await;
    let before = everything(&world).await;
    for ready in &ready {
        let operation = ready.operation;
        let good = ready.request(&scene);
        let text = String::from_utf8(good.body().clone()).unwrap();
        let with = |media: Option<&str>, body: Vec<u8>| {
            let mut request = good.clone();
            request.headers_mut().remove("content-type");
            if let Some(media) = media {
                request
                    .headers_mut()
                    .insert("content-type", media.parse().unwrap());
            }
            *request.body_mut() = body;
            request
        };
        let own = operation.body.media_type();
        let limit = world.config.limits.body_bytes_max;
        let mut cases: Vec<(String, Request<Vec<u8>>, StatusCode)> = Vec::new();
        for media in [
            None,
            Some("text/plain"),
            Some("application/xml"),
            Some("application/json-patch+json"),
            Some("/"),
        ] {
            cases.push((
                format!("{media:?}"),
                with(media, text.clone().into_bytes()),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ));
        }
        let mut large = text.clone().into_bytes();
        large.resize(limit + 1, b' ');
        cases.push((
            "too large".to_owned(),
            with(own, large),
            StatusCode::PAYLOAD_TOO_LARGE,
        ));
        if operation.body != BodyKind::Form {
            let twice = text.replacen(
                '{',
                "{\"vendorSpecific-x\":1,\"vendorSpecific-\\u0078\":2,",
                1,
            );
            let nested = text.replacen(
                '{',
                &format!("{{\"x\":{}1{},", "[".repeat(70), "]".repeat(70)),
                1,
            );
            let deep = "[".repeat(100_000);
            for body in [
                "",
                " ",
                "{",
                "}",
                "null",
                "true",
                "1",
                "\"text\"",
                "[]",
                "[{}]",
                "{}{}",
                "{\"a\"}",
                "{'a':1}",
                "{\"a\":1,}",
                "{\"a\":NaN}",
                "{\"a\":1e999}",
                "{\"\\ud800\":1}",
                "\u{feff}{}",
                &twice,
                &nested,
                &deep,
                &text[..text.len() - 1],
                &format!("{text},"),
                &text.replacen('{', "{\"a\":\"\u{1}\",", 1),
            ] {
                cases.push((
                    body.chars().take(40).collect(),
                    with(own, body.into()),
                    StatusCode::BAD_REQUEST,
                ));
            }
            let mut not_text = text.clone().into_bytes();
            not_text[2] = 0xff;
            cases.push((
                "not UTF-8".to_owned(),
                with(own, not_text),
                StatusCode::BAD_REQUEST,
            ));
        }
        for (what, request, status) in cases {
            let what = format!("{}: {what}", operation.id);
            let answer = ready.who.send(&world, ready.operation, request).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.json());
            helps(&what, &answer);
            let patch = operation.body == BodyKind::MergePatch
                && status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
            assert_eq!(
                answer.headers.get("accept-patch").is_some(),
                patch,
                "{what}"
            );
        }
    }
    assert_eq!(everything(&world).await, before);
}

/// TS 29.500 clause 5.2.7.2: each member of each request, given another type, is refused by name, or was no member that counts.
#[tokio::test]
async fn wrong_types_are_refused_by_name() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let mut refusals = 0;
    for ready in with_bodies(&world, &scene).await {
        if ready.operation.body == BodyKind::Form {
            continue;
        }
        let good: Value = serde_json::from_slice(ready.request(&scene).body()).unwrap();
        for pointer in pointers(&good) {
            for wrong in [json!({}), json!([[]]), json!(1.5), json!(true), Value::Null] {
                // A merge patch may change nothing, and takes members away by `null` (RFC 7396).
                let patch = ready.operation.body == BodyKind::MergePatch;
                if patch
                    && (pointer.is_empty() && wrong == json!({})
                        || !pointer.is_empty() && wrong.is_null())
                {
                    continue;
                }
                let mut body = good.clone();
                *body.pointer_mut(&pointer).unwrap() = wrong.clone();
                let mut request = ready.request(&scene);
                *request.body_mut() = body.to_string().into_bytes();
                let answer = ready.who.send(&world, ready.operation, request).await;
                let what = format!("{} {pointer} = {wrong}", ready.operation.id);
                assert!(
                    !answer.status.is_server_error(),
                    "{what}: {}",
                    answer.json()
                );
                assert!(
                    !answer.status.is_success(),
                    "{what} was taken: {}",
                    answer.json()
                );
                helps(&what, &answer);
                if answer.status == StatusCode::BAD_REQUEST {
                    let named = answer.json()["invalidParams"][0]["param"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned();
                    let related = pointer.starts_with(&named) || named.starts_with(&pointer);
                    assert!(related, "{what}: {named}");
                    refusals += 1;
                }
            }
        }
    }
    assert!(refusals > 300, "{refusals}");
}

/// Every place in a document where a value of one type stands.
fn pointers(document: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let children: Vec<(String, &Value)> = match document {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        // What a function says of itself, and what the product keeps for others, has no type of its own.
        if !name.starts_with("vendorSpecific") {
            all.extend(
                pointers(child)
                    .into_iter()
                    .map(|pointer| format!("/{name}{pointer}")),
            );
        }
    }
    all
}

/// P-30 in the core function: a path that can be read in more than one way is 400, one that leads nowhere 404, one that takes other
/// methods 405 with their names. A doubled slash is one slash to deployed clients alone.
#[tokio::test]
async fn odd_paths_and_methods_are_refused() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let before = everything(&world).await;
    let apf = &scene.domains[0].apf;
    let id = apf.id.as_str();
    let odd = [
        format!("//published-apis/v1/{id}/service-apis"),
        format!("/published-apis//v1/{id}/service-apis"),
        format!("/published-apis/v1/{id}/service-apis/"),
        "/published-apis/v1//service-apis".to_owned(),
        format!("/published-apis/v1/{id}/./service-apis"),
        format!("/published-apis/v1/x/../{id}/service-apis"),
        format!("/published-apis/v1/{id}/service-apis/.."),
        format!("/published-apis/v1/{id}%2fservice-apis"),
        format!("/published-apis/v1/{id}/service%2dapis"),
        format!("/published-apis/v1/{id}/service-apis/%2e%2e"),
        format!("/published-apis/v1/{id}/service-apis/%00"),
        format!("/published-apis/v1/{id}/service-apis/a%20b"),
        format!("/published-apis/v1/{id}/service-apis;x=1"),
        format!("/published-apis/v1/{id}/service-apis/..;x"),
        format!("/published-apis/v1/{id}/service-apis/a:b"),
        format!("/published-apis/v1/{id}/service-apis/a@b"),
        format!("/published-apis/v1/{id}/service-apis/a|b"),
        format!("/published-apis/v1/{id}/service-apis/%"),
        "/".to_owned(),
    ];
    for path in odd {
        let Ok(uri) = path.parse::<Uri>() else {
            continue;
        };
        let ask = async |method: Method, uri: &Uri| {
            let request = Request::builder().method(method).uri(uri.clone());
            apf.caller.send(request.body(Vec::new()).unwrap()).await
        };
        for method in [Method::GET, Method::DELETE] {
            let answer = ask(method.clone(), &uri).await;
            if world.is_lenient() && path.contains("//") {
                let plain = ask(method, &path.replace("//", "/").parse().unwrap()).await;
                assert_eq!(answer.status, plain.status, "{path}");
                assert_ne!(answer.status, StatusCode::BAD_REQUEST, "{path}");
                continue;
            }
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
            assert_eq!(answer.cause(), "INVALID_API", "{path}");
        }
    }
    for path in [
        "/published-apis",
        "/published-apis/v2/x/service-apis",
        "/Published-Apis/v1/x/service-apis",
        "/published-apis/v1/x/service-apis/y/z",
        "/onboardedInvokers",
        "/admin",
        "/livez",
        "/invokers",
        "/.well-known/openid-configuration",
        "/aef-security/v1/check-authentication",
    ] {
        let answer = apf.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.cause(), "RESOURCE_URI_STRUCTURE_NOT_FOUND");
    }
    for operation in OPERATIONS {
        let path = operation.path.replace(['{', '}'], "");
        let of_path: Vec<&Operation> = OPERATIONS
            .iter()
            .filter(|other| other.path == operation.path)
            .collect();
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get",
        ] {
            if of_path.iter().any(|other| other.method.as_str() == method) {
                continue;
            }
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .body(Vec::new())
                .unwrap();
            let answer = apf.caller.send(request).await;
            // What is no method of HTTP is none at any path.
            if ["PROPFIND", "get"].contains(&method) {
                assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{method}");
                continue;
            }
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            if method != "HEAD" {
                assert_eq!(answer.cause(), "INVALID_API");
            }
            let allowed: Vec<&str> = answer.headers["allow"]
                .to_str()
                .unwrap()
                .split(", ")
                .collect();
            assert_eq!(allowed.len(), of_path.len(), "{method} {path}");
            assert!(
                of_path
                    .iter()
                    .all(|other| allowed.contains(&other.method.as_str()))
            );
        }
    }
    assert_eq!(everything(&world).await, before);
}

/// TS 29.500 clause 5.2.9: a GET may ignore a parameter that it does not know; any other method refuses it by name. A parameter
/// given twice, or a flood of them, is refused everywhere.
#[tokio::test]
async fn query_parameters_are_held_to_the_rules() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let before = everything(&world).await;
    for who in scene.everybody().iter().take(4) {
        for operation in OPERATIONS {
            let own = who
                .kind
                .is_some_and(|kind| operation.callers.contains(&kind));
            // A WebSocket is there for who asked for one.
            if !own || operation.id == "OpenWebSocket" {
                continue;
            }
            let with = |query: &str| {
                let mut request = scene.request(operation, who, Choice::Own);
                let path = request.uri().to_string();
                let mark = if path.contains('?') { '&' } else { '?' };
                *request.uri_mut() = format!("{path}{mark}{query}").parse().unwrap();
                request
            };
            let get = operation.method == Method::GET;
            let is_token = operation.id == "GetOAuthIndAPIInv";
            let unknown = who.caller.send(with("surprise=1")).await;
            if get {
                assert!(
                    !unknown.status.is_client_error(),
                    "{}: {}",
                    operation.id,
                    unknown.json()
                );
            } else {
                assert_eq!(unknown.status, StatusCode::BAD_REQUEST, "{}", operation.id);
                if is_token {
                    assert_eq!(unknown.json()["error"], "invalid_request");
                } else {
                    assert_eq!(unknown.cause(), "INVALID_QUERY_PARAM");
                    assert_eq!(unknown.json()["invalidParams"][0]["param"], "surprise");
                }
            }
            let flood: String = (0..100).map(|number| format!("p{number}=1&")).collect();
            for query in ["a=1&a=2", "a=1&%61=2", &flood, "%=%", "a=%ff"] {
                let answer = who.caller.send(with(query)).await;
                let refused = answer.status == StatusCode::BAD_REQUEST
                    && (is_token || answer.cause() == "INVALID_QUERY_PARAM");
                let ignored =
                    get && ["%=%", "a=%ff"].contains(&query) && !answer.status.is_client_error();
                assert!(
                    refused || ignored,
                    "{} {query}: {}",
                    operation.id,
                    answer.status
                );
            }
        }
    }
    // No enrolment by query either.
    for (path, credential) in [
        (INVOKERS, world.credential(&[]).await),
        (REGISTRATIONS, world.registration_credential("fresh").await),
    ] {
        let answer = world
            .anonymous()
            .bearer(
                Method::POST,
                &format!("{path}?x=1"),
                &credential,
                Some(&json!({})),
            )
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.cause(), "INVALID_QUERY_PARAM");
    }
    assert_eq!(everything(&world).await, before);
}

/// P-16, P-17: headers beyond the limits of the listener end in 4xx or with the connection, never worse; the core function serves on.
#[tokio::test]
async fn oversized_headers_are_refused() {
    let world = World::start().await;
    let address = world.ccf().local_addr();
    let many: String = (0..200)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let long = format!("x-long: {}\r\n", "a".repeat(64 * 1024));
    let target = format!("/{}", "a".repeat(70_000));
    for (what, text) in [
        (
            "many",
            format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: ccf\r\n{many}\r\n"),
        ),
        (
            "long",
            format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: ccf\r\n{long}\r\n"),
        ),
        (
            "target",
            format!("GET {target} HTTP/1.1\r\nhost: ccf\r\n\r\n"),
        ),
        (
            "no host line",
            "GET /.well-known/jwks.json HTTP/1.1\r\nhost ccf\r\n\r\n".to_owned(),
        ),
        (
            "version",
            "GET /.well-known/jwks.json HTTP/9.9\r\nhost: ccf\r\n\r\n".to_owned(),
        ),
        (
            "two lengths",
            format!(
                "POST {INVOKERS} HTTP/1.1\r\nhost: ccf\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
            ),
        ),
        (
            "length and chunks",
            format!(
                "POST {INVOKERS} HTTP/1.1\r\nhost: ccf\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        ("noise", "\u{0}\u{1}\u{2}\r\n\r\n".to_owned()),
    ] {
        let mut stream = raw::tls(address, &world.root_pem(), None, b"http/1.1")
            .await
            .unwrap();
        let _gone = stream.write_all(text.as_bytes()).await;
        let _gone = stream.shutdown().await;
        let mut octets = Vec::new();
        let _gone = stream.read_to_end(&mut octets).await;
        let answer = String::from_utf8_lossy(&octets);
        assert!(
            answer.is_empty()
                || answer.starts_with("HTTP/1.1 4")
                || answer.starts_with("HTTP/1.0 4"),
            "{what}: {answer}"
        );
    }
    let answer = world
        .anonymous()
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// Names and texts as long as the rules allow, in every place that becomes a key of the store or a line of an answer.
#[tokio::test]
async fn the_longest_texts_allowed_do_no_harm() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    for length in [
        255, 256, 1024, 1025, 4096, 32_768, 65_000, 65_535, 65_536, 65_537,
    ] {
        for letter in ["x", "é", "\u{10ffff}"] {
            let name = letter.repeat(length / letter.len());
            let answer = domain
                .apf
                .post(&domain.apis(), &domain.description(&name, &["PKI"]))
                .await;
            let what = format!(
                "{length} octets of {letter}: {} {}",
                answer.status,
                answer.json()["detail"]
            );
            assert!(
                answer.status.is_success() || answer.status.is_client_error(),
                "{what}"
            );
            if answer.status.is_client_error() {
                helps(&what, &answer);
            } else {
                let id = answer.json()["apiId"].as_str().unwrap().to_owned();
                let path = format!("{}/{id}", domain.apis());
                assert_eq!(
                    domain.apf.get(&path).await.json()["apiName"],
                    name.as_str(),
                    "{what}"
                );
                assert_eq!(
                    domain.apf.delete(&path).await.status,
                    StatusCode::NO_CONTENT,
                    "{what}"
                );
            }
        }
    }
    let answer = domain
        .apf
        .get(&format!("{}/{}", domain.apis(), "x".repeat(8000)))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
