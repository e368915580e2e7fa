//! Which headers pass the gateway (P-32): none of one connection to another, none that carries the invoker's credentials, and
//! none by which a client could pretend to be what only the gateway knows.

use capif_spec::common::{AefId, ApiInvokerId};
use capif_transport::{is_of_connection, remove_connection_headers};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The header that tells the API who calls. Only the gateway sets it.
pub(crate) const INVOKER_ID: &str = "capif-api-invoker-id";

/// The header that tells the API through which AEF it is called.
pub(crate) const AEF_ID: &str = "capif-aef-id";

/// The header that names the request in the gateway's log.
pub(crate) const REQUEST_ID: &str = "capif-request-id";

/// Headers that claim an identity or an origin, however they are written; a name that ends in `-` stands for all that begin so.
const IDENTITY: [&str; 30] = [
    "capif-",
    "x-capif-",
    "forwarded",
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    "x-real-ip",
    "x-client-",
    "x-ssl-",
    "ssl-",
    "client-cert",
    "client-cert-chain",
    "x-api-invoker-",
    "x-authenticated-",
    "x-remote-user",
    "remote-user",
    "true-client-ip",
    "x-forwarded",
    "x-cluster-client-ip",
    "cf-connecting-ip",
    "x-user",
    "x-auth-request-",
    "x-webauth-",
    "x-tls-",
    "x-amzn-mtls-",
    "x-arr-",
    "x-goog-iap-",
    "x-goog-authenticated-",
    "x-host",
    "x-http-host-override",
];

/// Makes the headers of a client's request those of the request to the API.
pub(crate) fn to_upstream(
    headers: &mut HeaderMap,
    invoker: &ApiInvokerId,
    aef: &AefId,
    request_id: &str,
    remote: &str,
) {
    remove_connection_headers(headers);
    let unwanted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_identity(name.as_str()) || is_disguised(name.as_str()))
        .cloned()
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
    let host = headers.remove(header::HOST);
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::EXPECT);
    // The length is written anew from the body as it was read (P-31).
    headers.remove(header::CONTENT_LENGTH);
    let own = [
        (INVOKER_ID, invoker.as_str()),
        (AEF_ID, aef.as_str()),
        (REQUEST_ID, request_id),
        ("x-forwarded-for", remote),
        ("x-forwarded-proto", "https"),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(host) = host {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
}

/// Makes the headers of the API's answer those of the answer to the client.
pub(crate) fn to_client(headers: &mut HeaderMap) {
    remove_connection_headers(headers);
}

/// A name as the least careful of servers reads it: every sign is a hyphen.
fn plain(name: &str) -> String {
    name.replace(|character: char| !character.is_ascii_alphanumeric(), "-")
}

/// Some servers read `_`, `.` and other signs as `-`, so every spelling counts.
fn is_identity(name: &str) -> bool {
    let name = plain(name);
    IDENTITY.iter().any(|known| {
        if known.ends_with('-') {
            name.starts_with(known)
        } else {
            name == *known
        }
    })
}

/// Whether a name is, with `_` for `-`, one that belongs to the connection or to the framing: for servers that read both
/// alike it would be that one.
fn is_disguised(name: &str) -> bool {
    const FRAMING: &str = "content-length";
    let read = plain(name);
    read != name && (read == FRAMING || is_of_connection(&read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_claim_an_identity() {
        let mut headers = HeaderMap::new();
        for name in [
            "capif-api-invoker-id",
            "capif_api_invoker_id",
            "x-capif-anything",
            "x_capif_role",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-client-cert",
            "x-real-ip",
            "client-cert",
            "x-ssl-client-s-dn",
            "ssl_client_verify",
            "remote-user",
            "authorization",
            "proxy-authorization",
            "upgrade",
            "te",
            "transfer-encoding",
            "transfer_encoding",
            "content_length",
            "proxy_authorization",
            "x-custom",
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static("forged"),
            );
        }
        headers.insert(
            "connection",
            HeaderValue::from_static("close, X-Custom, capif-aef-id"),
        );
        headers.insert("x-kept", HeaderValue::from_static("kept"));
        to_upstream(
            &mut headers,
            &ApiInvokerId::new("INV1"),
            &AefId::new("AEF1"),
            "r1",
            "192.0.2.1",
        );
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "capif-aef-id",
                "capif-api-invoker-id",
                "capif-request-id",
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-kept",
            ]
        );
        assert!(headers.values().all(|value| value != "forged"));
        assert_eq!(headers["capif-api-invoker-id"], "INV1");
    }
}
