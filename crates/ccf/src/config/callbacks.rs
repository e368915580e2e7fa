//! `[callbacks]`: where notifications for API invokers may go (P-34). Nowhere, unless the operator says so.
//!
//! A destination is judged twice: by the host and port that the invoker wrote, and by the address that is about to be dialled.
//! An address that is not public (of this machine, of a private network, of a link) is dialled only if it stands in the list
//! itself, whatever name led to it.

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
    /// The trust anchors for these hosts, as a PEM file; the system's if empty.
    pub ca_file: PathBuf,
}

impl CallbacksSection {
    /// Whether a destination may be sent to at all.
    #[must_use]
    pub fn allows(&self, destination: &str) -> bool {
        Place::of(destination).is_some_and(|place| self.lets(&place))
    }

    /// Whether a place may be sent to at all.
    pub(crate) fn lets(&self, place: &Place) -> bool {
        let includes =
            |target: &Target| target.port == place.port && target.host.includes(&place.host);
        self.allow.iter().any(includes)
    }

    /// Whether an address may be dialled for a destination that is allowed.
    #[must_use]
    pub fn dials(&self, address: SocketAddr) -> bool {
        is_public(address.ip().to_canonical()) || self.lists(address)
    }

    /// Whether an address may be dialled for a host that a provider is certified for. Those may stand in private networks, where
    /// gateways do; this machine is meant only by who says so, and never a link or a group.
    #[must_use]
    pub fn dials_own(&self, host: &str, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let says_so = host == "localhost" || host.parse::<IpAddr>().is_ok();
        is_public(ip) || is_private(ip) || (ip.is_loopback() && says_so) || self.lists(address)
    }

    fn lists(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listed = |target: &Target| target.host == Host::Address(ip);
        self.allow
            .iter()
            .any(|target| target.port == address.port() && listed(target))
    }
}

/// Where a destination leads: one host and one port, over https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    host: Host,
    port: u16,
}

impl Place {
    /// Reads a destination; nothing if it can be read in more than one way.
    pub(crate) fn of(destination: &str) -> Option<Self> {
        let uri: Uri = destination.parse().ok()?;
        let authority = uri.authority()?;
        // Host and port and nothing else: no user before them, and no port that others read in another way.
        let rest = authority.as_str().strip_prefix(authority.host())?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => 443,
            None => return None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
            Some(_) => return None,
        };
        let host: Host = authority.host().parse().ok()?;
        // Whatever stands for many hosts is none to go to.
        let is_single = !matches!(host, Host::Below(_));
        (is_single && port != 0 && uri.scheme_str() == Some("https")).then_some(Self { host, port })
    }

    /// Whether it is at this host, a name or an address as certificates have them.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.host == Host::Address(address.to_canonical()),
            Err(_) => host.parse::<Host>().is_ok_and(|host| self.host == host),
        }
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
mod tests {
    use super::*;

    fn section(allow: &[&str]) -> CallbacksSection {
        CallbacksSection {
            allow: allow.iter().map(|target| target.parse().unwrap()).collect(),
            ca_file: PathBuf::new(),
        }
    }

    #[test]
    fn nothing_is_allowed_until_it_is_listed() {
        let nowhere = CallbacksSection::default();
        for destination in ["https://example.com/", "https://8.8.8.8/", "https://[::1]/"] {
            assert!(!nowhere.allows(destination), "{destination}");
        }
        assert!(!nowhere.dials("127.0.0.1:443".parse().unwrap()));
    }

    #[test]
    fn destinations_are_judged_by_scheme_host_and_port() {
        let section = section(&[
            "Hooks.example.com:443",
            "*.example.org:8443",
            "192.0.2.1:443",
            "[2001:db8::1]:443",
        ]);
        for destination in [
            "https://hooks.example.com",
            "https://hooks.example.com/x/y",
            "https://HOOKS.example.COM:443/",
            "https://a.example.org:8443/",
            "https://a.b.example.org:8443/",
            "https://192.0.2.1/",
            "https://[2001:db8::1]/",
            "https://[2001:DB8:0::1]:443/",
        ] {
            assert!(section.allows(destination), "{destination}");
        }
        for destination in [
            "",
            "hooks.example.com",
            "http://hooks.example.com/",
            "https://hooks.example.com:8443/",
            "https://hooks.example.com./",
            "https://hooks.example.com.evil.example/",
            "https://xhooks.example.com/",
            "https://example.org:8443/",
            "https://xexample.org:8443/",
            "https://a.example.org/",
            "https://hooks.example.com@evil.example/",
            "https://evil.example@hooks.example.com/",
            "https://192.0.2.2/",
            "https://0xc0.0.2.1/",
            "https://3221225985/",
            "https://192.0.513/",
            "https://[::ffff:192.0.2.2]/",
            "https://[fe80::1%25eth0]/",
            "https://a.example.org:8443.evil.example/",
            "https://a.example.org:08443x/",
            "https://*.example.org:8443/",
            "https://hooks.example.com:99999/",
            "https://hooks.example.com:/",
        ] {
            assert!(!section.allows(destination), "{destination}");
        }
        assert!(
            section.allows("https://[::ffff:192.0.2.1]/"),
            "the same address"
        );
    }

