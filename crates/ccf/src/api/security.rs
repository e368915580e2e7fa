//! CAPIF_Security_API (TS 29.222 clause 8.5).

use base64::{Engine, prelude::BASE64_STANDARD};
use capif_procedures::{
    aefpsk::{self, Facts, Profile},
    authentication::{self, Material},
    authorization::{self, TokenRequest, TokenTerms},
    changes::Changes,
    delivery,
    refusal::{Refusal, RequestFault, TokenRefusal},
    revocation::{self, Order},
    rotation::{self, Standing},
    security_method::{self, PskSession},
    state::{AefPsk, Digest, SealedKey},
};
use capif_spec::{
    common::{AefId, ServiceApiId},
    security::{AccessTokenReq, AccessTokenRsp, Cause, SecurityNotification, ServiceSecurity},
};
use capif_transport::Session;
use http::{HeaderValue, StatusCode, header};

use super::{Answer, Call, created, json_answer, no_content, problem::ApiError, renewal};
use crate::{
    compat,
    destination::Content,
    random,
    sealing::{self, SealingKey},
};

/// `PUT trustedInvokers/{apiInvokerId}`; repeating it replaces the context.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let answer = negotiate(&call, false).await?;
        let path = format!("/capif-security/v1/trustedInvokers/{}", call.parameter(0));
        created(&call.core, &path, &answer)
    })
}

/// `POST trustedInvokers/{apiInvokerId}/update`; there must be a context already.
pub(crate) fn update(call: Call) -> Answer {
    Box::pin(async move {
        let answer = negotiate(&call, true).await?;
        json_answer(StatusCode::OK, &answer)
    })
}

async fn negotiate(call: &Call, must_exist: bool) -> Result<ServiceSecurity, ApiError> {
    let mut request: ServiceSecurity = call.checked()?;
    let id = call.caller.invoker()?.record.id.clone();
    let address = call.core.config.address();
    let websocket = delivery::websocket_uri(&address, id.as_str(), delivery::SECURITY);
    delivery::assign(&mut request.websock_notif_config, websocket);
    let shown = call.shown.as_ref().ok_or(Refusal::CertificateRequired)?;
    let terms = call.core.terms();
    let session = call.connection.session().map(|session| KeySession {
        session,
        certificate: &shown.fingerprint,
        sealing: &call.core.sealing,
    });
    if session.is_none() {
        tracing::warn!("this listener keeps no facts of its sessions: PSK is not selected");
    }
    call.core
        .transact(&call.act(id.as_str()), |records| {
            let invoker = records
                .invoker(id.as_str())
                .ok_or(Refusal::CertificateUnknown)?;
            // What the caller showed may count for less by now.
            let of = &invoker.record;
            match rotation::standing(of, &shown.fingerprint, &terms, &call.now) {
                Standing::No => return Err(Refusal::CertificateUnknown),
                Standing::Restricted => return Err(Refusal::RenewalRequired),
                Standing::Active | Standing::Successor | Standing::Retiring { .. } => {}
            }
            let held = records.context(id.as_str());
            // Revocation leaves a context without entries behind, for its number's sake.
            if must_exist && held.is_none_or(|held| held.record.entries.is_empty()) {
                return Err(Refusal::NotFound {
                    what: "security context",
                });
            }
            let (mut changes, answer) = security_method::negotiate(
                request.clone(),
                &invoker.record,
                held.map(AsRef::as_ref),
                records.catalogue(),
                &call.core.policy,
                session.as_ref().map(|session| session as &dyn PskSession),
                &call.now,
            )?;
            if answer.request_test_notification == Some(true) {
                let path = format!("/capif-security/v1/trustedInvokers/{id}");
                let websocket = answer.websock_notif_config.as_ref();
                call.core.test_way(
                    records,
                    &mut changes,
                    &id,
                    (&answer.notification_destination, websocket),
                    (delivery::SECURITY, &path),
                )?;
            }
            if let Some(held) = held {
                let subscriptions = records.listeners(id.as_str());
                security_method::tell_deprived(
                    &mut changes,
                    &held.record,
                    &answer,
                    subscriptions,
                    &call.now,
                );
            }
            Ok((changes, answer))
        })
        .await
}

/// The session that carries a negotiation, as the source of its keys (TS 33.122 clause A.1).
struct KeySession<'a> {
    session: &'a Session,
    certificate: &'a Digest,
    sealing: &'a SealingKey,
}

impl KeySession<'_> {
    fn facts(&self, profile: Profile) -> Option<Facts<'_>> {
        let (key, session_id): (&[u8], &[u8]) = match profile {
            Profile::A1Exporter => (self.session.exported_key(), self.session.exported_id()),
            Profile::A1Tls12 => {
                let facts = self.session.tls12()?;
                (facts.master_secret, facts.session_id)
            }
        };
        Some(Facts {
            profile,
            key,
            session_id,
        })
    }
}

