//! What the sidecar makes of a request: a call in the invoker's name, and of its answer the application's.

use std::{net::IpAddr, sync::Arc};

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
    names: Vec<String>,
}

impl Relay {
    pub(super) fn new(enrolled: Arc<Enrolled>, names: Vec<String>) -> Self {
        Self { enrolled, names }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Refused> {
        admit(request.uri(), request.headers(), &self.names)?;
        if request.uri().path() == STATUS {
            return self.status(request.method());
        }
        let name = api_name(request.uri())?.to_owned();
        let call = self.enrolled.invoker.call(&name, request).await;
        let mut response = call.map_err(|error| {
            let kind = error.kind();
            let failure = self.enrolled.explain(error);
            tracing::warn!(api = name, %failure, "the call got no answer");
            Refused::new(status_of(kind), failure.to_string())
        })?;
        remove_connection_headers(response.headers_mut());
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

/// Lets applications through, and no web page: a browser sends its requests to this socket too, with whatever name a foreign
/// site has given to this address.
fn admit(uri: &Uri, headers: &HeaderMap, names: &[String]) -> Result<(), Refused> {
    if uri.authority().is_some() {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "the sidecar is called itself, it is no proxy to be set: give the path alone",
        ));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let (Some(host), None) = (host, hosts.next()) else {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "a request has one `Host`",
        ));
    };
    if !is_ours(host, names) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "this name is not known to be the sidecar's: call it by its address, or start it with --name",
        ));
    }
    let site = headers.get("sec-fetch-site");
    let own_page = [&b"same-origin"[..], b"none"];
    let other_page = site.is_some_and(|site| !own_page.contains(&site.as_bytes()));
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let own_origin = format!("http://{host}");
    if other_page || origin.is_some_and(|origin| origin != own_origin.as_bytes()) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "the sidecar serves applications, not the pages of other sites",
        ));
    }
    Ok(())
}

/// Whether a `Host` is an address, `localhost` or a name that was given: none that somebody else could have pointed here.
fn is_ours(host: &str, names: &[String]) -> bool {
    let authority = host.parse::<http::uri::Authority>();
    let Some(authority) = authority.ok().filter(|_| !host.contains('@')) else {
        return false;
    };
    let name = authority.host();
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The API is the first segment of the path, as the gateways serve it.
fn api_name(uri: &Uri) -> Result<&str, Refused> {
    let name = uri.path().split('/').nth(1).unwrap_or_default();
    if name.is_empty() {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "a path begins with the name of an API: /weather/v1/today",
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn status(all: &[(&'static str, &'static str)]) -> Option<StatusCode> {
        let names = ["sidecar.internal".to_owned()];
        admit(&Uri::from_static("/weather/v1"), &headers(all), &names)
            .err()
            .map(|refused| refused.status)
    }

    #[test]
    fn applications_pass_and_pages_do_not() {
        for host in [
            "127.0.0.1:9080",
            "localhost:9080",
            "LOCALHOST",
            "[::1]:9080",
            "192.0.2.1:80",
            "Sidecar.internal:9080",
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            let names = ["sidecar.internal".to_owned()];
            assert_eq!(
                admit(&Uri::from_static("/a"), &headers, &names),
                Ok(()),
                "{host}"
            );
        }
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
        let refused = admit(&uri, &headers(&[("host", "localhost")]), &[]).unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_api_is_the_first_segment() {
        assert_eq!(
            api_name(&Uri::from_static("/weather/v1/today?at=noon")),
            Ok("weather")
        );
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
