//! The certificate authority (D-24): a root that signs one issuing authority, which signs everything else. Issuing authorities
//! and roots follow one another in generations.
//!
//! One function signs for others, [`Authorities::sign`], and it takes a
//! [`CertificateOrder`](capif_procedures::state::CertificateOrder), which only a procedure can make. Of a request nothing but
//! the checked key gets into a certificate (P-24).

pub(crate) mod brought;
mod chain;
pub mod custody;
pub(crate) mod extensions;
mod generations;
pub(crate) mod hook;
mod issuing;
pub mod keys;
pub mod pkcs11;
pub(crate) mod presence;
mod rollover;
pub(crate) mod tls_key;
pub mod tokens;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

use self::custody::AuthorityKey;
pub use self::issuing::{Authority, Terms};
pub(crate) use self::{
    generations::{Authorities, Own, blocking, fingerprint},
    rollover::Lives,
};
use crate::{
    random::{NoRandomness, octets},
    store::Fault,
};

/// Life of the root certificate.
const ROOT_LIFE: Duration = Duration::days(3650);

/// Life of the issuing authority's certificate.
const ISSUING_LIFE: Duration = Duration::days(1825);

/// How far back a certificate begins, so that a receiver whose clock is a little slow takes it at once.
const BACKDATE: Duration = Duration::seconds(60);

/// The authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file is missing or cannot be read.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A key or certificate is not what it should be.
    #[error("certificate authority: {0}")]
    Material(String),
    /// The private key of the root is needed and not there.
    #[error(
        "{0} is not there: put the private key of the root back for as long as this takes, since it signs the new authority; if somebody else holds it, have them sign and replace `ca/issuing.pem` and `ca/issuing.key`"
    )]
    RootKeyAway(String),
    /// A private key is not to be had.
    #[error(transparent)]
    Custody(#[from] custody::CustodyError),
    /// The outside authority did not certify.
    #[error(transparent)]
    Hook(#[from] hook::HookError),
    /// The records of the authorities are not to be had.
    #[error(transparent)]
    Store(#[from] Fault),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Material(error.to_string())
    }
}

/// Names of the files of the authority within the CCF's folder.
pub mod files {
    /// The root certificate: the trust anchor of everyone.
    pub const ROOT: &str = "ca/root.pem";
    /// The root's private key: used by `init` alone, may be taken off the machine.
    pub const ROOT_KEY: &str = "ca/root.key";
    /// The issuing authority's certificate.
    pub const ISSUING: &str = "ca/issuing.pem";
    /// The issuing authority's private key.
    pub const ISSUING_KEY: &str = "ca/issuing.key";

    /// The root certificate that began with a generation.
    pub(crate) fn root(number: u32) -> String {
        of(number, ROOT, "root", "pem")
    }

    /// Its private key.
    pub(crate) fn root_key(number: u32) -> String {
        of(number, ROOT_KEY, "root", "key")
    }

    /// The certificate of the issuing authority of a generation.
    pub(crate) fn issuing(number: u32) -> String {
        of(number, ISSUING, "issuing", "pem")
    }

    /// Its private key.
    pub(crate) fn issuing_key(number: u32) -> String {
        of(number, ISSUING_KEY, "issuing", "key")
    }

    /// The first generation is older than the numbers.
    fn of(number: u32, first: &str, what: &str, ending: &str) -> String {
        match number {
            1 => first.to_owned(),
            _ => format!("ca/{what}-{number}.{ending}"),
        }
    }
}

/// Makes the certificates of root and issuing authority, as PEM, for a CCF of this id and the keys of both.
pub(crate) fn create(
    ccf_id: &str,
    root_key: &AuthorityKey,
    issuing_key: &AuthorityKey,
    now: OffsetDateTime,
) -> Result<(String, String), AuthorityError> {
    let root_params = authority_params("root", ccf_id, now, ROOT_LIFE, 1)?;
    let root = root_params.self_signed(root_key)?;
    let issuing_params = authority_params("issuing", ccf_id, now, ISSUING_LIFE, 0)?;
    let issuer = Issuer::from_params(&root_params, root_key);
    let issuing = issuing_params.signed_by(issuing_key, &issuer)?;
    Ok((root.pem(), issuing.pem()))
}

fn authority_params(
    which: &str,
    ccf_id: &str,
    now: OffsetDateTime,
    life: Duration,
    path_length: u8,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("capif {which} {ccf_id}"), "CA");
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

pub(crate) fn name(common_name: &str, unit: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationalUnitName, unit);
    name.push(DnType::CommonName, common_name);
    name
}

/// A serial number of 159 random bits: unique, positive and at most 20 octets (RFC 5280 section 4.1.2.2).
pub(crate) fn serial() -> Result<SerialNumber, NoRandomness> {
    let mut octets = octets::<20>()?;
    if let Some(first) = octets.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&octets))
}
