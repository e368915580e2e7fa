//! What is kept of an offboarded API invoker where the operator's policy says so: nothing secret (TS 33.122 clause 6.8 step 3).

use capif_spec::common::{ApiInvokerId, DateTime};
use serde::{Deserialize, Serialize};

use crate::changes::{Kind, Record};

/// That an API invoker was here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The id that it had. It is never given again.
    pub id: ApiInvokerId,
    /// When it came.
    pub onboarded: DateTime,
    /// When it went.
    pub offboarded: DateTime,
    /// Why.
    pub reason: DepartureReason,
    /// How many entries its security context had.
    pub contexts: usize,
    /// How many of the published APIs it could reach.
    pub apis: usize,
    /// How often it called, as far as calls were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocations: Option<u64>,
}

impl Record for Departure {
    const KIND: Kind = Kind::Departure;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// Why an API invoker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DepartureReason {
    /// It asked for it.
    Invoker,
    /// The operator removed it.
    Operator,
    /// Its enrolment ended.
    Expired,
    /// It did not renew by its deadline.
    Overdue,
}

impl DepartureReason {
    /// The word that stands for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invoker => "invoker",
            Self::Operator => "operator",
            Self::Expired => "expired",
            Self::Overdue => "overdue",
        }
    }
}
