//! The key and certificate with which answers are given for one authority (RFC 6960 section 4.2.2.2).

use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SigningKey,
};
use time::{Duration, OffsetDateTime};
use x509_cert::{
    Certificate,
    der::{Decode, Encode, asn1::Null},
};

use super::BACKDATE;
use crate::authority::{Authority, AuthorityError, name, serial};

/// How long the certificate counts. Nobody asks whether it was revoked, so not for long.
const LIFE: Duration = Duration::days(7);

/// `id-pkix-ocsp-nocheck`.
const NO_CHECK: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 5];

/// What gives answers for one authority.
pub(super) struct Signer {
    pub(super) authority: u32,
    /// The name of the authority (DER), by which questions name it.
    pub(super) issuer_name: Vec<u8>,
    /// Its public key, without what says of which kind it is.
    pub(super) issuer_key: Vec<u8>,
    pub(super) certificate: Certificate,
    key: KeyPair,
    made: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Signer {
    /// Makes out a certificate for a key made here.
    ///
    /// # Errors
    /// When the authority does not sign.
    pub(super) fn make(
        authority: &Authority,
        ccf_id: &str,
        now: OffsetDateTime,
    ) -> Result<Self, AuthorityError> {
        let unusable =
            |what: &str| AuthorityError::Material(format!("OCSP responder: {what} cannot be used"));
        let (_, issuer) = x509_parser::pem::parse_x509_pem(authority.issuing_pem().as_bytes())
            .map_err(|_| unusable("the certificate of the authority"))?;
        let issuer = issuer
            .parse_x509()
            .map_err(|_| unusable("the certificate of the authority"))?;
        let not_after = (now + LIFE).min(issuer.validity().not_after.to_datetime());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // No role of CAPIF: with this nobody passes for an entity.
        params.distinguished_name = name(&format!("capif revocation {ccf_id}"), "OCSP");
        params.not_before = now - BACKDATE;
        params.not_after = not_after;
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        params.use_authority_key_identifier_extension = true;
        let null = Null.to_der().map_err(|_| unusable("an extension"))?;
        params.custom_extensions = vec![CustomExtension::from_oid_content(&NO_CHECK, null)];
        let made = params.signed_by(&key, authority.issuer())?;
        Ok(Self {
            authority: authority.number(),
            issuer_name: issuer.subject().as_raw().to_vec(),
            issuer_key: issuer.public_key().subject_public_key.data.to_vec(),
            certificate: Certificate::from_der(made.der())
                .map_err(|_| unusable("its certificate"))?,
            key,
            made: now,
            not_after,
        })
    }

    /// Whether it may still answer: after half of its life another one does.
    pub(super) fn serves(&self, now: OffsetDateTime) -> bool {
        self.made <= now && now < self.made + (self.not_after - self.made) / 2
    }

    pub(super) fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        self.key.sign(octets).ok()
    }
}
