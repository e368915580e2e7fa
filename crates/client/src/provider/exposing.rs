//! What an API exposing function asks and tells, under its own certificate: events (TS 29.222 clause 5.4), security
//! information about invokers (clause 5.6.2.4), invocation logs (clause 5.8).

use capif_spec::{
    common::{ApiInvokerId, SubscriptionId, SupportedFeatures, Uri},
    events::{CapifEvent, EventSubscription},
    logging::InvocationLog,
    security::ServiceSecurity,
};
use http::{Method, StatusCode};

use super::Provider;
use crate::{
    ccf::{Call, encoded},
    error::Error,
};

/// Feature bit 3 of the events API, Enhanced_event_report: notifications say what happened to whom
/// (TS 29.222 table 8.3.6-1).
const ENHANCED_EVENT_REPORT: &str = "4";

impl Provider {
    /// Subscribes the first API exposing function to events (TS 29.222 clause 5.4.2.2).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn subscribe(
        &self,
        events: Vec<CapifEvent>,
        destination: Uri,
    ) -> Result<SubscriptionId, Error> {
        let call = Call::new("the subscription", Method::POST, self.subscriptions())
            .json(&subscription(events, destination))?;
        let answer = self.ask(self.aef(), call).await?;
        answer
            .created_id()
            .map(SubscriptionId::from)
            .ok_or_else(|| answer.unusable("its `Location` names no subscription"))
    }

    /// Replaces a subscription (TS 29.222 clause 5.4.2.5).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn update_subscription(
        &self,
        id: &SubscriptionId,
        events: Vec<CapifEvent>,
        destination: Uri,
    ) -> Result<(), Error> {
        let call = Call::new(
            "the update of the subscription",
            Method::PUT,
            self.subscription(id),
        )
        .json(&subscription(events, destination))?;
        self.ask(self.aef(), call).await.map(drop)
    }

    /// Ends a subscription (TS 29.222 clause 5.4.2.3).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn unsubscribe(&self, id: &SubscriptionId) -> Result<(), Error> {
        let call = Call::new(
            "the end of the subscription",
            Method::DELETE,
            self.subscription(id),
        );
        self.ask(self.aef(), call).await.map(drop)
    }

    /// How an invoker authenticates at the first API exposing function, and what it may call there; `None` if the CAPIF core
    /// function knows of nothing (TS 29.222 clause 5.6.2.4, TS 33.122 clause 6.5.1).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn security_context(
        &self,
        invoker: &ApiInvokerId,
    ) -> Result<Option<ServiceSecurity>, Error> {
        let path = format!(
            "/capif-security/v1/trustedInvokers/{}?authenticationInfo=true&authorizationInfo=true",
            encoded(invoker.as_str())
        );
        let call = Call::get("the question about an invoker", path);
        match self.ask(self.aef(), call).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The public keys by which access tokens are verified, as a JWK set (RFC 7517 section 5).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn jwks(&self) -> Result<serde_json::Value, Error> {
        let call = Call::get(
            "the fetch of token keys",
            "/.well-known/jwks.json".to_owned(),
        );
        self.ask(self.aef(), call).await?.json()
    }

    /// Reports invocations (TS 29.222 clause 5.8.2.2). They go out as those of the API exposing function that the log names.
    ///
    /// # Errors
    /// Refuses a log of somebody else; otherwise as for every request to the CAPIF core function.
    pub async fn send_log(&self, log: &InvocationLog) -> Result<(), Error> {
        let aef = self
            .aefs
            .iter()
            .find(|function| function.id == log.aef_id)
            .ok_or_else(|| {
                Error::Usage(
                    "the log is not one of this provider's API exposing functions".to_owned(),
                )
            })?;
        let path = format!("/api-invocation-logs/v1/{}/logs", encoded(aef.id.as_str()));
        let call = Call::new("the invocation log", Method::POST, path).json(log)?;
        self.ask(aef, call).await.map(drop)
    }

    fn subscriptions(&self) -> String {
        format!(
            "/capif-events/v1/{}/subscriptions",
            encoded(self.aef().id.as_str())
        )
    }

    fn subscription(&self, id: &SubscriptionId) -> String {
        format!("{}/{}", self.subscriptions(), encoded(id.as_str()))
    }
}

fn subscription(events: Vec<CapifEvent>, destination: Uri) -> EventSubscription {
    EventSubscription {
        events,
        notification_destination: destination,
        supported_features: Some(SupportedFeatures::from(ENHANCED_EVENT_REPORT)),
        event_filters: None,
        event_req: None,
        request_test_notification: None,
        websock_notif_config: None,
        extra: Default::default(),
    }
}