impl PskSession for KeySession<'_> {
    fn serves(&self, profile: Profile) -> bool {
        self.facts(profile).is_some()
    }

    fn certificate(&self) -> Digest {
        self.certificate.clone()
    }

    fn key(&self, profile: Profile, interface: &str, identity: &str) -> Option<SealedKey> {
        let derived = aefpsk::derive(&self.facts(profile)?, interface)
            .inspect_err(|error| tracing::error!(identity, %error, "a key was not derived"))
            .ok()?;
        let sealed = self.sealing.seal(&derived, identity);
        if sealed.is_none() {
            tracing::error!(identity, "a key was not sealed");
        }
        sealed.map(SealedKey::new)
    }
}

/// `GET trustedInvokers/{apiInvokerId}`.
pub(crate) fn get(call: Call) -> Answer {
    Box::pin(async move {
        let aef_id = aef_id(&call)?;
        let flag = |name: &str| match call.query(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::Malformed {
                pointer: name.to_owned(),
                reason: format!("`{name}` is true or false"),
                fault: RequestFault::Query,
            }),
        };
        let (authentication, authorization) =
            (flag("authenticationInfo")?, flag("authorizationInfo")?);
        let jwks_uri = format!("{}/.well-known/jwks.json", call.core.api_root);
        let anchors = call.core.authorities.trust(&call.now).anchors;
        let terms = call.core.terms();
        let material = Material {
            jwks_uri: &jwks_uri,
            anchors: &anchors,
            unseal: &|key: &AefPsk| {
                let opened = call.core.sealing.open(key.sealed.as_str(), &key.identity);
                if opened.is_none() {
                    tracing::error!(
                        identity = key.identity,
                        "a key does not open: {} was changed since; its invoker negotiates anew",
                        sealing::FILE
                    );
                }
                opened
            },
            policy: &call.core.policy,
            renewal: &terms,
            now: &call.now,
        };
        let records = call.core.view.read();
        let invoker = records.invoker(call.parameter(0));
        let context = records.context(call.parameter(0));
        // What was agreed on under a certificate of an authority that is no more went with it, keys and tokens too.
        let invoker = invoker.filter(|held| {
            let authority = held.record.certificate.authority;
            !call.core.authorities.is_retired(authority, &call.now)
        });
        let (Some(invoker), Some(context)) = (invoker, context) else {
            return Err(Refusal::NotFound {
                what: "security context",
            }
            .into());
        };
        let answer = authentication::security_information(
            &aef_id,
            &invoker.record,
            &context.record,
            records.apis_around(Some(&context.record)).into_iter(),
            authentication,
            authorization,
            material,
        )?;
        json_answer(StatusCode::OK, &answer)
    })
}

/// `DELETE trustedInvokers/{apiInvokerId}`: all that the caller's AEF grants.
pub(crate) fn revoke_all(call: Call) -> Answer {
    Box::pin(async move {
        let aef_id = aef_id(&call)?;
        let invoker = call.parameter(0).to_owned();
        revoke(&call, &aef_id, &invoker, None, Cause::AuthorizationIssue).await?;
        Ok(no_content())
    })
}

/// `POST trustedInvokers/{apiInvokerId}/delete`: the APIs listed.
pub(crate) fn revoke_some(call: Call) -> Answer {
    Box::pin(async move {
        let aef_id = aef_id(&call)?;
        let notice: SecurityNotification = call.checked()?;
        if notice.api_invoker_id.as_str() != call.parameter(0) {
            return Err(Refusal::incorrect(
                "/apiInvokerId",
                "`apiInvokerId` must be the id in the path",
            )
            .into());
        }
        if notice.aef_id.as_ref().is_some_and(|id| *id != aef_id) {
            return Err(Refusal::NotTheCaller { place: "body" }.into());
        }
        let apis: Vec<ServiceApiId> = notice
            .api_ids
            .iter()
            .map(|id| ServiceApiId::new(id.to_string()))
            .collect();
        let id = notice.api_invoker_id.as_str();
        revoke(&call, &aef_id, id, Some(&apis), notice.cause.clone()).await?;
        Ok(no_content())
    })
}

async fn revoke(
    call: &Call,
    aef_id: &AefId,
    invoker: &str,
    apis: Option<&[ServiceApiId]>,
    cause: Cause,
) -> Result<(), ApiError> {
    call.core
        .transact(&call.act(invoker), |records| {
            let held = records.invoker(invoker).zip(records.context(invoker));
            let (invoker, context) = held.ok_or(Refusal::NotFound {
                what: "security context",
            })?;
            let order = Order {
                apis,
                cause: cause.clone(),
                callback: call.core.calls_back(
                    records,
                    &context.record.invoker_id,
                    context.record.told_at(),
                    Content::Notice,
                ),
                now: &call.now,
            };
            let changes = revocation::revoke(
                aef_id,
                &order,
                &invoker.record,
                context,
                records.apis(),
                records.subscriptions(),
            )?;
            Ok((changes, ()))
        })
        .await
}

fn aef_id(call: &Call) -> Result<AefId, Refusal> {
    Ok(AefId::new(call.caller.function()?.id.as_str()))
}

