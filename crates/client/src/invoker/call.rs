//! A call of a service API over CAPIF-2/2e (TS 33.122 clauses 6.5.2 and 6.7).
//!
//! Discovery says where, negotiation says how; both are remembered. An AEF can make this invoker do two things: fetch a fresh
//! token, and ask the CAPIF core function which method counts. It cannot choose a method, name an address or see the
//! Onboard_Secret (P-28).

use bytes::Bytes;
use capif_spec::{
    common::ProblemDetails,
    publish_service::ServiceApiDescription,
    security::{AccessTokenRsp, Scope},
};
use capif_transport::{Body, ClientError, collect, full, remove_connection_headers};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header, request};
use http_body_util::BodyExt;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    Invoker,
    agreement::{Carried, Way},
    recovery::Patience,
};
use crate::{
    ccf,
    discovery::{self, Route},
    error::Error,
};

const OPERATION: &str = "the API call";

/// An API may do something each time it is called, so nothing is promised.
const UNSURE: &str = "it may have been carried out or not";

/// The largest request body that is kept to be sent again.
const KEPT_BYTES_MAX: u64 = 64 << 10;

/// The largest refusal that is read to see what it says.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
const REFUSAL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The cause by which an AEF says that another method counts. Choice: TS 33.122 clause 6.7 asks for an indicator and
/// TS 29.222 defines none (D-20).
const MISMATCH: &str = "SECURITY_METHOD_MISMATCH";

/// The cause by which an AEF says on an open connection that its key has been replaced or has ended.
const DEAD_KEY: &str = "SECURITY_KEY_INVALID";

impl Invoker {
    /// Calls an API. The path is the API's own, `/weather/v1/today` for example; method, headers and body are passed on as they
    /// are, streaming, without `Authorization` and what concerns one connection only.
    ///
    /// The first call discovers the API and negotiates the method; what was negotiated is kept for later processes. When the AEF
    /// no longer takes the method, the CAPIF core function is asked which one counts, and the call is repeated by it. This needs
    /// a request body that can be kept (64 KiB at most, of known length): **a call whose body streams is sent once**, and the
    /// refusal is its answer; the next call goes by the right method. An AEF that always says so is believed five times, then
    /// once a minute; while its word counts, a call can take up to ten seconds longer.
    ///
    /// # Errors
    /// Only if there is no answer. A refusal by the AEF is an answer and is returned as such.
    pub async fn call(
        &self,
        api_name: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let (head, body) = request.into_parts();
        if head.uri.authority().is_some() {
            return Err(Error::Usage(
                "give the path alone, `/weather/v1/today` for example: discovery says at which address the API is".to_owned(),
            ));
        }
        self.tend().await;
        let head = Head::new(head);
        let mut body = Payload::hold(body).await?;
        let mut patience = Patience::default();
        let mut token_renewed = None;
        let mut sought_again = false;
        let mut sent_again = false;
        let mut route = self.route(api_name, head.uri.path()).await?;
        loop {
            let way = self.way(&route, api_name).await?;
            let refusal = match self.attempt(api_name, &head, &route, &way, &mut body).await {
                Attempt::Over(outcome) => return outcome,
                Attempt::Token {
                    scope,
                    token,
                    refusal,
                } => {
                    // One that a later negotiation ended is no fault of the one that was fetched since.
                    let under = (way.negotiation, way.revision);
                    let again = token_renewed.replace(under) == Some(under);
                    if again || !body.is_kept() || patience.bear(Instant::now()).is_none() {
                        return Ok(refusal);
                    }
                    self.standing().tokens.refused(&scope, &token).await;
                    continue;
                }
                Attempt::Broken(error) => {
                    // Nobody minds being asked the same twice (RFC 9110 section 9.2.2).
                    if sent_again || !head.method.is_safe() || !body.is_kept() {
                        return Err(error);
                    }
                    sent_again = true;
                    continue;
                }
                Attempt::Nobody(error) => {
                    // Nothing was carried out. The AEF may have moved, or another have taken its place.
                    self.forget_api(api_name);
                    if sought_again || !body.is_kept() {
                        return Err(error);
                    }
                    sought_again = true;
                    let found = self.route(api_name, head.uri.path()).await?;
                    let elsewhere =
                        (&found.aef_id, &found.address) != (&route.aef_id, &route.address);
                    // A connection that was open can have been closed by an AEF that is there all the same.
                    if !elsewhere && !matches!(error, Error::Unreachable { .. }) {
                        return Err(error);
                    }
                    route = found;
                    continue;
                }
                Attempt::Method(refusal) => refusal,
            };
            let path = head.uri.path();
            let better = self
                .recover(&route, api_name, path, &way, &mut patience)
                .await?;
            if !better || !body.is_kept() {
                return refusal;
            }
            route = self.route(api_name, path).await?;
        }
    }

