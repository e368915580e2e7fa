//! One call through the gateway (TS 33.122 clauses 6.4 and 6.5, `CAPIF-2/2e`): who calls, by the right method, with the right to
//! this API, within its limits, then on to the API and back.
//!
//! Everything is judged at each request, so that a revocation reaches open connections too (R-4-06). The checks stand in
//! [`Invocations::authorize`] in their order; a call goes on only with the [`Permit`] that they give.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use capif_spec::{
    common::{AefId, ApiInvokerId, DateTime, Uri as SpecUri},
    logging::{DurationMs, Log},
    publish_service::{Operation, Protocol},
};
use capif_transport::{Body, Client, ClientError, Connection, SharedClock};
use http::{Method, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use hyper::body::Frame;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    access::{Access, Admitted},
    answer::Denial,
    config::{ExposedApi, Upstream},
    contexts::{Authorization, Contexts},
    doubts::Doubts,
    headers,
    log::CallLog,
    path::{self, ApiPath},
    proof::{Caller, Over, Proof, identify},
    publication::Publication,
    tokens::TokenKeys,
};

/// What calls are judged and forwarded with.
pub(crate) struct Invocations {
    pub(crate) aef_id: AefId,
    pub(crate) publication: Arc<Publication>,
    pub(crate) api: ExposedApi,
    pub(crate) upstream: Upstream,
    pub(crate) client: Client,
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) doubts: Doubts,
    pub(crate) access: Arc<Access>,
    pub(crate) tokens: Arc<TokenKeys>,
    pub(crate) log: CallLog,
    pub(crate) clock: SharedClock,
}

/// Leave to call this API. Only [`Invocations::authorize`] gives it.
struct Permit {
    invoker: ApiInvokerId,
    _admitted: Admitted,
}

/// The status that is noted for a call whose client went away before its answer began.
const CLIENT_GONE: u16 = 499;

/// The longest path that is reported, in bytes; a path is ASCII.
const NOTED_PATH_BYTES_MAX: usize = 1024;

/// The longest method that is served, in bytes: longer than any that is registered. It stands in logs and reports.
const METHOD_BYTES_MAX: usize = 32;

/// A call that is noted in the invocation log when it ends, however it ends.
struct Noted<'a> {
    invocations: &'a Invocations,
    parts: &'a http::request::Parts,
    started: OffsetDateTime,
    invoker: Option<ApiInvokerId>,
    status: u16,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if let Some(invoker) = &self.invoker {
            self.invocations
                .note(invoker, self.parts, self.status, self.started);
        }
    }
}

/// The outcome of a call for the request line.
pub(crate) struct Outcome {
    pub(crate) invoker: Option<ApiInvokerId>,
    pub(crate) result: Result<Response<Body>, Denial>,
}

impl Invocations {
    /// Carries out one call.
    pub(crate) async fn call(
        &self,
        request: Request<Body>,
        connection: &Connection,
        request_id: &str,
    ) -> Outcome {
        let started = self.clock.now();
        let (parts, body) = request.into_parts();
        let mut noted = Noted {
            invocations: self,
            parts: &parts,
            started,
            invoker: None,
            status: CLIENT_GONE,
        };
        let path_text = parts.uri.path().to_owned();
        let result = match path::parse(&path_text) {
            None => Err(Denial::AmbiguousPath),
            Some(_) if !is_served(&parts.method) => Err(Denial::Method),
            Some(path) => match self
                .authorize(path, &parts, connection, started, &mut noted.invoker)
                .await
            {
                Ok(permit) => {
                    self.forward(permit, path, &parts, body, connection, request_id)
                        .await
                }
                Err(denial) => Err(denial),
            },
        };
        let status = match &result {
            Ok(response) => response.status(),
            Err(denial) => denial.status(),
        };
        if result
            .as_ref()
            .is_err_and(|denial| [Denial::DeadKey, Denial::DeadCertificate].contains(denial))
        {
            // The next one takes a handshake, which tells the same.
            connection.close_after_response();
        }
        noted.status = status.as_u16();
        let invoker = noted.invoker.clone();
        Outcome { invoker, result }
    }

