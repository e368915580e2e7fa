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

/// The feature of the events API by which notifications say what they are about, as a digit.
const ENHANCED_EVENT_REPORT: u32 = 4;

/// Every feature but test notifications and WebSockets.
const WITHOUT_DELIVERY: &str = "fffffffffffffffc";

/// What each of them sends as its `client_secret`.
pub(crate) const SECRET: &str = "string";

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
    let said = content.clone();
    match operation {
        _ if WITH_DELIVERY.contains(&operation) => {
            if !names_a_websocket(&content) {
                return body;
            }
            without_delivery(&mut content);
            if operation.contains("Sec") {
                per_api(&mut content);
            }
            if operation.contains("EventSubsc") {
                with_detail(&mut content);
            }
            if operation == "UpdateIndOnboardedAPIInvoker" {
                unchanged(&mut content);
            }
        }
        "CreateLogEntServAPIInv" => logged(&mut content),
        "CreateAPFPubAPIs" | "UpdateIndAPFPubAPI" => published(&mut content),
        "UpdateIndApiProvDomainRegist" => registered(&mut content, functions),
        _ => return body,
    }
    // What is none of the dialect stays as it is, to the octet.
    if content == said {
        return body;
    }
    serde_json::to_vec(&content).map_or(body, Bytes::from)
}

/// Whether a deployed client says this: each of them names a WebSocket, with some word or its own callback, whose address the core
/// function alone can give (TS 29.122 clause 5.2.1.2.10). Who speaks the standard at most repeats the one that it was given.
fn names_a_websocket(content: &Map<String, Value>) -> bool {
    let config = content.get("websockNotifConfig");
    let named = config.and_then(|config| config.get("websocketUri"));
    named
        .and_then(Value::as_str)
        .is_some_and(|uri| !uri.starts_with("wss://"))
}

/// Deployed clients ask for test notifications and WebSockets whatever they negotiate, and use neither.
fn without_delivery(content: &mut Map<String, Value>) {
    content.remove("requestTestNotification");
    content.remove("websockNotifConfig");
    change_features(content, |asked| {
        asked.intersect(&SupportedFeatures::from(WITHOUT_DELIVERY))
    });
}

/// Certificate and secret stay what they are, whatever stands in their places: the key alone is compared.
fn unchanged(content: &mut Map<String, Value>) {
    let information = content.get_mut("onboardingInformation");
    if let Some(information) = information.and_then(Value::as_object_mut) {
        information.remove("apiInvokerCertificate");
        information.remove("onboardingSecret");
    }
}

/// The older SDK has the result of a call as a number.
fn logged(content: &mut Map<String, Value>) {
    let entries = content.get_mut("logs").and_then(Value::as_array_mut);
    for result in entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get_mut("result"))
    {
        let status = result.as_u64();
        if let Some(status) = status.filter(|status| (100..1000).contains(status)) {
            *result = Value::String(status.to_string());
        }
    }
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

/// Deployed receivers read what an event is about (`eventDetail`), whatever they negotiated.
fn with_detail(content: &mut Map<String, Value>) {
    content
        .entry("supportedFeatures")
        .or_insert_with(|| json!("0"));
    change_features(content, |asked| {
        let mut digits = asked.as_str().to_owned();
        let last = digits.pop().and_then(|last| last.to_digit(16));
        let last = last.unwrap_or(0) | ENHANCED_EVENT_REPORT;
        digits.extend(char::from_digit(last, 16));
        digits.into()
    });
}

fn change_features(
    content: &mut Map<String, Value>,
    change: impl FnOnce(SupportedFeatures) -> SupportedFeatures,
) {
    let features = content.get_mut("supportedFeatures");
    if let Some(Value::String(features)) = features {
        let asked = SupportedFeatures::from(features.as_str());
        if asked.is_valid() {
            *features = change(asked).as_str().to_owned();
        }
    }
}

