//! What the sidecar makes of a request: a call in the invoker's name, and of its answer the application's.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use capif_client::ErrorKind;
use capif_spec::common::ProblemDetails;
use capif_transport::{Body, Connection, Handler, full, remove_connection_headers};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use serde_json::json;

use crate::enrol::Enrolled;

/// Where the sidecar says how it stands.
const STATUS: &str = "/.well-known/capif-sidecar";

/// The handler of the socket for applications.
pub(super) struct Relay {
    enrolled: Arc<Enrolled>,
    hosts: Hosts,
}

impl Relay {
    pub(super) fn new(enrolled: Arc<Enrolled>, hosts: Hosts) -> Self {
        Self { enrolled, hosts }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Refused> {
        admit(request.uri(), request.headers(), &self.hosts)?;
        if request.uri().path() == STATUS {
            return self.status(request.method());
        }
        let name = api_name(request.uri())?.into_owned();
        let is_from_browser = request.headers().contains_key("sec-fetch-mode");
        let call = self.enrolled.invoker.call(&name, request).await;
        let mut response = call.map_err(|error| {
            let kind = error.kind();
            let failure = self.enrolled.explain(error);
            tracing::warn!(api = name, %failure, "the call got no answer");
            Refused::new(status_of(kind), failure.to_string())
        })?;
        remove_connection_headers(response.headers_mut());
        if is_from_browser {
            // All APIs are one site to a browser: what one of them shows there must not call the others.
            response.headers_mut().append(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("sandbox"),
            );
        }
        Ok(response)
    }

    fn status(&self, method: &Method) -> Result<Response<Body>, Refused> {
        if method != Method::GET {
            return Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the status is there for GET",
            ));
        }
        let invoker = &self.enrolled.invoker;
        let renewal = invoker.renewal_status();
        let body = json!({
            "apiInvokerId": invoker.id(),
            "coreFunction": invoker.ccf_address(),
            "certificateExpires": renewal.certificate_expires,
        });
        let mut response = Response::new(full(body.to_string()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

impl Handler for Relay {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        self.answer(request)
            .await
            .unwrap_or_else(|refused| refused.answer())
    }
}

/// A request that came to no answer of the API.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    status: StatusCode,
    detail: String,
}

impl Refused {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// A problem report that cannot be taken for one of the API: its title says whose it is.
    fn answer(&self) -> Response<Body> {
        let problem = ProblemDetails {
            title: Some("capif sidecar".to_owned()),
            status: Some(self.status.as_u16()),
            detail: Some(self.detail.clone()),
            ..ProblemDetails::default()
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(full(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

/// What a call without an answer means to the application, which shows no credential of its own: what is wrong with the
/// enrolment is a fault behind it.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        // An enrolment that was cleared away is wrong use of the folder, not of the sidecar.
        ErrorKind::Usage
        | ErrorKind::Refused
        | ErrorKind::Authentication
        | ErrorKind::Network
        | ErrorKind::Conflict => StatusCode::BAD_GATEWAY,
    }
}

/// By which `Host` the sidecar is called.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Names beside `localhost`.
    pub(super) names: Vec<String>,
    /// Whether other machines reach it, by whatever address.
    pub(super) is_remote: bool,
}

impl Hosts {
    /// Whether a `Host` is the sidecar's: none that somebody else could have pointed here, and no address that a browser does not
    /// know to be this machine's, as it would not say then for which page it asks.
    fn know(&self, host: &str) -> bool {
        let authority = host.parse::<http::uri::Authority>();
        let Some(authority) = authority.ok().filter(|_| !host.contains('@')) else {
            return false;
        };
        let name = authority.host();
        let bare = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let is_one = !address.is_unspecified() && address == address.to_canonical();
            return address.is_loopback() || (self.is_remote && is_one);
        }
        name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// Lets applications through, and no web page: a browser sends its requests to this socket too, with whatever name a foreign
/// site has given to this address.
fn admit(uri: &Uri, headers: &HeaderMap, hosts: &Hosts) -> Result<(), Refused> {
    if uri.authority().is_some() {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "the sidecar is called itself, it is no proxy to be set: give the path alone",
        ));
    }
    let mut given = headers.get_all(header::HOST).iter();
    let host = given.next().and_then(|host| host.to_str().ok());
    let (Some(host), None) = (host, given.next()) else {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "send one `Host` header, with the address of the sidecar",
        ));
    };
    if !hosts.know(host) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "this `Host` is not known to be the sidecar's: call it by localhost or its loopback address, or start it with --name and \
             the name that you use",
        ));
    }
    let others = |name: header::HeaderName, own: &[&str]| {
        let mut given = headers.get_all(name).iter();
        given.any(|value| !own.iter().any(|own| value.as_bytes() == own.as_bytes()))
    };
    let other_page = others(
        header::HeaderName::from_static("sec-fetch-site"),
        &["same-origin", "none"],
    );
    if other_page || others(header::ORIGIN, &[&format!("http://{host}")]) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "the sidecar serves applications, not the pages of other sites: have the application's own server call it",
        ));
    }
    Ok(())
}

