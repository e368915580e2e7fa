use serde_json::{Value, json};

use super::*;
use crate::json;

fn claims() -> Value {
    json!({
        "iss": "INV1", "sub": "INV1", "aud": ["AEF1"], "client_id": "INV1", "scope": "3gpp#AEF1:weather",
        "iat": 1, "nbf": 1, "exp": 601, "jti": "j", "gen": 3, "resOwnerId": { "gpsi": "msisdn-12345" },
        "cnf": { "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" },
    })
}

#[test]
fn claims_survive() {
    let read: AccessTokenClaims = json::from_slice(claims().to_string().as_bytes()).unwrap();
    assert_eq!(read.generation, Some(3));
    assert_eq!(serde_json::to_value(&read).unwrap(), claims());
    let least = json!({ "iss": "INV1", "scope": "s", "exp": 1 });
    let read: AccessTokenClaims = json::from_slice(least.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), least);
}

#[test]
fn claims_of_the_wrong_type_are_refused() {
    for (claim, wrong) in [
        ("iss", json!(1)),
        ("sub", json!(["INV1"])),
        ("aud", json!("AEF1")),
        ("aud", json!([1])),
        ("client_id", json!(null)),
        ("scope", json!(["s"])),
        ("iat", json!("1")),
        ("nbf", json!(1.5)),
        ("exp", json!("601")),
        ("exp", json!(601.0)),
        ("exp", json!(null)),
        ("exp", json!(1e30)),
        ("jti", json!(1)),
        ("gen", json!(-1)),
        ("resOwnerId", json!("msisdn-12345")),
        ("cnf", json!("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2")),
        ("cnf", json!({ "x5t#S256": 7 })),
        ("cnf", json!(null)),
    ] {
        let mut document = claims();
        document[claim] = wrong;
        let error =
            json::from_slice::<AccessTokenClaims>(document.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.kind, json::JsonErrorKind::WrongType, "{claim}");
        assert!(error.pointer.starts_with(&format!("/{claim}")), "{claim}");
    }
}

#[test]
fn a_form_keeps_its_own_names() {
    let request = AccessTokenReq {
        grant_type: "client_credentials".to_owned(),
        client_id: "INV1".to_owned(),
        res_owner_id: None,
        client_secret: Some(Redacted::from("s3cret")),
        scope: None,
        auth_code: None,
        redirect_uri: None,
    };
    let fields = json!({ "grant_type": "client_credentials", "client_id": "INV1", "client_secret": "s3cret" });
    assert_eq!(serde_json::to_value(&request).unwrap(), fields);
    assert!(!format!("{request:?}").contains("s3cret"));
}

#[test]
fn errors_keep_codes_of_extensions() {
    let document = json!({ "error": "invalid_dpop_proof", "error_description": "x", "hint": 1 });
    let error: AccessTokenErr = json::from_slice(document.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&error).unwrap(), document);
    assert_eq!(
        AccessTokenError::from("invalid_client"),
        AccessTokenError::InvalidClient
    );
}
