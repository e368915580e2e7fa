//! `[callbacks]`: where notifications for API invokers may go (P-34). Nowhere, unless the operator says so.
//!
//! A destination is judged twice: by the host and port that the invoker wrote, and by the address that is about to be dialled.
//! An address that is not public (of this machine, of a private network, of a link) is dialled only if it stands in the list
//! itself, whatever name led to it. There is one list for https and one for http, and neither stands for the other.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use http::Uri;
use serde::{Deserialize, Deserializer, de::Error as _};

/// `[callbacks]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbacksSection {
    /// Hosts and ports: `host:port`, `*.example.com:443` for every name below, `192.0.2.1:443`, `[2001:db8::1]:443`.
    pub allow: Vec<Target>,
    /// The same for http, without TLS, where deployed receivers know nothing else. What this weakens stands in `docs/OPERATIONS.md`.
    pub insecure_http: Vec<Target>,
    /// The trust anchors for these hosts, as a PEM file; the system's if empty.
    pub ca_file: PathBuf,
}

impl CallbacksSection {
    /// Whether a place may be sent to at all.
    pub(crate) fn lets(&self, place: &Place) -> bool {
        let list = if place.is_secure {
            &self.allow
        } else {
            &self.insecure_http
        };
        let includes =
            |target: &Target| target.port == place.port && target.host.includes(&place.host);
        list.iter().any(includes)
    }

    /// Whether an address may be dialled for a destination that is allowed.
    #[must_use]
    pub fn dials(&self, address: SocketAddr) -> bool {
        is_public(address.ip().to_canonical()) || lists(&self.allow, address)
    }

    /// The same for one that is allowed without TLS.
    #[must_use]
    pub fn dials_insecurely(&self, address: SocketAddr) -> bool {
        is_public(address.ip().to_canonical()) || lists(&self.insecure_http, address)
    }

    /// Whether an address may be dialled for a host that a provider is certified for. Those may stand in private networks, where
    /// gateways do; this machine is meant only by who says so, and never a link or a group.
    #[must_use]
    pub fn dials_own(&self, host: &str, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let says_so = host == "localhost" || host.parse::<IpAddr>().is_ok();
        is_public(ip)
            || is_private(ip)
            || (ip.is_loopback() && says_so)
            || lists(&self.allow, address)
    }
}

/// Whether an address stands in a list itself.
fn lists(list: &[Target], address: SocketAddr) -> bool {
    let host = Host::Address(address.ip().to_canonical());
    list.iter()
        .any(|target| target.port == address.port() && target.host == host)
}

/// Where a destination leads: one host and one port, over https or without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    is_secure: bool,
    host: Host,
    port: u16,
}

impl Place {
    /// Reads a destination; nothing if it can be read in more than one way.
    pub(crate) fn of(destination: &str) -> Option<Self> {
        let uri: Uri = destination.parse().ok()?;
        let authority = uri.authority()?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        // Host and port and nothing else: no user before them, and no port that others read in another way.
        let rest = authority.as_str().strip_prefix(authority.host())?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() && is_secure => 443,
            None if rest.is_empty() => 80,
            None => return None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
            Some(_) => return None,
        };
        let host: Host = authority.host().parse().ok()?;
        // Whatever stands for many hosts is none to go to.
        let is_single = !matches!(host, Host::Below(_));
        (is_single && port != 0).then_some(Self {
            is_secure,
            host,
            port,
        })
    }

    /// Whether it is reached over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Whether it is at this host, a name or an address as certificates have them.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.host == Host::Address(address.to_canonical()),
            Err(_) => host.parse::<Host>().is_ok_and(|host| self.host == host),
        }
    }
}

/// As the operator would list it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A host, or all below a domain, with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In small letters.
    Name(String),
    /// The domain, with a dot before it.
    Below(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "*{domain}"),
        }
    }
}

impl Host {
    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Below(domain), Self::Name(name)) => name.ends_with(domain.as_str()),
            _ => self == other,
        }
    }
}

/// A text is no host with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATarget;

impl fmt::Display for NotATarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "give host and port, like `hooks.example.com:443`, `*.example.com:443`, `192.0.2.1:443` or `[2001:db8::1]:443`",
        )
    }
}

impl std::error::Error for NotATarget {}

impl FromStr for Host {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').ok_or(NotATarget)?;
            let address: Ipv6Addr = address.parse().map_err(|_| NotATarget)?;
            return Ok(Self::Address(IpAddr::from(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| !label.is_empty() && label.bytes().all(plain);
        let domain = name.strip_prefix("*.");
        let labels = domain.unwrap_or(&name);
        // What ends in a number would be read as an address by some (RFC 1738 section 3.1).
        let numeric = |last: &str| last.starts_with(|first: char| first.is_ascii_digit());
        if !labels.split('.').all(label) || labels.rsplit('.').next().is_none_or(numeric) {
            return Err(NotATarget);
        }
        Ok(match domain {
            Some(domain) => Self::Below(format!(".{domain}")),
            None => Self::Name(name),
        })
    }
}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let (host, port) = text.rsplit_once(':').ok_or(NotATarget)?;
        let port: u16 = port.parse().map_err(|_| NotATarget)?;
        if port == 0 {
            return Err(NotATarget);
        }
        Ok(Self {
            host: host.parse()?,
            port,
        })
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Whether an address belongs to a private network (RFC 1918, RFC 6598, RFC 4193).
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// Whether an address belongs to the public internet, as far as its registries say (RFC 6890, RFC 4291 section 2.5.4).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || address.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a, b, c) == (192, 0, 0)
                || (a, b, c) == (192, 88, 99)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            // Global unicast is 2000::/3; what is cut out are protocol assignments, tunnels to IPv4, and documentation.
            (0x2000..0x4000).contains(&a)
                && !(a == 0x2001 && b < 0x0200)
                && !(a == 0x2001 && b == 0x0db8)
                && a != 0x2002
                && !(a == 0x3fff && b < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests;
