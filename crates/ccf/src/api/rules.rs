//! The common rules that a request is held to, whatever operation it asks for (TS 29.222 clause 7, TS 29.500 clauses 5.2.7 and
//! 5.2.9).
//!
//! `Choice:` a method of HTTP that a path does not take is 405 with `Allow`, also where no operation at all takes it; 501 is for what
//! is no method of HTTP (RFC 9110 section 15.6.2). A body whose length is not declared but which is there is read, within its bound;
//! 411 is for a request that should have one and announces none.

use capif_procedures::{
    auditing, discovery, events, invocation_log, onboarding, publication,
    refusal::{Refusal, RequestFault},
    registration, security_method,
};
use capif_transport::{Body, is_absent};
use http::{HeaderMap, Method, Uri, header};

use super::{
    operations::{BodyKind, Operation},
    problem::ApiError,
};

/// How long path and query may be together.
const URI_BYTES_MAX: usize = 16 * 1024;

/// How many parameters a query may have.
const PARAMETERS_MAX: usize = 64;

/// The features that are served, by the first segment of an API's paths.
const FEATURES: &[(&str, &str)] = &[
    ("api-invoker-management", onboarding::FEATURES),
    ("api-provider-management", registration::FEATURES),
    ("published-apis", publication::FEATURES),
    ("service-apis", discovery::FEATURES),
    ("open-api-disc", "0"),
    ("capif-events", events::FEATURES),
    ("capif-security", security_method::FEATURES),
    ("access-control-policy", "0"),
    ("api-invocation-logs", invocation_log::FEATURES),
    ("logs", auditing::FEATURES),
    ("capif-routing-info", "0"),
];

/// Refuses an address that is too long, one that can be read in more than one way, and a method that is none of HTTP.
pub(crate) fn check_target(method: &Method, uri: &Uri) -> Result<(), ApiError> {
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > URI_BYTES_MAX {
        return Err(ApiError::UriTooLong { max: URI_BYTES_MAX });
    }
    if !is_known(method) {
        return Err(ApiError::UnknownMethod);
    }
    if !is_canonical(uri.path()) {
        return Err(ApiError::AmbiguousPath);
    }
    Ok(())
}

/// The methods of RFC 9110 section 9 and RFC 5789.
fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ]
    .contains(method)
}

/// Whether a path has one reading only: no empty or dot segment, nothing encoded, no character that servers read differently.
pub(crate) fn is_canonical(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
        && path
            .split('/')
            .skip(1)
            .all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

/// The parameters of a query to an operation. Only a GET takes any, and only there may unknown ones be ignored (TS 29.500 clause
/// 5.2.9).
pub(super) fn parameters(
    operation: &Operation,
    text: &str,
) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = parse_query(text)?;
    if let (false, Some((name, _))) = (operation.method == Method::GET, pairs.first()) {
        return Err(ApiError::UnknownParameter {
            name: name.clone(),
            features: served_features(operation.path),
        });
    }
    Ok(pairs)
}

/// The parameters of a query, each of which stands there once.
pub(crate) fn parse_query(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let query = |pointer: &str, reason: &str| Refusal::Malformed {
        pointer: pointer.to_owned(),
        reason: reason.to_owned(),
        fault: RequestFault::Query,
    };
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(text).map_err(|_| query("", "the query is not readable"))?;
    if pairs.len() > PARAMETERS_MAX {
        return Err(query("", "the query has too many parameters"));
    }
    for (index, (name, _)) in pairs.iter().enumerate() {
        if pairs.iter().skip(index + 1).any(|(other, _)| other == name) {
            return Err(query(name, "the query names a parameter twice"));
        }
    }
    Ok(pairs)
}

/// The features that the API of a path supports here.
fn served_features(path: &str) -> Option<&'static str> {
    let api = path.split('/').nth(1)?;
    let found = FEATURES.iter().find(|(known, _)| *known == api);
    found.map(|(_, features)| *features)
}

/// Refuses a request without a body, and without a length of one, where there must be one (RFC 9110 section 15.5.12).
pub(super) fn check_length(
    expected: BodyKind,
    headers: &HeaderMap,
    body: &Body,
) -> Result<(), ApiError> {
    let announced = headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING);
    if expected == BodyKind::None || announced || !is_absent(body) {
        return Ok(());
    }
    Err(ApiError::LengthMissing)
}

