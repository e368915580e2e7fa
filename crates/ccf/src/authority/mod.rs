//! The certificate authority (D-24): a root that signs one issuing authority, which signs everything else.
//!
//! One function signs for others, [`Authority::sign`], and it takes a [`CertificateOrder`], which only a procedure can
//! make. Of a request nothing but the checked key gets into a certificate (P-24).

pub mod keys;
pub mod tokens;

use std::{net::IpAddr, path::Path};

use capif_procedures::state::{Certificate, CertificateOrder, Digest, Role};
use capif_spec::common::DateTime;
use capif_transport::{Anchors, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use time::{Duration, OffsetDateTime};

use crate::random::{NoRandomness, octets, sha256};

/// Life of the root certificate.
const ROOT_LIFE: Duration = Duration::days(3650);

/// Life of the issuing authority's certificate.
const ISSUING_LIFE: Duration = Duration::days(1825);

/// How far back a certificate begins, so that a receiver whose clock is a little slow takes it at once.
const BACKDATE: Duration = Duration::seconds(60);

/// The authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file is missing or cannot be read.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A key or certificate is not what it should be.
    #[error("certificate authority: {0}")]
    Material(String),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Material(error.to_string())
    }
}

/// Names of the files of the authority within the CCF's folder.
pub mod files {
    /// The root certificate: the trust anchor of everyone.
    pub const ROOT: &str = "ca/root.pem";
    /// The root's private key: used by `init` alone, may be taken off the machine.
    pub const ROOT_KEY: &str = "ca/root.key";
    /// The issuing authority's certificate.
    pub const ISSUING: &str = "ca/issuing.pem";
    /// The issuing authority's private key.
    pub const ISSUING_KEY: &str = "ca/issuing.key";
}

/// A freshly made authority, as texts to be written by `init`.
pub(crate) struct NewAuthority {
    pub(crate) root: String,
    pub(crate) root_key: String,
    pub(crate) issuing: String,
    pub(crate) issuing_key: String,
}

/// Makes root and issuing authority for a CCF of this id.
pub(crate) fn create(ccf_id: &str, now: OffsetDateTime) -> Result<NewAuthority, AuthorityError> {
    let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let root_params = authority_params("root", ccf_id, now, ROOT_LIFE, 1)?;
    let root = root_params.self_signed(&root_key)?;
    let issuing_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let issuing_params = authority_params("issuing", ccf_id, now, ISSUING_LIFE, 0)?;
    let issuer = Issuer::from_params(&root_params, &root_key);
    let issuing = issuing_params.signed_by(&issuing_key, &issuer)?;
    Ok(NewAuthority {
        root: root.pem(),
        root_key: root_key.serialize_pem(),
        issuing: issuing.pem(),
        issuing_key: issuing_key.serialize_pem(),
    })
}

fn authority_params(
    which: &str,
    ccf_id: &str,
    now: OffsetDateTime,
    life: Duration,
    path_length: u8,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("capif {which} {ccf_id}"), "CA");
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn name(common_name: &str, unit: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationalUnitName, unit);
    name.push(DnType::CommonName, common_name);
    name
}

/// A serial number of 159 random bits: unique, positive and at most 20 octets (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, NoRandomness> {
    let mut octets = octets::<20>()?;
    if let Some(first) = octets.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&octets))
}

/// Reads a private key, unless others can read it too (P-46).
pub(crate) fn read_key(
    dir: &Path,
    file: &str,
) -> Result<zeroize::Zeroizing<String>, AuthorityError> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(file);
    let failed = |source| AuthorityError::File {
        file: path.display().to_string(),
        source,
    };
    let mode = std::fs::metadata(&path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(AuthorityError::Material(format!(
            "{} can be read by others (mode {:o}): make new keys, or `chmod 600` it if nobody did",
            path.display(),
            mode & 0o777
        )));
    }
    std::fs::read_to_string(&path)
        .map(zeroize::Zeroizing::new)
        .map_err(failed)
}

