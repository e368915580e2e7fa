//! Keys of authorities whose word counts no longer, although an anchor still vouches for them.
//!
//! An authority that was replaced leaves a certificate behind that is good until it ends. Whoever knows that its key is not to
//! be believed puts aside every certificate of that key before a path is built, so that no path leads through it.

use std::borrow::Cow;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::peer::Fingerprint;

/// The SHA-256 of the SubjectPublicKeyInfo of each such key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distrusted(Arc<[Fingerprint]>);

impl Distrusted {
    pub(crate) fn new(keys: impl IntoIterator<Item = Fingerprint>) -> Self {
        Self(keys.into_iter().collect())
    }

    pub(crate) fn keys(&self) -> &[Fingerprint] {
        &self.0
    }

    /// Whether a certificate is of such a key. One that cannot be read has no key to believe.
    pub(crate) fn covers(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        match X509Certificate::from_der(certificate) {
            Ok((_, parsed)) => self.0.contains(&Fingerprint::of(parsed.public_key().raw)),
            Err(_) => true,
        }
    }

    /// The certificates that a path may lead through.
    pub(crate) fn believed<'a, 'der>(
        &self,
        certificates: &'a [CertificateDer<'der>],
    ) -> Cow<'a, [CertificateDer<'der>]> {
        if !certificates
            .iter()
            .any(|certificate| self.covers(certificate))
        {
            return Cow::Borrowed(certificates);
        }
        let believed = certificates
            .iter()
            .filter(|certificate| !self.covers(certificate));
        Cow::Owned(believed.cloned().collect())
    }
}

/// Judges servers as the library does, but by the believed certificates alone.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) chain: Arc<dyn ServerCertVerifier>,
    pub(crate) distrusted: Distrusted,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let believed = self.distrusted.believed(intermediates);
        self.chain
            .verify_server_cert(end_entity, &believed, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.chain.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.chain.root_hint_subjects()
    }
}
