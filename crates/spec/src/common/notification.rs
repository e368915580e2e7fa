//! How notifications are delivered (TS 29.122 clause 5.2.5).

use super::Uri;

object! {
    /// Delivery over a WebSocket (TS 29.122 clause 5.2.1.2.10).
    #[derive(Default)]
    pub struct WebsockNotifConfig {
        /// Where the receiver connects to; given by the sender of notifications.
        pub websocket_uri: Option<Uri>,
        /// Whether the receiver asks for delivery over a WebSocket.
        pub request_websocket_uri: Option<bool>,
    }
}

object! {
    /// A notification that tests the way to the receiver (TS 29.122 clause 5.2.1.2.9).
    pub struct TestNotification {
        /// The resource that asked for the test.
        pub subscription: Uri,
    }
}
