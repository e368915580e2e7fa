//! What an AEF may know of an API invoker (TS 33.122 clause 6.5.1, TS 29.222 clause 5.6.2.4).

use capif_spec::{
    common::AefId,
    publish_service::SecurityMethod,
    security::{Scope, ServiceSecurity},
};

use crate::{
    refusal::Refusal,
    security_method::{granted_by, outdated},
    state::{Invoker, SecurityContext, ServiceApi},
};

/// What the CCF has at hand for AEFs.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// Where the keys of access tokens are published.
    pub jwks_uri: &'a str,
    /// The trust anchors of invoker certificates, as PEM.
    pub anchors: &'a [String],
}

/// Answers an AEF that asks for an invoker: only entries of that AEF, and the same refusal whether the invoker is unknown or
/// has nothing to do with it.
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
    material: Material<'_>,
) -> Result<ServiceSecurity, Refusal> {
    let mut entries = Vec::new();
    for entry in context
        .entries
        .iter()
        .filter(|entry| entry.aef_id == *aef_id)
    {
        let mut names: Vec<String> = Vec::new();
        for grant in granted_by(entry, invoker, apis.clone()) {
            let name = &grant.api.description.api_name;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let mut information = entry.information.clone();
        information.authentication_info = match &information.sel_security_method {
            Some(method) if authentication => Some(authentication_info(method, invoker, material)),
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
            let mut rights =
                serde_json::json!({ "scope": scope, "gen": context.generation, "apis": names });
            let outdated: Vec<&str> = outdated(invoker, entry, apis.clone())
                .map(|api| api.description.api_name.as_str())
                .collect();
            if let (Some(members), false) = (rights.as_object_mut(), outdated.is_empty()) {
                // So that the AEF can tell a changed method from a missing right.
                members.insert("outdated".to_owned(), outdated.into());
            }
            rights.to_string()
        });
        entries.push(information);
    }
    if entries.is_empty() {
        return Err(Refusal::NotFound {
            what: "security context",
        });
    }
    Ok(ServiceSecurity {
        security_info: entries,
        notification_destination: context.notification_destination.clone(),
        request_test_notification: None,
        websock_notif_config: None,
        supported_features: Some(context.features.clone()),
        extra: Default::default(),
    })
}

/// The compact JSON text of D-08, and the whole certificate's digest, so that the AEF accepts the current certificate alone.
fn authentication_info(
    method: &SecurityMethod,
    invoker: &Invoker,
    material: Material<'_>,
) -> String {
    match method {
        SecurityMethod::Oauth => serde_json::json!({
            "jwksUri": material.jwks_uri,
            "issuer": invoker.id,
            "alg": ["ES256"],
        }),
        SecurityMethod::Pki => serde_json::json!({
            "caPem": material.anchors,
            "x5t#S256": invoker.certificate.fingerprint,
        }),
        other => serde_json::json!({ "method": other }),
    }
    .to_string()
}

#[cfg(test)]
mod tests;
