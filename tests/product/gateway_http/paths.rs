//! P-30: one parse, canonical form only; what is ambiguous is refused.

use super::{Site, status};
use crate::support::capture::Capture;

/// Paths that have one reading, and are forwarded as they are.
const PLAIN: &[&str] = &[
    "/weather/v1",
    "/weather/v1/",
    "/weather/v1/today",
    "/weather/v1/today/",
    "/weather/v1/a/b/c/d/e/f/g",
    "/weather/v1/...",
    "/weather/v1/.hidden",
    "/weather/v1/a.b",
    "/weather/v1/..a",
    "/weather/v1/a..",
    "/weather/v1/~user",
    "/weather/v1/a%20b",
    "/weather/v1/%C3%A9",
    "/weather/v1/%c3%a9",
    "/weather/v1/a%3Fb",
    "/weather/v1/a%23b",
    "/weather/v1/a+b",
    "/weather/v1/a:b@c",
    "/weather/v1/a=b&c=d",
    "/weather/v1/(a),b!*'$",
    "/weather/v1/%41",
    "/weather/v1/today?",
    "/weather/v1/today?a=b",
    "/weather/v1/today?a=b&a=c&&=;",
    "/weather/v1/today?../../etc",
    "/weather/v1/today?a=%2e%2e%2f%00%zz",
    "/weather/v1/today?a=b?c=d",
    "/weather/v1/today?a=//x/../y",
    "/weather/v1/today?q=%E2%9C%93+%20",
    "/weather/v1?x",
];

/// Paths that servers read in more than one way, or that are no paths.
const AMBIGUOUS: &[&str] = &[
    "//weather/v1/today",
    "/weather//v1/today",
    "/weather/v1//today",
    "/weather/v1/today//",
    "/./weather/v1/today",
    "/weather/./v1/today",
    "/weather/v1/./today",
    "/weather/v1/.",
    "/weather/v1/..",
    "/weather/v1/../v1/today",
    "/weather/v1/../../secret",
    "/../weather/v1/today",
    "/other/../weather/v1/today",
    "/weather/v1/%2e",
    "/weather/v1/%2e%2e",
    "/weather/v1/%2E%2E/secret",
    "/weather/v1/.%2e/secret",
    "/weather/v1/%2e./secret",
    "/weather/v1/%252e%252e/secret",
    "/weather/v1/..%2fsecret",
    "/weather/v1/..%5csecret",
    "/weather/v1/..;/secret",
    "/weather/v1/..;x=y/secret",
    "/weather/v1/today;x=y",
    "/weather;x/v1/today",
    "/weather/v1/a%3bb",
    "/weather/v1/a%2fb",
    "/weather/v1/a%2Fb",
    "/weather%2fv1/today",
    "/weather/v1%2f..%2fsecret",
    "/weather/v1/a%5cb",
    "/weather/v1/a%5Cb",
    "/weather/v1/a\\b",
    "/weather/v1/..\\secret",
    "/weather\\v1\\today",
    "/weather/v1/%00",
    "/weather/v1/a%00b",
    "/weather/v1/%0a",
    "/weather/v1/%0d%0aX:y",
    "/weather/v1/%09",
    "/weather/v1/%1b[31m",
    "/weather/v1/%7f",
    "/weather/v1/%",
    "/weather/v1/%2",
    "/weather/v1/%zz",
    "/weather/v1/%u002e",
    "/weather/v1/%%2e",
    "/weather/v1/%25",
    "/weather/v1/a|b",
    "/weather/v1/a\"b",
    "/weather/v1/<a>",
    "/weather/v1/{a}",
    "/weather/v1/^",
    "/weather/v1/`",
    "/weather/v1/[a]",
    "/weather/v1/\u{e9}",
    "/weather/v1/a\tb",
    "/weather/v1/a b",
    "weather/v1/today",
    "weather",
    "*",
    "",
    "?",
];

/// Paths that have one reading, which is not this API.
const OTHER: &[&str] = &[
    "/",
    "/weather",
    "/weather/",
    "/weather/v2/today",
    "/Weather/v1/today",
    "/weather/V1/today",
    "/w%65ather/v1/today",
    "/weather/%76%31/today",
    "/weather%20/v1/today",
    "/secret",
];

