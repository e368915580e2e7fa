//! Judgement of the public keys that others send: form, strength and, for a request, possession of the private half.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use capif_procedures::{refusal::Refusal, state::PublicKey};
use x509_parser::{
    certification_request::X509CertificationRequest,
    der_parser::Oid,
    oid_registry,
    prelude::FromDer,
    public_key::{PublicKey as ParsedKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use crate::random::sha256;

/// The longest text that is looked at.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Judges a PKCS#10 request or a SubjectPublicKeyInfo, both PEM (D-22). RSA from 2048 to 8192 bits, P-256 and P-384 pass;
/// a request must carry a good signature by that key, made with SHA-256 or better.
///
/// # Errors
/// Says what is wrong with the key and what would pass.
pub fn judge(text: &str) -> Result<PublicKey, Refusal> {
    let refuse = |reason: &str| Err(Refusal::PublicKey(reason.to_owned()));
    if text.len() > TEXT_BYTES_MAX {
        return refuse("it is longer than any key could be");
    }
    let blocks = pem::parse_many(text).unwrap_or_default();
    let [block] = blocks.as_slice() else {
        return refuse(
            "send exactly one PEM block: a PKCS#10 `CERTIFICATE REQUEST` or a `PUBLIC KEY`",
        );
    };
    match block.tag() {
        tag if REQUESTS.contains(&tag) => of_request(block.contents()),
        "PUBLIC KEY" => {
            let Ok((rest, key)) = SubjectPublicKeyInfo::from_der(block.contents()) else {
                return refuse("it is not a SubjectPublicKeyInfo");
            };
            if !rest.is_empty() {
                return refuse("there are octets after the key");
            }
            of_key(&key)
        }
        _ if block.tag().contains("PRIVATE KEY") => refuse(
            "this is a private key, which must never leave its owner: make a new key pair and send its public half",
        ),
        _ => refuse("the PEM block must be a `CERTIFICATE REQUEST` or a `PUBLIC KEY`"),
    }
}

/// Whether a text that was judged good is a request, whose signature proves possession of the private key (R-U-04).
#[must_use]
pub fn is_request(text: &str) -> bool {
    pem::parse(text).is_ok_and(|block| REQUESTS.contains(&block.tag()))
}

/// The tags of a PKCS#10 request (RFC 7468 section 7).
const REQUESTS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

fn of_request(der: &[u8]) -> Result<PublicKey, Refusal> {
    let refuse = |reason: &str| Err(Refusal::PublicKey(reason.to_owned()));
    let Ok((rest, request)) = X509CertificationRequest::from_der(der) else {
        return refuse("it is not a PKCS#10 request");
    };
    if !rest.is_empty() {
        return refuse("there are octets after the request");
    }
    let algorithm = &request.signature_algorithm.algorithm;
    let good = [
        oid_registry::OID_PKCS1_SHA256WITHRSA,
        oid_registry::OID_PKCS1_SHA384WITHRSA,
        oid_registry::OID_PKCS1_SHA512WITHRSA,
        oid_registry::OID_PKCS1_RSASSAPSS,
        oid_registry::OID_SIG_ECDSA_WITH_SHA256,
        oid_registry::OID_SIG_ECDSA_WITH_SHA384,
    ];
    if !good.contains(algorithm) {
        return refuse("sign the request with SHA-256 or SHA-384");
    }
    let key = of_key(&request.certification_request_info.subject_pki)?;
    if request.verify_signature().is_err() {
        return refuse("the signature of the request does not prove possession of the private key");
    }
    Ok(key)
}

fn of_key(key: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, Refusal> {
    let refuse = |reason: &str| Err(Refusal::PublicKey(reason.to_owned()));
    let algorithm: &'static dyn VerificationAlgorithm =
        if key.algorithm.algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve: Option<Oid<'_>> = key
                .algorithm
                .parameters
                .as_ref()
                .and_then(|parameters| parameters.as_oid().ok());
            match curve {
                Some(curve) if curve == oid_registry::OID_EC_P256 => &ECDSA_P256_SHA256_ASN1,
                Some(curve) if curve == oid_registry::OID_NIST_EC_P384 => &ECDSA_P384_SHA384_ASN1,
                _ => return refuse("use the curve P-256 or P-384"),
            }
        } else if key.algorithm.algorithm == oid_registry::OID_PKCS1_RSAENCRYPTION {
            &RSA_PKCS1_2048_8192_SHA256
        } else {
            return refuse("use RSA of at least 2048 bits, or ECDSA on P-256 or P-384");
        };
    // The library checks that a point lies on its curve; the size of a modulus it checks only when it verifies.
    let sound = ParsedPublicKey::new(algorithm, &key.subject_public_key.data).is_ok()
        && rcgen::SubjectPublicKeyInfo::from_der(key.raw).is_ok()
        && match key.parsed() {
            Ok(ParsedKey::RSA(rsa)) => is_strong(&rsa),
            // Uncompressed alone: other forms are not read by everyone who verifies (RFC 5480 section 2.2).
            Ok(ParsedKey::EC(point)) => point.data().first() == Some(&4),
            _ => false,
        };
    if !sound {
        return refuse("use RSA of at least 2048 bits, or a valid point of P-256 or P-384");
    }
    Ok(PublicKey {
        spki: key.raw.to_vec(),
        digest: sha256(key.raw),
    })
}

/// A modulus of 2048 to 8192 bits, and an odd exponent of 65537 or more that fits 64 bits (TS 33.310 clause 6.1.1, FIPS 186-5
/// section 5.1).
fn is_strong(key: &RSAPublicKey<'_>) -> bool {
    let modulus = key.modulus.iter().skip_while(|octet| **octet == 0);
    let octets = modulus.clone().count();
    let leading = modulus
        .clone()
        .next()
        .map_or(8, |octet| octet.leading_zeros());
    let bits = (octets * 8).saturating_sub(leading as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|octet| octet & 1 == 1);
    (2048..=8192).contains(&bits)
        && odd(key.modulus)
        && odd(key.exponent)
        && key.try_exponent().is_ok_and(|exponent| exponent >= 65537)
}
