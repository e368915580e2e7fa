use serde_json::{Value, json};

use super::*;
use crate::json;

fn culprit(entry: Value) -> Option<String> {
    let document = json!({
        "securityInfo": [{ "aefId": "AEF1", "prefSecurityMethods": ["PKI"] }, entry],
        "notificationDestination": "https://invoker.example/notify",
    });
    let context: ServiceSecurity = json::from_slice(document.to_string().as_bytes()).unwrap();
    context.check().err().map(|violation| violation.pointer)
}

#[test]
fn rules_of_a_security_context() {
    let interface = json!({ "ipv4Addr": "192.0.2.1" });
    // As the OpenCAPIF client sends it.
    let usual = json!({
        "aefId": "AEF1", "apiId": "1", "prefSecurityMethods": ["Oauth"],
        "authenticationInfo": "string", "authorizationInfo": "string",
    });
    assert_eq!(culprit(usual), None);
    assert_eq!(
        culprit(json!({ "interfaceDetails": interface, "prefSecurityMethods": ["PSK"] })),
        None
    );
    for (entry, pointer) in [
        (json!({ "prefSecurityMethods": ["PSK"] }), "/securityInfo/1"),
        (
            json!({ "aefId": "a", "interfaceDetails": interface, "prefSecurityMethods": ["PSK"] }),
            "/securityInfo/1",
        ),
        (
            json!({ "interfaceDetails": {}, "prefSecurityMethods": ["PSK"] }),
            "/securityInfo/1/interfaceDetails",
        ),
        (
            json!({ "aefId": "a", "prefSecurityMethods": [] }),
            "/securityInfo/1/prefSecurityMethods",
        ),
        (
            json!({ "aefId": "a", "prefSecurityMethods": ["PSK"], "grantType": [] }),
            "/securityInfo/1/grantType",
        ),
    ] {
        assert_eq!(culprit(entry).as_deref(), Some(pointer));
    }
}

#[test]
fn a_revocation_names_apis() {
    let notification: SecurityNotification =
        json::from_slice(br#"{"apiInvokerId":"i","apiIds":[],"cause":"SOMETHING_NEW"}"#).unwrap();
    assert_eq!(notification.cause.as_str(), "SOMETHING_NEW");
    assert_eq!(notification.check().unwrap_err().pointer, "/apiIds");
}