    /// The checks of TS 33.122 clause 6.5.2 and of RFC 6750, in order: credential, its signature and time, one invoker per
    /// connection, a context at the CCF, the method that the context names, the API, the scope, the generation; last the
    /// access control policy, since a call counts from there on.
    async fn authorize(
        &self,
        path: ApiPath<'_>,
        parts: &http::request::Parts,
        connection: &Connection,
        now: OffsetDateTime,
        invoker: &mut Option<ApiInvokerId>,
    ) -> Result<Permit, Denial> {
        let arrived = Instant::now();
        let caller = identify(parts, connection, &self.tokens, now).await?;
        if !connection.claim(caller.id.as_str()) {
            return Err(Denial::ForeignConnection);
        }
        let known = self.contexts.of(&caller.id).await;
        let mut known = known.map_err(|_| Denial::Unchecked)?;
        let exposed = path.name == self.api.name && path.version == self.api.version;
        let holds = known.as_ref().is_some_and(|authorization| {
            let allowed = || self.allow(&caller, authorization, now).is_ok();
            !exposed || (!caller.is_newer_than(authorization) && allowed())
        });
        let shown = match &caller.proof {
            Proof::Certificate(fingerprint) => Some(fingerprint.as_str()),
            _ => None,
        };
        if !holds && shown.is_none_or(|shown| !self.doubts.hold(shown, arrived)) {
            // What is remembered may be out of date.
            let since = self.contexts.since(&caller.id, arrived).await;
            known = since.map_err(|_| Denial::Unchecked)?;
        }
        let authorization = known.ok_or(Denial::UnknownInvoker)?;
        *invoker = Some(caller.id.clone());
        if !exposed {
            return Err(Denial::UnknownApi);
        }
        let allowed = self.allow(&caller, &authorization, now);
        if let (Err(Denial::DeadCertificate), Some(shown)) = (&allowed, shown) {
            self.doubts.add(shown, Instant::now());
        }
        allowed?;
        let admitted = self
            .access
            .admit(&caller.id, authorization.generation, now)
            .await?;
        Ok(Permit {
            invoker: caller.id,
            _admitted: admitted,
        })
    }

    /// Whether a caller may call the API by what it showed.
    fn allow(
        &self,
        caller: &Caller,
        authorization: &Authorization,
        now: OffsetDateTime,
    ) -> Result<(), Denial> {
        let Some(method) = authorization.methods.get(&self.api.name) else {
            // The method was selected before the API was published with others (TS 33.122 clause 6.7).
            return Err(if authorization.outdated.contains(&self.api.name) {
                Denial::MethodMismatch
            } else {
                Denial::NotGranted
            });
        };
        if caller.proof.method().as_ref() != Some(method) {
            return Err(Denial::MethodMismatch);
        }
        match &caller.proof {
            Proof::Psk(identity) => {
                authorization.key(identity, now).ok_or(Denial::DeadKey)?;
            }
            Proof::Certificate(fingerprint) => {
                let certificates = authorization.certificates.as_ref();
                if !certificates.is_some_and(|all| all.count(fingerprint, now)) {
                    return Err(Denial::DeadCertificate);
                }
            }
            Proof::Token(token) => {
                if !token.scope.contains(&self.aef_id, &self.api.name) {
                    return Err(Denial::NotGranted);
                }
                // RFC 7519 section 4.1.3.
                let own = self.aef_id.as_str();
                let audience = token.audience.as_ref();
                if audience.is_some_and(|ids| !ids.iter().any(|id| id == own)) {
                    return Err(Denial::InvalidToken);
                }
                let generation = token.generation;
                if generation.is_none_or(|generation| generation < authorization.generation) {
                    return Err(Denial::InvalidToken);
                }
                if self.publication.terms().oauth_mutual_tls && token.over != Over::MutualTls {
                    return Err(Denial::NoCertificate);
                }
            }
        }
        Ok(())
    }

