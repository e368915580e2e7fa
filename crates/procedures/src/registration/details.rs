//! What a registration says of a domain and its functions: kept, written again, and patched.

use capif_spec::{
    api_provider_management::{
        ApiProviderEnrolmentDetails, ApiProviderFuncRole, ApiProviderFunctionDetails,
        RegistrationInformation,
    },
    common::Redacted,
    json,
};
use serde_json::{Value, json};

use super::{HOSTS_MEMBER, PATCH_UPDATE};
use crate::{
    changes::Versioned,
    refusal::Refusal,
    state::{ProviderDomain, ProviderFunction, Role},
};

/// The members of a domain that a PATCH does not reach (TS 29.222 clause 8.9.4.2.7): they are left as they are.
const NOT_PATCHABLE: [&str; 5] = [
    "apiProvDomId",
    "regSec",
    "suppFeat",
    "failReason",
    "apiProvName",
];

/// The registration that a merge patch (RFC 7396) makes of the present one.
///
/// # Errors
/// Refuses where PatchUpdate was not agreed on (TS 29.222 clause 7.8), and results that are no registration.
pub fn patched(
    domain: &ProviderDomain,
    functions: &[Versioned<ProviderFunction>],
    patch: &serde_json::Map<String, Value>,
) -> Result<ApiProviderEnrolmentDetails, Refusal> {
    if !domain.features.has(PATCH_UPDATE) {
        return Err(Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
            member: "/suppFeat",
        });
    }
    let functions: Vec<ApiProviderFunctionDetails> = functions
        .iter()
        .map(|held| details_of(&held.record))
        .collect::<Result<_, _>>()?;
    let present = ApiProviderEnrolmentDetails {
        api_prov_dom_id: None,
        reg_sec: Redacted::from(String::new()),
        api_prov_funcs: Some(functions),
        api_prov_dom_info: domain.information.clone(),
        supp_feat: Some(domain.features.clone()),
        fail_reason: None,
        api_prov_name: domain.provider_name.clone(),
        extra: domain.extra.clone(),
    };
    let mut document = serde_json::to_value(&present)
        .map_err(|_| Refusal::incorrect("", "the registration cannot be patched"))?;
    let mut patch = patch.clone();
    patch.retain(|member, _| !NOT_PATCHABLE.contains(&member.as_str()));
    json_patch::merge(&mut document, &Value::Object(patch));
    json::from_value(document).map_err(|error| Refusal::incorrect(error.pointer, error.reason))
}

/// Keeps what a request says of a function.
pub(super) fn describe(function: &mut ProviderFunction, details: &ApiProviderFunctionDetails) {
    function.information = details.api_prov_func_info.clone();
    function.extra = details.extra.clone();
    function.key_extra = details.reg_info.extra.clone();
}

/// A function as a request would name it.
pub(super) fn details_of(
    function: &ProviderFunction,
) -> Result<ApiProviderFunctionDetails, Refusal> {
    let role = match function.role {
        Role::Apf => ApiProviderFuncRole::Apf,
        Role::Amf => ApiProviderFuncRole::Amf,
        Role::Aef | Role::ApiInvoker | Role::Ccf => ApiProviderFuncRole::Aef,
    };
    let mut details = ApiProviderFunctionDetails {
        api_prov_func_id: Some(function.id.clone()),
        reg_info: RegistrationInformation {
            api_prov_pub_key: function.public_key_text.to_string(),
            api_prov_cert: None,
            extra: function.key_extra.clone(),
        },
        api_prov_func_role: role,
        api_prov_func_info: function.information.clone(),
        extra: function.extra.clone(),
    };
    if !function.hosts.is_empty() {
        let member = details
            .extra
            .entry(HOSTS_MEMBER)
            .or_insert_with(|| json!({}));
        let members = member.as_object_mut().ok_or(Refusal::NotFound {
            what: "provider function",
        })?;
        members.insert("hosts".to_owned(), json!(function.hosts));
    }
    Ok(details)
}

/// The hosts where a function serves, as a vendor member names them.
pub(super) fn hosts(
    index: usize,
    details: &ApiProviderFunctionDetails,
) -> Result<Vec<String>, Refusal> {
    let pointer = || format!("/apiProvFuncs/{index}/{HOSTS_MEMBER}/hosts");
    let Some(hosts) = details
        .extra
        .get(HOSTS_MEMBER)
        .and_then(|vendor| vendor.get("hosts"))
    else {
        return Ok(Vec::new());
    };
    let hosts = hosts
        .as_array()
        .filter(|hosts| hosts.len() <= 16)
        .ok_or_else(|| Refusal::incorrect(pointer(), "`hosts` is a list of at most 16 names"))?;
    hosts
        .iter()
        .map(|host| {
            host.as_str()
                .filter(|host| is_host(host))
                .map(str::to_owned)
                .ok_or_else(|| {
                    Refusal::incorrect(pointer(), "each host is a DNS name or an IP address")
                })
        })
        .collect()
}

/// Whether a text is an IP address or a DNS name in the preferred syntax (RFC 1123 section 2.1); no wildcards.
fn is_host(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            }))
}
