//! An issuing authority that was made elsewhere and brought along: its chain, its key, and the root above it.

use std::path::Path;

use rcgen::PublicKeyData;
use time::OffsetDateTime;

use super::{AuthorityError, chain, custody::AuthorityKey};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What was brought, checked.
pub(crate) struct Brought {
    /// The issuing authority's certificate and those between it and the root, as PEM.
    pub(crate) issuing: String,
    /// The root's certificate as PEM.
    pub(crate) root: String,
}

/// Reads an issuing authority and checks that it can be one: chain, key, and what both may do.
///
/// # Errors
/// Says what does not fit.
pub(crate) fn read(
    certificates: &Path,
    key: &AuthorityKey,
    root: Option<&Path>,
    now: OffsetDateTime,
) -> Result<Brought, AuthorityError> {
    let mut chain = certificates_of(certificates)?;
    let root = match root {
        Some(root) => {
            let mut found = certificates_of(root)?;
            match (found.pop(), found.is_empty()) {
                (Some(root), true) => root,
                _ => return Err(refused(root, "give one root certificate")),
            }
        }
        // Without a file of its own, the root stands at the end of the chain.
        None => chain.pop().unwrap_or_default(),
    };
    chain.retain(|certificate| *certificate != root);
    check(&chain, &root, key, now).map_err(|reason| refused(certificates, &reason))?;
    Ok(Brought {
        issuing: chain.iter().map(|der| chain::in_pem(der)).collect(),
        root: chain::in_pem(&root),
    })
}

fn check(
    chain: &[Vec<u8>],
    root: &[u8],
    key: &AuthorityKey,
    now: OffsetDateTime,
) -> Result<(), String> {
    let root = chain::parsed(root)?;
    if root.subject() != root.issuer() || root.verify_signature(None).is_err() {
        return Err(format!(
            "`{}` is no root, since it did not sign itself: put the root at the end, or give it with --ca-root",
            root.subject()
        ));
    }
    let parsed: Vec<_> = chain
        .iter()
        .map(|der| chain::parsed(der))
        .collect::<Result<_, _>>()?;
    let issuing = parsed.first().ok_or(
        "the root itself is not to issue: bring an authority below it, and keep the root apart",
    )?;
    chain::authority(issuing, 0)?;
    if chain::usage(issuing)?.is_some_and(|usage| !usage.crl_sign()) {
        return Err("its key may not sign revocation lists (key usage cRLSign)".to_owned());
    }
    if issuing.public_key().raw != key.subject_public_key_info() {
        return Err("the private key is not the one of the first certificate".to_owned());
    }
    chain::leads_to(&parsed, &[root], now)
}

fn certificates_of(file: &Path) -> Result<Vec<Vec<u8>>, AuthorityError> {
    let failed = |source| AuthorityError::File {
        file: file.display().to_string(),
        source,
    };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(refused(file, "it is too long"));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    chain::certificates(&text).map_err(|reason| refused(file, &reason))
}

fn refused(file: &Path, reason: &str) -> AuthorityError {
    AuthorityError::Material(format!("{}: {reason}", file.display()))
}

#[cfg(test)]
mod tests;
