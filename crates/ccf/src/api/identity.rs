//! Who calls: the certificate of the connection, held against the profile as it is now (P-25).

use std::{fmt, sync::Arc};

use capif_procedures::{
    changes::Versioned,
    refusal::Refusal,
    state::{Certificate, Invoker, ProviderFunction, Role},
};
use capif_transport::{Peer, PeerCertificate};
use time::OffsetDateTime;

use super::operations::CallerKind;
use crate::view::Records;

/// The caller of a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// An onboarded API invoker.
    Invoker(Arc<Versioned<Invoker>>),
    /// A function of a registered domain.
    Function(Arc<Versioned<ProviderFunction>>),
}

impl Caller {
    /// The kind, when there is a certificate.
    #[must_use]
    pub fn kind(&self) -> Option<CallerKind> {
        match self {
            Self::Anonymous => None,
            Self::Invoker(_) => Some(CallerKind::Invoker),
            Self::Function(function) => match function.record.role {
                Role::Aef => Some(CallerKind::Aef),
                Role::Apf => Some(CallerKind::Apf),
                Role::Amf => Some(CallerKind::Amf),
                Role::ApiInvoker | Role::Ccf => None,
            },
        }
    }

    /// The id, when there is a certificate.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Invoker(invoker) => Some(invoker.record.id.as_str()),
            Self::Function(function) => Some(function.record.id.as_str()),
        }
    }

    /// The invoker, where the table lets none but invokers in.
    ///
    /// # Errors
    /// When it is not one.
    pub fn invoker(&self) -> Result<&Arc<Versioned<Invoker>>, Refusal> {
        match self {
            Self::Invoker(invoker) => Ok(invoker),
            _ => Err(Refusal::CertificateRequired),
        }
    }

    /// The provider function, where the table lets none but such in.
    ///
    /// # Errors
    /// When it is not one.
    pub fn function(&self) -> Result<&ProviderFunction, Refusal> {
        match self {
            Self::Function(function) => Ok(&function.record),
            _ => Err(Refusal::CertificateRequired),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Invoker(invoker) => write!(f, "API_INVOKER {}", invoker.record.id),
            Self::Function(function) => {
                write!(
                    f,
                    "{} {}",
                    function.record.role.as_str(),
                    function.record.id
                )
            }
        }
    }
}

/// Finds the caller. A certificate counts only if it is, to the last octet, the one in the profile of its id, and its time
/// has not passed while the connection stood open.
///
/// # Errors
/// [`Refusal::CertificateUnknown`] for a certificate that does not count.
pub fn identify(peer: &Peer, records: &Records, now: OffsetDateTime) -> Result<Caller, Refusal> {
    let Peer::Certificate(certificate) = peer else {
        return Ok(Caller::Anonymous);
    };
    let id = certificate.common_name.as_str();
    let unit = certificate.organizational_unit.as_deref();
    if unit == Some(Role::ApiInvoker.as_str()) {
        let invoker = records
            .invoker(id)
            .filter(|held| counts(&held.record.certificate, certificate, now));
        return invoker
            .cloned()
            .map(Caller::Invoker)
            .ok_or(Refusal::CertificateUnknown);
    }
    let function = records.function(id).filter(|held| {
        unit == Some(held.record.role.as_str())
            && counts(&held.record.certificate, certificate, now)
    });
    function
        .cloned()
        .map(Caller::Function)
        .ok_or(Refusal::CertificateUnknown)
}

fn counts(held: &Certificate, presented: &PeerCertificate, now: OffsetDateTime) -> bool {
    held.fingerprint.as_str() == presented.fingerprint.to_string() && held.not_after.0 > now
}
