//! What an access token is worth at this moment, for an AEF that does not judge tokens itself (RFC 7662).
//!
//! A token says what was granted when it was issued. What has been taken away since is out of the answer, as it is at our gateways.

use capif_spec::{
    common::{AefId, DateTime},
    publish_service::SecurityMethod,
    security::{AccessTokenClaims, Scope},
};

use crate::{
    rotation::{self, Terms},
    security_method::{Policy, granted},
    state::{Invoker, SecurityContext, ServiceApi},
};

/// What is known of the invoker that a token names.
#[derive(Clone, Debug)]
pub struct Known<'a, A> {
    /// Its profile.
    pub invoker: &'a Invoker,
    /// What it negotiated.
    pub context: &'a SecurityContext,
    /// All published APIs.
    pub apis: A,
    /// What the operator allows.
    pub policy: &'a Policy,
}

/// What a token with a good signature still opens at an AEF; `None` if that is nothing.
pub fn introspect<'a>(
    claims: &AccessTokenClaims,
    aef_id: &AefId,
    known: Known<'a, impl Iterator<Item = &'a ServiceApi> + Clone>,
    terms: &Terms,
    now: &DateTime,
) -> Option<Scope> {
    let Known {
        invoker,
        context,
        apis,
        policy,
    } = known;
    let seconds = now.0.unix_timestamp();
    let early = |begin: Option<i64>| begin.is_some_and(|begin| begin > seconds);
    let is_named = claims.client_id.as_deref() == Some(invoker.id.as_str());
    if claims.exp <= seconds || early(claims.nbf) || early(claims.iat) || !is_named {
        return None;
    }
    if rotation::is_over(invoker, now) || rotation::is_restricted(invoker, terms, now) {
        return None;
    }
    // Tokens of an earlier generation died when something was taken from the invoker.
    if claims
        .generation
        .is_none_or(|generation| generation < context.generation)
    {
        return None;
    }
    let scope: Scope = claims.scope.parse().ok()?;
    let mut names: Vec<String> = granted(invoker, context, apis, policy)
        .filter(|grant| *grant.method == SecurityMethod::Oauth && grant.entry.aef_id == *aef_id)
        .map(|grant| grant.api.description.api_name.clone())
        .filter(|name| scope.contains(aef_id, name))
        .collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| Scope {
        grants: vec![(aef_id.clone(), names)],
    })
}
