//! Requests to the CAPIF core function: bounded, typed, and with every refusal turned into an [`Error`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use capif_procedures::aefpsk;
use capif_spec::common::{AefId, ProblemDetails, Redacted};
use capif_transport::{
    Anchors, BodyError, Client, ClientError, ClientLimits, ClientTls, Expected, Identity, Session,
    SessionLabels, SharedClock, collect, full,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    address::Address,
    error::Error,
    random,
    whereabouts::{self, REDIRECTS_MAX, Whereabouts},
};

/// How long fetching a root certificate may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do when an answer of the CAPIF core function did not arrive: nothing that is asked of it suffers from being
/// asked twice (P-08).
pub(crate) const REPEATABLE: &str = "repeat it, which does no harm";

/// For how long in all a request is kept back that the CAPIF core function asks to be sent again.
const PATIENCE: Duration = Duration::from_secs(3);

const ANSWER_BYTES_MAX: usize = 8 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const FORM: &str = "application/x-www-form-urlencoded";

/// What may stand unchanged in a path segment or a query value (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A value as one segment of a path, or as the value of a query parameter.
pub(crate) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// A CAPIF core function, seen by one of its clients.
#[derive(Clone)]
pub(crate) struct Ccf {
    client: Client,
    whereabouts: Whereabouts,
}

/// A request that is about to be sent.
pub(crate) struct Call<'a> {
    operation: &'static str,
    method: Method,
    path: String,
    /// Media type and octets, which are erased after use.
    content: Option<(&'static str, Bytes)>,
    bearer: Option<&'a Redacted>,
    advice: fn(StatusCode) -> &'static str,
}

/// An answer of status 2xx, erased from memory on drop since it may hold a secret.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    operation: &'static str,
    address: Address,
    headers: HeaderMap,
    body: Bytes,
    session: Option<Arc<Session>>,
}

