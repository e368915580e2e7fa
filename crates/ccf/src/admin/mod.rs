//! The operator's API: a Unix socket in the CCF's folder that only the folder's owner can open, so that there is no password to
//! set, to default or to leak (P-37). The commands of `capif` speak it.

mod access;
mod audit;
mod authority;
mod lists;
mod renewals;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use capif_procedures::{
    changes::Changes,
    offboarding,
    refusal::Refusal,
    state::{ApiReach, DepartureReason},
};
use capif_spec::{
    common::{ApiProviderDomainId, DateTime, Redacted},
    json,
};
use capif_transport::{Body, Connection, Handler, collect};
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    access::{ApiChoice, NewPolicy, OldPolicy, Permitted, Revoked, TimeRange, Verdict},
    audit::Heads,
    authority::{Authorities, GenerationStatus, Roll, Rotate, TokenKeyStatus},
    renewals::{Asked, NewRenewals},
};
use crate::{
    api::{handed_over, json_answer, no_content, problem::ApiError, registration},
    audit::{Act, OPERATOR_REQUEST},
    core::Core,
    random,
};

/// The name of the socket within the CCF's folder.
pub const SOCKET: &str = "operator.sock";

/// The largest request.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Admits a provider domain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// The name by which the operator knows it.
    pub name: String,
}

/// Invites an API invoker.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// The APIs that it may use; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<BTreeSet<String>>,
    /// How long the credential may be used, in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u32>,
}

/// What someone needs to enrol: the three parts of TS 33.122 clause 6.1 step 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentParts {
    /// Host and port of the CCF.
    pub address: String,
    /// The root CA certificate as PEM.
    pub ca_pem: String,
    /// The credential.
    pub credential: Redacted,
    /// When the credential ends.
    pub expires: DateTime,
}

/// The handler of the operator's socket.
pub struct Admin {
    core: Arc<Core>,
}

