//! What a handshake proved about the other end.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Version};

use crate::psk::PskVersion;

/// Longest name that is taken from a certificate.
const NAME_BYTES_MAX: usize = 256;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Nobody showed a certificate.
    Anonymous,
    /// The holder of the private key of this certificate, which chains to the acceptor's anchors.
    Certificate(Arc<PeerCertificate>),
    /// The holder of a key that the acceptor knows too.
    Psk(Arc<PskIdentity>),
}

impl Peer {
    /// The certificate, if one was shown.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        match self {
            Self::Anonymous | Self::Psk(_) => None,
            Self::Certificate(certificate) => Some(certificate),
        }
    }

    /// The identity of the key, if one was proved.
    pub fn psk(&self) -> Option<&PskIdentity> {
        match self {
            Self::Anonymous | Self::Certificate(_) => None,
            Self::Psk(identity) => Some(identity),
        }
    }
}

/// By which key a caller was recognised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PskIdentity {
    /// The name of the key, as the caller sent it and the listener's keys know it.
    pub identity: String,
    /// The version of TLS in which it was used.
    pub version: PskVersion,
}

/// The facts of a verified client certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerCertificate {
    /// The SHA-256 of the whole certificate: what an identity is looked up by.
    pub fingerprint: Fingerprint,
    /// The one common name of the subject, which carries the identifier (TS 29.222 clause 8.4.4.2.5).
    pub common_name: String,
    /// The organizational unit of the subject, which tells the kind of caller.
    pub organizational_unit: Option<String>,
    /// The certificate counts no longer after this moment.
    pub not_after: OffsetDateTime,
}

impl PeerCertificate {
    /// Reads a leaf certificate and checks it against the profile.
    ///
    /// Chain, time and signature are not looked at here. TS 33.310 clause 6.1: only certificates that comply with the
    /// profile are accepted.
    pub(crate) fn from_leaf(der: &[u8]) -> Result<Self, ProfileError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| ProfileError::Encoding)?;
        if !rest.is_empty() {
            return Err(ProfileError::Encoding);
        }
        if certificate.version() != X509Version::V3 {
            return Err(ProfileError::Version);
        }
        let purpose = certificate
            .extended_key_usage()
            .map_err(|_| ProfileError::Encoding)?
            .ok_or(ProfileError::Purpose)?;
        if !purpose.value.client_auth {
            return Err(ProfileError::Purpose);
        }
        let usage = certificate
            .key_usage()
            .map_err(|_| ProfileError::Encoding)?;
        if usage.is_some_and(|usage| !usage.value.digital_signature()) {
            return Err(ProfileError::Purpose);
        }
        let subject = certificate.subject();
        let common_name = only(subject.iter_common_name())?.ok_or(ProfileError::Name)?;
        let organizational_unit = only(subject.iter_organizational_unit())?;
        Ok(Self {
            fingerprint: Fingerprint::of(der),
            common_name,
            organizational_unit,
            not_after: certificate.validity().not_after.to_datetime(),
        })
    }
}

/// The attribute if there is one; several would let two readers see two names.
fn only<'a>(
    mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<Option<String>, ProfileError> {
    let Some(first) = attributes.next() else {
        return Ok(None);
    };
    if attributes.next().is_some() {
        return Err(ProfileError::Name);
    }
    let name = first.as_str().map_err(|_| ProfileError::Name)?;
    let plain =
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if !plain {
        return Err(ProfileError::Name);
    }
    Ok(Some(name.to_owned()))
}

/// Why a certificate that chains to an anchor still does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("the certificate cannot be read")]
    Encoding,
    #[error("the certificate is not of version 3")]
    Version,
    #[error("the subject needs exactly one common name and at most one organizational unit")]
    Name,
    #[error("the certificate is not meant for clients")]
    Purpose,
}

/// A SHA-256 digest of a certificate.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref());
        Self(bytes)
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