impl Ccf {
    /// Reaches a CAPIF core function that proves itself by `anchors`; the caller proves itself by `identity`, except
    /// where a credential takes its place (TS 29.222 clause 10.2).
    pub(crate) fn new(
        whereabouts: impl Into<Whereabouts>,
        anchors: Anchors,
        identity: Option<Identity>,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: ccf_client(tls(anchors, identity, clock), ClientLimits::default())?,
            whereabouts: whereabouts.into(),
        })
    }

    /// The same for the negotiation of security methods: each exchange is on a connection of its own, and its answer knows
    /// the facts of that connection, from which keys of Method 1 are derived (TS 33.122 clause A.1). `tls12_only` makes it a
    /// session that has an id and a master secret.
    pub(crate) fn negotiating(
        whereabouts: impl Into<Whereabouts>,
        anchors: Anchors,
        identity: Identity,
        clock: SharedClock,
        tls12_only: bool,
    ) -> Result<Self, Error> {
        let tls = ClientTls {
            session: Some(SESSION),
            tls12_only,
            ..tls(anchors, Some(identity), clock)
        };
        let limits = ClientLimits {
            // Keys of two negotiations must not be the same.
            idle_per_host_max: 0,
            ..ClientLimits::default()
        };
        Ok(Self {
            client: ccf_client(tls, limits)?,
            whereabouts: whereabouts.into(),
        })
    }

    /// Where it is, as far as is known.
    pub(crate) fn address(&self) -> Address {
        self.whereabouts.now()
    }

    /// Sends a request and waits for the whole answer. A core function that has moved is followed, by the same request: to
    /// one that proves itself in the same way, and to nobody else.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let mut been = Vec::new();
        let mut address = self.address();
        let mut stays = true;
        let answer = loop {
            let answer = self.patiently(&call, &address).await?;
            if stays && !been.is_empty() {
                // Whoever answers there has proved to be a core function.
                self.whereabouts.move_to(&address);
            }
            let Some(permanent) = whereabouts::sends_on(answer.status) else {
                break answer;
            };
            stays &= permanent;
            let next = whereabouts::target(&answer.headers, &call.path)
                .map_err(|reason| answer.unusable(reason))?;
            tracing::debug!(operation = call.operation, from = %address, to = %next, "sent on");
            been.push(address);
            if been.contains(&next) {
                return Err(answer.unusable(format!(
                    "it sends on to {next}, which had sent on before: tell its operator that this goes round in a circle"
                )));
            }
            if been.len() > REDIRECTS_MAX {
                return Err(answer.unusable(format!(
                    "it sends on to {next}, after {REDIRECTS_MAX} others did so: tell its operator"
                )));
            }
            address = next;
        };
        if answer.status.is_success() {
            Ok(answer)
        } else {
            let advice = (call.advice)(answer.status);
            Err(answer.refusal(advice))
        }
    }

    /// The answer of who is at this address. One that is only too busy, and says when to come again, is asked again then, unless
    /// that would take too long: nothing was done yet.
    async fn patiently(&self, call: &Call<'_>, address: &Address) -> Result<Answer, Error> {
        let began = Instant::now();
        loop {
            let answer = self.exchange(call, address).await?;
            let Some(pause) = answer.pause() else {
                return Ok(answer);
            };
            // Those who were turned away together do not come back together.
            let pause = pause + random::about(pause) / 4;
            if began.elapsed() + pause > PATIENCE {
                return Ok(answer);
            }
            tracing::debug!(operation = call.operation, ?pause, "asked to come again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One request, and the answer of who is at this address.
    async fn exchange(&self, call: &Call<'_>, address: &Address) -> Result<Answer, Error> {
        let operation = call.operation;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("https://{address}{}", call.path))
            .header(header::ACCEPT, "application/json, application/problem+json");
        if let Some(credential) = call.bearer {
            let text = Zeroizing::new(format!("Bearer {}", credential.expose()));
            let mut value = HeaderValue::from_str(&text).map_err(|_| Error::Malformed {
                what: "credential",
                reason: "it holds characters that cannot be sent".to_owned(),
            })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = match &call.content {
            Some((media_type, octets)) => {
                request = request.header(header::CONTENT_TYPE, *media_type);
                full(octets.clone())
            }
            None => capif_transport::empty(),
        };
        let request = request
            .body(body)
            .map_err(|error| Error::Usage(format!("the request cannot be formed: {error}")))?;

        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| failure(operation, address, REPEATABLE, error))?;
        let (mut head, body) = response.into_parts();
        let session = head.extensions.remove::<Arc<Session>>();
        let body = collect(body, ANSWER_BYTES_MAX, ANSWER_TIMEOUT)
            .await
            .map_err(|error| body_failure(operation, address, REPEATABLE, error))?;
        let status = head.status;
        tracing::debug!(operation, ccf = %address, status = status.as_u16(), "CAPIF core function answered");
        Ok(Answer {
            status,
            operation,
            address: address.clone(),
            headers: head.headers,
            body,
            session,
        })
    }
}

impl<'a> Call<'a> {
    /// `operation` names what is done, for messages: "the onboarding", "discovery" …
    pub(crate) fn new(operation: &'static str, method: Method, path: String) -> Self {
        Self {
            operation,
            method,
            path,
            content: None,
            bearer: None,
            advice: general_advice,
        }
    }

    pub(crate) fn get(operation: &'static str, path: String) -> Self {
        Self::new(operation, Method::GET, path)
    }

    pub(crate) fn json<T: Serialize>(self, content: &T) -> Result<Self, Error> {
        self.written(JSON, content)
    }

    /// Members that replace those of a resource (RFC 7396).
    pub(crate) fn merge_patch<T: Serialize>(self, content: &T) -> Result<Self, Error> {
        self.written(MERGE_PATCH, content)
    }

    fn written<T: Serialize>(
        mut self,
        media_type: &'static str,
        content: &T,
    ) -> Result<Self, Error> {
        let octets = serde_json::to_vec(content)
            .map(Zeroizing::new)
            .map_err(|_| Error::Usage("the request cannot be written as JSON".to_owned()))?;
        self.content = Some((media_type, Bytes::from_owner(octets)));
        Ok(self)
    }

    pub(crate) fn form(mut self, content: Zeroizing<String>) -> Self {
        let octets = Zeroizing::new(content.as_bytes().to_vec());
        self.content = Some((FORM, Bytes::from_owner(octets)));
        self
    }

    pub(crate) fn bearer(mut self, credential: &'a Redacted) -> Self {
        self.bearer = Some(credential);
        self
    }

    /// What to tell the user when the CAPIF core function refuses.
    pub(crate) fn advice(mut self, advice: fn(StatusCode) -> &'static str) -> Self {
        self.advice = advice;
        self
    }
}

impl Answer {
    /// The body as what the operation answers with.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        capif_spec::json::from_slice(&self.body).map_err(|error| self.unusable(error.to_string()))
    }

    /// The facts of the connection that carried the exchange, if they were asked for.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Whether there is a body at all.
    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The last segment of the `Location` header: the id of what was made. Nothing else of that header is used, so that
    /// it cannot lead elsewhere.
    pub(crate) fn created_id(&self) -> Option<String> {
        let location = self.headers.get(header::LOCATION)?.to_str().ok()?;
        let path = location.split(['?', '#']).next()?;
        let id = path.trim_end_matches('/').rsplit('/').next()?;
        let id = percent_encoding::percent_decode_str(id)
            .decode_utf8()
            .ok()?;
        is_id(&id).then(|| id.into_owned())
    }

    /// After how long the request may come again, if it came too soon or at a busy time (RFC 9110 section 10.2.3), and that is soon.
    fn pause(&self) -> Option<Duration> {
        let busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        if !busy.contains(&self.status) {
            return None;
        }
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        let pause = Duration::from_secs(text.parse::<u64>().ok()?.max(1));
        (pause < PATIENCE).then_some(pause)
    }

    pub(crate) fn unusable(&self, reason: impl Into<String>) -> Error {
        Error::BadAnswer {
            operation: self.operation,
            address: self.address.to_string(),
            reason: reason.into(),
        }
    }

    fn refusal(&self, advice: &'static str) -> Error {
        // The token endpoint has an error type of its own (TS 29.222 clause 8.5.4.2.9).
        if self.operation == crate::token::OPERATION
            && let Ok(error) = capif_spec::json::from_slice(&self.body)
        {
            return Error::TokenRefused {
                status: self.status,
                error: Box::new(error),
            };
        }
        let mut problem: ProblemDetails =
            capif_spec::json::from_slice(&self.body).unwrap_or_default();
        // What was sent counts, not what the document says was sent.
        problem.status = Some(self.status.as_u16());
        Error::Refused {
            operation: self.operation,
            address: self.address.to_string(),
            status: self.status,
            problem: Box::new(problem),
            advice,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Ok(mut octets) = std::mem::take(&mut self.body).try_into_mut() {
            octets.as_mut().zeroize();
        }
    }
}

/// Whether a text given by a peer can be an id: not empty, not long, one line, no blanks.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// Says what to do about a refusal of which nothing else is known.
fn general_advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "the CAPIF core function no longer accepts this certificate: it was offboarded, removed or replaced"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "try again later",
        status if status.is_redirection() => {
            "it names another address, which is not followed: check the address of the CAPIF core function"
        }
        status if status.is_server_error() => {
            "the fault is on its side: try again, and tell its operator if it stays"
        }
        _ => "",
    }
}

