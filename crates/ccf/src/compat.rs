//! The dialect of deployed OpenCAPIF clients, translated at the edge into TS 29.222 and nowhere else: what lies behind it is as
//! strict as ever. Without `compat = "opencapif"` nothing here is called.
//!
//! What each translation gives away stands in `docs/OPERATIONS.md`.

use bytes::Bytes;
use capif_procedures::state::{ProviderFunction, Role};
use capif_spec::{common::SupportedFeatures, json};
use http::Uri;
use serde_json::{Map, Value, json};

/// The operations whose requests say how notifications are to come.
const WITH_DELIVERY: [&str; 6] = [
    "CreateOnboardedAPIInvoker",
    "UpdateIndOnboardedAPIInvoker",
    "CreateEventSubsc",
    "UpdateIndEventSubsc",
    "CreateSecIndTrustedAPIInv",
    "UpdateSecContIndAPIInv",
];

/// The feature of the security API by which an entry is about one API.
const SECURITY_INFO_PER_API: &str = "4";

/// The member by which our own clients are known: they speak the standard.
const VENDOR_MEMBER: &str = "vendorSpecific-capif";

/// Every feature but test notifications and WebSockets.
const WITHOUT_DELIVERY: &str = "fffffffffffffffc";

/// A target in the spelling of TS 29.222: deployed clients put a second slash between host and path.
pub(crate) fn target(uri: Uri) -> Uri {
    let path = uri.path();
    if !path.contains("//") {
        return uri;
    }
    let mut plain = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !plain.ends_with('/') {
            plain.push(c);
        }
    }
    let text = match uri.query() {
        Some(query) => format!("{plain}?{query}"),
        None => plain,
    };
    text.parse().unwrap_or(uri)
}

/// Query values in the spelling of TS 29.222: Python writes its own booleans.
pub(crate) fn query(pairs: &mut [(String, String)]) {
    for (name, value) in pairs {
        let is_flag = ["authenticationInfo", "authorizationInfo"].contains(&name.as_str());
        match value.as_str() {
            "True" if is_flag => *value = "true".to_owned(),
            "False" if is_flag => *value = "false".to_owned(),
            _ => {}
        }
    }
}

/// The body of a request as TS 29.222 has it. `functions` are those of the domain that a registration is about. What cannot be read
/// stays as it is, to be refused.
pub(crate) fn request(operation: &str, body: Bytes, functions: &[&ProviderFunction]) -> Bytes {
    let Ok(Value::Object(mut content)) = json::from_slice::<Value>(&body) else {
        return body;
    };
    if content.contains_key(VENDOR_MEMBER) {
        return body;
    }
    match operation {
        _ if WITH_DELIVERY.contains(&operation) => {
            without_delivery(&mut content);
            if operation.contains("Sec") {
                per_api(&mut content);
            }
        }
        "CreateAPFPubAPIs" | "UpdateIndAPFPubAPI" => published(&mut content),
        "UpdateIndApiProvDomainRegist" => registered(&mut content, functions),
        _ => return body,
    }
    serde_json::to_vec(&content).map_or(body, Bytes::from)
}

/// Deployed clients ask for test notifications and WebSockets whatever they negotiate, and use neither.
fn without_delivery(content: &mut Map<String, Value>) {
    content.remove("requestTestNotification");
    content.remove("websockNotifConfig");
    change_features(content, |asked| {
        asked.intersect(&SupportedFeatures::from(WITHOUT_DELIVERY))
    });
}

/// Entries that name an API are about that API, whatever was negotiated. Deployed clients prefer whatever the AEF offers, and can
/// use access tokens alone.
fn per_api(content: &mut Map<String, Value>) {
    let entries = content
        .get_mut("securityInfo")
        .and_then(Value::as_array_mut);
    let mut names_api = false;
    for entry in entries.into_iter().flatten() {
        names_api |= entry.get("apiId").is_some();
        let methods = entry
            .get_mut("prefSecurityMethods")
            .and_then(Value::as_array_mut);
        let is_oauth = |method: &Value| {
            let text = method.as_str();
            text.is_some_and(|text| text.eq_ignore_ascii_case("oauth"))
        };
        if let Some(methods) = methods.filter(|methods| methods.iter().any(is_oauth)) {
            methods.retain(is_oauth);
        }
    }
    if names_api {
        content.insert("supportedFeatures".to_owned(), json!(SECURITY_INFO_PER_API));
    }
}

fn change_features(
    content: &mut Map<String, Value>,
    change: impl FnOnce(SupportedFeatures) -> SupportedFeatures,
) {
    let features = content.get_mut("supportedFeatures");
    if let Some(Value::String(features)) = features {
        let changed = change(SupportedFeatures::from(features.as_str()));
        *features = changed.as_str().to_owned();
    }
}

