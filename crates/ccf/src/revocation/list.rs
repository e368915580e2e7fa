//! Revocation lists, one for each authority (RFC 5280 section 5). A list is signed when somebody asks for it and something was
//! revoked since the last one, or half of that one's life is over; everybody else gets the last one.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use capif_procedures::state::RevocationReason as Reason;
use capif_spec::common::DateTime;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use x509_parser::extensions::ParsedExtension;

use super::{
    BACKDATE,
    register::{Register, Revocations},
};
use crate::authority::{Authorities, Authority, AuthorityError, blocking};

/// How long a list counts.
const LIFE: Duration = Duration::hours(24);

/// The lists as they were signed last.
pub(super) struct Lists {
    authorities: Arc<Authorities>,
    register: Arc<Register>,
    signed: Mutex<BTreeMap<u32, Signed>>,
}

struct Signed {
    list: Bytes,
    /// What it tells of.
    version: u64,
    /// Its number, which grows from list to list (RFC 5280 section 5.2.3).
    number: u64,
    at: OffsetDateTime,
}

impl Lists {
    pub(super) fn new(authorities: Arc<Authorities>, register: Arc<Register>) -> Self {
        Self {
            authorities,
            register,
            signed: Mutex::default(),
        }
    }

    /// The list of an authority, as of now.
    pub(super) async fn list(
        &self,
        authority: u32,
        now: OffsetDateTime,
    ) -> Result<Option<Bytes>, AuthorityError> {
        // Of one that is retired nothing counts, whatever a list might say.
        if self.authorities.is_retired(authority, &DateTime(now)) {
            return Ok(None);
        }
        let Some(signer) = self.authorities.at_work(authority) else {
            return Ok(None);
        };
        // One signs, and whoever asked meanwhile gets what it signed.
        let mut signed = self.signed.lock().await;
        let last = signed.get(&authority);
        if let Some(last) = last
            && last.version == self.register.version(authority)
            && last.at <= now
            && now < last.at + LIFE / 2
        {
            return Ok(Some(last.list.clone()));
        }
        let revocations = self.register.revocations(authority);
        let version = revocations.version;
        let least = last.map_or(0, |last| last.number + 1);
        let number = least.max(microseconds(now));
        let list = blocking(move || sign(&signer, &revocations, number, now)).await?;
        let list = Bytes::from(list);
        signed.insert(
            authority,
            Signed {
                list: list.clone(),
                version,
                number,
                at: now,
            },
        );
        Ok(Some(list))
    }
}

/// Numbers go on growing over restarts because they begin with the time.
fn microseconds(now: OffsetDateTime) -> u64 {
    u64::try_from(now.unix_timestamp_nanos() / 1000).unwrap_or_default()
}

fn sign(
    signer: &Authority,
    revocations: &Revocations,
    number: u64,
    now: OffsetDateTime,
) -> Result<Vec<u8>, AuthorityError> {
    let revoked_certs = revocations
        .certificates
        .iter()
        .map(|(serial, revoked)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&octets(serial)),
            revocation_time: revoked.at.0,
            reason_code: Some(reason(revoked.reason)),
            invalidity_date: None,
        })
        .collect();
    let params = CertificateRevocationListParams {
        this_update: now - BACKDATE,
        next_update: now + LIFE,
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: key_identifier(signer.issuing_pem()),
    };
    Ok(params.signed_by(signer.issuer())?.der().to_vec())
}

/// How the authority's key is named: as in its own certificate, which somebody else may have made.
fn key_identifier(issuing_pem: &str) -> KeyIdMethod {
    let of_certificate = || {
        let (_, block) = x509_parser::pem::parse_x509_pem(issuing_pem.as_bytes()).ok()?;
        let certificate = block.parse_x509().ok()?;
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            })
    };
    of_certificate().map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
}

fn reason(reason: Reason) -> RevocationReason {
    match reason {
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
    }
}

/// The octets of hexadecimal digits.
pub(super) fn octets(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