/// The labels of the values that a negotiation exports from its session.
const SESSION: SessionLabels = SessionLabels {
    key: aefpsk::SESSION_KEY_LABEL,
    id: aefpsk::SESSION_ID_LABEL,
};

/// The role that the certificate of a CAPIF core function names.
const CCF_UNIT: &str = "CCF";

/// The role that the certificate of an API exposing function names.
const AEF_UNIT: &str = "AEF";

/// A client of the core function whose certificate is under the anchors, and of nobody else whom they vouch for.
fn ccf_client(tls: ClientTls, limits: ClientLimits) -> Result<Client, Error> {
    let expected = Expected {
        organizational_unit: CCF_UNIT,
        common_name: None,
    };
    client(tls, limits, expected)
}

/// A client of this one API exposing function: providers share hosts, and choose the names that their certificates carry, so
/// that chain and host alone would let one stand in for another.
pub(crate) fn aef_client(
    anchors: Anchors,
    identity: Option<Identity>,
    clock: SharedClock,
    id: &AefId,
    limits: ClientLimits,
) -> Result<Client, Error> {
    let expected = Expected {
        organizational_unit: AEF_UNIT,
        common_name: Some(id.to_string()),
    };
    client(tls(anchors, identity, clock), limits, expected)
}

fn tls(anchors: Anchors, identity: Option<Identity>, clock: SharedClock) -> ClientTls {
    ClientTls {
        anchors: Some(anchors),
        identity,
        clock,
        session: None,
        tls12_only: false,
    }
}

