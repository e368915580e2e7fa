//! The OCSP responder (RFC 6960). It answers with a key and a certificate of its own for each authority, which live for a few days
//! and are made anew by the way, so that the issuing key signs no answers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use bytes::Bytes;
use capif_procedures::state::{Certificate, RevocationReason};
use capif_spec::common::DateTime;
use time::{Duration, OffsetDateTime};
use x509_cert::{
    der::{
        Decode, Encode,
        asn1::{BitString, GeneralizedTime, Null, ObjectIdentifier, OctetString},
    },
    ext::{Extension, pkix::CrlReason},
    serial_number::SerialNumber,
    spki::AlgorithmIdentifierOwned,
};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    ResponderId, ResponseData, RevokedInfo, SingleResponse, Version,
};

use super::{
    BACKDATE, Staple,
    register::{Register, Standing, in_digits},
    signer::Signer,
};
use crate::authority::{Authorities, AuthorityError, blocking};

/// The longest request.
pub(super) const REQUEST_BYTES_MAX: usize = 4096;

/// How many certificates one request may ask about.
const QUESTIONS_MAX: usize = 8;

/// The longest nonce (RFC 9654 section 2.1).
const NONCE_BYTES_MAX: usize = 128;

/// How long an answer counts. Whoever is given one at most this old may keep it.
pub(super) const LIFE: Duration = Duration::hours(1);

/// How many answers are kept.
const ANSWERS_MAX: usize = 10_000;

/// `id-pkix-ocsp-nonce`.
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

/// `id-sha1`, by which most clients name the issuer (RFC 5019 section 2.1.1), where nothing depends on its strength.
const SHA1_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

/// `id-sha256`.
const SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// `ecdsa-with-SHA256`.
const ECDSA_SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// Answers for all authorities.
pub(super) struct Responder {
    authorities: Arc<Authorities>,
    register: Arc<Register>,
    ccf_id: String,
    signers: tokio::sync::Mutex<BTreeMap<u32, Arc<Signer>>>,
    answers: Mutex<HashMap<Vec<u8>, Answer>>,
}

/// An answer that can be given again.
struct Answer {
    standing: Standing,
    at: OffsetDateTime,
    response: Bytes,
}

/// Why there is no answer.
enum NoAnswer {
    Malformed,
    /// Nobody here answers for that issuer.
    Unauthorized,
    Internal,
}

impl From<x509_cert::der::Error> for NoAnswer {
    fn from(_: x509_cert::der::Error) -> Self {
        Self::Internal
    }
}

