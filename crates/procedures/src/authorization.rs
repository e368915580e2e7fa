//! Access tokens for Method 3 (TS 33.122 clauses 6.5.2.3 and C.2 to C.3, TS 29.222 clause 5.6.2.3).

use std::collections::BTreeMap;

use capif_spec::{
    common::{AefId, ApiInvokerId, DateTime},
    publish_service::SecurityMethod,
    security::{AccessTokenClaims, Confirmation, Scope},
};

use crate::{
    refusal::TokenRefusal,
    rotation::{self, Standing},
    security_method::{Policy, granted},
    state::{Digest, Invoker, SecurityContext, ServiceApi},
};

/// How long a token may be, in seconds, when the operator says nothing (D-16).
pub const LIFETIME_SECONDS_DEFAULT: i64 = 600;

/// The request for a token, as form and header gave it.
#[derive(Clone, Debug)]
pub struct TokenRequest<'a> {
    /// The id in the path.
    pub security_id: &'a str,
    /// `grant_type`.
    pub grant_type: &'a str,
    /// `client_id`.
    pub client_id: &'a str,
    /// SHA-256 of the client secret, from form or HTTP Basic.
    pub secret: Option<Digest>,
    /// `scope`.
    pub scope: Option<&'a str>,
    /// SHA-256 of the certificate that the connection carries.
    pub certificate: Digest,
}

/// What the edge adds to a token.
#[derive(Clone, Debug)]
pub struct TokenTerms {
    /// The token's own id.
    pub jti: String,
    /// How long it is good, if what it is asked with counts that long.
    pub lifetime_seconds: i64,
    /// What counts when.
    pub renewal: rotation::Terms,
    /// Where deployed clients are served, SHA-256 of the word that each of them sends as its secret: it counts as one, so that the
    /// certificate alone proves who asks, and tokens name no audience but in their scope.
    pub deployed_secret: Option<Digest>,
}

