//! Records that are chained: each is kept with its number and with a digest over the link before it, that number and its own
//! text, so that whoever recomputes the digests from a link that was noted earlier finds every edit, gap and exchange since.
//!
//! The numbers of a chain are 1, 2, 3 and so on. What was pruned from its beginning is stood for by one record under the number
//! zero, whose place in the chain is that of the last record pruned.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::random::push_hex;

/// The digits of a number in an id.
const DIGITS: usize = 20;

/// Room for what stands around a record.
const WRAPPING_BYTES: usize = 128;

/// The id under which the place of the last pruned record is kept.
pub(crate) const BASE_ID: &str = "00000000000000000000";

/// A place in a chain: the number of a record and the digest over everything up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The number of the record; zero before the first one.
    pub sequence: u64,
    /// The digest; all zero before the first record.
    pub digest: [u8; 32],
}

/// A text is not a place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no link: it is the number of a record, a space and 64 hexadecimal digits")]
pub struct NotALink;

impl Link {
    /// The place of the record that follows.
    #[must_use]
    pub fn next(&self, record: &[u8]) -> Self {
        let sequence = self.sequence.saturating_add(1);
        let mut context = Context::new(&SHA256);
        context.update(&self.digest);
        context.update(&sequence.to_be_bytes());
        context.update(record);
        let mut digest = [0; 32];
        for (place, octet) in digest.iter_mut().zip(context.finish().as_ref()) {
            *place = *octet;
        }
        Self { sequence, digest }
    }

    /// The digest as hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut digits = String::with_capacity(2 * self.digest.len());
        push_hex(&mut digits, &self.digest);
        digits
    }

    /// Reads a number and a digest.
    ///
    /// # Errors
    /// When the digest is not 64 hexadecimal digits.
    pub fn parse(sequence: u64, hex: &str) -> Result<Self, NotALink> {
        // Each octet by itself: the number parser below would take a sign for a digit.
        if hex.len() != 64 || !hex.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(NotALink);
        }
        let mut digest = [0; 32];
        for (index, octet) in digest.iter_mut().enumerate() {
            let digits = hex.get(index * 2..index * 2 + 2).ok_or(NotALink)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| NotALink)?;
        }
        Ok(Self { sequence, digest })
    }

    /// The id under which the record of this place is kept.
    pub(crate) fn id(&self) -> String {
        id(self.sequence)
    }

    /// A record as it is kept at this place.
    pub(crate) fn wrap(&self, record: &[u8]) -> Vec<u8> {
        let (sequence, link) = (self.sequence, self.hex());
        let mut value = Vec::with_capacity(record.len() + WRAPPING_BYTES);
        value.extend_from_slice(b"{\"sequence\":");
        value.extend_from_slice(sequence.to_string().as_bytes());
        value.extend_from_slice(b",\"link\":\"");
        value.extend_from_slice(link.as_bytes());
        value.extend_from_slice(b"\",\"record\":");
        value.extend_from_slice(record);
        value.push(b'}');
        value
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sequence, self.hex())
    }
}

impl std::str::FromStr for Link {
    type Err = NotALink;

    fn from_str(text: &str) -> Result<Self, NotALink> {
        let (sequence, hex) = text.trim_end().split_once(' ').ok_or(NotALink)?;
        Self::parse(sequence.parse().map_err(|_| NotALink)?, hex)
    }
}

/// The id of a number: twenty digits hold every one, so that the order of the ids is that of the numbers.
pub(crate) fn id(sequence: u64) -> String {
    format!("{sequence:0DIGITS$}")
}

/// A chained record as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chained {
    /// Its number.
    pub sequence: u64,
    /// The digest over the link before it, its number and its text.
    pub link: String,
    /// The record, to the letter.
    pub record: Box<RawValue>,
}

impl Chained {
    /// The place that the record claims.
    ///
    /// # Errors
    /// When its digest is none.
    pub fn claimed(&self) -> Result<Link, NotALink> {
        Link::parse(self.sequence, &self.link)
    }
}
