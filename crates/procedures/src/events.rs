//! Event subscription and notification (TS 23.222 clause 8.8, TS 29.222 clause 5.4).
//!
//! An event is raised in the commit that causes it: for each matching subscription one [`Notification`] is appended,
//! and only the receiver's acknowledgement removes it. Order per subscription is commit order.
//!
//! Whether somebody hears of a thing is decided when it happens: by the right to the event, by reach, and by the filter. When it is
//! told is decided at its delivery, by what the subscription asks of its reports.
//!
//! [`Notification`]: crate::state::Notification

mod circle;
mod gathering;
mod occurrence;
mod present;
mod raising;
pub mod reporting;
mod rights;
mod subscription;

pub(crate) use self::raising::is_told_of_invoker;
pub use self::{
    circle::Circle,
    gathering::{GATHERED_MAX, gather},
    occurrence::{
        LOGS_MAX, Occurrence, of_api, of_discovery_counts, of_failed_criteria, of_hiding,
        of_invocations, of_invoker, of_negotiation, of_onboarded_counts, of_policies,
        of_revocation, of_trust,
    },
    present::{HiddenOf, PoliciesOf, Present, tell_present},
    raising::raise,
    subscription::{Subscriber, patched, replace, subscribe, unsubscribe},
};

/// Features of the events API that are served (TS 29.222 table 8.3.6-1): bits 1 and 2, Notification_test_event and
/// Notification_websocket; bit 3, Enhanced_event_report; bit 4, ApiStatusMonitoring.
pub const FEATURES: &str = "F";

/// The number of the feature that brings filters, details and requirements of reports.
const ENHANCED_EVENT_REPORT: u32 = 3;

/// The number of the feature that brings the state of APIs.
const API_STATUS_MONITORING: u32 = 4;

/// The event of this product's own that roots, keys that are not believed, or keys of access tokens changed. What they are now,
/// the subscriber asks for.
pub const TRUST_UPDATED: &str = "VENDOR_CAPIF_TRUST_UPDATED";

/// How many notifications may wait under one subscription: the oldest are given up.
pub const WAITING_MAX: usize = 10_000;

/// How many subscriptions one subscriber may hold.
pub const SUBSCRIPTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests;
