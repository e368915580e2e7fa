//! Who calls: the certificate of the connection, held against the profile as it is now (P-25).

use std::{fmt, sync::Arc};

use capif_procedures::{
    changes::Versioned,
    refusal::Refusal,
    rotation::{self, Standing, Terms},
    state::{Certificate, Digest, Invoker, ProviderFunction, Renewal, Role},
};
use capif_spec::common::DateTime;
use capif_transport::Peer;

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

/// A caller with what it showed for itself.
#[derive(Clone, Debug)]
pub struct Identified {
    /// The caller.
    pub caller: Caller,
    /// What it showed; nothing if it is nobody in particular.
    pub shown: Option<Shown>,
}

impl Identified {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            caller: Caller::Anonymous,
            shown: None,
        }
    }

    /// Whether the caller must renew before anything else is served to it.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        let shown = self.shown.as_ref();
        shown.is_some_and(|shown| shown.standing == Standing::Restricted)
    }
}

/// A certificate that a caller showed.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its SHA-256.
    pub fingerprint: Digest,
    /// As what it counts.
    pub standing: Standing,
    /// The number of the authority that signed it.
    pub authority: u32,
}

/// Finds the caller. A certificate counts only if it is, to the last octet, one in the profile of its id, and its time has not
/// passed while the connection stood open: the one in use, the one that is to replace it, or one that it replaced a while ago.
///
/// # Errors
/// [`Refusal::CertificateUnknown`] for a certificate that does not count.
pub fn identify(
    peer: &Peer,
    records: &Records,
    terms: &Terms,
    now: &DateTime,
) -> Result<Identified, Refusal> {
    let Peer::Certificate(certificate) = peer else {
        return Ok(Identified::anonymous());
    };
    let id = certificate.common_name.as_str();
    let unit = certificate.organizational_unit.as_deref();
    let fingerprint = Digest::new(*certificate.fingerprint.as_bytes());
    let unknown = Refusal::CertificateUnknown;
    let (caller, standing, authority) = if unit == Some(Role::ApiInvoker.as_str()) {
        let held = records.invoker(id).ok_or(unknown.clone())?;
        let standing = rotation::standing(&held.record, &fingerprint, terms, now);
        let invoker = &held.record;
        let authority = authority_of(&invoker.certificate, &invoker.renewal, &fingerprint);
        (Caller::Invoker(Arc::clone(held)), standing, authority)
    } else {
        let held = records.function(id).ok_or(unknown.clone())?;
        let function = &held.record;
        if unit != Some(function.role.as_str()) {
            return Err(unknown);
        }
        let standing =
            rotation::accepts(&function.certificate, &function.renewal, &fingerprint, now);
        let authority = authority_of(&function.certificate, &function.renewal, &fingerprint);
        (Caller::Function(Arc::clone(held)), standing, authority)
    };
    if standing == Standing::No {
        return Err(unknown);
    }
    let shown = Shown {
        fingerprint,
        standing,
        authority,
    };
    Ok(Identified {
        caller,
        shown: Some(shown),
    })
}

/// The number of the authority that signed the certificate with this SHA-256: the one in use, if it is none of the others.
fn authority_of(current: &Certificate, renewal: &Renewal, fingerprint: &Digest) -> u32 {
    let successor = renewal.successor.iter().map(|next| &next.certificate);
    let retiring = renewal.retiring.iter().map(|old| &old.certificate);
    successor
        .chain(retiring)
        .find(|certificate| certificate.fingerprint == *fingerprint)
        .unwrap_or(current)
        .authority
}
