//! Random values, all from the cryptographic generator of the operating system's seed.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_procedures::state::Digest;
use capif_spec::common::Redacted;

/// The generator failed; nothing secret may be made.
#[derive(Debug, thiserror::Error)]
#[error("the random number generator failed")]
pub struct NoRandomness;

/// Random octets.
pub(crate) fn octets<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| NoRandomness)?;
    Ok(octets)
}

/// An identifier of 128 random bits that nobody can guess, with a prefix that tells people what it names.
pub(crate) fn id(prefix: &str) -> Result<String, NoRandomness> {
    let octets = octets::<16>()?;
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(format!("{prefix}{digits}"))
}

/// A secret of 256 random bits with its digest (R-6.1-13).
pub(crate) fn secret() -> Result<(Redacted, Digest), NoRandomness> {
    let secret = BASE64_URL_SAFE_NO_PAD.encode(octets::<32>()?);
    let digest = sha256(secret.as_bytes());
    Ok((Redacted::from(secret), digest))
}

/// The SHA-256 digest of some octets.
pub(crate) fn sha256(octets: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    let mut out = [0; 32];
    for (place, octet) in out.iter_mut().zip(digest.as_ref()) {
        *place = *octet;
    }
    Digest::new(out)
}