/// The issuing authority at work.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    issuing_pem: String,
    root_pem: String,
    not_after: OffsetDateTime,
    invoker_life: Duration,
    function_life: Duration,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the authority from the CCF's folder.
    ///
    /// # Errors
    /// Says which file is missing or unusable.
    pub fn load(dir: &Path, invoker_days: u32, function_days: u32) -> Result<Self, AuthorityError> {
        let read = |file: &str| {
            std::fs::read_to_string(dir.join(file)).map_err(|source| AuthorityError::File {
                file: dir.join(file).display().to_string(),
                source,
            })
        };
        let issuing_pem = read(files::ISSUING)?;
        let key = read_key(dir, files::ISSUING_KEY)?;
        let key = KeyPair::from_pem(&key)?;
        let (_, block) = x509_parser::pem::parse_x509_pem(issuing_pem.as_bytes())
            .map_err(|error| AuthorityError::Material(format!("{}: {error}", files::ISSUING)))?;
        let parsed = block
            .parse_x509()
            .map_err(|error| AuthorityError::Material(format!("{}: {error}", files::ISSUING)))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(AuthorityError::Material(format!(
                "{} and {} do not belong together",
                files::ISSUING,
                files::ISSUING_KEY
            )));
        }
        let not_after = parsed.validity().not_after.to_datetime();
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&issuing_pem, key)?,
            root_pem: read(files::ROOT)?,
            issuing_pem,
            not_after,
            invoker_life: Duration::days(i64::from(invoker_days)),
            function_life: Duration::days(i64::from(function_days)),
        })
    }

    /// The root certificate as PEM.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The trust anchors of everyone whom this CCF certifies.
    ///
    /// # Errors
    /// When the root certificate is unusable.
    pub fn anchors(&self) -> Result<Anchors, AuthorityError> {
        Anchors::from_pem(&self.root_pem)
            .map_err(|error| AuthorityError::Material(error.to_string()))
    }

    /// Signs what a procedure allowed, in the profile of its role (R-T-04, D-23).
    ///
    /// # Errors
    /// When the key cannot be certified or no randomness is to be had.
    pub fn sign(
        &self,
        order: &CertificateOrder,
        now: OffsetDateTime,
    ) -> Result<Certificate, AuthorityError> {
        let key = SubjectPublicKeyInfo::from_der(&order.public_key().spki)?;
        self.issue(
            order.id(),
            order.role(),
            order.hosts(),
            &key,
            order.public_key().digest.clone(),
            now,
        )
    }

    /// Makes out the CCF's own certificate for a key made here; it serves CAPIF-1 to 5 and calls back.
    ///
    /// # Errors
    /// As [`Authority::sign`]; and when the result is unusable.
    pub fn own_identity(
        &self,
        ccf_id: &str,
        hosts: &[String],
        now: OffsetDateTime,
    ) -> Result<Identity, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let digest = sha256(&rcgen::PublicKeyData::subject_public_key_info(&key));
        let certificate = self.issue(ccf_id, Role::Ccf, hosts, &key, digest, now)?;
        // The root goes along, so that who knows only its fingerprint can find it (TS 33.122 clause 6.1 step 1).
        let chain = format!("{}{}", certificate.pem, self.root_pem);
        let key_pem = zeroize::Zeroizing::new(key.serialize_pem());
        Identity::from_pem(&chain, &key_pem)
            .map_err(|error| AuthorityError::Material(error.to_string()))
    }

    fn issue(
        &self,
        id: &str,
        role: Role,
        hosts: &[String],
        key: &impl rcgen::PublicKeyData,
        public_key: Digest,
        now: OffsetDateTime,
    ) -> Result<Certificate, AuthorityError> {
        let life = match role {
            Role::ApiInvoker => self.invoker_life,
            Role::Aef | Role::Apf | Role::Amf | Role::Ccf => self.function_life,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = name(id, role.as_str());
        params.not_before = now - BACKDATE;
        params.not_after = (now + life).min(self.not_after);
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
        let not_after = params.not_after;
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Certificate {
            fingerprint: sha256(certificate.der()),
            pem: format!("{}{}", certificate.pem(), self.issuing_pem),
            public_key,
            not_after: DateTime(not_after),
        })
    }
}