impl Responder {
    pub(super) fn new(
        authorities: Arc<Authorities>,
        register: Arc<Register>,
        ccf_id: &str,
    ) -> Self {
        Self {
            authorities,
            register,
            ccf_id: ccf_id.to_owned(),
            signers: tokio::sync::Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(&self, request: &[u8], now: OffsetDateTime) -> Bytes {
        let failure = match self.decide(request, now).await {
            Ok(response) => return response,
            Err(NoAnswer::Malformed) => OcspResponse::malformed_request(),
            Err(NoAnswer::Unauthorized) => OcspResponse::unauthorized(),
            Err(NoAnswer::Internal) => OcspResponse::internal_error(),
        };
        failure.to_der().map(Bytes::from).unwrap_or_default()
    }

    /// An answer about a certificate in good standing, and when to take a newer one.
    pub(super) async fn staple(
        &self,
        certificate: &Certificate,
        now: OffsetDateTime,
    ) -> Result<Option<Staple>, AuthorityError> {
        let standing = self
            .register
            .standing(certificate.authority, &certificate.serial);
        if standing != Standing::Good {
            return Ok(None);
        }
        let Some(signer) = self.signer(certificate.authority, now).await? else {
            return Ok(None);
        };
        let answer = || -> Result<Bytes, NoAnswer> {
            let serial: Vec<u8> = super::list::octets(&certificate.serial);
            let id = CertId {
                hash_algorithm: AlgorithmIdentifierOwned {
                    oid: SHA1_OID,
                    parameters: Some(Null.into()),
                },
                issuer_name_hash: OctetString::new(hashed(SHA1_OID, &signer.issuer_name)?)?,
                issuer_key_hash: OctetString::new(hashed(SHA1_OID, &signer.issuer_key)?)?,
                serial_number: SerialNumber::new(&serial)?,
            };
            sign(&signer, vec![(id, standing)], None, now)
        };
        let response = answer()
            .map_err(|_| AuthorityError::Material("an OCSP response cannot be made".to_owned()))?;
        Ok(Some(Staple {
            response,
            renew: now + LIFE / 2,
        }))
    }

    async fn decide(&self, request: &[u8], now: OffsetDateTime) -> Result<Bytes, NoAnswer> {
        if request.len() > REQUEST_BYTES_MAX {
            return Err(NoAnswer::Malformed);
        }
        let request = OcspRequest::from_der(request).map_err(|_| NoAnswer::Malformed)?;
        let request = request.tbs_request;
        let nonce = nonce(request.request_extensions.unwrap_or_default())?;
        let questions = request.request_list;
        if questions.is_empty() || questions.len() > QUESTIONS_MAX {
            return Err(NoAnswer::Malformed);
        }
        let mut signer = None;
        let mut ids = Vec::with_capacity(questions.len());
        for question in questions {
            let critical = question.single_request_extensions.unwrap_or_default();
            if critical.iter().any(|extension| extension.critical) {
                return Err(NoAnswer::Malformed);
            }
            let id = question.req_cert;
            let asked = self.signer_of(&id, now).await?;
            // One signature stands under one answer, so all must be certificates of one authority.
            match &signer {
                None => signer = Some(asked),
                Some(first) if first.authority == asked.authority => {}
                Some(_) => return Err(NoAnswer::Unauthorized),
            }
            ids.push(id);
        }
        let signer = signer.ok_or(NoAnswer::Malformed)?;
        let told: Vec<(CertId, Standing)> = ids
            .into_iter()
            .map(|id| {
                let serial = in_digits(id.serial_number.as_bytes());
                let standing = self.register.standing(signer.authority, &serial);
                (id, standing)
            })
            .collect();
        match told.as_slice() {
            [(id, standing)] if nonce.is_none() && *standing != Standing::Unknown => {
                let key = id.to_der()?;
                let standing = standing.clone();
                if let Some(response) = self.given(&key, &standing, now) {
                    return Ok(response);
                }
                let response = sign(&signer, told, None, now)?;
                self.keep(key, standing, now, &response);
                Ok(response)
            }
            _ => sign(&signer, told, nonce, now),
        }
    }

    /// The answer that was given last, if it is still true and not half through its life.
    fn given(&self, key: &[u8], standing: &Standing, now: OffsetDateTime) -> Option<Bytes> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(key)?;
        let counts = answer.standing == *standing && answer.at <= now && now < answer.at + LIFE / 2;
        counts.then(|| answer.response.clone())
    }

    fn keep(&self, key: Vec<u8>, standing: Standing, at: OffsetDateTime, response: &Bytes) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        let response = response.clone();
        answers.insert(
            key,
            Answer {
                standing,
                at,
                response,
            },
        );
    }

    /// Who answers for the issuer that a question names.
    async fn signer_of(&self, id: &CertId, now: OffsetDateTime) -> Result<Arc<Signer>, NoAnswer> {
        let succession = self.authorities.succession();
        let numbers: Vec<u32> = succession.all().map(|one| one.number).collect();
        for number in numbers {
            let signer = match self.signer(number, now).await {
                Ok(Some(signer)) => signer,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(authority = number, %error, "the OCSP responder has no certificate");
                    return Err(NoAnswer::Internal);
                }
            };
            let oid = id.hash_algorithm.oid;
            if hashed(oid, &signer.issuer_name)? == id.issuer_name_hash.as_bytes()
                && hashed(oid, &signer.issuer_key)? == id.issuer_key_hash.as_bytes()
            {
                return Ok(signer);
            }
        }
        Err(NoAnswer::Unauthorized)
    }

    /// The key and certificate that answer for an authority; nothing when it is retired, or its own key is gone.
    async fn signer(
        &self,
        number: u32,
        now: OffsetDateTime,
    ) -> Result<Option<Arc<Signer>>, AuthorityError> {
        if self.authorities.is_retired(number, &DateTime(now)) {
            return Ok(None);
        }
        let Some(authority) = self.authorities.at_work(number) else {
            return Ok(None);
        };
        let mut signers = self.signers.lock().await;
        if let Some(signer) = signers.get(&number)
            && signer.serves(now)
        {
            return Ok(Some(Arc::clone(signer)));
        }
        let ccf_id = self.ccf_id.clone();
        let signer = Arc::new(blocking(move || Signer::make(&authority, &ccf_id, now)).await?);
        signers.insert(number, Arc::clone(&signer));
        Ok(Some(signer))
    }
}

