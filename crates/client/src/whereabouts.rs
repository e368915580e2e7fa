//! Where the core function is: it may send those who ask on to another address (TS 29.500 clause 6.10.9), for the time being
//! (307) or for good (308). What it says for good is remembered.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode, Uri, header};

use crate::address::Address;

/// How often one request is sent on.
pub(crate) const REDIRECTS_MAX: usize = 3;

/// How many addresses of before are remembered.
const FORMER_MAX: usize = 16;

/// Where the core function is reached: one for all who speak to it for the same holder, so that what one of them hears counts
/// for all.
#[derive(Clone)]
pub(crate) struct Whereabouts {
    now: Arc<ArcSwap<Address>>,
    /// The address that is in the keystore, or was tried to be put there.
    kept: Arc<ArcSwap<Address>>,
}

impl From<Address> for Whereabouts {
    fn from(address: Address) -> Self {
        let address = Arc::new(address);
        Self {
            now: Arc::new(ArcSwap::new(Arc::clone(&address))),
            kept: Arc::new(ArcSwap::new(address)),
        }
    }
}

impl Whereabouts {
    pub(crate) fn now(&self) -> Address {
        Address::clone(&self.now.load())
    }

    /// The core function is elsewhere for good.
    pub(crate) fn move_to(&self, address: &Address) {
        if **self.now.load() != *address {
            tracing::info!(from = %self.now(), to = %address, "the CAPIF core function has moved");
            self.now.store(Arc::new(address.clone()));
        }
    }

    /// The address to be put into the keystore, if it is not there yet; it is said once.
    pub(crate) fn news(&self) -> Option<Address> {
        let now = self.now.load_full();
        let kept = self.kept.swap(Arc::clone(&now));
        (now != kept).then(|| Address::clone(&now))
    }

    /// Follows the keystore, into which another process may have put another address.
    pub(crate) fn follow(&self, kept: &Address) {
        if **self.kept.load() != *kept {
            let kept = Arc::new(kept.clone());
            self.now.store(Arc::clone(&kept));
            self.kept.store(kept);
        }
    }
}

/// Takes down a new address, and by which one it was known before.
pub(crate) fn remember(address: &mut String, former: &mut Vec<String>, now: &Address) {
    if *address == now.as_str() {
        return;
    }
    let before = std::mem::replace(address, now.to_string());
    former.retain(|known| known != now.as_str() && *known != before);
    former.push(before);
    if former.len() > FORMER_MAX {
        former.remove(0);
    }
}

/// Whether an answer sends on with the same method and body (RFC 9110 sections 15.4.8 and 15.4.9); for good, or not.
pub(crate) fn sends_on(status: StatusCode) -> Option<bool> {
    match status {
        StatusCode::TEMPORARY_REDIRECT => Some(false),
        StatusCode::PERMANENT_REDIRECT => Some(true),
        _ => None,
    }
}

/// The address that an answer sends on to. It has to be the same resource, over https: who is there has to prove itself in the
/// same way as whoever says so, and path and query stay those that were asked for.
pub(crate) fn target(headers: &HeaderMap, asked: &str) -> Result<Address, &'static str> {
    let location = headers
        .get(header::LOCATION)
        .ok_or("it sends on, and says not where to")?;
    let unusable = "it sends on to what is no https address of a host";
    let location: Uri = location
        .to_str()
        .ok()
        .and_then(|location| location.parse().ok())
        .ok_or(unusable)?;
    let (Some("https"), Some(authority)) = (location.scheme_str(), location.authority()) else {
        return Err(unusable);
    };
    if authority.as_str().contains('@') {
        return Err(unusable);
    }
    let asked = asked.split('?').next().unwrap_or_default();
    if location.path() != asked {
        return Err("it sends on to another resource than the one that was asked for");
    }
    let port = match authority.port_u16() {
        Some(port) => port,
        None if authority.as_str() == authority.host() => 443,
        None => return Err(unusable),
    };
    let address = format!("{}:{port}", authority.host());
    address.parse().map_err(|_| unusable)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_host_is_taken_from_where_it_sends_on() {
        let of = |location: &str| {
            let mut headers = HeaderMap::new();
            let location = HeaderValue::from_str(location).unwrap();
            headers.insert(header::LOCATION, location);
            target(&headers, "/a/v1/b?c=d").map(|address| address.to_string())
        };
        for (location, expected) in [
            ("https://new.example:8443/a/v1/b?c=d", "new.example:8443"),
            ("https://NEW.example/a/v1/b?c=d", "new.example:443"),
            ("https://[2001:db8::1]/a/v1/b", "[2001:db8::1]:443"),
            ("https://192.0.2.1:1/a/v1/b?e=f", "192.0.2.1:1"),
        ] {
            assert_eq!(of(location).as_deref(), Ok(expected), "{location}");
        }
        for location in [
            "http://new.example:8443/a/v1/b?c=d",
            "/a/v1/b?c=d",
            "//new.example/a/v1/b",
            "https://new.example:8443",
            "https://new.example:8443/a/v1/c",
            "https://new.example:8443/x/a/v1/b",
            "https://user@new.example/a/v1/b",
            "https://new.example:0/a/v1/b",
            "https://new.example:65536/a/v1/b",
            "https://new_.example..:1/a/v1/b",
            "wss://new.example/a/v1/b",
            "",
        ] {
            assert!(of(location).is_err(), "{location}");
        }
        assert!(target(&HeaderMap::new(), "/").is_err());
    }

    #[test]
    fn a_new_address_is_told_once_and_counts_for_all() {
        let whereabouts = Whereabouts::from(address("a:1"));
        let other = whereabouts.clone();
        assert_eq!(whereabouts.news(), None);
        other.move_to(&address("b:1"));
        assert_eq!(whereabouts.now(), address("b:1"));
        assert_eq!(whereabouts.news(), Some(address("b:1")));
        assert_eq!(other.news(), None);
        // Its own state tells it nothing new; that of another process does.
        whereabouts.follow(&address("b:1"));
        whereabouts.follow(&address("c:1"));
        assert_eq!(other.now(), address("c:1"));
        assert_eq!(other.news(), None);
    }

    #[test]
    fn former_addresses_are_known_and_bounded() {
        let (mut now, mut former) = ("a:1".to_owned(), Vec::new());
        for next in ["b:1", "b:1", "c:1", "a:1"] {
            remember(&mut now, &mut former, &address(next));
        }
        assert_eq!((now.as_str(), former.len()), ("a:1", 2));
        for port in 1..100 {
            remember(&mut now, &mut former, &address(&format!("d:{port}")));
        }
        assert_eq!((now.as_str(), former.len()), ("d:99", FORMER_MAX));
    }
}
