//! How it stands with certificate, Onboard_Secret and enrolment, for whoever wants to know.

use capif_spec::{common::DateTime, renewal::RenewalDemand};
use time::OffsetDateTime;

/// How long certificate, Onboard_Secret and enrolment count, and what is to be done about it, as far as it is known here.
#[derive(Clone, Debug, PartialEq)]
pub struct RenewalStatus {
    /// Whether the CAPIF core function renews without offboarding.
    pub agreed: bool,
    /// When the certificate in use ends.
    pub certificate_expires: DateTime,
    /// When the Onboard_Secret ends; not, as far as is known, if absent.
    pub secret_expires: Option<DateTime>,
    /// When the enrolment ends; not, as far as is known, if absent.
    pub enrolment_expires: Option<DateTime>,
    /// From when on a renewal is due.
    pub renew_after: DateTime,
    /// What the CAPIF core function asks for.
    pub demand: Option<RenewalDemand>,
    /// Whether a renewal was begun of which no answer has come yet.
    pub pending: bool,
    /// Whether the CAPIF core function has yet to see what is in use since the last renewal.
    pub unconfirmed: bool,
    /// When the CAPIF core function was last asked about all this; never if absent.
    pub asked: Option<DateTime>,
}

impl RenewalStatus {
    /// Whether a renewal is wanted: it is time, the CAPIF core function asks for it, or one was begun.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        now >= self.renew_after.0 || self.demand.is_some() || self.pending
    }

    /// What somebody must do because nothing here can: the end comes near, and the CAPIF core function does not renew.
    #[must_use]
    pub fn warning(&self, now: OffsetDateTime) -> Option<String> {
        if self.agreed || !self.is_due(now) {
            return None;
        }
        let end = &self.certificate_expires;
        let when = if now >= end.0 { "ended" } else { "ends" };
        Some(format!(
            "the certificate of this invoker {when} on {end}, and this CAPIF core function does not renew it: ask the API \
             provider for a new enrolment code, offboard, and onboard again with it"
        ))
    }
}
