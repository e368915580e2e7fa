//! Addresses, ports and network slices.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::checked::{Checked, Violation, exactly_one};

/// A TCP or UDP port (TS 29.122 table 5.2.1.3.2-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(pub u16);

impl From<u16> for Port {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

object! {
    /// A range of IPv4 addresses, both ends included (TS 29.571).
    ///
    /// TS 29.510, which the routing rules of TS 29.222 point to, has the same type with both ends optional; a range with
    /// one end has no meaning that either document gives, so that both ends are asked for.
    pub struct Ipv4AddressRange {
        /// The first address.
        pub start: String,
        /// The last address.
        pub end: String,
    }
}

impl Checked for Ipv4AddressRange {
    fn check(&self) -> Result<(), Violation> {
        range(&self.start, &self.end, |text| {
            text.parse::<Ipv4Addr>().is_ok()
        })
    }
}

object! {
    /// A range of IPv6 addresses, both ends included (TS 29.222 clause 8.10.4.2, TS 29.571).
    pub struct Ipv6AddressRange {
        /// The first address.
        pub start: String,
        /// The last address.
        pub end: String,
    }
}

impl Checked for Ipv6AddressRange {
    fn check(&self) -> Result<(), Violation> {
        range(&self.start, &self.end, is_ipv6)
    }
}

/// Whether a text is an IPv6 address as RFC 5952 section 4 writes it: small letters, no zeros in front, no IPv4 address within.
fn is_ipv6(text: &str) -> bool {
    let small = |byte: u8| byte.is_ascii_digit() || b"abcdef:".contains(&byte);
    let short = |group: &str| group.len() < 2 || !group.starts_with('0');
    text.parse::<Ipv6Addr>().is_ok() && text.bytes().all(small) && text.split(':').all(short)
}

fn range(start: &str, end: &str, is_address: fn(&str) -> bool) -> Result<(), Violation> {
    for (member, text) in [("start", start), ("end", end)] {
        if !is_address(text) {
            return Err(Violation::new(
                format!("/{member}"),
                format!("`{member}` is an IP address"),
            ));
        }
    }
    Ok(())
}

object! {
    /// A network slice, in exactly one of three forms (TS 29.435).
    #[derive(Default)]
    pub struct NetSliceId {
        /// By single network slice selection assistance information.
        pub snssai: Option<Snssai>,
        /// By network slice instance.
        pub nsi_id: Option<String>,
        /// By external network slice information (TS 33.501).
        pub ensi: Option<String>,
    }
}

impl Checked for NetSliceId {
    fn check(&self) -> Result<(), Violation> {
        exactly_one(&[
            ("snssai", self.snssai.is_some()),
            ("nsiId", self.nsi_id.is_some()),
            ("ensi", self.ensi.is_some()),
        ])?;
        match self.snssai.as_ref().and_then(|snssai| snssai.sd.as_ref()) {
            Some(sd) if sd.len() != 6 || !sd.bytes().all(|byte| byte.is_ascii_hexdigit()) => Err(
                Violation::new("/snssai/sd", "`sd` is six hexadecimal digits"),
            ),
            _ => Ok(()),
        }
    }
}

object! {
    /// Single network slice selection assistance information (TS 29.571 clause 5.4.4.2).
    pub struct Snssai {
        /// The slice or service type.
        pub sst: u8,
        /// The slice differentiator, six hexadecimal digits.
        pub sd: Option<String>,
    }
}
