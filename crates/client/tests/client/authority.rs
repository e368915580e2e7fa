//! A certificate authority that signs whatever a test wants.

use std::net::Ipv4Addr;

use capif_transport::{Anchors, Fingerprint, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use time::{OffsetDateTime, macros::datetime};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named(name, "CCF");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(parameters, key),
        }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::from_pem(&self.pem).unwrap()
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der)
            .as_ref()
            .try_into()
            .unwrap()
    }

    /// Signs a request under a name of the authority's choice.
    pub(crate) fn sign(&self, request: &str, id: &str, unit: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params = leaf(id, unit);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// The same for a life of the test's choice.
    pub(crate) fn sign_for(
        &self,
        request: &str,
        id: &str,
        begins: OffsetDateTime,
        ends: OffsetDateTime,
    ) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params = leaf(id, "API_INVOKER");
        request.params.not_before = begins;
        request.params.not_after = ends;
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// The SHA-256 of the authority's own key, as a list of distrusted keys names it.
    pub(crate) fn key_sha256(&self) -> String {
        Fingerprint::of(&self.issuer.key().subject_public_key_info()).to_string()
    }

    /// A certificate for a key that the peer does not hold.
    pub(crate) fn stranger(&self, id: &str) -> String {
        let key = KeyPair::generate().unwrap();
        leaf(id, "API_INVOKER")
            .signed_by(&key, &self.issuer)
            .unwrap()
            .pem()
    }

    /// As the server of this machine, with the root in the chain.
    pub(crate) fn server(&self, id: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let unit = if id.starts_with("aef") { "AEF" } else { "CCF" };
        let mut parameters = leaf(id, unit);
        parameters.subject_alt_names = vec![
            rcgen::SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            rcgen::SanType::DnsName("localhost".try_into().unwrap()),
        ];
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let chain = format!("{}{}", certificate.pem(), self.pem);
        Identity::from_pem(chain, key.serialize_pem()).unwrap()
    }
}

fn named(id: &str, unit: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, id);
    parameters
        .distinguished_name
        .push(DnType::OrganizationalUnitName, unit);
    parameters.not_before = datetime!(2026-01-01 0:00 UTC);
    parameters.not_after = datetime!(2028-01-01 0:00 UTC);
    parameters
}

fn leaf(id: &str, unit: &str) -> CertificateParams {
    let mut parameters = named(id, unit);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}
