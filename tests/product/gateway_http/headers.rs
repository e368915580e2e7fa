//! P-32: headers that carry an identity are the gateway's, and those of one connection stay on it.

use super::{Site, status};
use crate::support::capture::{Capture, Received};

/// Names by which somebody could claim to be somebody, in their plain spelling.
const IDENTITIES: &[&str] = &[
    "capif-api-invoker-id",
    "capif-aef-id",
    "capif-request-id",
    "capif-anything",
    "x-capif-role",
    "x-api-invoker-id",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-user",
    "x-forwarded-client-cert",
    "x-original-url",
    "x-rewrite-url",
    "x-real-ip",
    "x-client-ip",
    "x-client-cert",
    "x-ssl-client-s-dn",
    "ssl-client-verify",
    "client-cert",
    "client-cert-chain",
    "x-authenticated-user",
    "x-remote-user",
    "remote-user",
    "true-client-ip",
];

/// Names of one connection (RFC 9110 section 7.6.1).
const CONNECTION: &[&str] = &[
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

fn spellings(name: &str) -> Vec<String> {
    let title: String = name
        .split('-')
        .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
        .collect::<Vec<_>>()
        .join("-");
    let mut all = vec![
        name.to_owned(),
        name.to_uppercase(),
        title.clone(),
        name.replace('-', "_"),
        title.replace('-', "_"),
        name.replacen('-', "_", 1),
    ];
    all.dedup();
    all
}

/// What the client says about itself never reaches the API, in whichever spelling.
#[tokio::test]
async fn a_client_cannot_say_who_it_is() {
    let capture = Capture::start().await;
    let site = Site::start(&capture.url()).await;
    let mut variants: Vec<String> = Vec::new();
    for name in IDENTITIES.iter().chain(CONNECTION) {
        for spelling in spellings(name) {
            variants.push(format!("{spelling}: forged\r\n"));
        }
    }
    for name in ["capif-api-invoker-id", "x-forwarded-for"] {
        variants.push(format!(
            "{name}: forged\r\n{name}: forged\r\n{}: forged\r\n",
            name.to_uppercase()
        ));
        variants.push(format!("{name}:forged, INV1\r\n"));
        variants.push(format!("{name}:\tforged\t\r\n"));
    }
    // Nominated by the client, which must not make the gateway's own ones vanish either.
    for nominated in [
        "capif-api-invoker-id",
        "close, capif-api-invoker-id",
        "keep-alive, Capif-Aef-Id, CAPIF-Request-Id",
        "x-forwarded-for,x-forwarded-proto",
        "x-custom",
        "close,X-Custom,,",
        "\"x-custom\"",
        "authorization",
        "host",
    ] {
        let custom = if nominated.to_lowercase().contains("\"x-custom") {
            ""
        } else {
            "x-custom: forged\r\n"
        };
        let custom = if nominated.to_lowercase().contains("x-custom") {
            custom
        } else {
            ""
        };
        variants.push(format!(
            "connection: {nominated}\r\n{custom}capif-api-invoker-id: forged\r\n"
        ));
    }
    variants.push(
        "connection: x-custom\r\nx-custom: forged\r\nX-CUSTOM: forged\r\nconnection: close\r\n"
            .to_owned(),
    );
    assert!(variants.len() >= 120, "{}", variants.len());

    let mut raw = site.raw().await;
    let authorization = site.authorization();
    for variant in &variants {
        let before = capture.received().len();
        raw.send(format!(
            "GET /weather/v1/today HTTP/1.1\r\nhost: gateway\r\n{authorization}x-kept: kept\r\n{variant}\r\n"
        ))
        .await;
        let answer = raw.answer().await;
        assert_eq!(status(&answer), 200, "{variant}: {answer}");
        if answer.to_lowercase().contains("connection: close") || variant.contains("close") {
            raw = site.raw().await;
        }
        let received = capture.received();
        assert_eq!(received.len(), before + 1);
        judge(&site, &received[before], variant);
    }
}

fn judge(site: &Site, request: &Received, variant: &str) {
    assert!(
        request
            .headers
            .iter()
            .all(|(_, value)| !value.contains("forged")),
        "{variant}: {:?}",
        request.headers
    );
    let token = site.token.as_str();
    assert!(
        request
            .headers
            .iter()
            .all(|(_, value)| !value.contains(token)),
        "{variant}"
    );
    assert_eq!(
        request.all("capif-api-invoker-id"),
        [site.invoker.id().as_str()],
        "{variant}"
    );
    assert_eq!(
        request.all("capif-aef-id"),
        [site.gateway.aef_id().as_str()],
        "{variant}"
    );
    assert_eq!(request.all("capif-request-id").len(), 1, "{variant}");
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"], "{variant}");
    assert_eq!(request.all("x-forwarded-proto"), ["https"], "{variant}");
    assert_eq!(request.all("host").len(), 1, "{variant}");
    assert_ne!(request.all("host"), ["gateway"], "{variant}");
    assert_eq!(request.all("x-kept"), ["kept"], "{variant}");
    assert!(request.all("authorization").is_empty(), "{variant}");
    assert!(
        request.all("connection").is_empty() || request.all("connection") == ["keep-alive"],
        "{variant}"
    );
}

/// The application's own headers pass as they are, several of one name in their order.
#[tokio::test]
async fn other_headers_pass() {
    let capture = Capture::start().await;
    let site = Site::start(&capture.url()).await;
    let mut raw = site.raw().await;
    let authorization = site.authorization();
    raw.send(format!(
        "GET /weather/v1/today HTTP/1.1\r\nhost: gateway.example:1\r\n{authorization}accept: a\r\naccept: b\r\ncookie: c=d\r\nx-empty:\r\n\
         if-none-match: \"x\"\r\nrange: bytes=0-1\r\ncapifornia: yes\r\nx-forwarded: no\r\nuser-agent: t\u{e9}st\r\n\r\n"
    ))
    .await;
    assert_eq!(status(&raw.answer().await), 200);
    let request = &capture.received()[0];
    assert_eq!(request.all("accept"), ["a", "b"]);
    for (name, value) in [
        ("cookie", "c=d"),
        ("x-empty", ""),
        ("if-none-match", "\"x\""),
        ("range", "bytes=0-1"),
        ("capifornia", "yes"),
        ("x-forwarded-host", "gateway.example:1"),
    ] {
        assert_eq!(request.all(name), [value], "{name}");
    }
}
