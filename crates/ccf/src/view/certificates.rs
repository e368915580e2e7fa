//! Which certificates somebody holds, by authority and serial number: as little of each as tells them apart, since there are several
//! for each entity.

use std::{borrow::Cow, collections::HashSet};

use capif_procedures::state::{Certificate, Renewal};

/// The longest serial number in octets (RFC 5280 section 4.1.2.2).
const SERIAL_OCTETS: usize = 20;

/// A certificate, by the number of its authority and its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    authority: u32,
    serial: [u8; SERIAL_OCTETS],
}

impl Name {
    /// The certificate of this serial number in hexadecimal digits; nothing where that is no serial number.
    pub(crate) fn new(authority: u32, digits: &str) -> Option<Self> {
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut serial = [0; SERIAL_OCTETS];
        let digits = digits.trim_start_matches('0').as_bytes();
        let mut places = serial.iter_mut().rev();
        for pair in digits.rchunks(2) {
            let place = places.next()?;
            *place = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self { authority, serial })
    }

    /// The name of a certificate.
    pub(crate) fn of(certificate: &Certificate) -> Option<Self> {
        Self::new(certificate.authority, &serial_of(certificate))
    }
}

/// The serial number of a certificate in hexadecimal digits.
pub(crate) fn serial_of(certificate: &Certificate) -> Cow<'_, str> {
    if !certificate.serial.is_empty() {
        return Cow::Borrowed(&certificate.serial);
    }
    // An earlier version did not write it down.
    let pem = certificate.pem.to_string();
    let block = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok();
    let certificate = block
        .as_ref()
        .and_then(|(_, block)| block.parse_x509().ok());
    let octets = certificate
        .as_ref()
        .map(|certificate| certificate.raw_serial());
    let digits = octets.unwrap_or_default().iter();
    digits.map(|octet| format!("{octet:02x}")).collect()
}

/// The certificates that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Certificates(HashSet<Name>);

impl Certificates {
    /// Somebody holds these.
    pub(super) fn add(&mut self, certificate: &Certificate, renewal: &Renewal) {
        self.0.extend(names(certificate, renewal));
    }

    /// Nobody holds these any more.
    pub(super) fn remove(&mut self, certificate: &Certificate, renewal: &Renewal) {
        for name in names(certificate, renewal) {
            self.0.remove(&name);
        }
    }

    pub(super) fn contains(&self, name: &Name) -> bool {
        self.0.contains(name)
    }
}

/// The certificate in use, the one to come, and those that count for a while yet.
fn names<'a>(
    certificate: &'a Certificate,
    renewal: &'a Renewal,
) -> impl Iterator<Item = Name> + use<'a> {
    let successor = renewal.successor.iter().map(|next| &next.certificate);
    let retiring = renewal.retiring.iter().map(|old| &old.certificate);
    std::iter::once(certificate)
        .chain(successor)
        .chain(retiring)
        .filter_map(Name::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a number is written, it is one number; what is none names nothing.
    #[test]
    fn numbers_are_told_apart_by_their_value() {
        let name = |digits: &str| Name::new(1, digits);
        assert_eq!(name("0a"), name("A"));
        assert_eq!(name("000a"), name("a"));
        assert_ne!(name("a"), name("a0"));
        assert_ne!(name("a"), Name::new(2, "a"));
        assert_eq!(name("0"), name("00"));
        assert!(name(&"f".repeat(40)).is_some());
        assert_eq!(
            name(&format!("00{}", "f".repeat(40))),
            name(&"f".repeat(40))
        );
        for none in [
            "f".repeat(41),
            String::new(),
            "x".to_owned(),
            "+1".to_owned(),
            "1 ".to_owned(),
            "\u{e4}1".to_owned(),
        ] {
            assert_eq!(name(&none), None, "{none}");
        }
    }
}
