use serde_json::{Value, json};

use super::*;
use crate::json;

fn culprit(member: &str, value: Value) -> Option<String> {
    let mut document = json!({
        "events": ["SERVICE_API_AVAILABLE"],
        "notificationDestination": "https://invoker.example/notify",
    });
    document[member] = value;
    let subscription: EventSubscription =
        json::from_slice(document.to_string().as_bytes()).unwrap();
    subscription
        .check()
        .err()
        .map(|violation| violation.pointer)
}

#[test]
fn rules_of_a_subscription() {
    assert_eq!(culprit("eventReq", json!({})), None);
    assert_eq!(culprit("eventFilters", json!([])), None);
    assert_eq!(culprit("eventFilters", json!([{}])), None);
    assert_eq!(
        culprit("eventFilters", json!([{}, { "apiIds": [] }])).as_deref(),
        Some("/eventFilters/1/apiIds")
    );
    assert_eq!(culprit("events", json!([])).as_deref(), Some("/events"));
    assert_eq!(
        culprit("notificationDestination", json!("nowhere")).as_deref(),
        Some("/notificationDestination")
    );
}