    /// One try by one way.
    async fn attempt(
        &self,
        api_name: &str,
        head: &Head,
        route: &Route,
        way: &Way,
        body: &mut Payload,
    ) -> Attempt {
        match self.exchange(api_name, head, route, way, body).await {
            Ok(attempt) => attempt,
            Err(error) => Attempt::Over(Err(error)),
        }
    }

    async fn exchange(
        &self,
        api_name: &str,
        head: &Head,
        route: &Route,
        way: &Way,
        body: &mut Payload,
    ) -> Result<Attempt, Error> {
        let scope = Scope {
            grants: vec![(route.aef_id.clone(), vec![api_name.to_owned()])],
        };
        // A token goes with the certificate that it was fetched under.
        let mut standing = self.standing();
        let (client, token) = match &way.carried {
            Carried::Psk(key) => {
                let client = standing
                    .aefs
                    .client_by_key(key, route, &self.shared.id)
                    .await?;
                (client, None)
            }
            Carried::Pki => (standing.aefs.client(&route.aef_id)?, None),
            Carried::Oauth => match self.token_under(&mut standing, &scope).await {
                Ok(token) => (standing.aefs.client(&route.aef_id)?, Some(token)),
                Err(error) => {
                    // What is remembered about the API may be out of date.
                    self.forget_api(api_name);
                    // The CAPIF core function itself says that tokens do not count there any more.
                    return Ok(match &error {
                        Error::TokenRefused { status, .. }
                            if *status == StatusCode::BAD_REQUEST =>
                        {
                            Attempt::Method(Err(error))
                        }
                        _ => Attempt::Over(Err(error)),
                    });
                }
            },
        };
        let request = head.request(route, token.as_ref(), body.take())?;
        let response = match client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                let refused = refuses_us(&way.carried, &error);
                let nobody = matches!(error, ClientError::Connect(_) | ClientError::Tls(_));
                let broken = matches!(error, ClientError::Broken(_));
                let error = match (&way.carried, error) {
                    (Carried::Psk(_), ClientError::Tls(reason)) => Error::KeyRefused {
                        address: route.address.to_string(),
                        reason,
                    },
                    (_, error) => ccf::failure(OPERATION, &route.address, UNSURE, error),
                };
                return Ok(if refused {
                    Attempt::Method(Err(error))
                } else if nobody {
                    Attempt::Nobody(error)
                } else if broken {
                    Attempt::Broken(error)
                } else {
                    Attempt::Over(Err(error))
                });
            }
        };
        let (complaint, response) = Complaint::of(response, route, &way.carried).await?;
        Ok(match (complaint, token) {
            (Complaint::Method, _) => Attempt::Method(Ok(response)),
            (Complaint::Token, Some(token)) => Attempt::Token {
                scope,
                token,
                refusal: response,
            },
            _ => Attempt::Over(Ok(response)),
        })
    }

    /// Where an API is called: as remembered, else by discovery.
    pub(super) async fn route(&self, api_name: &str, path: &str) -> Result<Route, Error> {
        let find = |apis: &[ServiceApiDescription]| {
            let meant = self.meant(apis, api_name)?;
            Ok::<_, Error>(discovery::route(&meant, api_name, path))
        };
        let remembered = self.known_apis().contains_key(api_name);
        let mut route = find(&self.apis_named(api_name).await?)?;
        if route.is_none() && remembered {
            // What was remembered is no use; what is there now may be.
            self.forget_api(api_name);
            route = find(&self.apis_named(api_name).await?)?;
        }
        route.ok_or_else(|| Error::NoSuchApi {
            name: api_name.to_owned(),
        })
    }
}

impl Invoker {
    /// The APIs of a name that this invoker means. Providers choose names themselves, so a name alone may not lead to another
    /// provider than before: of several, the one at an AEF that was negotiated with counts.
    fn meant(
        &self,
        apis: &[ServiceApiDescription],
        api_name: &str,
    ) -> Result<Vec<ServiceApiDescription>, Error> {
        let named: Vec<&ServiceApiDescription> =
            apis.iter().filter(|api| api.api_name == api_name).collect();
        if named.len() <= 1 {
            return Ok(named.into_iter().cloned().collect());
        }
        let negotiated = self.security_context().map(|context| context.security_info);
        let negotiated = negotiated.unwrap_or_default();
        let is_known = |api: &&ServiceApiDescription| {
            let mut profiles = api.aef_profiles.iter().flatten();
            profiles.any(|profile| {
                negotiated.iter().any(|entry| {
                    entry.aef_id.as_ref() == Some(&profile.aef_id)
                        && (entry.api_id.is_none() || entry.api_id == api.api_id)
                })
            })
        };
        let known: Vec<&ServiceApiDescription> = named.into_iter().filter(is_known).collect();
        match known.as_slice() {
            [one] => Ok(vec![(*one).clone()]),
            _ => Err(Error::AmbiguousApi {
                name: api_name.to_owned(),
            }),
        }
    }
}

