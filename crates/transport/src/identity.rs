//! What one end shows of itself, and whom it believes.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::distrust::Distrusted;
use crate::peer::Fingerprint;
use crate::profile;

/// A certificate chain and the private key of its leaf.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads a chain, leaf first, and the leaf's private key; both must belong together.
    pub fn from_pem(
        chain_pem: impl AsRef<[u8]>,
        key_pem: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(chain_pem.as_ref())?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_ref()).map_err(|_| TlsError::Key)?;
        let certified = CertifiedKey::from_der(chain, key, &profile::provider()).map_err(
            |error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch,
                rustls::Error::InvalidCertificate(_) => TlsError::Certificate,
                _ => TlsError::Key,
            },
        )?;
        Ok(Self(Arc::new(certified)))
    }

    /// The SHA-256 of the leaf.
    pub fn fingerprint(&self) -> Fingerprint {
        // Holds because from_pem refuses an empty chain; the digest of nothing would identify nobody.
        Fingerprint::of(self.0.cert.first().map_or(&[], |leaf| leaf.as_ref()))
    }

    /// The chain, leaf first, as PEM.
    pub fn chain_pem(&self) -> String {
        to_pem(&self.0.cert)
    }

    /// The same, with an OCSP response (DER) that goes along in the handshake when the peer asks for it (RFC 6066 section 8,
    /// RFC 8446 section 4.4.2.1).
    #[must_use]
    pub fn with_ocsp(&self, response: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(CertifiedKey {
            cert: self.0.cert.clone(),
            key: Arc::clone(&self.0.key),
            ocsp: Some(response.into()),
        }))
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("leaf", &self.fingerprint())
            .field("key", &"[redacted]")
            .finish()
    }
}

/// Certificates of authorities whose word is taken; never empty. Keys can be named that are not believed all the same.
#[derive(Clone)]
pub struct Anchors {
    certificates: Arc<Vec<CertificateDer<'static>>>,
    distrusted: Distrusted,
}

impl Anchors {
    /// Reads one or more certificates.
    pub fn from_pem(pem: &str) -> Result<Self, TlsError> {
        Self::from_pems([pem])
    }

    /// Reads the certificates of several texts.
    pub fn from_pems<P: AsRef<str>>(pems: impl IntoIterator<Item = P>) -> Result<Self, TlsError> {
        let mut all = Vec::new();
        for pem in pems {
            all.extend(certificates(pem.as_ref().as_bytes())?);
        }
        Self::from_der(all)
    }

    /// The anchors of the operating system.
    pub fn native() -> Result<Self, TlsError> {
        Self::from_der(rustls_native_certs::load_native_certs().certs)
    }

    pub(crate) fn from_der(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let anchors = Self {
            certificates: Arc::new(certificates),
            distrusted: Distrusted::default(),
        };
        anchors.store()?;
        Ok(anchors)
    }

    /// The same, with keys of authorities that are not believed whoever vouches for them: the SHA-256 of the
    /// SubjectPublicKeyInfo of each. They replace those named before.
    #[must_use]
    pub fn distrusting(mut self, keys: impl IntoIterator<Item = Fingerprint>) -> Self {
        self.distrusted = Distrusted::new(keys);
        self
    }

    /// The keys that are not believed.
    pub fn distrusted_keys(&self) -> &[Fingerprint] {
        self.distrusted.keys()
    }

    pub(crate) fn distrusted(&self) -> &Distrusted {
        &self.distrusted
    }

    /// The certificates as PEM.
    pub fn pem(&self) -> String {
        to_pem(&self.certificates)
    }

    /// The SHA-256 of each certificate.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.certificates
            .iter()
            .map(|certificate| Fingerprint::of(certificate))
            .collect()
    }

    pub(crate) fn store(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in self.certificates.iter() {
            if self.distrusted.covers(certificate) {
                continue;
            }
            store
                .add(certificate.clone())
                .map_err(|_| TlsError::Certificate)?;
        }
        if store.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Ok(Arc::new(store))
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchors")
            .field("certificates", &self.fingerprints())
            .field("distrusted", &self.distrusted.keys())
            .finish()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Certificate)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(certificates)
}

fn to_pem(certificates: &[CertificateDer<'static>]) -> String {
    let unix_lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    certificates
        .iter()
        .map(|certificate| {
            let block = pem::Pem::new("CERTIFICATE", certificate.as_ref());
            pem::encode_config(&block, unix_lines)
        })
        .collect()
}

/// Why keys, certificates or anchors cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate is not readable, or cannot serve as what it was given for.
    #[error("a certificate is malformed or unfit")]
    Certificate,
    /// Nothing to change: the acceptor was told to ask for no client certificates.
    #[error("this acceptor asks for no client certificates")]
    ClientCertificatesUnused,
    /// The private key is not readable or of an unknown kind.
    #[error("the private key is malformed or of an unsupported kind")]
    Key,
    /// The private key is not the one of the first certificate.
    #[error("the private key does not belong to the first certificate")]
    KeyMismatch,
    /// The text holds no certificate.
    #[error("no certificate found")]
    NoCertificate,
    /// The name of a key is empty, too long, or contains a NUL.
    #[error("the identity of a pre-shared key must have 1 to 256 octets and no NUL")]
    PskIdentity,
    /// The TLS library refused the configuration.
    #[error("the TLS configuration was refused: {0}")]
    Configuration(String),
}
