//! Random values, all from the cryptographic generator of the operating system's seed.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_procedures::state::Digest;
use capif_spec::common::Redacted;
use zeroize::Zeroizing;

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
    let mut id = String::with_capacity(prefix.len() + 2 * octets.len());
    id.push_str(prefix);
    push_hex(&mut id, &octets);
    Ok(id)
}

/// Writes octets as hexadecimal digits.
pub(crate) fn push_hex(text: &mut String, octets: &[u8]) {
    let halves = octets.iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
    text.extend(halves.filter_map(|half| char::from_digit(u32::from(half), 16)));
}

/// The octets of a secret of 256 random bits (R-6.1-13).
pub(crate) fn secret() -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
    octets().map(Zeroizing::new)
}

/// A secret in the text that its holder sends.
pub(crate) fn secret_text(octets: &[u8; 32]) -> Redacted {
    Redacted::from(BASE64_URL_SAFE_NO_PAD.encode(octets))
}

/// The SHA-256 digest of some octets.
pub(crate) fn sha256(octets: &[u8]) -> Digest {
    Digest::of(octets)
}
