//! What the revocation listener serves: `/crl/{authority}.crl`, and `/ocsp` by POST and by GET (RFC 6960 appendix A).

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use capif_transport::{Body, BodyError, Connection, Handler, Limits, collect, full};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::{Revocation, responder::REQUEST_BYTES_MAX};
use crate::authority::extensions::RESPONDER_PATH;

/// How long a request may take to arrive.
const TIME_MAX: Duration = Duration::from_secs(5);

/// The most connections at a time. Others wait; what has to be known at once, the core function tells by itself.
const CONNECTIONS_MAX: usize = 512;

const LIST: &str = "application/pkix-crl";
const REQUEST: &str = "application/ocsp-request";
const RESPONSE: &str = "application/ocsp-response";

/// The handler of the revocation listener.
pub(crate) struct Service(Arc<Revocation>);

impl Service {
    pub(crate) fn new(revocation: Arc<Revocation>) -> Self {
        Self(revocation)
    }

    /// What its clients may use up.
    pub(crate) fn limits() -> Limits {
        Limits {
            connections_max: CONNECTIONS_MAX,
            ..Limits::default()
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if let Some(authority) = path
            .strip_prefix("/crl/")
            .and_then(|file| file.strip_suffix(".crl"))
        {
            if parts.method != Method::GET {
                return refused(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
            }
            return self.list(authority).await;
        }
        let Some(rest) = path.strip_prefix(RESPONDER_PATH) else {
            return refused(StatusCode::NOT_FOUND, "there are /crl and /ocsp\n");
        };
        match (&parts.method, rest) {
            (&Method::POST, "" | "/") => {
                let media_type = parts.headers.get(header::CONTENT_TYPE);
                if media_type.is_none_or(|value| value != REQUEST) {
                    return refused(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "send application/ocsp-request\n",
                    );
                }
                match collect(body, REQUEST_BYTES_MAX, TIME_MAX).await {
                    Ok(request) => self.respond(&request).await,
                    Err(BodyError::TooLarge { .. }) => refused(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "no request is as long as that\n",
                    ),
                    Err(_) => refused(StatusCode::BAD_REQUEST, "the request did not arrive\n"),
                }
            }
            (&Method::GET, rest) if rest.starts_with('/') => match in_path(rest) {
                Some(request) => self.respond(&request).await,
                None => refused(StatusCode::BAD_REQUEST, "send the request in base64\n"),
            },
            _ => refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "POST, or GET with the request behind the path\n",
            ),
        }
    }

    async fn list(&self, authority: &str) -> Response<Body> {
        let unknown = || refused(StatusCode::NOT_FOUND, "there is no such list\n");
        // One way to write a number, so that one list has one address.
        let number = authority.parse::<u32>();
        let Some(number) = number.ok().filter(|number| number.to_string() == authority) else {
            return unknown();
        };
        match self.0.list(number).await {
            Ok(Some(list)) => answered(LIST, list),
            Ok(None) => unknown(),
            Err(error) => {
                tracing::error!(authority = number, %error, "the revocation list was not signed");
                refused(StatusCode::SERVICE_UNAVAILABLE, "ask again later\n")
            }
        }
    }

    async fn respond(&self, request: &[u8]) -> Response<Body> {
        answered(RESPONSE, self.0.answer(request).await)
    }
}

impl Handler for Service {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        self.answer(request).await
    }
}

/// The request behind the path: base64 in percent-encoding, which many leave away.
fn in_path(rest: &str) -> Option<Vec<u8>> {
    let text = percent_decode_str(rest.strip_prefix('/')?)
        .decode_utf8()
        .ok()?;
    if text.len() > REQUEST_BYTES_MAX * 4 / 3 + 4 {
        return None;
    }
    BASE64_STANDARD_NO_PAD
        .decode(text.trim_end_matches('='))
        .ok()
}

fn answered(media_type: &'static str, octets: Bytes) -> Response<Body> {
    let mut response = Response::new(full(octets));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // What lies in between may keep it for a minute, and no longer: a revocation is to be seen.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=60, no-transform"),
    );
    response
}

fn refused(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}
