//! Event subscription and notification (TS 29.222 clause 8.3.4).

mod detail;

pub use self::detail::{
    AccessControlPolicyListExt, ApiInvokerCount, CapifEventDetail, DiscoveryCount, TopologyHiding,
};
use crate::{
    checked::{self, Checked, Violation},
    common::{
        AefId, ApiInvokerId, ReportingInformation, ServiceApiId, SubscriptionId, SupportedFeatures,
        Uri, WebsockNotifConfig,
    },
};

object! {
    /// A subscription to events (TS 29.222 clause 8.3.4.2.2).
    pub struct EventSubscription {
        /// The events; not empty.
        pub events: Vec<CapifEvent>,
        /// A filter for each event, at the same place in the list; an empty object stands for no filter. With the feature
        /// Enhanced_event_report.
        pub event_filters: Option<Vec<CapifEventFilter>>,
        /// How and when to report. With the feature Enhanced_event_report.
        pub event_req: Option<ReportingInformation>,
        /// Where notifications go.
        pub notification_destination: Uri,
        /// Whether a test notification is wanted.
        pub request_test_notification: Option<bool>,
        /// Whether notifications are wanted over a WebSocket.
        pub websock_notif_config: Option<WebsockNotifConfig>,
        /// Features, for negotiation.
        pub supported_features: Option<SupportedFeatures>,
    }
}

impl Checked for EventSubscription {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("events", &self.events)?;
        filters(&self.event_filters)?;
        checked::callback("notificationDestination", &self.notification_destination)
    }
}

/// Choice: an empty list of filters is taken for none, though the schema asks for one item: deployed clients always send it.
fn filters(filters: &Option<Vec<CapifEventFilter>>) -> Result<(), Violation> {
    checked::list(
        "eventFilters",
        filters.as_ref().filter(|filters| !filters.is_empty()),
    )
}

object! {
    /// Changes to a subscription, as a merge patch.
    #[derive(Default)]
    pub struct EventSubscriptionPatch {
        /// The events; not empty.
        pub events: Option<Vec<CapifEvent>>,
        /// A filter for each event.
        pub event_filters: Option<Vec<CapifEventFilter>>,
        /// How and when to report.
        pub event_req: Option<ReportingInformation>,
        /// Where notifications go.
        pub notification_destination: Option<Uri>,
    }
}

impl Checked for EventSubscriptionPatch {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("events", &self.events)?;
        filters(&self.event_filters)?;
        checked::callback("notificationDestination", &self.notification_destination)
    }
}

object! {
    /// What an event must be about to be reported; a member that is absent asks for nothing (TS 29.222 clause 8.3.4.2.4).
    #[derive(Default)]
    pub struct CapifEventFilter {
        /// One of these APIs; not empty.
        pub api_ids: Option<Vec<ServiceApiId>>,
        /// One of these API invokers; not empty.
        pub api_invoker_ids: Option<Vec<ApiInvokerId>>,
        /// One of these AEFs; not empty.
        pub aef_ids: Option<Vec<AefId>>,
    }
}

impl Checked for CapifEventFilter {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("apiIds", &self.api_ids)?;
        checked::not_empty("apiInvokerIds", &self.api_invoker_ids)?;
        checked::not_empty("aefIds", &self.aef_ids)
    }
}

object! {
    /// One event, told to a subscriber (TS 29.222 clause 8.3.4.2.3).
    pub struct EventNotification {
        /// The subscription that asked for it.
        pub subscription_id: SubscriptionId,
        /// The event: one, whatever the member's name says.
        pub events: CapifEvent,
        /// What it is about. With the feature Enhanced_event_report.
        pub event_detail: Option<CapifEventDetail>,
    }
}

open_enumeration! {
    /// An event (TS 29.222 clause 8.3.4.3.3).
    pub enum CapifEvent {
        /// A service API was published.
        ServiceApiAvailable = "SERVICE_API_AVAILABLE",
        /// A service API was withdrawn.
        ServiceApiUnavailable = "SERVICE_API_UNAVAILABLE",
        /// A service API changed.
        ServiceApiUpdate = "SERVICE_API_UPDATE",
        /// An API invoker was onboarded.
        ApiInvokerOnboarded = "API_INVOKER_ONBOARDED",
        /// An API invoker was offboarded.
        ApiInvokerOffboarded = "API_INVOKER_OFFBOARDED",
        /// A service API was called with success.
        ServiceApiInvocationSuccess = "SERVICE_API_INVOCATION_SUCCESS",
        /// A call of a service API failed.
        ServiceApiInvocationFailure = "SERVICE_API_INVOCATION_FAILURE",
        /// An access control policy changed.
        AccessControlPolicyUpdate = "ACCESS_CONTROL_POLICY_UPDATE",
        /// An access control policy is no longer there.
        AccessControlPolicyUnavailable = "ACCESS_CONTROL_POLICY_UNAVAILABLE",
        /// An API invoker lost authorization.
        ApiInvokerAuthorizationRevoked = "API_INVOKER_AUTHORIZATION_REVOKED",
        /// The profile of an API invoker changed.
        ApiInvokerUpdated = "API_INVOKER_UPDATED",
        /// An AEF is to hide the topology of an API.
        ApiTopologyHidingCreated = "API_TOPOLOGY_HIDING_CREATED",
        /// An AEF no longer hides the topology of an API.
        ApiTopologyHidingRevoked = "API_TOPOLOGY_HIDING_REVOKED",
        /// Onboarding criteria of an API invoker could not be met.
        ApiInvokerOnboardingCriteriaFailed = "API_INVOKER_ONBOARDING_CRITERIA_FAILED",
        /// How many API invokers asked to be enrolled for an API.
        ServiceApiOnboardedByApiInvokersCount = "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
        /// How often API invokers discovered an API.
        ServiceApiDiscoveryByApiInvokersCount = "SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT",
    }
}

#[cfg(test)]
mod tests;
