//! `[moved]`: where the core function of this folder serves now, when that is elsewhere.

use http::{Uri, uri::Authority};
use serde::Deserialize;

/// `[moved]`: with `to`, `capif serve` sends everybody on, and does nothing else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MovedSection {
    /// The new address of CAPIF-1/1e, 3, 4 and 5, as `https://host:port`; empty if it serves here.
    pub to: String,
    /// Whether it stays there: who asks may keep the new address (308), and need not come here first each time (307).
    pub permanent: bool,
    /// The new address of the account service, as `https://host:port`; empty if there is none.
    pub accounts: String,
    /// The new address of revocation lists and OCSP, as `http://host:port`; empty if there is none.
    pub revocation: String,
}

impl MovedSection {
    /// Whether the core function serves elsewhere.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        !self.to.is_empty()
    }

    /// Says what cannot be meant. `own` is the address of this folder's core function.
    pub(super) fn check(&self, own: &str) -> Result<(), String> {
        let addresses = [
            ("to", &self.to, "https"),
            ("accounts", &self.accounts, "https"),
            ("revocation", &self.revocation, "http"),
        ];
        for (key, address, scheme) in addresses {
            if !address.is_empty() && origin(address, scheme).is_none() {
                return Err(format!(
                    "moved.{key}: give scheme, host and port and nothing else, for example {scheme}://ccf.example.com:8443"
                ));
            }
        }
        if !self.is_elsewhere() {
            let left = [&self.accounts, &self.revocation];
            return match left.iter().all(|address| address.is_empty()) && !self.permanent {
                true => Ok(()),
                false => Err(
                    "moved.to: say where the core function is now, for example https://ccf.example.com:8443"
                        .to_owned(),
                ),
            };
        }
        let to = origin(&self.to, "https");
        if to == origin(&format!("https://{own}"), "https") {
            return Err(format!(
                "moved.to: {} is this core function itself, which would send everybody round in a circle; name the new address \
                 here, and leave [moved] out of the configuration of the copy that serves there",
                self.to
            ));
        }
        Ok(())
    }

    /// The beginning of every address at the new place.
    pub(crate) fn origin(&self) -> Option<String> {
        origin(&self.to, "https")
    }

    /// The same for the account service.
    pub(crate) fn accounts_origin(&self) -> Option<String> {
        origin(&self.accounts, "https")
    }

    /// The same for revocation lists and OCSP.
    pub(crate) fn revocation_origin(&self) -> Option<String> {
        origin(&self.revocation, "http")
    }
}

/// Scheme, host and port in one spelling, of an address that has nothing else.
fn origin(address: &str, scheme: &str) -> Option<String> {
    let uri: Uri = address.parse().ok()?;
    let authority: &Authority = uri.authority()?;
    let is_plain = uri.scheme_str() == Some(scheme)
        && uri.path() == "/"
        && uri.query().is_none()
        && !authority.as_str().contains('@')
        && !address.contains('#')
        && !authority.host().is_empty();
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok().filter(|port| *port > 0)?,
        // A colon without a number names no port.
        None if authority.as_str() != authority.host() => return None,
        None if scheme == "https" => 443_u16,
        None => 80,
    };
    let host = authority.host().to_ascii_lowercase();
    is_plain.then(|| format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn of(text: &str) -> Result<Config, String> {
        Config::parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn it_serves_here_unless_it_is_said_where_else() {
        assert!(!of("").unwrap().moved.is_elsewhere());
        assert!(!of("[moved]\nto = \"\"").unwrap().moved.is_elsewhere());
        let moved = of("[moved]\nto = \"https://NEW.example\"\npermanent = true").unwrap();
        assert!(moved.moved.is_elsewhere() && moved.moved.permanent);
        assert_eq!(moved.moved.origin().unwrap(), "https://new.example:443");
        let all = of("[moved]\nto = \"https://[2001:db8::1]:8443/\"\naccounts = \"https://new.example:8084\"\n\
             revocation = \"http://crl.example\"")
        .unwrap();
        assert_eq!(all.moved.origin().unwrap(), "https://[2001:db8::1]:8443");
        assert_eq!(
            all.moved.accounts_origin().unwrap(),
            "https://new.example:8084"
        );
        assert_eq!(
            all.moved.revocation_origin().unwrap(),
            "http://crl.example:80"
        );
    }

    #[test]
    fn an_address_is_scheme_host_and_port_alone() {
        for to in [
            "new.example:8443",
            "http://new.example:8443",
            "https://",
            "https://new.example:8443/path",
            "https://new.example:8443/?x=y",
            "https://new.example:8443/#x",
            "https://user@new.example:8443",
            "https://new.example:0",
            "https://new.example:65536",
            "https://new.example:",
            "https://new example",
        ] {
            let refused = of(&format!("[moved]\nto = \"{to}\"")).unwrap_err();
            assert!(refused.contains("moved.to"), "{to}: {refused}");
        }
        let refused = of("[moved]\nto = \"https://a.example\"\nrevocation = \"https://b.example\"");
        assert!(refused.unwrap_err().contains("moved.revocation"));
        let refused = of("[moved]\npermanent = true").unwrap_err();
        assert!(refused.contains("moved.to"), "{refused}");
    }

    #[test]
    fn nobody_is_sent_in_a_circle() {
        for text in [
            "[moved]\nto = \"https://127.0.0.1:8443\"",
            "[ccf]\naddress = \"ccf.example:443\"\n[moved]\nto = \"https://CCF.example\"",
        ] {
            let refused = of(text).unwrap_err();
            assert!(refused.contains("circle"), "{refused}");
        }
    }
}
