use serde_json::json;

use super::*;
use crate::{
    events::EventSubscription,
    publish_service::{AefProfile, InterfaceDescription, ServiceApiDescription},
};

fn refused<T: DeserializeOwned>(document: &str) -> JsonError {
    match from_slice::<T>(document.as_bytes()) {
        Ok(_) => panic!("accepted: {document}"),
        Err(error) => error,
    }
}

#[test]
fn refuses_a_member_that_stands_twice() {
    let cases = [
        (r#"{"apiName":"a","apiName":"b"}"#, "/apiName"),
        (r#"{"apiName":"a","api\u004eame":"b"}"#, "/apiName"),
        (r#"{"\u0061piName":"a","api\u004eame":"b"}"#, "/apiName"),
        (
            r#"{"apiName":"a","vendorSpecific-1":{"x":[{"y":1},{"z":1,"z":1}]}}"#,
            "/vendorSpecific-1/x/1/z",
        ),
        (r#"{"apiName":"a","v":1,"v":1}"#, "/v"),
        (r#"{"apiName":"a","a/b":{"c~d":1,"c~d":2}}"#, "/a~1b/c~0d"),
    ];
    for (document, pointer) in cases {
        let error = refused::<ServiceApiDescription>(document);
        assert_eq!(error.kind, JsonErrorKind::Duplicate, "{document}");
        assert_eq!(error.pointer, pointer, "{document}");
    }
}

#[test]
fn accepts_one_name_in_several_objects() {
    let document = r#"{"apiName":"a","x":{"apiName":1},"y":[{"apiName":1},{"apiName":1}]}"#;
    assert!(from_slice::<ServiceApiDescription>(document.as_bytes()).is_ok());
}

#[test]
fn bounds_depth() {
    // The object itself is one level.
    let nested = |depth: usize| {
        let lists = depth - 1;
        format!(
            r#"{{"apiName":"a","x":{}{}}}"#,
            "[".repeat(lists),
            "]".repeat(lists)
        )
    };
    assert!(from_slice::<ServiceApiDescription>(nested(DEPTH_MAX).as_bytes()).is_ok());
    let error = refused::<ServiceApiDescription>(&nested(DEPTH_MAX + 1));
    assert_eq!(error.kind, JsonErrorKind::TooDeep);
    let error = refused::<Value>(&"[".repeat(1_000_000));
    assert_eq!(error.kind, JsonErrorKind::TooDeep);
}

#[test]
fn refuses_what_is_not_one_json_document() {
    let cases: [&[u8]; 12] = [
        b"",
        b" ",
        b"{",
        br#"{"apiName":"a"} x"#,
        br#"{"apiName":"a"}{}"#,
        br#"{"apiName":"a",}"#,
        br#"{apiName:"a"}"#,
        b"{\"apiName\":\"\xff\"}",
        br#"{"apiName":"\ud800"}"#,
        b"\xef\xbb\xbf{\"apiName\":\"a\"}",
        b"{\"apiName\":\"a\nb\"}",
        br#"{"apiName":"a","x":1e999}"#,
    ];
    for document in cases {
        let error = from_slice::<ServiceApiDescription>(document).unwrap_err();
        assert_eq!(
            error.kind,
            JsonErrorKind::Syntax,
            "{}",
            document.escape_ascii()
        );
        assert_eq!(error.pointer, "");
    }
}

#[test]
fn names_the_member_that_is_missing() {
    let cases = [
        ("{}", "/apiName"),
        (
            r#"{"apiName":"a","aefProfiles":[{"aefId":"1","versions":[]},{"versions":[]}]}"#,
            "/aefProfiles/1/aefId",
        ),
        (
            r#"{"apiName":"a","aefProfiles":[{"aefId":"1","versions":[{}]}]}"#,
            "/aefProfiles/0/versions/0/apiVersion",
        ),
    ];
    for (document, pointer) in cases {
        let error = refused::<ServiceApiDescription>(document);
        assert_eq!(error.kind, JsonErrorKind::MissingMember, "{document}");
        assert_eq!(error.pointer, pointer, "{document}");
        let member = pointer.rsplit('/').next().unwrap();
        assert_eq!(error.reason, format!("`{member}` is missing"));
        assert_eq!(
            error.to_string(),
            format!("{pointer}: `{member}` is missing")
        );
    }
}

#[test]
fn names_the_member_of_the_wrong_type() {
    let cases = [
        (r#"{"apiName":7}"#, "/apiName", "expected a string"),
        (
            r#"{"apiName":"a","apiId":null}"#,
            "/apiId",
            "expected a string",
        ),
        (
            r#"{"apiName":"a","aefProfiles":""}"#,
            "/aefProfiles",
            "expected a list",
        ),
        (
            r#"{"apiName":"a","aefProfiles":[{"aefId":"1","versions":[{"apiVersion":"v1","expiry":"soon"}]}]}"#,
            "/aefProfiles/0/versions/0/expiry",
            "expected a date and time of RFC 3339 with offset, like 2026-01-31T12:00:00Z",
        ),
        (
            r#"{"apiName":"a","supportedFeatures":"xyz"}"#,
            "/supportedFeatures",
            "expected hexadecimal digits",
        ),
        (
            r#"{"apiName":"a","netSliceInfo":[{"snssai":{"sst":256}}]}"#,
            "/netSliceInfo/0/snssai/sst",
            "expected a whole number, not too large and not negative",
        ),
    ];
    for (document, pointer, reason) in cases {
        let error = refused::<ServiceApiDescription>(document);
        assert_eq!(error.kind, JsonErrorKind::WrongType, "{document}");
        assert_eq!(
            (&*error.pointer, &*error.reason),
            (pointer, reason),
            "{document}"
        );
    }
    let error = refused::<InterfaceDescription>(r#"{"port":65536}"#);
    assert_eq!(error.pointer, "/port");
    // As deployed clients send what they leave unset.
    let error = refused::<EventSubscription>(
        r#"{"events":[],"notificationDestination":"","websockNotifConfig":""}"#,
    );
    assert_eq!(error.to_string(), "/websockNotifConfig: expected an object");
    let error = refused::<ServiceApiDescription>("[]");
    assert_eq!(
        (error.kind, &*error.pointer),
        (JsonErrorKind::WrongType, "")
    );
}

#[test]
fn repeats_no_value() {
    let value = "s3cret, expected s3cret at line s3cret";
    for document in [
        json!({ "aefId": "1", "versions": value }),
        json!({ "aefId": "1", "versions": [], "securityMethods": value }),
        json!({ "aefId": "1", "versions": [{ "apiVersion": "v1", "expiry": value }] }),
    ] {
        let errors = [
            refused::<AefProfile>(&document.to_string()),
            from_value::<AefProfile>(document).unwrap_err(),
        ];
        for error in errors {
            assert!(
                !format!("{error} {error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }
}

#[test]
fn shortens_names_that_a_peer_chose() {
    let name = "ä".repeat(10_000);
    let error = refused::<Value>(&format!(r#"{{"{name}":1,"{name}":2}}"#));
    assert_eq!(error.kind, JsonErrorKind::Duplicate);
    assert_eq!(error.pointer.chars().count(), 2 + NAME_CHARS_MAX);
    assert!(error.reason.chars().count() < 100);
}

#[test]
fn from_value_names_the_culprit() {
    let error = from_value::<AefProfile>(json!({ "aefId": "1", "versions": [{}] })).unwrap_err();
    assert_eq!(error.kind, JsonErrorKind::MissingMember);
    assert_eq!(error.pointer, "/versions/0/apiVersion");
}