/// The API is the first segment of the path, as the gateways serve it.
fn api_name(uri: &Uri) -> Result<Cow<'_, str>, Refused> {
    let segment = uri.path().split('/').nth(1).unwrap_or_default();
    let name = percent_encoding::percent_decode_str(segment).decode_utf8();
    name.ok().filter(|name| !name.is_empty()).ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_FOUND,
            "a path begins with the name of an API: /weather/v1/today",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn hosts(is_remote: bool) -> Hosts {
        Hosts {
            names: vec!["sidecar.internal".to_owned()],
            is_remote,
        }
    }

    fn status(all: &[(&'static str, &'static str)]) -> Option<StatusCode> {
        let uri = Uri::from_static("/weather/v1");
        let refused = admit(&uri, &headers(all), &hosts(false)).err();
        refused.map(|refused| refused.status)
    }

    #[test]
    fn applications_pass_and_pages_do_not() {
        for host in [
            "127.0.0.1:9080",
            "localhost:9080",
            "LOCALHOST",
            "[::1]:9080",
            "Sidecar.internal:9080",
        ] {
            assert!(hosts(false).know(host), "{host}");
        }
        // Browsers do not take these for this machine, though they lead here.
        for host in ["0.0.0.0:9080", "[::]:9080", "[::ffff:7f00:1]:9080"] {
            assert!(
                !hosts(false).know(host) && !hosts(true).know(host),
                "{host}"
            );
        }
        assert!(!hosts(false).know("192.0.2.1:80") && hosts(true).know("192.0.2.1:80"));
        let here = ("host", "localhost:9080");
        assert_eq!(status(&[here, ("origin", "http://localhost:9080")]), None);
        assert_eq!(status(&[here, ("sec-fetch-site", "same-origin")]), None);
        assert_eq!(status(&[here, ("sec-fetch-site", "none")]), None);
        for refused in [
            &[("host", "evil.example:9080")][..],
            &[("host", "localhost.evil.example")],
            &[("host", "user@localhost")],
            &[here, ("origin", "https://evil.example")],
            &[here, ("origin", "null")],
            &[
                here,
                ("origin", "http://localhost:9080"),
                ("origin", "null"),
            ],
            &[here, ("sec-fetch-site", "cross-site")],
            &[here, ("sec-fetch-site", "same-site")],
        ] {
            let found = status(refused);
            assert_eq!(found, Some(StatusCode::FORBIDDEN), "{refused:?}");
        }
        assert_eq!(status(&[]), Some(StatusCode::BAD_REQUEST));
        assert_eq!(status(&[here, here]), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn it_is_no_proxy_to_be_set() {
        let uri = Uri::from_static("http://weather.example/weather/v1");
        let host = headers(&[("host", "localhost")]);
        let refused = admit(&uri, &host, &hosts(false)).unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_api_is_the_first_segment() {
        for (path, name) in [
            ("/weather/v1/today?at=noon", "weather"),
            ("/Weather%20station/v1/today", "Weather station"),
        ] {
            assert_eq!(api_name(&Uri::from_static(path)).unwrap(), name);
        }
        assert!(api_name(&Uri::from_static("/%ff/v1")).is_err());
        let refused = api_name(&Uri::from_static("/")).unwrap_err();
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        assert!(refused.detail.contains("/weather/v1/today"));
    }

    #[test]
    fn what_is_wrong_behind_the_sidecar_is_no_fault_of_the_application() {
        assert_eq!(
            status_of(ErrorKind::Authentication),
            StatusCode::BAD_GATEWAY
        );
        assert_eq!(status_of(ErrorKind::Usage), StatusCode::BAD_GATEWAY);
        assert_eq!(status_of(ErrorKind::NotFound), StatusCode::NOT_FOUND);
        assert_eq!(status_of(ErrorKind::TimedOut), StatusCode::GATEWAY_TIMEOUT);
    }
}