/// Host names stand where addresses belong, and methods at the interfaces alone, where clients look for them at the profile.
fn published(content: &mut Map<String, Value>) {
    let profiles = content.get_mut("aefProfiles").and_then(Value::as_array_mut);
    for profile in profiles.into_iter().flatten() {
        let Value::Object(profile) = profile else {
            continue;
        };
        let interfaces = profile
            .get_mut("interfaceDescriptions")
            .and_then(Value::as_array_mut);
        let mut methods: Vec<Value> = Vec::new();
        for interface in interfaces.into_iter().flatten() {
            let Value::Object(interface) = interface else {
                continue;
            };
            let address = interface.get("ipv4Addr").and_then(Value::as_str);
            let is_name = address.is_some_and(|text| text.parse::<std::net::Ipv4Addr>().is_err());
            if is_name
                && !interface.contains_key("fqdn")
                && let Some(name) = interface.remove("ipv4Addr")
            {
                interface.insert("fqdn".to_owned(), name);
            }
            let own = interface.get("securityMethods").and_then(Value::as_array);
            for method in own.into_iter().flatten() {
                if !methods.contains(method) {
                    methods.push(method.clone());
                }
            }
        }
        if !profile.contains_key("securityMethods") && !methods.is_empty() {
            profile.insert("securityMethods".to_owned(), Value::Array(methods));
        }
    }
}

/// Functions without ids are those that there are: by the key that they have, or else, in order, those of the same role. What is left
/// over is new.
fn registered(content: &mut Map<String, Value>, functions: &[&ProviderFunction]) {
    let wanted = content
        .get_mut("apiProvFuncs")
        .and_then(Value::as_array_mut);
    let Some(wanted) = wanted else {
        return;
    };
    let mut left: Vec<&ProviderFunction> = functions.to_vec();
    left.retain(|held| {
        let has_id = |one: &Value| one.get("apiProvFuncId") == Some(&json!(held.id));
        !wanted.iter().any(has_id)
    });
    let same_key = |one: &Value, held: &ProviderFunction| {
        let key = one
            .pointer("/regInfo/apiProvPubKey")
            .and_then(Value::as_str);
        key.is_some_and(|key| key.trim() == held.public_key_text.trim())
    };
    let same_role = |one: &Value, held: &ProviderFunction| {
        let role = one.get("apiProvFuncRole").and_then(Value::as_str);
        role == Some(Role::as_str(held.role))
    };
    for fits in [
        &same_key as &dyn Fn(&Value, &ProviderFunction) -> bool,
        &same_role,
    ] {
        for one in wanted
            .iter_mut()
            .filter(|one| one.get("apiProvFuncId").is_none())
        {
            let Some(at) = left.iter().position(|held| fits(one, held)) else {
                continue;
            };
            let held = left.remove(at);
            if let Value::Object(one) = one {
                one.insert("apiProvFuncId".to_owned(), json!(held.id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(operation: &str, content: Value) -> Value {
        let body = Bytes::from(content.to_string());
        serde_json::from_slice(&request(operation, body, &[])).unwrap()
    }

    #[test]
    fn slashes_are_one() {
        for (from, to) in [
            ("//capif-security/v1//x?a=//b", "/capif-security/v1/x?a=//b"),
            ("/logs/v1/apiInvocationLogs", "/logs/v1/apiInvocationLogs"),
            ("///", "/"),
        ] {
            // What comes over the wire is a path; a parser of addresses would take the first part for a host.
            let uri = Uri::builder().path_and_query(from).build().unwrap();
            assert_eq!(target(uri).to_string(), to);
        }
    }

    #[test]
    fn booleans_are_json() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut pairs = [
            pair("authenticationInfo", "True"),
            pair("authorizationInfo", "False"),
            pair("api-name", "True"),
        ];
        query(&mut pairs);
        assert_eq!(pairs[0].1, "true");
        assert_eq!(pairs[1].1, "false");
        assert_eq!(pairs[2].1, "True");
    }

    #[test]
    fn what_nobody_uses_is_not_asked_for() {
        let said = translated(
            "CreateEventSubsc",
            json!({ "events": ["X"], "requestTestNotification": true, "websockNotifConfig": {}, "supportedFeatures": "fffff" }),
        );
        assert_eq!(
            said,
            json!({ "events": ["X"], "supportedFeatures": "ffffc" })
        );
        let said = translated(
            "CreateSecIndTrustedAPIInv",
            json!({ "securityInfo": [{ "apiId": "a", "prefSecurityMethods": ["PKI", "Oauth"] }], "supportedFeatures": "0" }),
        );
        assert_eq!(said["supportedFeatures"], "4");
        assert_eq!(
            said["securityInfo"][0]["prefSecurityMethods"],
            json!(["Oauth"])
        );
        // What is none of this is not touched, to the octet.
        let body = Bytes::from_static(b"{ \"x\" : 1 }");
        assert_eq!(request("CreateLogEntServAPIInv", body.clone(), &[]), body);
        let ours = json!({ "requestTestNotification": true, "vendorSpecific-capif": {} });
        assert_eq!(translated("CreateOnboardedAPIInvoker", ours.clone()), ours);
        let twice = Bytes::from_static(b"{\"a\":1,\"a\":2}");
        assert_eq!(request("CreateEventSubsc", twice.clone(), &[]), twice);
    }

    #[test]
    fn names_are_no_addresses() {
        let said = translated(
            "CreateAPFPubAPIs",
            json!({ "aefProfiles": [{ "interfaceDescriptions": [
                { "ipv4Addr": "nef.example", "securityMethods": ["Oauth"] },
                { "ipv4Addr": "192.0.2.1", "securityMethods": ["PKI", "Oauth"] },
            ] }] }),
        );
        let profile = &said["aefProfiles"][0];
        assert_eq!(profile["securityMethods"], json!(["Oauth", "PKI"]));
        assert_eq!(profile["interfaceDescriptions"][0]["fqdn"], "nef.example");
        assert_eq!(profile["interfaceDescriptions"][1]["ipv4Addr"], "192.0.2.1");
    }
}
