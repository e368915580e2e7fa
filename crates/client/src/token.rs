//! Access tokens for Method 3 (TS 33.122 clause 6.5.2.3 and annex C.3, TS 29.222 clause 5.6.2.3).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use capif_spec::{
    common::{ApiInvokerId, Redacted},
    security::{AccessTokenReq, AccessTokenRsp, Scope},
};
use capif_transport::SharedClock;
use http::Method;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    ccf::{Call, Ccf, encoded},
    error::Error,
};

/// What the token request is called in messages. Its refusals have a form of their own.
pub(crate) const OPERATION: &str = "the access token request";

/// How long before its end a token is no longer sent (TS 33.122 annex C.5: an invoker does not send an expired one).
const MARGIN: Duration = Duration::seconds(30);
/// How long a token is used at most, whatever is said about it.
const LIFE_MAX: Duration = Duration::DAY;

const SCOPES_MAX: usize = 1024;

/// How many tokens are fetched ahead when a certificate is replaced.
const WARM_MAX: usize = 16;

/// The tokens at hand. One request at a time is made per scope; others wait for its answer.
#[derive(Default)]
pub(crate) struct Tokens {
    slots: Mutex<HashMap<String, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

struct Held {
    token: AccessTokenRsp,
    renewal: OffsetDateTime,
}

impl Tokens {
    /// A token for this scope that is still good for a while.
    pub(crate) async fn get(
        &self,
        scope: &Scope,
        ccf: &Ccf,
        invoker: &ApiInvokerId,
        secret: Option<&Redacted>,
        clock: &SharedClock,
    ) -> Result<AccessTokenRsp, Error> {
        self.get_for(&scope.to_string(), ccf, invoker, secret, clock)
            .await
    }

    /// Fetches what others hold too, as far as that works.
    pub(crate) async fn warm(
        &self,
        others: &Self,
        ccf: &Ccf,
        invoker: &ApiInvokerId,
        secret: Option<&Redacted>,
        clock: &SharedClock,
    ) {
        let scopes: Vec<String> = {
            let slots = others.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.keys().take(WARM_MAX).cloned().collect()
        };
        for scope in scopes {
            if let Err(error) = self.get_for(&scope, ccf, invoker, secret, clock).await {
                tracing::debug!(%error, "a token is fetched when it is needed");
            }
        }
    }

    async fn get_for(
        &self,
        scope: &str,
        ccf: &Ccf,
        invoker: &ApiInvokerId,
        secret: Option<&Redacted>,
        clock: &SharedClock,
    ) -> Result<AccessTokenRsp, Error> {
        let slot = self.slot(scope);
        let mut held = slot.lock().await;
        if let Some(held) = held.as_ref().filter(|held| clock.now() < held.renewal) {
            return Ok(held.token.clone());
        }
        let asked = clock.now();
        let token = request(scope, ccf, invoker, secret).await?;
        let life = Duration::seconds(i64::try_from(token.expires_in).unwrap_or(i64::MAX));
        let renewal = asked + (life.min(LIFE_MAX) - MARGIN);
        *held = Some(Held {
            token: token.clone(),
            renewal,
        });
        Ok(token)
    }

    /// Drops a token that an AEF did not accept, unless a newer one is in its place already.
    pub(crate) async fn refused(&self, scope: &Scope, token: &AccessTokenRsp) {
        let slot = self.slot(&scope.to_string());
        let mut held = slot.lock().await;
        if held
            .as_ref()
            .is_some_and(|held| held.token.access_token.expose() == token.access_token.expose())
        {
            *held = None;
        }
    }

    /// Drops all tokens: what was negotiated anew may have ended them (TS 29.222 clause 5.6.2.2).
    pub(crate) fn clear(&self) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn slot(&self, scope: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= SCOPES_MAX && !slots.contains_key(scope) {
            slots.clear();
        }
        slots.entry(scope.to_owned()).or_default().clone()
    }
}

async fn request(
    scope: &str,
    ccf: &Ccf,
    invoker: &ApiInvokerId,
    secret: Option<&Redacted>,
) -> Result<AccessTokenRsp, Error> {
    let form = AccessTokenReq {
        grant_type: "client_credentials".to_owned(),
        client_id: invoker.to_string(),
        res_owner_id: None,
        client_secret: secret.cloned(),
        scope: Some(scope.to_owned()),
        auth_code: None,
        redirect_uri: None,
    };
    let form = serde_urlencoded::to_string(&form)
        .map(Zeroizing::new)
        .map_err(|_| Error::Usage("the token request cannot be written as a form".to_owned()))?;
    let path = format!(
        "/capif-security/v1/securities/{}/token",
        encoded(invoker.as_str())
    );
    let answer = ccf
        .send(Call::new(OPERATION, Method::POST, path).form(form))
        .await?;
    let token: AccessTokenRsp = answer.json()?;
    if !token.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(answer.unusable("the token is not a bearer token"));
    }
    let text = token.access_token.expose();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(answer.unusable("the token holds characters that cannot be sent"));
    }
    Ok(token)
}
