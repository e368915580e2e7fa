//! Addresses of the form `host:port`.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::error::Error;

/// A host and a port: `ccf.example:8443`, `192.0.2.7:8443` or `[2001:db8::7]:8443`. Nothing else is an address: no
/// scheme, no path, no user, no default port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    authority: String,
}

impl Address {
    /// As a host name in a service API description, whose port may be left out.
    pub(crate) fn with_default_port(text: &str, port: u16) -> Result<Self, Error> {
        if text.contains(':') {
            text.parse()
        } else {
            format!("{text}:{port}").parse()
        }
    }

    pub(crate) fn v6(address: &str, port: u16) -> Result<Self, Error> {
        format!("[{address}]:{port}").parse()
    }

    /// As the authority part of a URI, in lower case.
    pub(crate) fn as_str(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |reason: &'static str| Error::Malformed {
            what: "address",
            reason: format!("{reason}; it must read `host:port`, with IPv6 addresses in brackets"),
        };
        if text.len() > 300 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused(
                "it is too long or holds blanks or special characters",
            ));
        }
        if text.contains("://") {
            return Err(refused("it begins with a scheme"));
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| refused("the port is missing"))?;
        let port =
            port_of(port).ok_or_else(|| refused("the port is not a number from 1 to 65535"))?;
        let authority = if let Some(host) = host.strip_prefix('[') {
            let host = host
                .strip_suffix(']')
                .ok_or_else(|| refused("the bracket is not closed"))?;
            let host: Ipv6Addr = host
                .parse()
                .map_err(|_| refused("there is no IPv6 address in the brackets"))?;
            format!("[{host}]:{port}")
        } else if host.parse::<Ipv4Addr>().is_ok() || is_name(host) {
            format!("{}:{port}", host.to_ascii_lowercase())
        } else {
            return Err(refused("the host is neither a name nor an IP address"));
        };
        Ok(Self { authority })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

fn port_of(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

/// A host name (RFC 1123 section 2.1). The last label of a name holds a letter, so that a mistyped IPv4 address is none.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.split('.').all(label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !last.starts_with("0x")
        && !last.starts_with("0X")
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn accepts_names_and_addresses_with_a_port() {
        for (text, authority) in [
            ("ccf.example:8443", "ccf.example:8443"),
            ("CCF.Example:1", "ccf.example:1"),
            ("localhost:65535", "localhost:65535"),
            ("my_ccf:443", "my_ccf:443"),
            ("127.0.0.1:8443", "127.0.0.1:8443"),
            ("[::1]:8443", "[::1]:8443"),
            ("[2001:DB8:0:0::7]:443", "[2001:db8::7]:443"),
        ] {
            assert_eq!(
                text.parse::<Address>().unwrap().as_str(),
                authority,
                "{text}"
            );
        }
        let address = Address::with_default_port("gw.example", 443).unwrap();
        assert_eq!(address.as_str(), "gw.example:443");
        let address = Address::with_default_port("gw.example:9443", 443).unwrap();
        assert_eq!(address.as_str(), "gw.example:9443");
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ":",
            ":8443",
            "ccf.example",
            "ccf.example:",
            "ccf.example:0",
            "ccf.example:08443",
            "ccf.example:65536",
            "ccf.example:+443",
            "ccf.example:-1",
            "ccf.example:https",
            "https://ccf.example:443",
            "ccf.example:443/",
            "user@ccf.example:443",
            "ccf.example :443",
            " ccf.example:443",
            "ccf.example:443\n",
            "::1:8443",
            "[::1]",
            "[::1:8443",
            "[]:1",
            "[::1%eth0]:1",
            "[127.0.0.1]:1",
            "1.2.3:443",
            "1.2.3.4.5:443",
            "256.1.1.1:443",
            "0x7f000001:443",
            "-ccf.example:443",
            "ccf-.example:443",
            "ccf..example:443",
            ".example:443",
            "example.:443",
            "c\u{e9}f.example:443",
            "ccf.example:443:443",
            "a?b:443",
            "a#b:443",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        assert!(
            format!("{}:443", "a".repeat(64))
                .parse::<Address>()
                .is_err()
        );
        assert!(
            format!("{}:443", ["a"; 130].join("."))
                .parse::<Address>()
                .is_err()
        );
    }
}
