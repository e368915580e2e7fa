//! Judgement of certificate chains that were made elsewhere: whether each certificate was signed by the next, and the last by an
//! anchor (RFC 5280 section 6.1). What is not understood is refused.

use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    der_parser::Oid,
    extensions::{KeyUsage, ParsedExtension},
    oid_registry,
    prelude::FromDer,
    time::ASN1Time,
};

/// The longest chain.
const CERTIFICATES_MAX: usize = 6;

/// Takes the certificates of a PEM text apart, as DER, and nothing else.
pub(super) fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, String> {
    let blocks = pem::parse_many(pem).map_err(|error| format!("it is not PEM: {error}"))?;
    if blocks.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    if blocks.len() > CERTIFICATES_MAX {
        return Err(format!(
            "it holds more than {CERTIFICATES_MAX} certificates"
        ));
    }
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(format!(
                "it holds a `{}` where only certificates belong",
                block.tag()
            ));
        }
        all.push(block.into_contents());
    }
    Ok(all)
}

/// Reads one certificate.
pub(super) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("a certificate is malformed".to_owned()),
    }
}

/// Checks that a chain, its first certificate first, leads to one of the anchors now. An anchor may stand at its end.
pub(super) fn leads_to(
    chain: &[X509Certificate<'_>],
    anchors: &[X509Certificate<'_>],
    now: OffsetDateTime,
) -> Result<(), String> {
    let instant = ASN1Time::from(now);
    let mut below = 0;
    for (index, certificate) in chain.iter().enumerate() {
        let shown = certificate.subject();
        if !certificate.validity().is_valid_at(instant) {
            return Err(format!("the certificate of `{shown}` does not count now"));
        }
        understood(certificate)?;
        if index > 0 {
            authority(certificate, below)?;
            below += 1;
        }
        if anchors.iter().any(|anchor| anchor == certificate) {
            return match index {
                0 => Err("the first certificate is an anchor itself".to_owned()),
                _ => Ok(()),
            };
        }
        match chain.get(index + 1) {
            Some(issuer) => signed_by(certificate, issuer)?,
            None => return at_anchor(certificate, anchors, below, instant),
        }
    }
    Err("there is no certificate".to_owned())
}

fn at_anchor(
    last: &X509Certificate<'_>,
    anchors: &[X509Certificate<'_>],
    below: u32,
    instant: ASN1Time,
) -> Result<(), String> {
    let mut reason = format!("no anchor signed the certificate of `{}`", last.subject());
    for anchor in anchors {
        if anchor.subject() != last.issuer() {
            continue;
        }
        let judged = signed_by(last, anchor)
            .and_then(|()| understood(anchor))
            .and_then(|()| authority(anchor, below));
        match judged {
            Ok(()) if anchor.validity().is_valid_at(instant) => return Ok(()),
            Ok(()) => reason = format!("the anchor `{}` does not count now", anchor.subject()),
            Err(refused) => reason = refused,
        }
    }
    Err(reason)
}

/// Whether a certificate may sign others, with so many authorities below it.
pub(super) fn authority(certificate: &X509Certificate<'_>, below: u32) -> Result<(), String> {
    let shown = certificate.subject();
    let constraints = certificate
        .basic_constraints()
        .ok()
        .flatten()
        .filter(|constraints| constraints.value.ca)
        .ok_or_else(|| format!("`{shown}` is no certificate authority"))?;
    if constraints
        .value
        .path_len_constraint
        .is_some_and(|most| most < below)
    {
        return Err(format!(
            "`{shown}` allows fewer authorities below it than there are"
        ));
    }
    if usage(certificate)?.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(format!("the key of `{shown}` may not sign certificates"));
    }
    Ok(())
}

/// What the key of a certificate may be used for, if the certificate says so.
pub(super) fn usage<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<Option<&'a KeyUsage>, String> {
    certificate
        .key_usage()
        .map(|found| found.map(|usage| usage.value))
        .map_err(|_| "an extension stands there twice".to_owned())
}

/// Refuses critical extensions whose meaning would have to be obeyed.
fn understood(certificate: &X509Certificate<'_>) -> Result<(), String> {
    certificate
        .extensions_map()
        .map_err(|_| "an extension stands there twice".to_owned())?;
    for extension in certificate.extensions() {
        let known = matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::CertificatePolicies(_)
        );
        if extension.critical && !known {
            return Err(format!(
                "`{}` has a critical extension that is not understood: {}",
                certificate.subject(),
                extension.oid
            ));
        }
    }
    Ok(())
}

fn signed_by(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<(), String> {
    let shown = certificate.subject();
    if certificate.issuer() != issuer.subject() {
        return Err(format!(
            "`{shown}` names `{}` as its issuer, and `{}` follows",
            certificate.issuer(),
            issuer.subject()
        ));
    }
    let algorithm = &certificate.signature_algorithm.algorithm;
    let good: [Oid<'_>; 6] = [
        oid_registry::OID_PKCS1_SHA256WITHRSA,
        oid_registry::OID_PKCS1_SHA384WITHRSA,
        oid_registry::OID_PKCS1_SHA512WITHRSA,
        oid_registry::OID_PKCS1_RSASSAPSS,
        oid_registry::OID_SIG_ECDSA_WITH_SHA256,
        oid_registry::OID_SIG_ECDSA_WITH_SHA384,
    ];
    if !good.contains(algorithm) {
        return Err(format!(
            "`{shown}` is not signed with RSA or ECDSA and SHA-256 or better"
        ));
    }
    certificate
        .verify_signature(Some(issuer.public_key()))
        .map_err(|_| format!("`{}` did not sign `{shown}`", issuer.subject()))
}

/// One certificate as PEM.
pub(super) fn in_pem(der: &[u8]) -> String {
    let unix_lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), unix_lines)
}
