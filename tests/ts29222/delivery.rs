//! How notifications reach who asked for them (TS 29.222 clause 7.6, TS 29.122 clause 5.2.5; P-34, P-35): where they go, what a
//! redirect leads to, the test notification, and the WebSocket.

mod destinations;
mod insecure;
mod isolation;
mod redirects;
mod test_notification;
mod websocket;

use serde_json::{Value, json};

use crate::support::{World, eventually, people::Domain, receiver::Receiver};

/// A subscription of the domain's AEF to what its APIs become, with these features.
fn wanted(destination: &str, features: &str) -> Value {
    json!({
        "events": ["SERVICE_API_AVAILABLE"],
        "notificationDestination": destination,
        "supportedFeatures": features,
    })
}

/// Host and port of a receiver, as the operator lists them.
fn target(receiver: &Receiver) -> String {
    format!("127.0.0.1:{}", receiver.port())
}

async fn nothing_waits(world: &World) {
    eventually("nothing waits any more", || async {
        let rows = world.list("events").await;
        rows.iter().all(|row| row["waiting"] == 0)
    })
    .await;
}

/// Publishes APIs of these names.
async fn publish(domain: &Domain, names: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(domain.publish(name, &["OAUTH"]).await);
    }
    ids
}

/// The APIs that notifications tell of.
fn told(notices: &[Value]) -> Vec<String> {
    let id = |notice: &Value| {
        notice["eventDetail"]["apiIds"][0]
            .as_str()
            .map(str::to_owned)
    };
    notices.iter().filter_map(id).collect()
}