/// Refuses a body of another media type.
pub(super) fn check_media_type(body: BodyKind, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(expected) = body.media_type() else {
        return Ok(());
    };
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if given.is_some_and(|given| given.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(ApiError::MediaType {
        expected,
        patch: body == BodyKind::MergePatch,
    })
}

/// Refuses a GET whose sender takes no JSON (RFC 9110 section 12.5.1). What other methods answer is sent whatever they accept: the act
/// was done.
pub(super) fn check_accept(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if *method != Method::GET || accepts_json(headers) {
        return Ok(());
    }
    Err(ApiError::NotAcceptable)
}

/// Whether the most specific range that fits JSON has a weight above zero. Without a readable range everything is accepted.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut found: Option<(u8, bool)> = None;
    let mut ranges = 0;
    for value in headers.get_all(header::ACCEPT) {
        let Ok(text) = value.to_str() else {
            return true;
        };
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            ranges += 1;
            let mut parts = item.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let specificity = match range.to_ascii_lowercase().as_str() {
                // Sets of keys have a name of their own (RFC 7517 section 8.5.2), and are JSON like the rest.
                "application/json" | "application/jwk-set+json" => 2,
                "application/*" => 1,
                "*/*" => 0,
                _ => continue,
            };
            let weight = parts.find_map(|part| {
                let (name, weight) = part.split_once('=')?;
                name.trim()
                    .eq_ignore_ascii_case("q")
                    .then_some(weight.trim())
            });
            let wanted = weight
                .is_none_or(|weight| weight.bytes().any(|digit| (b'1'..=b'9').contains(&digit)));
            if found.is_none_or(|(best, _)| specificity >= best) {
                found = Some((specificity, wanted));
            }
        }
    }
    ranges == 0 || found.is_some_and(|(_, wanted)| wanted)
}

#[cfg(test)]
mod tests {
    use capif_spec::{common::SupportedFeatures, features};
    use http::HeaderValue;

    use super::*;
    use crate::api::operations::OPERATIONS;

    fn accepts(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        accepts_json(&headers)
    }

    /// RFC 9110 section 12.5.1: the most specific range decides.
    #[test]
    fn accept_is_read_as_http_has_it() {
        for taken in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/json"],
            &["Application/JSON; charset=utf-8"],
            &["text/html, application/*;q=0.1"],
            &["text/html", "application/json"],
            &["application/json;q=0.001, */*;q=0"],
        ] {
            assert!(accepts(taken), "{taken:?}");
        }
        for refused in [
            &["text/html"][..],
            &["application/problem+json"],
            &["application/json;q=0, */*"],
            &["application/json;q=0.000"],
            &["*/*;q=0"],
            &["application/*;q=0, */*"],
        ] {
            assert!(!accepts(refused), "{refused:?}");
        }
    }

    #[test]
    fn a_long_address_is_too_long() {
        let of = |length: usize| Uri::try_from(format!("/{}", "a".repeat(length - 1))).unwrap();
        assert!(check_target(&Method::GET, &of(URI_BYTES_MAX)).is_ok());
        assert!(matches!(
            check_target(&Method::GET, &of(URI_BYTES_MAX + 1)),
            Err(ApiError::UriTooLong { .. })
        ));
        let query = Uri::try_from(format!("/a?{}", "b".repeat(URI_BYTES_MAX))).unwrap();
        assert!(check_target(&Method::GET, &query).is_err());
    }

    #[test]
    fn what_is_no_method_is_told_from_what_a_path_does_not_take() {
        let uri = Uri::from_static("/a");
        for method in ["GET", "HEAD", "TRACE", "OPTIONS", "PATCH"] {
            assert!(check_target(&Method::try_from(method).unwrap(), &uri).is_ok());
        }
        for method in ["get", "PROPFIND", "X"] {
            assert!(matches!(
                check_target(&Method::try_from(method).unwrap(), &uri),
                Err(ApiError::UnknownMethod)
            ));
        }
    }

    /// TS 29.222 clause 7.8: every API of the table says which features it supports, and each of them is one that it has.
    #[test]
    fn features_are_those_of_the_api() {
        let ours = [
            ".well-known",
            "capif-onboarding-credentials",
            "capif-allowances",
            "capif-renewal",
            "capif-token-introspection",
            "capif-websocket",
        ];
        for operation in OPERATIONS {
            let api = operation.path.split('/').nth(1).unwrap();
            if ours.contains(&api) {
                continue;
            }
            let served = SupportedFeatures::from(served_features(operation.path).unwrap());
            let defined = features::of(api).unwrap_or_else(|| panic!("no features of {api}"));
            for bit in 1..64 {
                let known = defined.iter().any(|feature| feature.bit == bit);
                assert!(known || !served.has(bit), "{api} has no feature {bit}");
            }
        }
    }
}