/// The nonce of a request. Other extensions are left alone, unless they insist.
fn nonce(extensions: Vec<Extension>) -> Result<Option<Extension>, NoAnswer> {
    let mut found = None;
    for extension in extensions {
        if extension.extn_id == NONCE {
            let nonce = OctetString::from_der(extension.extn_value.as_bytes())
                .map_err(|_| NoAnswer::Malformed)?;
            let fits = (1..=NONCE_BYTES_MAX).contains(&nonce.as_bytes().len());
            if !fits || found.is_some() {
                return Err(NoAnswer::Malformed);
            }
            found = Some(Extension {
                critical: false,
                ..extension
            });
        } else if extension.critical {
            return Err(NoAnswer::Malformed);
        }
    }
    Ok(found)
}

fn hashed(algorithm: ObjectIdentifier, octets: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let algorithm = match algorithm {
        SHA1_OID => &SHA1_FOR_LEGACY_USE_ONLY,
        SHA256_OID => &SHA256,
        _ => return Err(NoAnswer::Unauthorized),
    };
    Ok(digest(algorithm, octets).as_ref().to_vec())
}

fn sign(
    signer: &Signer,
    told: Vec<(CertId, Standing)>,
    nonce: Option<Extension>,
    now: OffsetDateTime,
) -> Result<Bytes, NoAnswer> {
    let (this_update, next_update) = (moment(now - BACKDATE)?, moment(now + LIFE)?);
    let mut responses = Vec::with_capacity(told.len());
    for (cert_id, standing) in told {
        responses.push(SingleResponse {
            cert_id,
            cert_status: status(standing)?,
            this_update,
            next_update: Some(next_update),
            single_extensions: None,
        });
    }
    let data = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByName(signer.certificate.tbs_certificate.subject.clone()),
        produced_at: moment(now)?,
        responses,
        response_extensions: nonce.map(|nonce| vec![nonce]),
    };
    let signature = signer.sign(&data.to_der()?).ok_or(NoAnswer::Internal)?;
    let response = BasicOcspResponse {
        tbs_response_data: data,
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: ECDSA_SHA256_OID,
            parameters: None,
        },
        signature: BitString::from_bytes(&signature)?,
        certs: Some(vec![signer.certificate.clone()]),
    };
    let response = OcspResponse::successful(response)?.to_der()?;
    Ok(Bytes::from(response))
}

fn status(standing: Standing) -> Result<CertStatus, NoAnswer> {
    Ok(match standing {
        Standing::Good => CertStatus::good(),
        Standing::Unknown => CertStatus::unknown(),
        Standing::Revoked(revoked) => CertStatus::revoked(RevokedInfo {
            revocation_time: moment(revoked.at.0)?,
            revocation_reason: Some(match revoked.reason {
                RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
                RevocationReason::Superseded => CrlReason::Superseded,
                RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
            }),
        }),
    })
}

fn moment(at: OffsetDateTime) -> Result<OcspGeneralizedTime, NoAnswer> {
    let seconds = u64::try_from(at.unix_timestamp()).unwrap_or_default();
    let since = std::time::Duration::from_secs(seconds);
    Ok(OcspGeneralizedTime(GeneralizedTime::from_unix_duration(
        since,
    )?))
}