/// How one try went.
enum Attempt {
    /// This is what the caller gets.
    Over(Result<Response<Body>, Error>),
    /// The AEF, or the token endpoint, does not take this method. Nothing was carried out.
    Method(Result<Response<Body>, Error>),
    /// The AEF does not take this token.
    Token {
        scope: Scope,
        token: AccessTokenRsp,
        refusal: Response<Body>,
    },
    /// There is nobody there, or somebody else. Nothing was carried out.
    Nobody(Error),
    /// The connection broke, and nobody knows what was carried out.
    Broken(Error),
}

/// Whether the AEF ended the handshake because of what this invoker showed: its certificate, or its key. With a key neither end
/// knows more than that it did not work out (TS 33.122 clause 6.7, D-20).
fn refuses_us(carried: &Carried, error: &ClientError) -> bool {
    match error {
        ClientError::Tls(reason) => {
            matches!(carried, Carried::Psk(_)) || ccf::is_fatal_alert(reason)
        }
        ClientError::Broken(reason) => ccf::is_fatal_alert(reason),
        _ => false,
    }
}

/// What of a request is the same each time it is sent.
struct Head {
    method: http::Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn new(head: request::Parts) -> Self {
        Self {
            method: head.method,
            uri: head.uri,
            headers: forwarded(head.headers),
        }
    }

    fn request(
        &self,
        route: &Route,
        token: Option<&AccessTokenRsp>,
        body: Body,
    ) -> Result<Request<Body>, Error> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let prefix = match path.strip_prefix(&route.prefix) {
            Some(rest) if rest.starts_with('/') => "",
            _ => &route.prefix,
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("https://{}{prefix}{path}", route.address))
            .body(body)
            .map_err(|error| Error::Usage(format!("this is not a path to call: {error}")))?;
        *request.headers_mut() = self.headers.clone();
        if let Some(token) = token {
            let text = Zeroizing::new(format!("Bearer {}", token.access_token.expose()));
            // Holds because only tokens of visible characters are taken in.
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Error::Usage("the token cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// The headers that are the call's own: not those of one connection (RFC 9110 section 7.6.1), and not those by which this
/// invoker says who it is and whom it means.
fn forwarded(mut headers: HeaderMap) -> HeaderMap {
    remove_connection_headers(&mut headers);
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::HOST);
    headers
}

/// A request body: kept if it can be sent again.
enum Payload {
    Kept(Bytes),
    Once(Body),
}

impl Payload {
    async fn hold(body: Body) -> Result<Self, Error> {
        if exact_length(&body).is_none_or(|length| length > KEPT_BYTES_MAX) {
            return Ok(Self::Once(body));
        }
        let whole = body
            .collect()
            .await
            .map_err(|error| Error::Usage(format!("the request body cannot be read: {error}")))?;
        Ok(Self::Kept(whole.to_bytes()))
    }

    /// The body to send. One that is not kept is there the first time only; see [`Payload::is_kept`].
    fn take(&mut self) -> Body {
        match self {
            Self::Kept(octets) => full(octets.clone()),
            Self::Once(body) => std::mem::replace(body, capif_transport::empty()),
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

fn exact_length<B: BodyExt>(body: &B) -> Option<u64> {
    body.size_hint().exact()
}

/// What an AEF finds wrong with how it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complaint {
    /// Nothing, or nothing that can be helped here.
    None,
    /// Another method counts (TS 33.122 clause 6.7), or another key, or the AEF knows of no agreement with this invoker.
    Method,
    /// The token is expired or revoked (RFC 6750 section 3.1).
    Token,
}

impl Complaint {
    /// Looks at an answer; it is given back whole.
    async fn of(
        response: Response<Body>,
        route: &Route,
        carried: &Carried,
    ) -> Result<(Self, Response<Body>), Error> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok((Self::None, response));
        }
        let token = response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .to_ascii_lowercase()
                    .contains("error=\"invalid_token\"")
            });
        let is_problem = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|value| {
                value
                    .trim()
                    .eq_ignore_ascii_case("application/problem+json")
            });
        let mut complaint = if token { Self::Token } else { Self::None };
        if !is_problem {
            return Ok((complaint, response));
        }
        let (head, body) = response.into_parts();
        let octets = collect(body, REFUSAL_BYTES_MAX, REFUSAL_TIMEOUT)
            .await
            .map_err(|error| ccf::body_failure(OPERATION, &route.address, UNSURE, error))?;
        let cause = capif_spec::json::from_slice::<ProblemDetails>(&octets)
            .ok()
            .and_then(|problem| problem.cause);
        match (cause.as_deref(), carried) {
            (Some(MISMATCH), _) | (Some(DEAD_KEY), Carried::Psk(_)) => complaint = Self::Method,
            // Whom it does not know by the certificate.
            (_, Carried::Pki) if complaint == Self::Token => complaint = Self::Method,
            _ => {}
        }
        Ok((complaint, Response::from_parts(head, full(octets))))
    }
}
