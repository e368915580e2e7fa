//! What is put together, and what stays apart.

use super::*;

fn gathered(notifications: &[(&str, Value)]) -> Vec<(String, Value)> {
    let waiting = notifications
        .iter()
        .enumerate()
        .map(|(index, (event, detail))| {
            let mut document = json!({ "subscriptionId": "SUB", "events": event });
            if !detail.is_null() {
                document["eventDetail"] = detail.clone();
            }
            (index.to_string(), wire(document))
        });
    let reports = gather(waiting).into_iter();
    reports
        .map(|(ids, report)| {
            let detail = serde_json::to_value(report.event_detail).unwrap();
            (ids.join("+"), detail)
        })
        .collect()
}

/// A report says all that those said which it was made from: lists are joined as long as nothing else differs.
#[test]
fn what_says_the_same_is_put_together() {
    let (a, b) = ("SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE");
    let apis = |ids: &[&str]| json!({ "apiIds": ids });
    let invokers = |ids: &[&str], apis: &[&str]| json!({ "apiInvokerIds": ids, "apiIds": apis });
    let described = |id: &str, text: &str| json!({ "serviceAPIDescriptions": [{ "apiName": "n", "apiId": id, "description": text }] });
    let call = |result: &str| {
        json!({ "invocationLogs": [{ "aefId": "AEF", "apiInvokerId": "INV", "logs": [{
            "apiId": "API", "apiName": "n", "apiVersion": "v1", "resourceName": "r", "protocol": "HTTP_2", "result": result,
        }] }] })
    };
    let count = |count: u64| json!({ "onboardedCount": [{ "apiId": "API", "count": count }] });
    let together =
        |one: &Value, other: &Value| gathered(&[(a, one.clone()), (a, other.clone())]).len() == 1;

    assert_eq!(
        gathered(&[(a, apis(&["1"])), (a, apis(&["2"])), (a, apis(&["1"]))]),
        [("0+1+2".to_owned(), apis(&["1", "2"]))]
    );
    // Another event between them: which came last must stay clear.
    let order = gathered(&[(a, apis(&["1"])), (b, apis(&["1"])), (a, apis(&["1"]))]);
    assert_eq!(order.len(), 3);
    assert_eq!(
        gathered(&[(a, Value::Null), (a, Value::Null)]),
        [("0+1".to_owned(), Value::Null)]
    );
    assert!(!together(&Value::Null, &apis(&["1"])));
    // Which API goes with which invoker.
    assert!(together(
        &invokers(&["I"], &["1"]),
        &invokers(&["I"], &["2"])
    ));
    assert!(together(
        &invokers(&["I"], &["1"]),
        &invokers(&["J"], &["1"])
    ));
    assert!(!together(
        &invokers(&["I"], &["1"]),
        &invokers(&["J"], &["2"])
    ));
    // Everything, and one API.
    assert!(!together(
        &json!({ "apiInvokerIds": ["I"] }),
        &invokers(&["I"], &["2"])
    ));
    assert!(together(&described("1", "x"), &described("2", "x")));
    assert!(together(&described("1", "x"), &described("1", "x")));
    assert!(!together(&described("1", "x"), &described("1", "y")));
    let calls = gathered(&[(a, call("200")), (a, call("200")), (a, call("201"))]);
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].1["invocationLogs"].as_array().unwrap().len(),
        3,
        "{calls:?}"
    );
    assert!(together(&count(1), &count(1)));
    assert!(!together(&count(1), &count(2)));
    assert_eq!(gathered(&[]), []);
}

/// A report is made from no more than fit.
#[test]
fn a_report_is_bounded() {
    let one = |index: usize| {
        (
            "SERVICE_API_AVAILABLE",
            json!({ "apiIds": [index.to_string()] }),
        )
    };
    let many: Vec<(&str, Value)> = (0..=GATHERED_MAX).map(one).collect();
    let reports = gathered(&many);
    assert_eq!(reports.len(), 2);
    assert_eq!(
        reports[0].1["apiIds"].as_array().unwrap().len(),
        GATHERED_MAX
    );
    assert_eq!(reports[1].1["apiIds"].as_array().unwrap().len(), 1);
}