fn client(tls: ClientTls, limits: ClientLimits, expected: Expected) -> Result<Client, Error> {
    Client::expecting(tls, limits, expected).map_err(|error| Error::Malformed {
        what: "set of certificates",
        reason: error.to_string(),
    })
}

/// What a failed exchange means for the caller. `unsure` says what to do when the request may have been carried out.
pub(crate) fn failure(
    operation: &'static str,
    address: &Address,
    unsure: &'static str,
    error: ClientError,
) -> Error {
    let address = address.to_string();
    match error {
        ClientError::Request(reason) => {
            Error::Usage(format!("{operation} cannot be sent: {reason}"))
        }
        ClientError::Connect(source) => Error::Unreachable {
            operation,
            address,
            source,
        },
        ClientError::Tls(reason) | ClientError::Broken(reason) if is_fatal_alert(&reason) => {
            Error::CertificateRefused {
                operation,
                address,
                reason,
            }
        }
        ClientError::Tls(reason) => Error::Untrusted { address, reason },
        ClientError::TimedOut => Error::TimedOut {
            operation,
            address,
            advice: unsure,
        },
        ClientError::Broken(_) => Error::Broken {
            operation,
            address,
            advice: unsure,
            source: Box::new(error),
        },
    }
}

/// Whether the other end ended a handshake. In TLS 1.3 a client's certificate is judged after its first bytes went out, so that
/// this can look like a connection that breaks; nothing that was sent over it was read.
pub(crate) fn is_fatal_alert(reason: &str) -> bool {
    reason.contains("received fatal alert")
}

/// What a body that did not arrive means for the caller.
pub(crate) fn body_failure(
    operation: &'static str,
    address: &Address,
    unsure: &'static str,
    error: BodyError,
) -> Error {
    let address = address.to_string();
    match error {
        BodyError::TooLarge { bytes_max } => Error::BadAnswer {
            operation,
            address,
            reason: format!("it is larger than {bytes_max} bytes"),
        },
        BodyError::TimedOut => Error::TimedOut {
            operation,
            address,
            advice: unsure,
        },
        BodyError::Broken(source) => Error::Broken {
            operation,
            address,
            advice: unsure,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(location: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_str(location).unwrap());
        Answer {
            status: StatusCode::CREATED,
            operation: "a test",
            address: "ccf.example:8443".parse().unwrap(),
            headers,
            body: Bytes::new(),
            session: None,
        }
        .created_id()
    }

    #[test]
    fn only_the_id_is_taken_from_a_location() {
        for (location, id) in [
            (
                "https://ccf/capif-events/v1/aef/subscriptions/s-1",
                Some("s-1"),
            ),
            ("/capif-events/v1/aef/subscriptions/s-1/", Some("s-1")),
            ("https://evil.example:1/s-1?x=/y#/z", Some("s-1")),
            ("s-1", Some("s-1")),
            ("/a/s%2D1", Some("s-1")),
            ("/a/..", None),
            ("/a/%2e%2e", None),
            ("/a/b%2Fc", None),
            ("/a/b%20c", None),
            ("/a/b%0D%0Ac", None),
            ("/a/%ff", None),
            ("", None),
            ("/", None),
            (&*format!("/{}", "a".repeat(257)), None),
        ] {
            assert_eq!(created(location).as_deref(), id, "{location}");
        }
    }

    #[test]
    fn ids_and_values_cannot_change_a_path() {
        assert_eq!(
            encoded("../a?b#c%d e/\u{e9}"),
            "..%2Fa%3Fb%23c%25d%20e%2F%C3%A9"
        );
        for id in ["", ".", "..", "a/b", "a b", "a\nb", "\u{e9}"] {
            assert!(!is_id(id), "{id:?}");
        }
        assert!(is_id("INV-01_a.b~c"));
    }
}
