//! One issuing authority at work.

use std::{net::IpAddr, sync::Arc};

use capif_procedures::state::{Certificate, CertificateOrder, Digest, Generation, Role};
use capif_spec::common::DateTime;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{
    AuthorityError, BACKDATE, custody::AuthorityKey, extensions, hook::Hook, name, serial,
    tls_key::TlsKey,
};
use crate::random::sha256;

/// How certificates are made out.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Life of an API invoker's certificate.
    pub invoker_life: Duration,
    /// Life of the certificate of a function of a provider, or of the CCF itself.
    pub function_life: Duration,
    /// The beginning of the addresses where revocation is told; certificates name none if it is empty.
    pub revocation: String,
    /// Who signs in the place of the CCF.
    pub(crate) hook: Option<Arc<Hook>>,
    /// The key of the CCF's own certificates, where that stays the same.
    pub(crate) own_key: Option<Arc<TlsKey>>,
}

impl Terms {
    /// The key of the CCF's own next certificate.
    pub(super) fn next_own_key(&self) -> Result<KeyPair, AuthorityError> {
        match &self.own_key {
            Some(key) => key.key_pair(),
            None => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        }
    }

    /// How long a certificate counts.
    pub(super) fn life(&self, role: Role) -> Duration {
        match role {
            Role::ApiInvoker => self.invoker_life,
            Role::Aef | Role::Apf | Role::Amf | Role::Ccf => self.function_life,
        }
    }
}

/// The issuing authority of one generation.
pub struct Authority {
    number: u32,
    issuer: Issuer<'static, AuthorityKey>,
    issuing_pem: String,
    not_after: OffsetDateTime,
    terms: Terms,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of a generation, with its key.
    ///
    /// # Errors
    /// When they do not belong together.
    pub(crate) fn new(
        generation: &Generation,
        key: AuthorityKey,
        terms: Terms,
    ) -> Result<Self, AuthorityError> {
        if sha256(&key.subject_public_key_info()) != generation.issuing_key {
            return Err(AuthorityError::Material(format!(
                "certificate and private key of issuing authority {} do not belong together",
                generation.number
            )));
        }
        Ok(Self {
            number: generation.number,
            issuer: Issuer::from_ca_cert_pem(&generation.issuing, key)?,
            issuing_pem: generation.issuing.clone(),
            not_after: generation.not_after.0,
            terms,
        })
    }

    /// The number of its generation.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Its certificate as PEM, with those between it and the root, if there are any.
    pub(crate) fn issuing_pem(&self) -> &str {
        &self.issuing_pem
    }

    /// What signs.
    pub(crate) fn issuer(&self) -> &Issuer<'static, AuthorityKey> {
        &self.issuer
    }

    /// Signs what a procedure allowed, in the profile of its role (R-T-04, D-23).
    ///
    /// # Errors
    /// When the key cannot be certified or no randomness is to be had.
    pub(crate) fn sign(
        &self,
        order: &CertificateOrder,
        now: OffsetDateTime,
    ) -> Result<Certificate, AuthorityError> {
        let key = SubjectPublicKeyInfo::from_der(&order.public_key().spki)?;
        let subject = Subject {
            id: order.id(),
            role: order.role(),
            hosts: order.hosts(),
            digest: order.public_key().digest.clone(),
            not_after: order.not_after().map(|end| end.0),
        };
        self.issue(subject, &key, now)
    }

    /// Makes out a certificate for the CCF itself, for a key made here; it serves CAPIF-1 to 5 and calls back.
    ///
    /// # Errors
    /// As [`Authority::sign`].
    pub(crate) fn own(
        &self,
        ccf_id: &str,
        hosts: &[String],
        now: OffsetDateTime,
    ) -> Result<(Certificate, Zeroizing<String>), AuthorityError> {
        let key = self.terms.next_own_key()?;
        let subject = Subject {
            id: ccf_id,
            role: Role::Ccf,
            hosts,
            digest: sha256(&key.subject_public_key_info()),
            not_after: None,
        };
        let certificate = self.issue(subject, &key, now)?;
        Ok((certificate, Zeroizing::new(key.serialize_pem())))
    }

    fn issue(
        &self,
        subject: Subject<'_>,
        key: &impl PublicKeyData,
        now: OffsetDateTime,
    ) -> Result<Certificate, AuthorityError> {
        let Subject {
            id, role, hosts, ..
        } = subject;
        let end = (now + self.terms.life(role)).min(self.not_after);
        let end = subject.not_after.map_or(end, |bound| end.min(bound));
        // A certificate knows no smaller part than a second.
        let not_after = end.replace_nanosecond(0).unwrap_or(end);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(id, role.as_str());
        params.not_before = now - BACKDATE;
        params.not_after = not_after;
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match role {
            Role::Aef | Role::Ccf => vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            Role::ApiInvoker | Role::Apf | Role::Amf => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let uri = format!("urn:capif:{id}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        if matches!(role, Role::Aef | Role::Ccf) {
            for host in hosts {
                params.subject_alt_names.push(match host.parse::<IpAddr>() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName(host.as_str().try_into()?),
                });
            }
        }
        extensions::for_certificate(&mut params, &self.terms.revocation, self.number)?;
        let number = params.serial_number.clone();
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Certificate {
            fingerprint: sha256(certificate.der()),
            pem: format!("{}{}", certificate.pem(), self.issuing_pem).into(),
            public_key: subject.digest,
            not_after: DateTime(not_after),
            issued: Some(DateTime(now)),
            serial: number
                .iter()
                .flat_map(SerialNumber::to_bytes)
                .map(|octet| format!("{octet:02x}"))
                .collect(),
            authority: self.number,
        })
    }
}

/// Whom a certificate is for.
struct Subject<'a> {
    id: &'a str,
    role: Role,
    hosts: &'a [String],
    /// SHA-256 of the key.
    digest: Digest,
    /// When it ends at the latest.
    not_after: Option<OffsetDateTime>,
}
