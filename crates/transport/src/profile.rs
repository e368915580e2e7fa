//! The TLS profile that both ends share.
//!
//! TS 33.210 clause 6.2.1: TLS 1.2 and 1.3, nothing older. TS 33.210 clause 6.2.3: only suites with authenticated
//! encryption and forward secrecy. TLS 1.2 needs the extended master secret (RFC 7627), since without it two sessions
//! can be made to share their keys.
//!
//! Tickets and resumption are absent at both ends: a resumed session restores the peer's identity without checking the
//! certificate again, so it could outlive an authorization.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::acceptor::ClientCertificates;
use crate::clock::{SharedClock, TlsTime};
use crate::distrust::{Distrusted, ServerVerifier};
use crate::identity::{Anchors, Identity, TlsError};
use crate::peer::{PeerCertificate, ProfileError};

/// Protocols offered by ALPN, preferred first.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static VERSIONS_12_ONLY: &[&SupportedProtocolVersion] = &[&TLS12];

/// Suites, groups and signatures; never installed for the whole process.
///
/// The hybrid group X25519MLKEM768 is left out until its cost per handshake has been measured.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    })
}

/// The configuration of a listener.
pub(crate) fn server_config(
    identity: &Identity,
    clients: &ClientCertificates,
    clock: &SharedClock,
) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_details(
        Arc::clone(&provider),
        Arc::new(TlsTime(Arc::clone(clock))),
    )
    .with_protocol_versions(VERSIONS)
    .map_err(refused)?;
    let verifier = match clients {
        ClientCertificates::None => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Requested(anchors) => client_verifier(anchors, &provider, false)?,
        ClientCertificates::Required(anchors) => client_verifier(anchors, &provider, true)?,
    };
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = alpn();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.require_ems = true;
    Ok(config)
}

fn client_verifier(
    anchors: &Anchors,
    provider: &Arc<CryptoProvider>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(anchors.store()?, Arc::clone(provider));
    if !required {
        builder = builder.allow_unauthenticated();
    }
    let chain = builder.build().map_err(refused)?;
    Ok(Arc::new(ProfileVerifier {
        chain,
        distrusted: anchors.distrusted().clone(),
    }))
}

/// The configuration of a connector.
pub(crate) fn client_config(
    anchors: &Anchors,
    identity: Option<&Identity>,
    clock: &SharedClock,
    tls12_only: bool,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let versions = if tls12_only {
        VERSIONS_12_ONLY
    } else {
        VERSIONS
    };
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        anchors.store()?,
        Arc::clone(&provider),
    )
    .build()
    .map_err(refused)?;
    let builder =
        ClientConfig::builder_with_details(provider, Arc::new(TlsTime(Arc::clone(clock))))
            .with_protocol_versions(versions)
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier {
                chain: verifier,
                distrusted: anchors.distrusted().clone(),
            }));
    Ok(finish(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()))),
    }))
}

/// The configuration of a connector that judges the server in its own way.
pub(crate) fn client_config_with_verifier(
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    clock: &SharedClock,
) -> Result<ClientConfig, TlsError> {
    let builder =
        ClientConfig::builder_with_details(provider(), Arc::new(TlsTime(Arc::clone(clock))))
            .with_protocol_versions(VERSIONS)
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
    Ok(finish(builder.with_no_client_auth()))
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = alpn();
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    config.require_ems = true;
    config
}

fn alpn() -> Vec<Vec<u8>> {
    vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()]
}

fn refused(error: impl std::fmt::Display) -> TlsError {
    TlsError::Configuration(error.to_string())
}

/// Chain, by the believed certificates alone, time and signature as the library checks them, then the profile of the leaf.
///
/// The library takes a certificate without extended key usage for one that may do everything; the profile does not.
#[derive(Debug)]
struct ProfileVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    distrusted: Distrusted,
}

impl ClientCertVerifier for ProfileVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let believed = self.distrusted.believed(intermediates);
        let verified = self.chain.verify_client_cert(end_entity, &believed, now)?;
        PeerCertificate::from_leaf(end_entity).map_err(|error| match error {
            ProfileError::Encoding => CertificateError::BadEncoding,
            ProfileError::Purpose => CertificateError::InvalidPurpose,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })?;
        Ok(verified)
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
}