/// `POST securities/{securityId}/token`.
pub(crate) fn token(call: Call) -> Answer {
    Box::pin(async move {
        let core = &call.core;
        let invoker = call.caller.invoker()?;
        let id = call.caller.id().unwrap_or_default();
        let shown = call.shown.as_ref().ok_or(Refusal::CertificateRequired)?;
        if let Some(seconds) = core.secret_failures.must_wait(id, call.now.0) {
            return Err(ApiError::SecretsExhausted(seconds));
        }
        let form: AccessTokenReq = form(&call)?;
        let (basic_id, secret) = client_secret(&call, &form)?;
        if basic_id.is_some_and(|basic_id| basic_id != form.client_id) {
            return Err(TokenRefusal::InvalidClient.into());
        }
        let request = TokenRequest {
            security_id: call.parameter(0),
            grant_type: &form.grant_type,
            client_id: &form.client_id,
            secret,
            scope: form.scope.as_deref(),
            certificate: shown.fingerprint.clone(),
        };
        let is_own = request.security_id == id && request.client_id == id;
        if let (Some(secret), true) = (&request.secret, is_own) {
            renewal::secret_takes_effect(&call, invoker, secret).await?;
        }
        let terms = TokenTerms {
            deployed_secret: core
                .config
                .is_lenient()
                .then(|| random::sha256(compat::SECRET.as_bytes())),
            jti: random::id("")?,
            lifetime_seconds: i64::from(core.config.security.token_seconds),
            renewal: core.terms(),
        };
        let claims = {
            // Both as they are now: what was taken from the invoker meanwhile is in the one, the number that says so in the other.
            let records = core.view.read();
            let invoker = records.invoker(id).ok_or(Refusal::CertificateUnknown)?;
            let context = records.context(id).map(|held| &held.record);
            authorization::grant(
                &request,
                &invoker.record,
                context,
                records.apis_around(context).into_iter(),
                &core.policy,
                terms,
                &call.now,
            )
        };
        let claims = claims.inspect_err(|refusal| {
            if *refusal == TokenRefusal::InvalidClient {
                core.secret_failures.count(id, call.now.0);
            }
        })?;
        core.secret_failures.forget(id);
        let seconds = claims.exp.saturating_sub(call.now.0.unix_timestamp());
        if core.config.audit.tokens {
            let jti = claims.jti.as_deref().unwrap_or_default();
            let act = call
                .act(id)
                .detail(format!("jti {jti}, scope {}", claims.scope));
            core.commit(&act, Changes::new()).await?;
        }
        let answer = AccessTokenRsp {
            access_token: core.access_tokens.sign("at+jwt", &claims, &call.now)?,
            token_type: "Bearer".to_owned(),
            expires_in: u64::try_from(seconds).unwrap_or_default(),
            scope: Some(claims.scope),
            extra: Default::default(),
        };
        let mut response = json_answer(StatusCode::OK, &answer)?;
        response
            .headers_mut()
            .insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        Ok(response)
    })
}

fn form(call: &Call) -> Result<AccessTokenReq, TokenRefusal> {
    let invalid = |reason: &str| TokenRefusal::InvalidRequest(reason.to_owned());
    if std::str::from_utf8(&call.body).is_err() {
        return Err(invalid("the form is not UTF-8"));
    }
    let incomplete =
        || invalid("send grant_type, client_id and client_secret, each once, as a form");
    let mut form: AccessTokenReq =
        serde_urlencoded::from_bytes(&call.body).map_err(|_| incomplete())?;
    // A parameter without a value counts as left out (RFC 6749 section 3.2).
    if form.grant_type.is_empty() || form.client_id.is_empty() {
        return Err(incomplete());
    }
    form.scope = form.scope.filter(|scope| !scope.is_empty());
    form.client_secret = form
        .client_secret
        .filter(|secret| !secret.expose().is_empty());
    Ok(form)
}

/// The secret's digest and, from HTTP Basic, the id beside it. Only one way at a time (RFC 6749 section 2.3).
fn client_secret(
    call: &Call,
    form: &AccessTokenReq,
) -> Result<(Option<String>, Option<Digest>), TokenRefusal> {
    let in_form = form
        .client_secret
        .as_ref()
        .map(|secret| random::sha256(secret.expose().as_bytes()));
    let mut headers = call.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = headers.next() else {
        return Ok((None, in_form));
    };
    if in_form.is_some() || headers.next().is_some() {
        return Err(TokenRefusal::InvalidRequest(
            "authenticate in one way only: either client_secret in the form or HTTP Basic"
                .to_owned(),
        ));
    }
    let decoded = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, text)| BASE64_STANDARD.decode(text.trim()).ok())
        .map(zeroize::Zeroizing::new);
    let pair = decoded
        .as_ref()
        .and_then(|octets| std::str::from_utf8(octets).ok())
        .and_then(|text| text.split_once(':'));
    match pair {
        Some((id, secret)) => Ok((Some(id.to_owned()), Some(random::sha256(secret.as_bytes())))),
        None => Err(TokenRefusal::InvalidClient),
    }
}
