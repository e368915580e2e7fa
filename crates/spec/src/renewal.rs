//! The state of renewal of whoever asks for it: when what it holds ends, what the core function wants of it, and whom it is to
//! trust. An operation of this product's own, since TS 29.222 has none (R-U-02).

use crate::common::DateTime;

object! {
    /// The answer of `GET /capif-renewal/v1/{entityId}`. It holds no secret.
    pub struct RenewalStatus {
        /// When the certificate in use ends.
        pub certificate_expires: DateTime,
        /// When the Onboard_Secret ends; never if absent, or there is none.
        pub secret_expires: Option<DateTime>,
        /// When the enrolment ends; never if absent.
        pub enrolment_expires: Option<DateTime>,
        /// From when on to renew: two thirds of the life of certificate or secret, at once where it is demanded.
        pub renew_after: DateTime,
        /// What the core function wants.
        pub demand: Option<RenewalDemand>,
        /// That the certificate which the caller showed is in use no more.
        pub superseded: Option<Superseded>,
        /// Whom to trust.
        pub trust: TrustList,
        /// What an OCSP responder says of the caller's certificate, as DER in base64, to be stapled by who serves with it
        /// (RFC 6066 section 8).
        pub ocsp_response: Option<String>,
    }
}

object! {
    /// Another certificate of the same holder was used since, and the one that was shown is on its way out.
    pub struct Superseded {
        /// When the other one was made out.
        pub since: DateTime,
        /// From when on the one that was shown does not count.
        pub until: DateTime,
    }
}

object! {
    /// The core function wants a renewal.
    pub struct RenewalDemand {
        /// Why.
        pub reason: RenewalReason,
        /// Until when.
        pub deadline: DateTime,
    }
}

open_enumeration! {
    /// Why a renewal is wanted.
    pub enum RenewalReason {
        /// Two thirds of a life have passed.
        Policy = "POLICY",
        /// The operator asked for it.
        Operator = "OPERATOR",
        /// What is in use may be in other hands. Nothing else is answered until it is replaced.
        Compromise = "COMPROMISE",
        /// The authority that signed the certificate is replaced.
        Authority = "AUTHORITY",
    }
}

object! {
    /// The authorities that count for everyone whom this core function certifies.
    #[derive(Default)]
    pub struct TrustList {
        /// The root certificates, each as PEM. What stands here takes the place of what the receiver knew.
        pub anchors: Vec<String>,
        /// Keys of authorities that no path may lead over: SHA-256 of the SubjectPublicKeyInfo, in hexadecimal digits.
        pub distrusted: Vec<String>,
    }
}

impl TrustList {
    /// How many distrusted keys may be named. Who names more is believed in nothing, so nobody may come to have more.
    pub const DISTRUSTED_MAX: usize = 512;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_reads_as_it_is_written() {
        let whole = json!({
            "certificateExpires": "2026-05-01T00:00:00Z",
            "secretExpires": "2026-05-02T00:00:00Z",
            "enrolmentExpires": "2027-01-01T00:00:00Z",
            "renewAfter": "2026-04-01T00:00:00Z",
            "demand": { "reason": "COMPROMISE", "deadline": "2026-04-02T00:00:00Z" },
            "superseded": { "since": "2026-03-02T00:00:00Z", "until": "2026-03-02T01:00:00Z" },
            "trust": { "anchors": ["pem"], "distrusted": ["00ff"] },
            "ocspResponse": "MAA=",
        });
        let status: RenewalStatus = serde_json::from_value(whole.clone()).unwrap();
        let reason = status.demand.as_ref().map(|demand| &demand.reason);
        assert_eq!(reason, Some(&RenewalReason::Compromise));
        assert_eq!(serde_json::to_value(&status).unwrap(), whole);

        let least = json!({
            "certificateExpires": "2026-05-01T00:00:00Z",
            "renewAfter": "2026-04-01T00:00:00Z",
            "trust": { "anchors": [], "distrusted": [] },
        });
        let status: RenewalStatus = serde_json::from_value(least.clone()).unwrap();
        assert_eq!(status.demand, None);
        assert_eq!(serde_json::to_value(&status).unwrap(), least);
    }
}
