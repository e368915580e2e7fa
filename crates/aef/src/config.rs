//! What a gateway is told.

use std::{net::SocketAddr, path::PathBuf};

use capif_client::Bundle;
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Limits, SharedClock};
use http::Uri;

use crate::{gateway::GatewayError, path};

/// The socket for CAPIF-2e when nothing else is said.
pub const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9443);

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
            clock,
            limits: Limits::default(),
        }
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
    /// The security methods that are accepted.
    pub methods: Vec<SecurityMethod>,
}

/// The security methods that this gateway enforces.
pub const METHODS: [SecurityMethod; 2] = [SecurityMethod::Pki, SecurityMethod::Oauth];

/// An upstream that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) scheme: http::uri::Scheme,
    pub(crate) authority: http::uri::Authority,
    /// Without a slash at its end.
    pub(crate) path: String,
}

impl ExposedApi {
    /// Checks what was told.
    pub(crate) fn check(&self) -> Result<Upstream, GatewayError> {
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
                "security method {method} is not enforced by this version; use PKI and OAUTH"
            ));
        }
        if self.methods.is_empty() {
            return refuse("name at least one security method: PKI, OAUTH".to_owned());
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