/// What the client asked for is, octet for octet, what the API is asked for: as it is, behind the upstream's own path, and
/// without the first two segments.
#[tokio::test]
async fn what_is_authorized_is_what_is_forwarded() {
    let capture = Capture::start().await;
    for (base, strip) in [
        ("", false),
        ("/base/path/", false),
        ("", true),
        ("/base", true),
    ] {
        let upstream = format!("{}{base}", capture.url());
        let site = Site::with(&upstream, |config| config.api.strip = strip).await;
        let before = capture.received().len();
        let mut forwarded = Vec::new();
        for path in PLAIN {
            let answer = get(&site, path).await;
            assert_eq!(status(&answer), 200, "{path}: {answer}");
            let rest = path.strip_prefix("/weather/v1").unwrap();
            let rest = match (strip, rest) {
                (false, _) => (*path).to_owned(),
                (true, rest) if rest.starts_with('/') => rest.to_owned(),
                (true, rest) => format!("/{rest}"),
            };
            forwarded.push(format!("{}{rest}", base.trim_end_matches('/')));
        }
        let received: Vec<String> = capture.received()[before..]
            .iter()
            .map(|request| request.target.clone())
            .collect();
        assert_eq!(received, forwarded);
        for path in AMBIGUOUS {
            let answer = get(&site, path).await;
            assert_eq!(status(&answer), 400, "{path:?}: {answer}");
        }
        for path in OTHER {
            let answer = get(&site, path).await;
            assert_eq!(status(&answer), 404, "{path:?}: {answer}");
        }
        assert_eq!(capture.received().len(), before + PLAIN.len());
    }
}

/// A fragment is no part of a target (RFC 9112 section 3.2): it is cut off before anything is judged, so that the API never
/// sees what follows (CVE-2021-32779).
#[tokio::test]
async fn fragments_are_cut_off() {
    let capture = Capture::start().await;
    let site = Site::start(&capture.url()).await;
    for target in [
        "/weather/v1/a#b",
        "/weather/v1/a#/../../secret",
        "/weather/v1/a#?x",
    ] {
        get(&site, target).await;
    }
    for target in [
        "#",
        "/weather#/v1/a",
        "/other#/../weather/v1/a",
        "/weather/v1/../a#",
    ] {
        let answer = get(&site, target).await;
        assert!([400, 404].contains(&status(&answer)), "{target}: {answer}");
    }
    assert!(
        capture
            .received()
            .iter()
            .all(|request| request.target == "/weather/v1/a")
    );
}

/// The absolute form means the same, and reaches the API in the origin form (RFC 9112 section 3.2.2).
#[tokio::test]
async fn other_forms_of_the_target() {
    let capture = Capture::start().await;
    let site = Site::start(&capture.url()).await;
    let address = site.gateway.address().to_owned();
    let answer = get(&site, &format!("https://{address}/weather/v1/today?x=1")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(capture.received()[0].target, "/weather/v1/today?x=1");
    for (method, target) in [
        ("GET", format!("https://{address}/weather/v1/../secret")),
        ("GET", "https://169.254.169.254/secret".to_owned()),
        ("OPTIONS", "*".to_owned()),
        ("CONNECT", "127.0.0.1:22".to_owned()),
        ("CONNECT", "/weather/v1/today".to_owned()),
        ("TRACE", "/weather/v1/today".to_owned()),
    ] {
        let answer = send(&site, method, &target).await;
        assert!(
            (400..=501).contains(&status(&answer)),
            "{method} {target}: {answer}"
        );
    }
    assert_eq!(capture.received().len(), 1);
}

async fn get(site: &Site, target: &str) -> String {
    send(site, "GET", target).await
}

async fn send(site: &Site, method: &str, target: &str) -> String {
    let mut raw = site.raw().await;
    let authorization = site.authorization();
    raw.send(format!(
        "{method} {target} HTTP/1.1\r\nhost: gateway\r\n{authorization}\r\n"
    ))
    .await;
    raw.answer().await
}