/// Decides on a token for the invoker whose certificate the connection carries. It ends no later than certificate, secret and
/// enrolment do, and with an overlap where one of the two is on its way out, or can be from now on (R-U-06).
///
/// # Errors
/// One of the codes of RFC 6749 section 5.2.
pub fn grant<'a>(
    request: &TokenRequest<'_>,
    invoker: &'a Invoker,
    context: Option<&'a SecurityContext>,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    policy: &'a Policy,
    terms: TokenTerms,
    now: &DateTime,
) -> Result<AccessTokenClaims, TokenRefusal> {
    let id = invoker.id.as_str();
    if request.security_id != id || request.client_id != id {
        return Err(TokenRefusal::InvalidClient);
    }
    if request.grant_type != "client_credentials" {
        return Err(TokenRefusal::UnsupportedGrantType);
    }
    if invoker.onboard_secret.is_none() {
        return Err(TokenRefusal::UnauthorizedClient(
            "this invoker was enrolled for APIs without Method 3 and has no Onboard_Secret: a renewal brings one (`capif invoker renew`), \
             and so does a new enrolment"
                .to_owned(),
        ));
    }
    let ends = proved(request, invoker, &terms, now).ok_or(TokenRefusal::InvalidClient)?;
    let context = context.ok_or_else(|| {
        TokenRefusal::UnauthorizedClient(
            "negotiate the security method first: PUT trustedInvokers".to_owned(),
        )
    })?;

    let mut allowed: BTreeMap<AefId, Vec<String>> = BTreeMap::new();
    let mut binding: Vec<(&AefId, &str)> = Vec::new();
    for grant in granted(invoker, context, apis, policy) {
        if *grant.method == SecurityMethod::Oauth {
            if grant.wants_certificate() {
                binding.push((&grant.entry.aef_id, &grant.api.description.api_name));
            }
            let names = allowed.entry(grant.entry.aef_id.clone()).or_default();
            let name = &grant.api.description.api_name;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    let allowed = Scope {
        grants: allowed.into_iter().collect(),
    };
    if allowed.grants.is_empty() {
        return Err(TokenRefusal::UnauthorizedClient(
            "no API of this invoker goes by Method 3 now: negotiate the security method again; what was revoked comes back by the operator \
             alone (`capif permit`)"
                .to_owned(),
        ));
    }
    let scope = match request.scope {
        None => allowed,
        Some(text) => narrowed(text, &allowed)?,
    };
    // Every token, or those that an interface wants so (D-29).
    let bound = policy.certificate_bound_tokens
        || binding
            .iter()
            .any(|(aef_id, name)| scope.contains(aef_id, name));
    let confirmation = bound.then(|| Confirmation {
        x5t_s256: request.certificate.to_base64url(),
    });
    Ok(claims(
        &invoker.id,
        &scope,
        context.generation,
        confirmation,
        terms,
        Times { now, ends: &ends },
    ))
}

/// Until when certificate and secret both count, if they do now. What was handed over and not seen before is to take effect
/// first ([`rotation::activate`]).
fn proved(
    request: &TokenRequest<'_>,
    invoker: &Invoker,
    terms: &TokenTerms,
    now: &DateTime,
) -> Option<DateTime> {
    let counts =
        |standing: &Standing| matches!(standing, Standing::Active | Standing::Retiring { .. });
    let secret = request.secret.as_ref();
    let is_deployed = secret.is_some() && secret == terms.deployed_secret.as_ref();
    let terms = &terms.renewal;
    let judged = secret.map(|secret| rotation::judge_secret(invoker, secret, terms, now));
    let judged = judged.filter(|(standing, _)| counts(standing));
    let certificate = rotation::standing(invoker, &request.certificate, terms, now);
    let secret_ends = match judged {
        Some((_, ends)) => ends,
        // Whoever renews its secret knows how to send it.
        None if is_deployed && !invoker.renewal.agreed => None,
        None => return None,
    };
    if !counts(&certificate) {
        return None;
    }
    let ends = rotation::until(invoker, &request.certificate)?;
    let ends = secret_ends.map_or(ends.clone(), |secret| secret.min(ends));
    // What is in use may be replaced the next moment, and counts for an overlap from then on.
    let overlap = DateTime(now.0.saturating_add(terms.overlap));
    Some(if invoker.renewal.agreed {
        ends.min(overlap)
    } else {
        ends
    })
}

/// The scope asked for, when all of it is allowed.
fn narrowed(text: &str, allowed: &Scope) -> Result<Scope, TokenRefusal> {
    let wanted: Scope = text
        .parse()
        .map_err(|error| TokenRefusal::InvalidScope(format!("the scope is malformed: {error}")))?;
    let beyond = wanted
        .grants
        .iter()
        .any(|(aef_id, names)| names.iter().any(|name| !allowed.contains(aef_id, name)));
    if beyond {
        return Err(TokenRefusal::InvalidScope(
            "the scope names an API or AEF that this invoker may not call by Method 3".to_owned(),
        ));
    }
    Ok(wanted)
}

/// When a token is issued, and when it ends at the latest.
#[derive(Clone, Copy)]
struct Times<'a> {
    now: &'a DateTime,
    ends: &'a DateTime,
}

fn claims(
    id: &ApiInvokerId,
    scope: &Scope,
    generation: u64,
    confirmation: Option<Confirmation>,
    terms: TokenTerms,
    times: Times<'_>,
) -> AccessTokenClaims {
    let issued = times.now.0.unix_timestamp();
    let ends = times.ends.0.unix_timestamp();
    AccessTokenClaims {
        iss: id.to_string(),
        sub: Some(id.to_string()),
        aud: terms.deployed_secret.is_none().then(|| {
            let aefs = scope.grants.iter().map(|(aef, _)| aef.to_string());
            aefs.collect()
        }),
        client_id: Some(id.to_string()),
        scope: scope.to_string(),
        iat: Some(issued),
        nbf: Some(issued),
        exp: issued.saturating_add(terms.lifetime_seconds).min(ends),
        jti: Some(terms.jti),
        generation: Some(generation),
        res_owner_id: None,
        cnf: confirmation,
    }
}

#[cfg(test)]
mod tests;
