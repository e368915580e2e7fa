//! What a gateway is told.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf};

use capif_client::Bundle;
use capif_spec::{publish_service::SecurityMethod, vendor::PskTls};
use capif_transport::{Limits, SharedClock};
use http::Uri;
use time::Duration;

use crate::{gateway::GatewayError, path};

/// The socket for CAPIF-2e when nothing else is said.
pub const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9443);

/// How old what the CCF said may be, in seconds, when nothing else is said (D-37).
pub const STALE_SECONDS_DEFAULT: u32 = 60;

/// How old it may be at all.
pub const STALE_SECONDS: RangeInclusive<u32> = 1..=3600;

/// Which interface of CAPIF a gateway serves (TS 33.122 clause 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// CAPIF-2, inside the trust domain (TS 33.122 clause 6.4): whoever does not prove itself by a key shows a certificate.
    Capif2,
    /// CAPIF-2e, towards invokers outside (TS 33.122 clause 6.5).
    #[default]
    Capif2e,
}

impl Interface {
    /// The standard's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capif2 => "CAPIF-2",
            Self::Capif2e => "CAPIF-2e",
        }
    }
}

/// How many lookups an address has when nothing else is said.
pub const LOOKUPS_PER_SECOND_DEFAULT: u32 = 50;

/// A gateway before its start.
#[derive(Clone)]
pub struct GatewayConfig {
    /// The folder with the provider's keys and certificates.
    pub dir: PathBuf,
    /// The operator's bundle, needed the first time.
    pub bundle: Option<Bundle>,
    /// The socket for CAPIF-2e.
    pub listen: SocketAddr,
    /// Host and port that invokers use; the socket itself if absent.
    pub address: Option<String>,
    /// What is exposed.
    pub api: ExposedApi,
    /// Which interface of CAPIF it is.
    pub interface: Interface,
    /// The version of TLS in which keys are used; if absent as published before, else TLS 1.3.
    pub psk_tls: Option<PskTls>,
    /// Whether a token counts only beside a certificate; if absent as published before, else not (D-29).
    pub oauth_mutual_tls: Option<bool>,
    /// Whether the interfaces of other processes of this AEF stay published beside this one.
    pub join: bool,
    /// How old what the CCF said may be, in seconds: see [`STALE_SECONDS`].
    pub stale_seconds: u32,
    /// How many invokers that it does not remember one address may make the gateway ask about in a second, before they have
    /// proved who they are; four times as many at once. Invokers behind one address share this.
    pub lookups_per_second: u32,
    /// The time.
    pub clock: SharedClock,
    /// Bounds of the listener.
    pub limits: Limits,
}

impl std::fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayConfig")
            .field("dir", &self.dir)
            .field("listen", &self.listen)
            .field("address", &self.address)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl GatewayConfig {
    /// A gateway on the default socket with default bounds.
    #[must_use]
    pub fn new(dir: PathBuf, bundle: Option<Bundle>, api: ExposedApi, clock: SharedClock) -> Self {
        Self {
            dir,
            bundle,
            listen: LISTEN_DEFAULT,
            address: None,
            api,
            interface: Interface::default(),
            psk_tls: None,
            oauth_mutual_tls: None,
            join: false,
            stale_seconds: STALE_SECONDS_DEFAULT,
            lookups_per_second: LOOKUPS_PER_SECOND_DEFAULT,
            clock,
            limits: Limits::default(),
        }
    }

    /// Checks what was told.
    pub(crate) fn check(&self) -> Result<Upstream, GatewayError> {
        if !STALE_SECONDS.contains(&self.stale_seconds) {
            return Err(GatewayError::Config(format!(
                "what the core function said may be {} to {} seconds old",
                STALE_SECONDS.start(),
                STALE_SECONDS.end()
            )));
        }
        self.api.check()
    }

    pub(crate) fn stale_after(&self) -> Duration {
        Duration::seconds(i64::from(self.stale_seconds))
    }
}

/// The API behind the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposedApi {
    /// Its name: the first segment of every path.
    pub name: String,
    /// Its version: the second segment.
    pub version: String,
    /// Where it is served, `http://` or `https://`, with a path that is put before every forwarded one.
    pub upstream: String,
    /// Whether the first two segments are taken off before forwarding.
    pub strip: bool,
    /// The security methods that are accepted; if there are none, those published before, else all.
    pub methods: Vec<SecurityMethod>,
}

/// The security methods that this gateway enforces.
pub const METHODS: [SecurityMethod; 3] = [
    SecurityMethod::Psk,
    SecurityMethod::Pki,
    SecurityMethod::Oauth,
];

/// An upstream that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) scheme: http::uri::Scheme,
    pub(crate) authority: http::uri::Authority,
    /// Without a slash at its end.
    pub(crate) path: String,
}

impl ExposedApi {
    fn check(&self) -> Result<Upstream, GatewayError> {
        let refuse = |text: String| Err(GatewayError::Config(text));
        for (what, word) in [("name", &self.name), ("version", &self.version)] {
            if !path::is_plain_segment(word) {
                return refuse(format!(
                    "the API's {what} stands in the path: use letters, digits, `-`, `.`, `_` and `~` only"
                ));
            }
        }
        if let Some(method) = self.methods.iter().find(|method| !METHODS.contains(method)) {
            return refuse(format!(
                "there is no security method {method}; use PSK, PKI and OAUTH"
            ));
        }
        let uri: Uri = match self.upstream.parse() {
            Ok(uri) => uri,
            Err(_) => return refuse(format!("`{}` is not an address", self.upstream)),
        };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return refuse("the upstream begins with http:// or https://".to_owned());
        };
        if !["http", "https"].contains(&scheme.as_str()) || authority.as_str().contains('@') {
            return refuse(
                "the upstream is http://HOST[:PORT][/PATH] or https://…, without a user name"
                    .to_owned(),
            );
        }
        let before = parts.path_and_query.as_ref().map_or("", |path| path.path());
        if parts
            .path_and_query
            .as_ref()
            .is_some_and(|path| path.query().is_some())
        {
            return refuse("the upstream has no query of its own".to_owned());
        }
        Ok(Upstream {
            scheme,
            authority,
            path: before.trim_end_matches('/').to_owned(),
        })
    }
}
