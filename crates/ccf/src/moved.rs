//! The core function of this folder serves elsewhere now: what is left here is a signpost (TS 29.500 clause 6.10.9).
//!
//! Whoever asks for anything of TS 29.222 is sent to the same path at the new address, by 307 or 308. Nobody is asked who it is:
//! the answer is the same for everyone, and a credential that comes along is read by nobody. The new place alone acts, so there is
//! no store behind this, no task, and no authority at work but for the certificate that is shown here.

mod signpost;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use capif_transport::{Acceptor, ClientCertificates, Limits, Server, ServerTls, SharedClock};
use tokio::task::JoinSet;

use self::signpost::{Door, Signpost};
use crate::{
    admin,
    api::operations::{OPERATIONS, Routes},
    authority::{
        Authorities, AuthorityError, Terms, custody::Custody, hook::Hook, presence::Presence,
        tls_key::TlsKey,
    },
    ccf::{STORE_FOLDER, StartError, hosts, listen_error},
    config::Config,
    init::ID_FILE,
    store::{EmbeddedStore, Store},
};

/// How often it is looked whether the certificate comes of age.
const PERIOD: Duration = Duration::from_secs(3600);

/// How many connections the doors beside that of CAPIF take at a time.
const CONNECTIONS_MAX: usize = 1000;

/// A core function that has moved, as it is seen at its old address.
pub struct Moved {
    config: Config,
    to: String,
    server: Server,
    others: Vec<Server>,
    upkeep: JoinSet<()>,
}

impl std::fmt::Debug for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moved")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Moved {
    /// Sends everybody to where the core function of this folder serves now. Nothing in the folder is changed; where the store
    /// was taken away, the certificate comes from the first authority.
    ///
    /// # Errors
    /// Says what is missing, wrong or taken.
    pub async fn start(
        dir: &Path,
        mut config: Config,
        clock: SharedClock,
    ) -> Result<Self, StartError> {
        let to = config.moved.origin().ok_or(StartError::NotMoved)?;
        let presence = Arc::new(presence(dir, &config, &clock).await?);
        let sign = |to: &str, door| Signpost {
            to: to.to_owned(),
            door,
            permanent: config.moved.permanent,
            compat: config.is_lenient(),
            body_bytes_max: config.limits.body_bytes_max,
            body_time: Duration::from_secs(u64::from(config.limits.body_seconds_max)),
            clock: Arc::clone(&clock),
        };
        let limits = |connections_max| Limits {
            connections_max,
            ..Limits::default()
        };
        let acceptor = || Arc::clone(presence.acceptor());
        let address = config.ccf.listen;
        let capif = sign(&to, Door::Capif(Routes::new(OPERATIONS)?));
        let most = limits(config.limits.connections_max);
        let server = Server::bind(address, acceptor(), most, capif)
            .map_err(listen_error(address.to_string(), "ccf.listen"))?;
        let socket = dir.join(admin::SOCKET);
        let few = limits(CONNECTIONS_MAX);
        let operator = Server::bind_unix(&socket, few.clone(), sign(&to, Door::Operator))
            .map_err(listen_error(socket.display().to_string(), "--dir"))?;
        let mut others = vec![operator];
        for other in others_of(&config, &to) {
            let (address, post) = (other.address, sign(&other.to, other.door));
            let server = match other.is_secure {
                true => Server::bind(address, acceptor(), few.clone(), post),
                false => Server::bind_plain(address, few.clone(), post),
            };
            others.push(server.map_err(listen_error(address.to_string(), other.key))?);
        }
        let mut upkeep = JoinSet::new();
        upkeep.spawn(keep(presence));
        config.ccf.listen = server.local_addr();
        Ok(Self {
            config,
            to,
            server,
            others,
            upkeep,
        })
    }

    /// Host and port at which it was reached, and still is.
    #[must_use]
    pub fn address(&self) -> String {
        self.config.address()
    }

    /// Where the core function serves now: scheme, host and port.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Whether it stays there.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.config.moved.permanent
    }

    /// Ends service: takes no more connections, answers what is under way, at most for `grace`.
    pub async fn drain(self, grace: Duration) {
        let mut draining = JoinSet::new();
        for server in self.others {
            draining.spawn(server.drain(grace));
        }
        self.server.drain(grace).await;
        draining.join_all().await;
        drop(self.upkeep);
    }
}

/// A socket beside those of CAPIF and of the folder.
struct Other {
    address: SocketAddr,
    /// The key that names it.
    key: &'static str,
    door: Door,
    to: String,
    is_secure: bool,
}

/// Those that there were, as far as it is said where they are now.
fn others_of(config: &Config, to: &str) -> Vec<Other> {
    let other = |address, key, door, to: &str, is_secure| Other {
        address,
        key,
        door,
        to: to.to_owned(),
        is_secure,
    };
    let mut others = vec![other(
        config.management.listen,
        "management.listen",
        Door::Health,
        to,
        false,
    )];
    if let Some(address) = config.operator.listen {
        others.push(other(address, "operator.listen", Door::Operator, to, true));
    }
    if let Some(to) = config.moved.revocation_origin() {
        let (address, key) = (config.revocation.listen, "revocation.listen");
        others.push(other(address, key, Door::Revocation, &to, false));
    }
    let accounts = &config.account_service;
    if let Some(to) = config.moved.accounts_origin().filter(|_| accounts.enabled) {
        let (address, key) = (accounts.listen, "account_service.listen");
        others.push(other(address, key, Door::Accounts, &to, true));
        if let Some(address) = accounts.insecure_plaintext_listen {
            let key = "account_service.insecure_plaintext_listen";
            others.push(other(address, key, Door::Accounts, &to, false));
        }
    }
    others
}

/// What is shown at the old address: a certificate of the same authority, made out at this start.
async fn presence(
    dir: &Path,
    config: &Config,
    clock: &SharedClock,
) -> Result<Presence, StartError> {
    let ccf_id = std::fs::read_to_string(dir.join(ID_FILE))
        .map_err(|_| StartError::NotInitialised(dir.to_owned()))?;
    let custody = Custody::open(&config.custody).map_err(AuthorityError::from)?;
    let own_key = match config.is_lenient() {
        true => Some(Arc::new(TlsKey::open(dir, &custody)?)),
        false => None,
    };
    let terms = Terms {
        // Nothing about revocation is told here.
        revocation: config.moved.revocation_origin().unwrap_or_default(),
        hook: Hook::open(&config.authority)?.map(Arc::new),
        own_key,
        ..config.certificates.terms()
    };
    let folder = dir.join(STORE_FOLDER);
    let store: Option<Arc<dyn Store>> = match folder.exists() {
        // For the moment in which it is read which authority counts.
        true => Some(Arc::new(EmbeddedStore::open(&folder)?)),
        false => None,
    };
    let lives = config.certificates.lives();
    let authorities =
        Authorities::of_former(dir, ccf_id.trim(), &custody, lives, terms, store.as_ref()).await?;
    drop(store);
    Presence::begin(&authorities, clock, hosts(config), |identity, anchors| {
        Acceptor::new(ServerTls {
            identity,
            client_certificates: ClientCertificates::Requested(anchors),
            clock: Arc::clone(clock),
            psk: None,
            session: None,
        })
    })
    .await
}

/// Replaces the certificate when it comes of age.
async fn keep(presence: Arc<Presence>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = presence.tend().await {
            tracing::error!(%error, "the certificate shown at the old address was not replaced");
        }
    }
}