    async fn forward(
        &self,
        permit: Permit,
        path: ApiPath<'_>,
        parts: &http::request::Parts,
        body: Body,
        connection: &Connection,
        request_id: &str,
    ) -> Result<Response<Body>, Denial> {
        // A body that breaks off breaks off at the API too; whose fault that was is told apart below.
        let broken = Arc::new(AtomicBool::new(false));
        let body = {
            let broken = Arc::clone(&broken);
            let note = move |error| {
                broken.store(true, Ordering::Relaxed);
                error
            };
            // Trailers are headers that come too late to be judged.
            let without_trailers = |frame: Frame<Bytes>| match frame.into_data() {
                Ok(data) => Frame::data(data),
                Err(_trailers) => Frame::data(Bytes::new()),
            };
            body.map_err(note).map_frame(without_trailers).boxed()
        };
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = self.target(path, &parts.uri)?;
        *request.headers_mut() = parts.headers.clone();
        if parts.version == Version::HTTP_2
            && let Some(authority) = parts.uri.authority()
            && let Ok(value) = http::HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, value);
        }
        let remote = connection.remote.ip().to_string();
        headers::to_upstream(
            request.headers_mut(),
            &permit.invoker,
            &self.aef_id,
            request_id,
            &remote,
        );
        let mut response = self.client.request(request).await.map_err(|error| {
            if broken.load(Ordering::Relaxed) {
                return Denial::BodyBroken;
            }
            tracing::warn!(request_id, %error, "the API did not answer");
            match error {
                ClientError::TimedOut => Denial::UpstreamSlow,
                _ => Denial::UpstreamDown,
            }
        })?;
        if response.status().is_informational() {
            // No answer ends with one of these; a switch of protocols was not asked for.
            return Err(Denial::UpstreamDown);
        }
        headers::to_client(response.headers_mut());
        Ok(response)
    }

    /// Where a call goes: the upstream's own path, then the path as it came, or what follows its first two segments.
    fn target(&self, path: ApiPath<'_>, uri: &Uri) -> Result<Uri, Denial> {
        let forwarded = if self.api.strip {
            match path.rest {
                "" => "/",
                rest => rest,
            }
        } else {
            uri.path()
        };
        let mut target = format!("{}{forwarded}", self.upstream.path);
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let target = PathAndQuery::try_from(target).map_err(|_| Denial::AmbiguousPath)?;
        Uri::builder()
            .scheme(self.upstream.scheme.clone())
            .authority(self.upstream.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|_| Denial::AmbiguousPath)
    }

    fn note(
        &self,
        invoker: &ApiInvokerId,
        parts: &http::request::Parts,
        status: u16,
        started: OffsetDateTime,
    ) {
        let latency = (self.clock.now() - started).whole_milliseconds();
        let resource = path::parse(parts.uri.path())
            .map(|path| path.rest.trim_start_matches('/'))
            .and_then(|rest| rest.split('/').next())
            .filter(|resource| !resource.is_empty())
            .unwrap_or("/");
        self.log.note(
            invoker.clone(),
            Log {
                api_id: self.publication.api_id().clone(),
                api_name: self.api.name.clone(),
                api_version: self.api.version.clone(),
                resource_name: shortened(resource).to_owned(),
                uri: Some(SpecUri::from(shortened(parts.uri.path()))),
                protocol: if parts.version == Version::HTTP_2 {
                    Protocol::Http2
                } else {
                    Protocol::Http11
                },
                operation: Some(Operation::from(parts.method.as_str())),
                result: status.to_string(),
                invocation_time: Some(DateTime(started)),
                invocation_latency: Some(DurationMs::from(
                    u32::try_from(latency).unwrap_or(u32::MAX),
                )),
                input_parameters: None,
                output_parameters: None,
                src_interface: None,
                dest_interface: None,
                fwd_interface: None,
                net_slice_info: None,
                extra: Default::default(),
            },
        );
    }
}

fn is_served(method: &Method) -> bool {
    ![Method::CONNECT, Method::TRACE].contains(method) && method.as_str().len() <= METHOD_BYTES_MAX
}

/// A report must not become too long to be taken.
fn shortened(path: &str) -> &str {
    path.get(..NOTED_PATH_BYTES_MAX).unwrap_or(path)
}
