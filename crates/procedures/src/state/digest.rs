//! Digests: comparison takes the same time wherever the difference lies.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A SHA-256 digest, written as 64 hexadecimal digits. Comparison takes the same time wherever the difference lies.
#[derive(Clone)]
pub struct Digest([u8; 32]);

/// The digits of a digest.
const DIGITS: usize = 64;

impl Digest {
    /// The digest with these octets.
    #[must_use]
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The digest of some octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
        let mut out = [0; 32];
        for (place, octet) in out.iter_mut().zip(digest.as_ref()) {
            *place = *octet;
        }
        Self(out)
    }

    /// The hexadecimal digits.
    fn digits(&self) -> [u8; DIGITS] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let halves = self.0.iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
        let mut digits = [b'0'; DIGITS];
        for (digit, half) in digits.iter_mut().zip(halves) {
            *digit = HEX.get(usize::from(half)).copied().unwrap_or(b'0');
        }
        digits
    }

    /// The octets, as tokens write them: base64url without padding (RFC 8705 section 3.1).
    #[must_use]
    pub fn to_base64url(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> [u8; 32] {
        self.0
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DigestVisitor)
    }
}

struct DigestVisitor;

impl Visitor<'_> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("64 hexadecimal digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        let digits: &[u8; DIGITS] = text
            .as_bytes()
            .try_into()
            .map_err(|_| E::invalid_length(text.len(), &self))?;
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let half = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    b'A'..=b'F' => digit - b'A' + 10,
                    _ => {
                        let other = de::Unexpected::Other("other characters");
                        return Err(E::invalid_value(other, &self));
                    }
                };
                *octet = *octet << 4 | half;
            }
        }
        Ok(Digest(octets))
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Digest {}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Holds because they are digits.
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}
