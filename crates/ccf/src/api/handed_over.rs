//! Onboarding credentials that a provider hands over before their use (TS 33.122 clause 6.1 step 2). TS 29.222 has no operation
//! for it; this one is ours.

use capif_procedures::{
    changes::{Changes, Expect},
    refusal::Refusal,
    state::{ApiReach, Digest, RegisteredCredential},
};
use capif_spec::common::{ApiProviderDomainId, DateTime, Redacted};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::Duration;

use super::{Answer, Call, json_answer, problem::ApiError};
use crate::{audit::Act, core::Core, random::sha256};

/// The longest life of a handed-over credential.
const LIFE_MAX: Duration = Duration::days(30);

/// The shortest token that is taken by its text: nobody must be able to guess it.
const TOKEN_BYTES_MIN: usize = 22;

/// A credential, or its digest alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct HandOver {
    /// The token as the invoker will present it.
    #[serde(default)]
    pub(crate) token: Option<Redacted>,
    /// Its SHA-256, as hexadecimal digits.
    #[serde(default)]
    pub(crate) token_sha256: Option<String>,
    /// Until when it may be used.
    pub(crate) expires: DateTime,
    /// The APIs that it opens.
    #[serde(default)]
    pub(crate) apis: Option<Vec<String>>,
    /// Whether the operator approves whom it admits.
    #[serde(default)]
    pub(crate) approval: bool,
}

/// What was taken.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HandedOver {
    token_sha256: Digest,
    expires: DateTime,
}

/// `POST {registrationId}/credentials`: the credential reaches the provider's own APIs only.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let domain = call.caller.function()?.domain_id.clone();
        if call.parameter(0) != domain.as_str() {
            return Err(Refusal::NotTheCaller { place: "path" }.into());
        }
        let act = call.act(domain.as_str());
        let taken = take(&call.core, &act, call.json()?, Some(domain)).await?;
        json_answer(StatusCode::CREATED, &taken)
    })
}

/// Takes a credential from a provider, or from the operator, who may open every domain.
pub(crate) async fn take(
    core: &Core,
    act: &Act,
    hand_over: HandOver,
    domain: Option<ApiProviderDomainId>,
) -> Result<HandedOver, ApiError> {
    let token = match (&hand_over.token, &hand_over.token_sha256) {
        (Some(token), None) if token.expose().len() >= TOKEN_BYTES_MIN => {
            sha256(token.expose().as_bytes())
        }
        (None, Some(digest)) => parse_digest(digest)?,
        _ => {
            return Err(Refusal::incorrect(
                "/token",
                "give exactly one of `token`, of 22 characters or more, and `tokenSha256`",
            )
            .into());
        }
    };
    let now = core.now();
    if hand_over.expires <= now || hand_over.expires.0 > now.0 + LIFE_MAX {
        return Err(
            Refusal::incorrect("/expires", "`expires` must lie within the next 30 days").into(),
        );
    }
    let record = RegisteredCredential {
        token: token.clone(),
        expires: hand_over.expires.clone(),
        reach: ApiReach {
            domain,
            api_names: hand_over.apis.map(|apis| apis.into_iter().collect()),
        },
        approval: hand_over.approval,
    };
    core.transact(act, |records| {
        let mut changes = Changes::new();
        changes.put(&record, Expect::Absent);
        // It goes with its domain: a removal that is decided at this moment is decided anew.
        if let Some(id) = &record.reach.domain {
            let domain = records.domain(id.as_str()).ok_or(Refusal::NotFound {
                what: "provider domain",
            })?;
            changes.put(&domain.record, Expect::At(domain.revision));
        }
        Ok((changes, ()))
    })
    .await?;
    Ok(HandedOver {
        token_sha256: token,
        expires: hand_over.expires,
    })
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    let wrong = || Refusal::incorrect("/tokenSha256", "`tokenSha256` is 64 hexadecimal digits");
    // Each octet by itself: the number parser below would take a sign for a digit.
    if text.len() != 64 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut octets = [0; 32];
    for (index, octet) in octets.iter_mut().enumerate() {
        let digits = text.get(index * 2..index * 2 + 2).ok_or_else(wrong)?;
        *octet = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(Digest::new(octets))
}
