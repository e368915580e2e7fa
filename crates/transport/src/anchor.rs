//! Trust that begins with a fingerprint.
//!
//! An enrolment code carries an address and the SHA-256 of the root CA. The server shows its whole chain, the root
//! included; what has that fingerprint becomes the anchor, and everything else is verified under it alone
//! (TS 33.122 clause 6.1: the invoker checks the core function with the enrolment's root CA).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Authority;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::clock::SharedClock;
use crate::connector::ClientError;
use crate::dial::{handshake, tcp, without_brackets};
use crate::identity::Anchors;
use crate::peer::Fingerprint;
use crate::profile;

/// Fetches the authority with this SHA-256 from the server at `address` (`host:port`).
///
/// The handshake succeeds only if the server shows a certificate of an authority with this fingerprint and its own
/// certificate is valid under that authority alone: signatures, time, purpose and the name in `address`.
pub async fn anchor_by_fingerprint(
    address: &str,
    sha256: [u8; 32],
    clock: SharedClock,
    timeout: Duration,
) -> Result<Anchors, ClientError> {
    let authority: Authority = address
        .parse()
        .map_err(|_| ClientError::Request("the address is not of the form host:port"))?;
    let port = authority
        .port_u16()
        .ok_or(ClientError::Request("the address names no port"))?;
    let host = without_brackets(authority.host());
    let until = Instant::now() + timeout;

    let verifier = Arc::new(FingerprintVerifier {
        wanted: Fingerprint::from(sha256),
        algorithms: profile::provider().signature_verification_algorithms,
        found: OnceLock::new(),
    });
    let config = profile::client_config_with_verifier(Arc::clone(&verifier) as _, &clock)
        .map_err(|error| ClientError::Tls(error.to_string()))?;
    let shake = async {
        let tcp = tcp(host, port, until).await?;
        let mut stream = handshake(Arc::new(config), host, tcp).await?;
        // The chain is all that was wanted; whether the goodbye arrives changes nothing.
        let _ = stream.shutdown().await;
        Ok(())
    };
    match tokio::time::timeout_at(until, shake).await {
        Err(_) => return Err(ClientError::TimedOut),
        Ok(result) => result?,
    }
    let anchor = verifier
        .found
        .get()
        .ok_or_else(|| ClientError::Tls("the server showed no certificate".to_owned()))?;
    Anchors::from_der(vec![anchor.clone()]).map_err(|error| ClientError::Tls(error.to_string()))
}

#[derive(Debug)]
struct FingerprintVerifier {
    wanted: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
    found: OnceLock<CertificateDer<'static>>,
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let anchor = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.wanted)
            .ok_or(CertificateError::UnknownIssuer)?;
        check_authority(anchor, now)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        verify_server_name(&leaf, server_name)?;
        // One verifier serves one handshake, so nothing can be set already.
        let _ = self.found.set(anchor.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// An anchor's own time and purpose are not looked at by the path building, so they are here.
fn check_authority(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, authority) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    if !authority.is_ca() {
        return Err(CertificateError::UnknownIssuer.into());
    }
    let now = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(rustls::Error::FailedToGetCurrentTime)?;
    let validity = authority.validity();
    if now < validity.not_before.to_datetime() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_datetime() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}
