//! Private keys, and the certificates issued for them.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::Zeroizing;

const CHAIN_BYTES_MAX: usize = 64 << 10;
const CHAIN_CERTIFICATES_MAX: usize = 8;

/// A private key on the curve P-256 (TS 33.210 clause 6.2.3). It is erased from memory on drop.
pub(crate) struct PrivateKey {
    pem: Zeroizing<String>,
    pair: Zeroizing<KeyPair>,
}

impl PrivateKey {
    pub(crate) fn generate() -> Result<Self, String> {
        let pair = KeyPair::generate().map_err(|error| error.to_string())?;
        Ok(Self {
            pem: Zeroizing::new(pair.serialize_pem()),
            pair: Zeroizing::new(pair),
        })
    }

    pub(crate) fn from_pem(pem: &str) -> Result<Self, String> {
        let pair = KeyPair::from_pem(pem).map_err(|_| "not a private key".to_owned())?;
        Ok(Self {
            pem: Zeroizing::new(pem.to_owned()),
            pair: Zeroizing::new(pair),
        })
    }

    /// The key as PKCS#8 in PEM form: for the keystore's file and the TLS configuration, and nothing else.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A PKCS#10 request in PEM form, which carries the public key and proves that the private one is held (D-22). The
    /// issuer chooses the name of the certificate: `common_name` says only who asks.
    pub(crate) fn request(&self, common_name: &str) -> Result<String, String> {
        let mut parameters =
            CertificateParams::new(Vec::new()).map_err(|error| error.to_string())?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, common_name);
        parameters
            .serialize_request(&*self.pair)
            .and_then(|request| request.pem())
            .map_err(|error| error.to_string())
    }

    /// Whether a certificate chain begins with a certificate for this key.
    pub(crate) fn is_of(&self, chain_pem: &str) -> bool {
        let spki = self.pair.subject_public_key_info();
        with_leaf(chain_pem, |leaf| leaf.public_key().raw == spki).unwrap_or(false)
    }

    /// Checks that a certificate chain is what was to be issued: for this key, named after `id`, not expired
    /// (TS 29.222 table 8.4.4.2.5-1). That the chain leads to a trust anchor is checked by whoever is shown it.
    pub(crate) fn check(
        &self,
        chain_pem: &str,
        id: &str,
        now: OffsetDateTime,
    ) -> Result<(), &'static str> {
        if !self.is_of(chain_pem) {
            return Err("it is not for the public key that was sent");
        }
        with_leaf(chain_pem, |leaf| {
            let mut names = leaf.subject().iter_common_name();
            let named = names
                .next()
                .and_then(|name| name.as_str().ok())
                .is_some_and(|name| name == id);
            if !named || names.next().is_some() {
                return Err("its common name is not the id that came with it");
            }
            if leaf.validity().not_after.timestamp() <= now.unix_timestamp() {
                return Err("it has expired already (check the clock of this machine)");
            }
            Ok(())
        })?
    }
}

/// From when to when the first certificate of a chain counts.
pub(crate) fn life(chain_pem: &str) -> Result<(OffsetDateTime, OffsetDateTime), &'static str> {
    with_leaf(chain_pem, |leaf| {
        let validity = leaf.validity();
        (
            validity.not_before.to_datetime(),
            validity.not_after.to_datetime(),
        )
    })
}

/// Whether the first certificate of a chain leads to one of these anchors, by way of the others: who signed whom, and nothing
/// else. Whoever is shown the chain judges the rest.
pub(crate) fn leads_to(chain_pem: &str, anchors_pem: &str) -> bool {
    if chain_pem.len() > CHAIN_BYTES_MAX {
        return false;
    }
    let (Ok(chain), Ok(anchors)) = (pem::parse_many(chain_pem), pem::parse_many(anchors_pem))
    else {
        return false;
    };
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return false;
    }
    let anchors: Vec<_> = anchors.iter().filter_map(certificate).collect();
    let mut others: Vec<_> = chain.iter().filter_map(certificate).collect();
    if others.is_empty() {
        return false;
    }
    let mut current = others.remove(0);
    loop {
        let signs = |issuer: &X509Certificate<'_>| {
            issuer.subject() == current.issuer()
                && current.verify_signature(Some(issuer.public_key())).is_ok()
        };
        if anchors.iter().any(signs) {
            return true;
        }
        let Some(next) = others.iter().position(signs) else {
            return false;
        };
        // One less each time, so that it ends.
        current = others.remove(next);
    }
}

fn certificate(element: &pem::Pem) -> Option<X509Certificate<'_>> {
    let (_, certificate) = X509Certificate::from_der(element.contents()).ok()?;
    Some(certificate)
}

/// Looks at the first certificate of a chain.
fn with_leaf<T>(
    chain_pem: &str,
    look: impl FnOnce(&X509Certificate<'_>) -> T,
) -> Result<T, &'static str> {
    const MALFORMED: &str = "it is not a chain of certificates in PEM form";
    if chain_pem.len() > CHAIN_BYTES_MAX {
        return Err("it is larger than 64 KiB");
    }
    let chain = pem::parse_many(chain_pem).map_err(|_| MALFORMED)?;
    if chain.len() > CHAIN_CERTIFICATES_MAX
        || chain.iter().any(|element| element.tag() != "CERTIFICATE")
    {
        return Err(MALFORMED);
    }
    let leaf = chain.first().ok_or(MALFORMED)?;
    match X509Certificate::from_der(leaf.contents()) {
        Ok((&[], leaf)) => Ok(look(&leaf)),
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertifiedIssuer, IsCa};

    use super::*;

    fn named(name: &str) -> CertificateParams {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters
    }

    fn authority(name: &str) -> CertificateParams {
        let mut parameters = named(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
    }

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    #[test]
    fn a_chain_leads_to_who_signed_it() {
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let other = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle"), key(), &root).unwrap();
        let leaf = named("invoker").signed_by(&key(), &middle).unwrap().pem();
        let direct = named("invoker").signed_by(&key(), &root).unwrap().pem();
        let whole = format!("{leaf}{}", middle.pem());
        assert!(leads_to(&whole, &root.pem()));
        assert!(leads_to(&format!("{whole}{}", root.pem()), &root.pem()));
        assert!(leads_to(&whole, &format!("{}{}", other.pem(), root.pem())));
        assert!(leads_to(&direct, &root.pem()));
        assert!(leads_to(&leaf, &middle.pem()));
        // Of the same name, but another key; without what is between; and what is no chain.
        assert!(!leads_to(&whole, &other.pem()));
        assert!(!leads_to(&leaf, &root.pem()));
        assert!(!leads_to(&format!("{leaf}{}", root.pem()), &other.pem()));
        for chain in ["", "nothing", &root.pem().repeat(9), &"x".repeat(65 << 10)] {
            assert!(!leads_to(chain, &root.pem()) || chain.starts_with("-----"));
        }
        assert!(!leads_to(
            &format!("{leaf}{}", root.pem().repeat(9)),
            &root.pem()
        ));
        assert!(!leads_to(&whole, "nothing"));
    }
}