    #[test]
    fn addresses_that_are_not_public_must_be_listed_themselves() {
        let section = section(&[
            "localhost:443",
            "*.internal:443",
            "10.0.0.5:443",
            "[::1]:8443",
        ]);
        for address in [
            "8.8.8.8:443",
            "[2606:4700::1111]:443",
            "10.0.0.5:443",
            "[::1]:8443",
        ] {
            assert!(section.dials(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1:443",
            "[::1]:443",
            "10.0.0.5:80",
            "10.0.0.6:443",
            "172.16.0.1:443",
            "192.168.1.1:443",
            "169.254.169.254:443",
            "100.64.0.1:443",
            "0.0.0.0:443",
            "192.0.0.8:443",
            "198.18.0.1:443",
            "224.0.0.1:443",
            "240.0.0.1:443",
            "255.255.255.255:443",
            "[::]:443",
            "[::ffff:127.0.0.1]:443",
            "[::ffff:10.0.0.6]:443",
            "[::7f00:1]:443",
            "[64:ff9b::7f00:1]:443",
            "[fc00::1]:443",
            "[fe80::1]:443",
            "[fec0::1]:443",
            "[ff02::1]:443",
            "[2001::1]:443",
            "[2001:db8::1]:443",
            "[2002:7f00:1::]:443",
        ] {
            assert!(!section.dials(address.parse().unwrap()), "{address}");
        }
        assert!(
            section.dials("[::ffff:10.0.0.5]:443".parse().unwrap()),
            "the same address"
        );
    }

    /// P-34: what a destination could be read as by somebody else is no destination at all.
    #[test]
    fn no_spelling_leads_elsewhere() {
        let section = section(&[
            "hooks.example.com:443",
            "192.0.2.1:443",
            "[2001:db8::1]:443",
        ]);
        let forms = include_str!("callbacks_forms.txt");
        let mut count = 0;
        for form in forms.lines().filter(|line| !line.starts_with('#')) {
            assert!(!section.allows(form), "{form}");
            count += 1;
        }
        assert!(count >= 80, "{count}");
        for good in [
            "https://hooks.example.com/x",
            "https://HOOKS.example.com:443/",
            "https://192.0.2.1",
            "https://[2001:DB8:0::1]/",
        ] {
            assert!(section.allows(good), "{good}");
        }
    }

    #[test]
    fn hosts_of_providers_may_be_private_and_this_machine_if_they_say_so() {
        let section = section(&["127.0.1.1:443"]);
        for (host, address, dials) in [
            ("gateway.example", "8.8.8.8:443", true),
            ("gateway.example", "10.1.2.3:443", true),
            ("gateway.example", "192.168.1.1:8443", true),
            ("gateway.example", "100.64.0.1:443", true),
            ("gateway.example", "[fd00::1]:443", true),
            ("gateway.example", "127.0.0.1:443", false),
            ("gateway.example", "127.0.1.1:443", true),
            ("gateway.example", "127.0.1.1:444", false),
            ("gateway.example", "[::1]:443", false),
            ("gateway.example", "[::ffff:127.0.0.1]:443", false),
            ("gateway.example", "169.254.169.254:80", false),
            ("gateway.example", "0.0.0.0:443", false),
            ("gateway.example", "224.0.0.1:443", false),
            ("gateway.example", "[fe80::1]:443", false),
            ("gateway.example", "[64:ff9b::7f00:1]:443", false),
            ("localhost", "127.0.0.1:8443", true),
            ("127.0.0.1", "127.0.0.1:8443", true),
            ("::1", "[::1]:8443", true),
            ("169.254.169.254", "169.254.169.254:80", false),
            ("0.0.0.0", "0.0.0.0:80", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(section.dials_own(host, address), dials, "{host} {address}");
        }
    }

    #[test]
    fn places_are_at_hosts_as_certificates_name_them() {
        for (destination, host, is_at) in [
            ("https://Gateway.example:8443/x", "gateway.example", true),
            ("https://gateway.example/", "GATEWAY.example", true),
            ("https://gateway.example.evil/", "gateway.example", false),
            ("https://a.gateway.example/", "gateway.example", false),
            ("https://127.0.0.1:8443/", "127.0.0.1", true),
            ("https://127.0.0.1:8443/", "localhost", false),
            ("https://[::1]:8443/", "::1", true),
            ("https://[::ffff:127.0.0.1]/", "127.0.0.1", true),
        ] {
            let place = Place::of(destination).unwrap();
            assert_eq!(place.is_at(host), is_at, "{destination} {host}");
        }
    }

    #[test]
    fn targets_have_a_host_and_a_port() {
        for text in [
            "",
            "example.com",
            "example.com:",
            "example.com:0",
            "example.com:65536",
            ":443",
            "*:443",
            "*.:443",
            "a.*.example.com:443",
            "https://example.com:443",
            "example.com:443/x",
            "user@example.com:443",
            "::1:443",
            "[::1:443",
            "[example.com]:443",
            "127.1:443",
            "a..b:443",
        ] {
            assert_eq!(text.parse::<Target>(), Err(NotATarget), "{text}");
        }
    }
}
