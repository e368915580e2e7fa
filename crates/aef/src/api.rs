//! What the gateway serves itself on its listener.
//!
//! - Notifications of the events that it subscribed to, from the CCF, which proves itself by its certificate. The gateway first
//!   forgets and tears down, then acknowledges (TS 33.122 clause 6.8 steps 8 to 10).
//! - AEF_Security_API (TS 29.222 clause 9.1): `revoke-authorization`, from the CCF as well, in the same order; and
//!   `check-authentication`, by which anybody may have the gateway ask the CCF about an invoker before it calls. Nobody has
//!   proved anything there, so the answer is the same whatever the CCF said, and each address has only so many questions (D-31).

use std::{sync::Arc, time::Duration};

use capif_procedures::events::TRUST_UPDATED;
use capif_spec::{
    aef_security::{
        CheckAuthenticationReq, CheckAuthenticationRsp, RevokeAuthorizationReq,
        RevokeAuthorizationRsp,
    },
    common::{ApiInvokerId, Checked, ServiceApiId, SupportedFeatures},
    events::{CapifEvent, CapifEventDetail, EventNotification},
    json,
};
use capif_transport::{
    Body, BodyError, Buckets, Closing, Connection, Peer, collect, empty, full, is_absent,
    neighbourhood,
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    access::Access, answer::Denial, comparison::QUESTIONS_MAX, contexts::Contexts,
    link::ANSWER_TIME, publication::Publication, settlement::Settlement,
    subscription::Subscription, tokens::TokenKeys, upkeep::Upkeep,
};

/// Where notifications are taken.
pub(crate) const NOTIFICATIONS: &str = "/capif-events/v1/notifications";

/// The paths of AEF_Security_API.
const AEF_SECURITY: &str = "/aef-security/v1/";
const CHECK_AUTHENTICATION: &str = "/aef-security/v1/check-authentication";
const REVOKE_AUTHORIZATION: &str = "/aef-security/v1/revoke-authorization";

/// The organizational unit of the CCF's certificate.
const CCF_UNIT: &str = "CCF";

/// The largest message of the CCF, and of anybody.
const BODY_BYTES_MAX: usize = 1 << 20;
const QUESTION_BYTES_MAX: usize = 4096;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The longest id of an invoker that is asked for.
const ID_BYTES_MAX: usize = 256;

/// What the gateway's own interface acts on.
pub(crate) struct OwnApi {
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) access: Arc<Access>,
    pub(crate) publication: Arc<Publication>,
    /// The gateway's own subscription: others may have theirs sent here, which is none of its business.
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) settlement: Arc<Settlement>,
    pub(crate) upkeep: Arc<Upkeep>,
    pub(crate) tokens: Arc<TokenKeys>,
    pub(crate) checks: Buckets,
}

/// Whether a path is the gateway's own.
pub(crate) fn is_own(path: &str) -> bool {
    path == NOTIFICATIONS || path.starts_with(AEF_SECURITY)
}

