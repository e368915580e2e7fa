//! How notifications reach who asked for them (TS 29.122 clause 5.2.5): with a test first, and over a WebSocket. Both are features
//! with the same numbers in the APIs for events, API invoker management and security (TS 29.222 tables 8.3.6-1, 8.4.6-1, 8.5.6-1).

use capif_spec::common::{
    ApiInvokerId, DateTime, SupportedFeatures, TestNotification, Uri, WebsockNotifConfig,
};

use crate::{
    changes::{Change, Changes, Expect, Key, Record},
    refusal::Refusal,
    state::{Callback, Notification, Subscription, Test, Tidings},
};

/// The number of the feature by which a test notification can be had.
const TEST_EVENT: u32 = 1;

/// The number of the feature by which notifications can be had over a WebSocket. It needs the other one.
const WEBSOCKET: u32 = 2;

/// What the id of a test notification ends with: it sorts before every sequence, so that a test is always what is sent next, and
/// a resource has one at most.
const TEST_ID: &str = "-test";

/// The path below which WebSockets are opened: subscriber and resource follow.
pub const WEBSOCKET_PATH: &str = "/capif-websocket/v1";

/// What stands for the profile of an API invoker among the resources of a WebSocket.
pub const ONBOARDING: &str = "onboarding";

/// What stands for the security context of an API invoker among the resources of a WebSocket.
pub const SECURITY: &str = "security";

/// The features that both sides have: WebSockets only together with test notifications.
#[must_use]
pub fn agreed_features(wanted: &SupportedFeatures, offered: &str) -> SupportedFeatures {
    let both = wanted.intersect(&SupportedFeatures::from(offered));
    if !both.has(WEBSOCKET) || both.has(TEST_EVENT) {
        return both;
    }
    let others = both.as_str().len().saturating_sub(1);
    both.intersect(&SupportedFeatures::from(format!("{}d", "f".repeat(others))))
}

/// What a resource says of its delivery: the members that it is asked for with, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Whether a test notification is wanted.
    pub test: Option<bool>,
    /// Whether a WebSocket is, and which it is.
    pub websocket: Option<WebsockNotifConfig>,
}

impl Delivery {
    /// What is agreed on. `held` is the WebSocket that the resource has; the wish names the one that it would get, see [`assign`].
    /// Of features that were not agreed on nothing is obeyed or answered (TS 29.222 clause 7.8).
    ///
    /// # Errors
    /// Refuses a second WebSocket: one is assigned, once (TS 29.122 clause 5.2.5.4).
    pub fn agree(
        self,
        features: Option<&SupportedFeatures>,
        held: Option<&Uri>,
    ) -> Result<Self, Refusal> {
        let has = |bit| features.is_some_and(|features| features.has(bit));
        let websocket = match self.websocket.filter(|_| has(WEBSOCKET)) {
            None => None,
            Some(wanted) if wanted.request_websocket_uri == Some(true) => {
                if held.is_some() {
                    return Err(Refusal::ModificationNotAllowed {
                        member: "/websockNotifConfig/requestWebsocketUri".to_owned(),
                    });
                }
                // The flag is not answered: whoever sends back what it got asks for no second one.
                Some(WebsockNotifConfig {
                    request_websocket_uri: None,
                    ..wanted
                })
            }
            // Only the one that was assigned.
            Some(wanted) => held.map(|held| WebsockNotifConfig {
                websocket_uri: Some(held.clone()),
                request_websocket_uri: None,
                ..wanted
            }),
        };
        Ok(Self {
            test: self.test.filter(|_| has(TEST_EVENT)),
            websocket,
        })
    }

    /// Whether a test notification is due.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.test == Some(true)
    }

    /// The WebSocket that notifications go over, if they do.
    #[must_use]
    pub fn websocket_uri(&self) -> Option<&Uri> {
        self.websocket.as_ref()?.websocket_uri.as_ref()
    }
}

/// The WebSocket of a resource at a core function with this address.
#[must_use]
pub fn websocket_uri(address: &str, subscriber: &str, resource: &str) -> Uri {
    Uri::new(format!(
        "wss://{address}{WEBSOCKET_PATH}/{subscriber}/{resource}"
    ))
}

/// Writes the WebSocket that a resource would get into its wish for one. Nobody else names one.
pub fn assign(wish: &mut Option<WebsockNotifConfig>, uri: Uri) {
    if let Some(wish) = wish {
        wish.websocket_uri = (wish.request_websocket_uri == Some(true)).then_some(uri);
    }
}

/// Sends a test notification of a subscription ahead of everything that waits there. `link` is the subscription's address.
pub fn test_subscription(
    changes: &mut Changes,
    subscription: &Subscription,
    link: &str,
    now: &DateTime,
) {
    let test = Test {
        subscriber: subscription.subscriber.clone(),
        notification: content(link),
        raised: now.clone(),
    };
    let lane = Notification::prefix(&subscription.subscriber, &subscription.id);
    ahead(changes, &lane, TEST_ID, &test);
}

