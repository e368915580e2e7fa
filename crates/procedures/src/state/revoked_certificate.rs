//! Certificates that were revoked before their end, as revocation lists and responders know them (RFC 5280 section 5).

use capif_spec::common::DateTime;
use serde::{Deserialize, Serialize};

use super::Certificate;
use crate::changes::{Changes, Expect, Kind, Record};

/// A certificate that was revoked before its end. Needless once that end has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedCertificate {
    /// The number of the authority that signed it.
    pub authority: u32,
    /// Its serial number in lower-case hexadecimal digits.
    pub serial: String,
    /// When it was revoked.
    pub revoked: DateTime,
    /// Why.
    pub reason: RevocationReason,
    /// When it would have ended.
    pub not_after: DateTime,
}

/// Why a certificate was revoked (RFC 5280 section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevocationReason {
    /// Its key may be in other hands.
    KeyCompromise,
    /// Another one has taken its place.
    Superseded,
    /// Its holder is gone.
    CessationOfOperation,
}

impl RevocationReason {
    /// The number of the reason code (RFC 5280 section 5.3.1).
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::KeyCompromise => 1,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
        }
    }
}

impl RevokedCertificate {
    /// The id of a certificate.
    #[must_use]
    pub fn id(authority: u32, serial: &str) -> String {
        format!("{authority}/{serial}")
    }

    /// The beginning of the ids of what one authority signed.
    #[must_use]
    pub fn prefix(authority: u32) -> String {
        format!("{authority}/")
    }

    /// Writes down that a certificate is revoked; nothing if its end has come anyway, or if an earlier version issued it and did
    /// not keep its serial number.
    pub fn put(
        changes: &mut Changes,
        certificate: &Certificate,
        reason: RevocationReason,
        now: &DateTime,
    ) {
        if certificate.serial.is_empty() || certificate.not_after <= *now {
            return;
        }
        let revoked = Self {
            authority: certificate.authority,
            serial: certificate.serial.clone(),
            revoked: now.clone(),
            reason,
            not_after: certificate.not_after.clone(),
        };
        changes.put(&revoked, Expect::Any);
    }
}

impl Record for RevokedCertificate {
    const KIND: Kind = Kind::RevokedCertificate;
    fn record_id(&self) -> String {
        Self::id(self.authority, &self.serial)
    }
}
