//! What an AEF may know of an API invoker (TS 33.122 clause 6.5.1, TS 29.222 clause 5.6.2.4).
//!
//! For Method 1 this is where a key leaves the core function: for the AEF whose interface it is for, and nobody else (TS 33.122
//! clause 6.5.2.1).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_spec::{
    common::{AefId, DateTime},
    publish_service::SecurityMethod,
    security::{Scope, ServiceSecurity},
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    refusal::Refusal,
    rotation,
    security_method::{Policy, granted_by, outdated},
    state::{AefPsk, Invoker, SecurityContext, SecurityEntry, ServiceApi},
};

/// What the CCF has at hand for AEFs.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// Where the keys of access tokens are published.
    pub jwks_uri: &'a str,
    /// The trust anchors of invoker certificates, as PEM.
    pub anchors: &'a [String],
    /// Opens a sealed AEF_PSK; nothing when it was sealed by another key than the present one.
    pub unseal: &'a dyn Fn(&AefPsk) -> Option<Zeroizing<[u8; 32]>>,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// What counts when.
    pub renewal: &'a rotation::Terms,
    /// What is expired now is not handed over.
    pub now: &'a DateTime,
}

/// Answers an AEF that asks for an invoker: only entries of that AEF, and the same refusal whether the invoker is unknown or
/// has nothing to do with it, or counts for nothing now (R-U-05).
///
/// # Errors
/// Refuses when no entry is about this AEF.
pub fn security_information<'a>(
    aef_id: &AefId,
    invoker: &'a Invoker,
    context: &'a SecurityContext,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    authentication: bool,
    authorization: bool,
    material: Material<'a>,
) -> Result<ServiceSecurity, Refusal> {
    let unknown = Refusal::NotFound {
        what: "security context",
    };
    if rotation::is_over(invoker, material.now)
        || rotation::is_restricted(invoker, material.renewal, material.now)
    {
        return Err(unknown);
    }
    let mut entries = Vec::new();
    for entry in context
        .entries
        .iter()
        .filter(|entry| entry.aef_id == *aef_id)
    {
        let mut names: Vec<String> = Vec::new();
        let mut wants_certificate = material.policy.certificate_bound_tokens;
        for grant in granted_by(entry, invoker, apis.clone(), material.policy) {
            wants_certificate |= grant.wants_certificate();
            let name = &grant.api.description.api_name;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let mut information = entry.information.clone();
        information.authentication_info = match &information.sel_security_method {
            Some(method) if authentication => {
                authentication_info(method, entry, invoker, wants_certificate, material)
                    .map(|text| text.to_string())
            }
            _ => None,
        };
        information.authorization_info = authorization.then(|| {
            let scope = Scope {
                grants: vec![(aef_id.clone(), names.clone())],
            };
            let scope = if names.is_empty() {
                String::new()
            } else {
                scope.to_string()
            };
            let mut rights = json!({ "scope": scope, "gen": context.generation, "apis": names });
            let outdated: Vec<&str> = outdated(invoker, entry, apis.clone(), material.policy)
                .map(|api| api.description.api_name.as_str())
                .collect();
            if !outdated.is_empty() {
                // So that the AEF can tell a changed method from a missing right.
                add(&mut rights, "outdated", outdated.into());
            }
            rights.to_string()
        });
        entries.push(information);
    }
    if entries.is_empty() {
        return Err(unknown);
    }
    Ok(ServiceSecurity {
        security_info: entries,
        notification_destination: context.notification_destination.clone(),
        request_test_notification: None,
        websock_notif_config: None,
        supported_features: Some(context.features.clone()),
        extra: context.extra.clone(),
    })
}

/// The compact JSON of D-08. For Method 2 it has the whole certificate's digest too, so that the AEF accepts the current
/// certificate alone, and during a renewal those beside it, each no longer than it counts. An entry whose method has changed since still brings its key: the handshake can then finish, and the AEF
/// can say what is wrong (TS 33.122 clause 6.7). Nothing for a method whose material is gone.
fn authentication_info(
    method: &SecurityMethod,
    entry: &SecurityEntry,
    invoker: &Invoker,
    wants_certificate: bool,
    material: Material<'_>,
) -> Option<Value> {
    let mut information = match method {
        SecurityMethod::Psk => {
            let keys = entry.psk.as_ref()?;
            let mut information = opened(&keys.current, invoker, material)?;
            add(&mut information, "tls", json!(keys.current.tls));
            add(&mut information, "interface", json!(keys.current.interface));
            let previous = keys.previous.as_ref();
            if let Some(previous) =
                previous.and_then(|previous| opened(previous, invoker, material))
            {
                add(&mut information, "previous", previous);
            }
            information
        }
        SecurityMethod::Pki => {
            let mut information = json!({
                "caPem": material.anchors,
                "x5t#S256": invoker.certificate.fingerprint,
            });
            let also = also(invoker, material.now);
            if !also.is_empty() {
                add(&mut information, "also", also.into());
            }
            information
        }
        SecurityMethod::Oauth => json!({
            "jwksUri": material.jwks_uri,
            "issuer": invoker.id,
            "alg": [material.policy.token_algorithm()],
        }),
        other => json!({ "method": other }),
    };
    if *method == SecurityMethod::Oauth && wants_certificate {
        add(&mut information, "mutualTls", true.into());
    }
    Some(information)
}

/// The certificates that count beside the one in use: what was handed over to replace it, and what was replaced, that until the
/// end of its overlap in seconds since 1970.
fn also(invoker: &Invoker, now: &DateTime) -> Vec<Value> {
    let renewal = &invoker.renewal;
    let next = renewal.successor.iter().map(|next| &next.certificate);
    let next = next
        .filter(|certificate| *now < certificate.not_after)
        .map(|certificate| json!({ "x5t#S256": certificate.fingerprint }));
    let retiring = renewal.retiring.iter().filter(|old| *now < old.until);
    let retiring = retiring.map(|old| {
        json!({
            "x5t#S256": old.certificate.fingerprint,
            "until": old.until.0.unix_timestamp(),
        })
    });
    next.chain(retiring).collect()
}

/// A key while it is good, and while both the enrolment and the certificate that it was negotiated with count (R-U-06).
fn opened(key: &AefPsk, invoker: &Invoker, material: Material<'_>) -> Option<Value> {
    let bound = match &key.certificate {
        Some(certificate) => Some(rotation::until(invoker, certificate)?),
        None => invoker.expires.clone(),
    };
    let ends = bound.map_or(key.expires.clone(), |bound| bound.min(key.expires.clone()));
    if ends <= *material.now {
        return None;
    }
    let octets = (material.unseal)(key)?;
    Some(json!({
        "pskId": key.identity,
        "psk": BASE64_URL_SAFE_NO_PAD.encode(octets.as_slice()),
        "exp": ends.0.unix_timestamp(),
    }))
}

fn add(object: &mut Value, member: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