/// Host names stand where addresses belong, and methods at the interfaces alone, where clients look for them at the profile. An
/// interface without any is left to be refused: it would get those of the others.
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
        let mut is_whole = true;
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
            is_whole &= own.is_some_and(|own| !own.is_empty());
            for method in own.into_iter().flatten() {
                if !methods.contains(method) {
                    methods.push(method.clone());
                }
            }
        }
        if is_whole && !methods.is_empty() && !profile.contains_key("securityMethods") {
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
    let same_role = |one: &Value, held: &ProviderFunction| {
        let role = one.get("apiProvFuncRole").and_then(Value::as_str);
        role == Some(Role::as_str(held.role))
    };
    // Some give one key to all of them.
    let same_key = |one: &Value, held: &ProviderFunction| {
        let key = one
            .pointer("/regInfo/apiProvPubKey")
            .and_then(Value::as_str);
        let is_same = key.is_some_and(|key| key.trim() == held.public_key_text.to_string().trim());
        is_same && same_role(one, held)
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
            json!({ "events": ["X"], "requestTestNotification": true, "supportedFeatures": "fffff",
                "websockNotifConfig": { "requestWebsocketUri": true, "websocketUri": "https://192.0.2.1/callback" } }),
        );
        assert_eq!(
            said,
            json!({ "events": ["X"], "supportedFeatures": "ffffc" })
        );
        let said = translated(
            "CreateSecIndTrustedAPIInv",
            json!({ "securityInfo": [{ "apiId": "a", "prefSecurityMethods": ["PKI", "Oauth"] }], "supportedFeatures": "0",
                "websockNotifConfig": { "requestWebsocketUri": true, "websocketUri": "string" } }),
        );
        assert_eq!(said["supportedFeatures"], "4");
        assert_eq!(
            said["securityInfo"][0]["prefSecurityMethods"],
            json!(["Oauth"])
        );
        // What is none of this is not touched, to the octet.
        let body = Bytes::from_static(b"{ \"x\" : 1 }");
        for operation in ["GetOAuthIndAPIInv", "CreateLogEntServAPIInv"] {
            assert_eq!(request(operation, body.clone(), &[]), body);
        }
        // Nor what a client of the standard says, with a WebSocket that it was given too.
        for uri in [
            Value::Null,
            json!("wss://ccf.example/capif-websocket/v1/x/y"),
        ] {
            let mut plain = json!({ "requestTestNotification": true, "supportedFeatures": "f",
                "securityInfo": [{ "apiId": "a", "prefSecurityMethods": ["PKI", "OAUTH"] }],
                "websockNotifConfig": { "requestWebsocketUri": true } });
            if !uri.is_null() {
                plain["websockNotifConfig"]["websocketUri"] = uri;
            }
            assert_eq!(
                translated("CreateOnboardedAPIInvoker", plain.clone()),
                plain
            );
            assert_eq!(
                translated("CreateSecIndTrustedAPIInv", plain.clone()),
                plain
            );
        }
        let odd = json!({ "supportedFeatures": "g", "websockNotifConfig": { "websocketUri": "" } });
        assert_eq!(
            translated("CreateEventSubsc", odd),
            json!({ "supportedFeatures": "g" })
        );
        let twice = Bytes::from_static(b"{\"a\":1,\"a\":2}");
        assert_eq!(request("CreateEventSubsc", twice.clone(), &[]), twice);
    }

    #[test]
    fn results_are_texts() {
        let said = translated(
            "CreateLogEntServAPIInv",
            json!({ "logs": [{ "result": 200 }, { "result": "404" }, {}, 7] }),
        );
        let expected = json!([{ "result": "200" }, { "result": "404" }, {}, 7]);
        assert_eq!(said["logs"], expected);
    }

    #[test]
    fn certificate_and_secret_are_not_said_anew() {
        let told = json!({ "apiInvokerPublicKey": "k", "apiInvokerCertificate": "string", "onboardingSecret": "string" });
        let details = json!({ "onboardingInformation": told, "websockNotifConfig": { "websocketUri": "string" } });
        let said = translated("UpdateIndOnboardedAPIInvoker", details.clone());
        let kept = json!({ "apiInvokerPublicKey": "k" });
        assert_eq!(said["onboardingInformation"], kept);
        let said = translated("CreateOnboardedAPIInvoker", details);
        assert_eq!(said["onboardingInformation"], told);
    }

    #[test]
    fn events_say_what_they_are_about() {
        for (asked, agreed) in [
            (json!("0"), "4"),
            (json!("fff"), "ffc"),
            (json!("12"), "14"),
            (json!(""), "4"),
        ] {
            let said = translated(
                "UpdateIndEventSubsc",
                json!({ "supportedFeatures": asked, "websockNotifConfig": { "websocketUri": "string" } }),
            );
            assert_eq!(said, json!({ "supportedFeatures": agreed }), "{asked}");
        }
        let said = translated(
            "CreateEventSubsc",
            json!({ "websockNotifConfig": { "websocketUri": "" } }),
        );
        assert_eq!(said, json!({ "supportedFeatures": "4" }));
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
        // An interface that says nothing takes part in no methods of others.
        let partly = json!({ "aefProfiles": [{ "interfaceDescriptions": [
            { "ipv4Addr": "192.0.2.1", "securityMethods": ["PKI"] }, { "ipv4Addr": "192.0.2.2" },
        ] }] });
        assert_eq!(translated("CreateAPFPubAPIs", partly.clone()), partly);
    }
}
