use serde_json::json;

use super::*;
use crate::json;

#[test]
fn a_log_is_read_as_deployed_functions_write_it() {
    let document = json!({
        "apiId": "1", "apiName": "a", "apiVersion": "v1", "resourceName": "r", "uri": "/plain/path",
        "protocol": "HTTP_1_1", "result": "200", "invocationTime": "2026-01-31 12:00:00",
        "inputParameters": " ", "outputParameters": null,
    });
    let log: Log = json::from_slice(document.to_string().as_bytes()).unwrap();
    assert_eq!(log.invocation_time, "2026-01-31T12:00:00Z".parse().ok());
    let mut expected = document;
    expected["invocationTime"] = json!("2026-01-31T12:00:00Z");
    assert_eq!(serde_json::to_value(&log).unwrap(), expected);
    assert_eq!(log.check(), Ok(()));
}

#[test]
fn other_times_are_refused() {
    for time in [json!("yesterday"), json!(""), json!(null), json!(1)] {
        let document = json!({
            "apiId": "1", "apiName": "a", "apiVersion": "v1", "resourceName": "r",
            "protocol": "HTTP_1_1", "result": "200", "invocationTime": time,
        });
        let error = json::from_slice::<Log>(document.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.pointer, "/invocationTime");
    }
}

#[test]
fn a_report_holds_at_least_one_entry() {
    let report: InvocationLog =
        json::from_slice(br#"{"aefId":"a","apiInvokerId":"i","logs":[]}"#).unwrap();
    assert_eq!(report.check().unwrap_err().pointer, "/logs");
}