impl Admin {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (parts, body) = request.into_parts();
        let body = collect(body, BODY_BYTES_MAX, Duration::from_secs(10))
            .await
            .map_err(|_| ApiError::BodyIncomplete)?;
        let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
        match (&parts.method, path.as_slice()) {
            (&Method::GET, ["audit"]) => audit::page(&self.core, parts.uri.query()).await,
            (&Method::GET, ["audit", "head"]) => audit::heads(&self.core),
            (&Method::GET, ["authority"]) => {
                json_answer(StatusCode::OK, &authority::authorities(&self.core))
            }
            (&Method::POST, ["authority", "roll"]) => {
                let rolled = authority::roll(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &rolled)
            }
            (&Method::POST, ["authority", "retire"]) => {
                json_answer(StatusCode::OK, &authority::retire(&self.core).await?)
            }
            (&Method::GET, ["keys"]) => {
                json_answer(StatusCode::OK, &authority::token_keys(&self.core))
            }
            (&Method::POST, ["keys", "rotate"]) => {
                let rotated = authority::rotate(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &rotated)
            }
            (&Method::GET, [list]) => lists::list(&self.core, list, parts.uri.query()).await,
            (&Method::POST, ["providers"]) => self.add_provider(parse(&body)?).await,
            (&Method::DELETE, ["providers", id]) => {
                let act = Act::by_operator("RemoveProvider", *id);
                registration::remove(&self.core, &act, &ApiProviderDomainId::new(*id), None)
                    .await?;
                Ok(no_content())
            }
            (&Method::POST, ["invites"]) => self.invite(parse(&body)?).await,
            (&Method::POST, ["credentials"]) => {
                let act = Act::by_operator("HandOverCredential", "");
                let taken = handed_over::take(&self.core, &act, parse(&body)?, None).await?;
                json_answer(StatusCode::CREATED, &taken)
            }
            (&Method::DELETE, ["invokers", id]) => self.offboard(id).await,
            (&Method::POST, ["policies"]) => {
                let set = access::set(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &set)
            }
            (&Method::POST, ["policies", "remove"]) => {
                let removed = access::remove(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &removed)
            }
            (&Method::POST, ["revocations"]) => {
                let revoked = access::revoke(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &revoked)
            }
            (&Method::POST, ["renewals"]) => {
                let asked = renewals::ask(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &asked)
            }
            (&Method::POST, ["permissions"]) => {
                let permitted = access::permit(&self.core, parse(&body)?).await?;
                json_answer(StatusCode::OK, &permitted)
            }
            _ => Err(ApiError::UnknownPath),
        }
    }

    async fn add_provider(&self, provider: NewProvider) -> Result<Response<Body>, ApiError> {
        let name = provider.name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(Refusal::incorrect(
                "/name",
                "a provider's name has 1 to 64 letters, digits, `-`, `_` or `.`",
            )
            .into());
        }
        let now = self.core.now();
        let hours = i64::from(self.core.config.onboarding.registration_hours);
        let life = hours.saturating_mul(3600);
        let credential = self.core.credentials.registration(name, life, &now)?;
        let act = Act::by_operator("AddProvider", name);
        self.core.commit(&act, Changes::new()).await?;
        self.parts(credential, life)
    }

    async fn invite(&self, invite: NewInvite) -> Result<Response<Body>, ApiError> {
        if invite.apis.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(
                Refusal::incorrect("/apis", "name at least one API, or leave `apis` out").into(),
            );
        }
        let minutes = invite
            .minutes
            .unwrap_or(self.core.config.onboarding.credential_minutes);
        if !(1..=43_200).contains(&minutes) {
            return Err(Refusal::incorrect("/minutes", "`minutes` is from 1 to 43200").into());
        }
        let life = i64::from(minutes).saturating_mul(60);
        let reach = self.reach(invite.apis);
        let act = Act::by_operator("Invite", "").detail(match &reach.api_names {
            Some(names) => format!(
                "for {minutes} minutes, APIs: {}",
                names
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            None => format!("for {minutes} minutes, all APIs"),
        });
        let credential = self
            .core
            .credentials
            .onboarding(reach, life, &self.core.now())?;
        self.core.commit(&act, Changes::new()).await?;
        self.parts(credential, life)
    }

    /// What an invitation for these APIs reaches: when one provider alone publishes them now, that provider's only. Names are the
    /// providers' own choice, and another one that takes the same later is not meant.
    fn reach(&self, apis: Option<BTreeSet<String>>) -> ApiReach {
        let records = self.core.view.read();
        let of_name = |name: &String| -> BTreeSet<ApiProviderDomainId> {
            records
                .apis()
                .filter(|api| api.description.api_name == *name)
                .map(|api| api.domain_id.clone())
                .collect()
        };
        let mut domains = apis.iter().flatten().map(of_name);
        let first = domains.next().unwrap_or_default();
        let one = first.len() == 1 && domains.all(|others| others == first);
        ApiReach {
            domain: first.into_iter().next().filter(|_| one),
            api_names: apis,
        }
    }

    fn parts(&self, credential: Redacted, life_seconds: i64) -> Result<Response<Body>, ApiError> {
        let expires = self.core.clock.now() + time::Duration::seconds(life_seconds);
        let parts = EnrolmentParts {
            address: self.core.config.address(),
            ca_pem: self.core.authorities.root_pem(),
            credential,
            expires: DateTime(expires),
        };
        json_answer(StatusCode::CREATED, &parts)
    }

    /// The operator's way to TS 33.122 clause 6.8 steps 3 to 10.
    async fn offboard(&self, id: &str) -> Result<Response<Body>, ApiError> {
        let now = self.core.now();
        self.core
            .transact(&Act::by_operator("Offboard", id), |records| {
                let invoker = records.invoker(id).ok_or(Refusal::NotFound {
                    what: "API invoker",
                })?;
                let leave = self.core.leave(DepartureReason::Operator);
                let around = records.around(id);
                Ok((offboarding::offboard(invoker, around, leave, &now), ()))
            })
            .await?;
        self.core.close_connections_of(id, None);
        Ok(no_content())
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    json::from_slice(body).map_err(|error| Refusal::incorrect(error.pointer, error.reason).into())
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let request_id = random::id("").unwrap_or_default();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let outcome = OPERATOR_REQUEST
            .scope(request_id.clone(), self.answer(request))
            .await;
        let (response, cause) = match outcome {
            Ok(response) => (response, None),
            Err(error) => (error.answer(&request_id), Some(error.log())),
        };
        tracing::info!(
            target: "capif::request",
            request_id,
            interface = "operator",
            caller = "operator",
            operation = path,
            %method,
            status = response.status().as_u16(),
            cause = cause.as_deref().unwrap_or(""),
        );
        response
    }
}