/// Sends a test notification of a resource of an API invoker ahead of everything that waits for it at the same destination.
pub fn test_callback(
    changes: &mut Changes,
    invoker: &ApiInvokerId,
    destination: &Uri,
    resource: &str,
    link: &str,
    now: &DateTime,
) {
    let callback = Callback {
        invoker_id: invoker.clone(),
        destination: destination.clone(),
        notification: Tidings::Test(content(link)),
        raised: now.clone(),
    };
    let lane = callback.lane();
    ahead(changes, &lane, &format!("{TEST_ID}-{resource}"), &callback);
}

fn content(link: &str) -> TestNotification {
    TestNotification {
        subscription: Uri::new(link),
        extra: Default::default(),
    }
}

fn ahead<R: Record>(changes: &mut Changes, lane: &str, id: &str, record: &R) {
    let mut written = Changes::new();
    written.append(lane, record);
    let steps = written.steps.into_iter().map(|step| match step {
        Change::Append { prefix, value, .. } => Change::Put {
            key: Key::new(R::KIND, format!("{prefix}{id}")),
            expect: Expect::Any,
            value,
        },
        other => other,
    });
    changes.steps.extend(steps);
}

/// Whether a waiting message is a test.
#[must_use]
pub fn is_test(key: &Key) -> bool {
    let end = key.id.rsplit('/').next();
    end.is_some_and(|end| end.starts_with(TEST_ID))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri() -> Uri {
        websocket_uri("ccf.example:8443", "AEF1", "SUB1")
    }

    fn wanted(test: bool, websocket: bool) -> Delivery {
        let mut wish = Some(WebsockNotifConfig {
            request_websocket_uri: Some(websocket),
            ..WebsockNotifConfig::default()
        });
        assign(&mut wish, uri());
        Delivery {
            test: Some(test),
            websocket: wish,
        }
    }

    #[test]
    fn websockets_need_test_notifications() {
        for (wanted, offered, agreed) in [
            ("7", "7", "7"),
            ("F", "7", "7"),
            ("2", "7", "0"),
            ("6", "7", "4"),
            ("3", "7", "3"),
            ("1", "7", "1"),
            ("32", "3F", "30"),
            ("", "7", "0"),
        ] {
            let both = agreed_features(&SupportedFeatures::from(wanted), offered);
            assert_eq!(both.as_str(), agreed, "{wanted} and {offered}");
        }
    }

    #[test]
    fn a_websocket_is_assigned_once() {
        assert_eq!(
            uri().as_str(),
            "wss://ccf.example:8443/capif-websocket/v1/AEF1/SUB1"
        );
        let features = SupportedFeatures::from("3");
        let first = wanted(true, true).agree(Some(&features), None).unwrap();
        assert_eq!(first.websocket_uri(), Some(&uri()));
        assert!(first.is_tested());
        let again = wanted(true, true).agree(Some(&features), Some(&uri()));
        assert!(matches!(again, Err(Refusal::ModificationNotAllowed { .. })));
        // Whoever sends back what it got keeps it, and nobody chooses one.
        let mut foreign = Delivery {
            test: None,
            websocket: Some(WebsockNotifConfig {
                websocket_uri: Some(Uri::new("wss://elsewhere.example/")),
                ..WebsockNotifConfig::default()
            }),
        };
        assign(&mut foreign.websocket, uri());
        let kept = foreign.clone().agree(Some(&features), Some(&uri()));
        assert_eq!(kept.unwrap().websocket_uri(), Some(&uri()));
        let none = foreign.agree(Some(&features), None).unwrap();
        assert_eq!(none, Delivery::default());
    }

    #[test]
    fn nothing_is_obeyed_that_was_not_agreed_on() {
        for features in [None, Some("0"), Some("4")] {
            let features = features.map(SupportedFeatures::from);
            let agreed = wanted(true, true).agree(features.as_ref(), None);
            assert_eq!(agreed.unwrap(), Delivery::default());
        }
        let only_test = SupportedFeatures::from("1");
        let agreed = wanted(true, true).agree(Some(&only_test), None).unwrap();
        assert!(agreed.is_tested() && agreed.websocket.is_none());
    }

    #[test]
    fn tests_come_first() {
        let mut changes = Changes::new();
        let now: DateTime = "2026-01-31T12:00:00Z".parse().unwrap();
        let id = ApiInvokerId::new("INV1");
        let there = Uri::new("https://hooks.example/");
        test_callback(&mut changes, &id, &there, ONBOARDING, "https://c/s", &now);
        let [Change::Put { key, value, .. }] = changes.steps.as_slice() else {
            panic!("{changes:?}");
        };
        assert!(is_test(key));
        assert!(key.id.as_str() < format!("INV1/{:020}", 0).as_str());
        let json: serde_json::Value = serde_json::from_slice(value).unwrap();
        assert_eq!(json["notification"]["subscription"], "https://c/s");
    }
}
