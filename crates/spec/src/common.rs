//! What several APIs share: identifiers, secrets, times, feature lists, problems, and the types of TS 29.122, TS 29.523,
//! TS 29.571 and TS 29.435 that CAPIF refers to.

mod date_time;
pub(crate) mod geography;
mod identifiers;
mod network;
mod notification;
mod problem;
mod redacted;
mod reporting;
mod supported_features;

pub use self::{
    date_time::{DateTime, NotADateTime},
    identifiers::{
        AefId, AmfId, ApfId, ApiInvokerId, ApiProviderDomainId, ApiProviderFunctionId,
        ServiceApiId, SubscriptionId, Uri,
    },
    network::{Ipv4AddressRange, Ipv6AddressRange, NetSliceId, Port, Snssai},
    notification::{TestNotification, WebsockNotifConfig},
    problem::{InvalidParam, ProblemDetails},
    redacted::Redacted,
    reporting::{
        BufferedNotificationsAction, MutingExceptionInstructions, MutingNotificationsSettings,
        NotificationFlag, NotificationMethod, PartitioningCriteria, ReportingInformation,
        SubscriptionAction,
    },
    supported_features::SupportedFeatures,
};
pub use crate::checked::{Checked, Violation};

/// A JSON object whose members are not looked at.
pub type OpenObject = serde_json::Map<String, serde_json::Value>;

/// The members of an object that its schema does not name, vendor members among them (TS 29.222 clause 7.11).
pub type Extra = OpenObject;

#[cfg(test)]
mod tests;