impl OwnApi {
    /// Answers a message to the gateway itself.
    pub(crate) async fn answer(
        &self,
        request: Request<Body>,
        connection: &Connection,
    ) -> Result<Response<Body>, Denial> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path == CHECK_AUTHENTICATION {
            return self.check(&parts, body, connection).await;
        }
        if !is_ccf(&connection.peer) {
            self.question(connection)?;
            return Err(match connection.peer {
                Peer::Anonymous => Denial::NobodyKnown,
                _ => Denial::CcfOnly,
            });
        }
        held_to_the_rules(&parts, &body)?;
        match path {
            NOTIFICATIONS => {
                let notification: EventNotification = message(body, BODY_BYTES_MAX).await?;
                if notification.subscription_id != *self.subscription.id() {
                    return Err(Denial::UnknownApi);
                }
                self.take(&notification).await?;
                let mut response = Response::new(empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            REVOKE_AUTHORIZATION => {
                let request: RevokeAuthorizationReq = message(body, BODY_BYTES_MAX).await?;
                request.check().map_err(|_| Denial::Malformed)?;
                // For other APIs there is nothing to end here, but what is known may be out of date all the same.
                let invoker = &request.revoke_info.api_invoker_id;
                if request
                    .revoke_info
                    .api_ids
                    .contains(self.publication.api_id())
                {
                    self.drop_invoker(invoker);
                } else {
                    self.contexts.forget(invoker);
                }
                Ok(json_answer(&RevokeAuthorizationRsp {
                    supported_features: SupportedFeatures::from("0"),
                    extra: Default::default(),
                }))
            }
            _ => Err(Denial::UnknownApi),
        }
    }

    /// Has the CCF asked about an invoker that is not remembered (TS 33.122 clause 6.5.1). Material is never in the answer.
    async fn check(
        &self,
        parts: &Parts,
        body: Body,
        connection: &Connection,
    ) -> Result<Response<Body>, Denial> {
        held_to_the_rules(parts, &body)?;
        self.question(connection)?;
        let request: CheckAuthenticationReq = message(body, QUESTION_BYTES_MAX).await?;
        let id = &request.api_invoker_id;
        if id.as_str().is_empty() || id.as_str().len() > ID_BYTES_MAX {
            return Err(Denial::Malformed);
        }
        self.contexts.prepare(id).await;
        Ok(json_answer(&CheckAuthenticationRsp {
            supported_features: SupportedFeatures::from("0"),
            extra: Default::default(),
        }))
    }

    /// Counts a message of somebody who is not the CCF, which alone may send as many as it likes.
    fn question(&self, connection: &Connection) -> Result<(), Denial> {
        let address = neighbourhood(connection.remote.ip());
        let taken = self.checks.take(&address, Instant::now());
        taken.map_err(|_| Denial::TooManyQuestions)
    }

    /// Does what an event asks for. Whoever is named is forgotten and loses the connections; an event that names nobody makes
    /// the gateway forget everyone, and ask again.
    async fn take(&self, notification: &EventNotification) -> Result<(), Denial> {
        let detail = notification.event_detail.as_ref();
        let invokers = detail
            .and_then(|detail| detail.api_invoker_ids.as_deref())
            .unwrap_or_default();
        let event = &notification.events;
        tracing::info!(%event, ?invokers, "event of the CAPIF core function");
        match event {
            CapifEvent::ApiInvokerOffboarded if !invokers.is_empty() => {
                for invoker in invokers {
                    self.contexts.forget_for_good(invoker);
                    self.drop_invoker(invoker);
                }
            }
            CapifEvent::ApiInvokerAuthorizationRevoked if !invokers.is_empty() => {
                // For other APIs there is nothing to end here, but what is known may be out of date all the same.
                let ours = detail.is_none_or(|detail| concerns(detail, self.publication.api_id()));
                for invoker in invokers {
                    if ours {
                        self.drop_invoker(invoker);
                    } else {
                        self.contexts.forget(invoker);
                    }
                }
            }
            // It negotiated anew, or its certificate was renewed: what is known is out of date, but what runs is finished.
            CapifEvent::ApiInvokerUpdated if !invokers.is_empty() => {
                futures_util::stream::iter(invokers.to_vec())
                    .for_each_concurrent(QUESTIONS_MAX, |invoker| self.settlement.follow(invoker))
                    .await;
            }
            // Whom to believe, and by which keys tokens are signed. Without the new ones there is no acknowledgement.
            CapifEvent::Other(name) if name == TRUST_UPDATED => {
                let followed = async {
                    self.upkeep.follow().await?;
                    self.tokens.look().await
                };
                let followed = tokio::time::timeout(ANSWER_TIME, followed).await;
                // Who stayed with an authority that is no more counts for nothing.
                self.contexts.forget_all();
                if !matches!(followed, Ok(Ok(()))) {
                    tracing::warn!("the roots of the CAPIF core function were not looked at");
                    return Err(Denial::Unchecked);
                }
            }
            CapifEvent::ServiceApiUpdate => {
                if detail.is_none_or(|detail| concerns(detail, self.publication.api_id())) {
                    // Once the new methods are to be seen, nothing of before is believed any more.
                    self.contexts.forget_all();
                    // Without the new methods there is no acknowledgement, and the event comes again.
                    let looked = tokio::time::timeout(ANSWER_TIME, self.publication.look()).await;
                    self.contexts.forget_all();
                    if !matches!(looked, Ok(Ok(_))) {
                        tracing::warn!("the publication was not looked at");
                        return Err(Denial::Unchecked);
                    }
                }
            }
            CapifEvent::AccessControlPolicyUpdate | CapifEvent::AccessControlPolicyUnavailable => {
                if detail.is_none_or(|detail| concerns(detail, self.publication.api_id())) {
                    self.access.forget_all();
                }
            }
            _ => {
                self.contexts.forget_all();
                self.access.forget_all();
            }
        }
        Ok(())
    }

    /// TS 33.122 clause 6.8 steps 8 and 9.
    fn drop_invoker(&self, invoker: &ApiInvokerId) {
        self.contexts.forget(invoker);
        self.access.forget(invoker);
        let closed = self.settlement.close(invoker, Closing::Now, |_| true);
        tracing::info!(%invoker, connections = closed, "an API invoker was dropped");
    }
}

/// Whether an event is about an API, or does not say about which.
fn concerns(detail: &CapifEventDetail, api_id: &ServiceApiId) -> bool {
    let described = detail.service_api_descriptions.iter().flatten();
    let described = described.filter_map(|api| api.api_id.as_ref());
    let listed = detail.api_ids.iter().flatten();
    let controlled = detail.acc_ctrl_pol_list.iter().map(|list| &list.api_id);
    let mut named = described.chain(listed).chain(controlled).peekable();
    named.peek().is_none() || named.any(|id| id == api_id)
}

async fn message<T: DeserializeOwned>(body: Body, bytes_max: usize) -> Result<T, Denial> {
    let body = collect(body, bytes_max, BODY_TIME)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => Denial::TooLarge,
            _ => Denial::Malformed,
        })?;
    json::from_slice(&body).map_err(|_| Denial::Malformed)
}

/// What every message to the gateway itself must be (TS 29.222 clause 7).
fn held_to_the_rules(parts: &Parts, body: &Body) -> Result<(), Denial> {
    if parts.method != Method::POST {
        return Err(Denial::PostOnly);
    }
    let announced = parts.headers.contains_key(header::CONTENT_LENGTH)
        || parts.headers.contains_key(header::TRANSFER_ENCODING);
    if !announced && is_absent(body) {
        return Err(Denial::LengthMissing);
    }
    if !is_json(&parts.headers) {
        return Err(Denial::MediaType);
    }
    Ok(())
}

fn json_answer<T: Serialize>(answer: &T) -> Response<Body> {
    let mut response = Response::new(full(serde_json::to_vec(answer).unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    kinds.next().is_none()
        && essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn is_ccf(peer: &Peer) -> bool {
    let unit = peer
        .certificate()
        .and_then(|certificate| certificate.organizational_unit.as_deref());
    unit == Some(CCF_UNIT)
}
