//! How far the reports on a subscription have come.

use capif_spec::common::{DateTime, SubscriptionId};
use serde::{Deserialize, Serialize};

use super::Subscription;
use crate::changes::{Kind, Record};

/// The progress of a subscription that reports periodically or a limited number of times (TS 29.523). Others have none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reporting {
    /// Who subscribed.
    pub subscriber: String,
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// Since when it is reported on: periods are counted from here.
    pub began: DateTime,
    /// How many reports were acknowledged.
    pub delivered: u64,
}

impl Reporting {
    /// The id of the progress of a subscription.
    #[must_use]
    pub fn id(subscriber: &str, subscription: &SubscriptionId) -> String {
        format!("{}{subscription}", Subscription::prefix(subscriber))
    }
}

impl Record for Reporting {
    const KIND: Kind = Kind::Reporting;
    fn record_id(&self) -> String {
        Self::id(&self.subscriber, &self.subscription_id)
    }
}
