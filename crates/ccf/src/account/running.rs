//! The sockets of the account service.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use capif_spec::common::Redacted;
use capif_transport::{Limits, Server};

use super::{AccountError, AccountListener, AccountService};
use crate::core::Core;

/// How many connections each socket takes at a time.
const CONNECTIONS_MAX: usize = 1000;

/// The account service cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginError {
    /// The accounts cannot be read or made.
    #[error("the account service cannot begin: {0}")]
    Accounts(#[from] AccountError),
    /// A socket is not to be had.
    #[error("{source}")]
    Listen {
        /// The socket.
        address: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// The account service while it serves.
pub(crate) struct Running {
    secure: Server,
    plaintext: Option<Server>,
    first_password: Option<Redacted>,
}

impl Running {
    /// Serves accounts, if the operator enabled that.
    pub(crate) async fn begin(core: &Arc<Core>) -> Result<Option<Self>, BeginError> {
        let section = &core.config.account_service;
        if !section.enabled {
            return Ok(None);
        }
        let (service, first_password) = AccountService::begin(Arc::clone(core)).await?;
        let service = Arc::new(service);
        let limits = || Limits {
            connections_max: CONNECTIONS_MAX,
            ..Limits::default()
        };
        let listener = |is_secure| AccountListener {
            service: Arc::clone(&service),
            is_secure,
        };
        let refused = |address, key| {
            move |source| BeginError::Listen {
                address,
                key,
                source,
            }
        };
        let acceptor = Arc::clone(core.presence.acceptor());
        let secure = Server::bind(section.listen, acceptor, limits(), listener(true))
            .map_err(refused(section.listen, "account_service.listen"))?;
        let key = "account_service.insecure_plaintext_listen";
        let plaintext = match section.insecure_plaintext_listen {
            None => None,
            Some(address) => {
                tracing::warn!(
                    %address,
                    "passwords are taken without TLS ({key}): whoever is on the way can read them"
                );
                let server = Server::bind_plain(address, limits(), listener(false));
                Some(server.map_err(refused(address, key))?)
            }
        };
        Ok(Some(Self {
            secure,
            plaintext,
            first_password,
        }))
    }

    /// The socket with TLS.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.secure.local_addr()
    }

    /// The socket without TLS, if there is one.
    pub(crate) fn plaintext_addr(&self) -> Option<SocketAddr> {
        self.plaintext.as_ref().map(Server::local_addr)
    }

    /// The password of the administrator that this start made: to be shown once, and nowhere else.
    pub(crate) fn take_first_password(&mut self) -> Option<Redacted> {
        self.first_password.take()
    }

    /// Ends service.
    pub(crate) async fn drain(self, grace: Duration) {
        let plaintext = async {
            if let Some(plaintext) = self.plaintext {
                plaintext.drain(grace).await;
            }
        };
        let _ended = tokio::join!(self.secure.drain(grace), plaintext);
    }
}
