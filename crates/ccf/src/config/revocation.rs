//! `[revocation]`: where others learn which certificates were revoked.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[revocation]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationSection {
    /// The socket for revocation lists and OCSP; plain HTTP, since what it serves is signed.
    pub listen: SocketAddr,
    /// Host and port under which others reach that socket; the socket itself if empty.
    pub address: String,
}

impl Default for RevocationSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8481)),
            address: String::new(),
        }
    }
}

impl RevocationSection {
    /// Says what is missing.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.address.is_empty() {
            return if self.listen.ip().is_unspecified() {
                Err(format!(
                    "revocation.address: certificates name it, and {} is no address that others can reach: give host and port",
                    self.listen
                ))
            } else {
                Ok(())
            };
        }
        // Host and port and nothing else, as they stand in an address.
        let address = format!("http://{}/", self.address);
        let fits = address.parse::<http::Uri>().is_ok_and(|uri| {
            uri.path() == "/"
                && uri.host().is_some()
                && !self.address.contains(['/', '@', '?', '#'])
        });
        if fits {
            Ok(())
        } else {
            Err("revocation.address: give host and port, for example crl.example.com:80".to_owned())
        }
    }

    /// Whether only this machine reaches the listener.
    pub(super) fn is_of_this_machine(&self) -> bool {
        self.address.is_empty() && self.listen.ip().is_loopback()
    }

    /// The beginning of the addresses below which everything is.
    pub(super) fn base(&self) -> String {
        if self.address.is_empty() {
            format!("http://{}", self.listen)
        } else {
            format!("http://{}", self.address)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn certificates_name_addresses_that_others_reach() {
        let of = |text: &str| Config::parse(text).unwrap().distribution();
        assert_eq!(of(""), "http://127.0.0.1:8481");
        let named = "[ccf]\naddress = \"ccf.example:8443\"\n";
        assert_eq!(of(named), "");
        assert_eq!(of("[ccf]\nlisten = \"192.0.2.1:8443\""), "");
        let both = format!("{named}[revocation]\naddress = \"crl.example:80\"");
        assert_eq!(of(&both), "http://crl.example:80");
        let socket = format!("{named}[revocation]\nlisten = \"192.0.2.1:8481\"");
        assert_eq!(of(&socket), "http://192.0.2.1:8481");
    }

    #[test]
    fn an_address_that_nobody_can_use_is_refused() {
        for text in [
            "listen = \"0.0.0.0:8481\"",
            "listen = \"[::]:8481\"",
            "address = \"http://crl.example\"",
            "address = \"crl.example/path\"",
            "address = \"a b\"",
            "address = \"user@crl.example\"",
        ] {
            let error = Config::parse(&format!("[revocation]\n{text}")).unwrap_err();
            assert!(error.to_string().contains("revocation.address"), "{error}");
        }
        Config::parse("[revocation]\nlisten = \"0.0.0.0:1\"\naddress = \"[2001:db8::1]:80\"")
            .unwrap();
    }
}
