//! A running core function.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use capif_procedures::{
    aefpsk::{SESSION_ID_LABEL, SESSION_KEY_LABEL},
    security_method::Policy,
};
use capif_spec::common::{DateTime, Redacted};
use capif_transport::{
    Acceptor, ClientCertificates, Connections, Limits, Server, ServerTls, SessionLabels,
    SharedClock, TlsError,
};

use crate::{
    account::{self, BeginError},
    admin,
    api::{self, allowances::Allowances, failures::Failures, operations::TableError},
    audit::Trail,
    authority::{
        Authorities, AuthorityError, Terms,
        custody::Custody,
        hook::Hook,
        presence::Presence,
        tls_key::TlsKey,
        tokens::{self, SigningKey, TokenRing},
    },
    config::{Config, ConfigError},
    core::Core,
    credential::{Issuer, handed_over::HandedOver, issuers::Issuers},
    init::ID_FILE,
    revocation::{self, Register, Revocation},
    sealing::SealingKey,
    store::{EmbeddedStore, Fault, Store},
    tasks::{self, Tasks},
    view::View,
};

/// The folder of the embedded store within the CCF's folder.
pub(crate) const STORE_FOLDER: &str = "store";

/// The CCF cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no CCF in the folder.
    #[error("{0} holds no CAPIF core function; make one with `capif init`")]
    NotInitialised(PathBuf),
    /// The core function serves elsewhere: two of them would act on copies of one folder.
    #[error(
        "this core function has moved to {0}: it does not serve from here; to bring it back, stop the other one, bring its folder \
         here, and take `moved.to` out of capif.toml"
    )]
    Moved(String),
    /// The core function did not move.
    #[error("`moved.to` is empty: this core function serves here")]
    NotMoved,
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys or certificates are missing or wrong.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] Fault),
    /// A socket is not to be had.
    #[error(
        "cannot listen on {address}: {source}; stop what listens there or set `{key}` in capif.toml"
    )]
    Listen {
        /// The socket.
        address: String,
        /// The key that names it.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The account service does not begin.
    #[error("{0}")]
    Accounts(String),
    /// The table of operations and the router disagree.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// How many connections the operator's API takes over the network at a time.
const OPERATOR_CONNECTIONS_MAX: usize = 1000;

/// How long broken-off requests may hold on to the store after the end of service.
const RELEASE_MAX: Duration = Duration::from_secs(1);

const RELEASE_POLL: Duration = Duration::from_millis(1);

/// A core function that serves until it is drained.
pub struct Ccf {
    core: Arc<Core>,
    server: Server,
    management: Server,
    distribution: Server,
    operator: Server,
    operators: Option<Server>,
    tasks: Tasks,
    accounts: Option<account::Running>,
}

impl From<BeginError> for StartError {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Accounts(_) => Self::Accounts(error.to_string()),
            BeginError::Listen {
                address,
                key,
                source,
            } => listen_error(address.to_string(), key)(source),
        }
    }
}

impl std::fmt::Debug for Ccf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ccf").finish_non_exhaustive()
    }
}

impl Ccf {
    /// Starts the CCF whose folder this is.
    ///
    /// # Errors
    /// Says what is missing, wrong or taken.
    pub async fn start(dir: &Path, config: Config, clock: SharedClock) -> Result<Self, StartError> {
        if config.moved.is_elsewhere() {
            return Err(StartError::Moved(config.moved.to));
        }
        let ccf_id = std::fs::read_to_string(dir.join(ID_FILE))
            .map_err(|_| StartError::NotInitialised(dir.to_owned()))?;
        let ccf_id = ccf_id.trim().to_owned();
        let custody = Custody::open(&config.custody).map_err(AuthorityError::from)?;
        let key = |file| custody.read(dir, file).map_err(AuthorityError::from);
        let credential_key = SigningKey::from_pem(&key(tokens::files::CREDENTIAL)?)?;
        let credentials = Issuer::new(credential_key, &ccf_id);
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&dir.join(STORE_FOLDER))?);
        let trail = Trail::open(dir, &store).await?;
        let sealing = Arc::new(SealingKey::load(dir, &custody)?);
        let mut config = config;
        // Certificates name the address where their revocation is told, so that one comes first.
        let distribution = capif_transport::listen(config.revocation.listen).map_err(
            listen_error(config.revocation.listen.to_string(), "revocation.listen"),
        )?;
        if let Ok(address) = distribution.local_addr() {
            config.revocation.listen = address;
        }
        let hook = Hook::open(&config.authority)?.map(Arc::new);
        let own_key = match config.is_lenient() {
            true => Some(Arc::new(TlsKey::open(dir, &custody)?)),
            false => None,
        };
        let terms = Terms {
            revocation: config.distribution(),
            hook,
            own_key: own_key.clone(),
            ..config.certificates.terms()
        };
        let lives = config.certificates.lives();
        let now = DateTime(clock.now());
        let authorities =
            Authorities::load(dir, &ccf_id, &custody, lives, terms, &store, &now).await?;
        let view = View::load(store.as_ref()).await?;
        let register = Register::load(store.as_ref(), Arc::clone(&view)).await?;
        let revocation = Arc::new(Revocation::new(&authorities, register, &clock, &ccf_id));
        let access_tokens = TokenRing::load(dir, &custody, &sealing, &store, own_key, &now).await?;
        let allowances = Allowances::new(clock.now(), view.read().policies_revision());
        let issuers = Issuers::new(
            &credentials,
            &config.onboarding.issuers,
            &clock,
            Arc::clone(&store),
        )?;

        // The server's name and port are known once it listens; until then nothing is answered with them.
        let hosts = hosts(&config);
        let own_hosts = hosts.clone();
        let accept = |identity, anchors| {
            Acceptor::new(ServerTls {
                identity,
                client_certificates: ClientCertificates::Requested(anchors),
                clock: Arc::clone(&clock),
                psk: None,
                // AEF_PSK is derived from the very session that carries a negotiation (D-03), so TLS ends here and nowhere before.
                session: Some(SessionLabels {
                    key: SESSION_KEY_LABEL,
                    id: SESSION_ID_LABEL,
                }),
            })
        };
        let presence = Presence::begin(&authorities, &clock, hosts.clone(), accept).await?;
        let acceptor = Arc::clone(presence.acceptor());
        let listener = capif_transport::listen(config.ccf.listen)
            .map_err(listen_error(config.ccf.listen.to_string(), "ccf.listen"))?;
        if let Ok(address) = listener.local_addr() {
            config.ccf.listen = address;
        }
        let core = Arc::new(Core {
            ccf_id: ccf_id.clone(),
            reserved_hosts: hosts
                .into_iter()
                .filter(|host| !is_loopback(host))
                .collect(),
            api_root: format!("https://{}", config.address()),
            verifiers: vec![
                Box::new(HandedOver::new(Arc::clone(&store))),
                Box::new(issuers),
            ],
            clock: Arc::clone(&clock),
            store,
            view,
            trail,
            authorities,
            presence,
            revocation: Arc::clone(&revocation),
            access_tokens,
            sealing,
            policy: Policy {
                rsa_tokens: config.is_lenient(),
                ..config.security.policy()
            },
            credentials,
            secret_failures: Failures::default(),
            issues: Default::default(),
            denials: Default::default(),
            account_sessions: Default::default(),
            allowances,
            log_book: Default::default(),
            sockets: Default::default(),
            untold: Default::default(),
            connections: OnceLock::new(),
            config,
        });
        tasks::staple::tend(&core).await;
        let address = core.config.revocation.listen;
        let distribution = Server::serve_plain(
            distribution,
            revocation::Service::limits(),
            revocation::Service::new(revocation),
        )
        .map_err(listen_error(address.to_string(), "revocation.listen"))?;
        let limits = Limits {
            connections_max: core.config.limits.connections_max,
            ..Limits::default()
        };
        let api = api::Api::new(Arc::clone(&core))?;
        let server = Server::serve(listener, acceptor, limits, api).map_err(listen_error(
            core.config.ccf.listen.to_string(),
            "ccf.listen",
        ))?;
        let _first = core.connections.set(Arc::clone(server.connections()));

        // Before anyone is told that all is ready: operators find the first administrator.
        let accounts = account::Running::begin(&core).await?;
        let address = core.config.management.listen;
        let management = Server::bind_plain(
            address,
            Limits::default(),
            api::health::Health::new(Arc::clone(&core)),
        )
        .map_err(listen_error(address.to_string(), "management.listen"))?;
        let socket = dir.join(admin::SOCKET);
        let operator = Server::bind_unix(
            &socket,
            Limits::default(),
            admin::Admin::in_the_folder(Arc::clone(&core))?,
        )
        .map_err(listen_error(socket.display().to_string(), "--dir"))?;
        let operators = match core.config.operator.listen {
            None => None,
            Some(address) => Some(serve_operators(address, &core, own_hosts)?),
        };
        let tasks = tasks::start(&core)?;
        Ok(Self {
            core,
            server,
            management,
            distribution,
            operator,
            operators,
            tasks,
            accounts,
        })
    }

    /// The socket of the operator's API over the network, if there is one.
    #[must_use]
    pub fn operator_addr(&self) -> Option<SocketAddr> {
        self.operators.as_ref().map(Server::local_addr)
    }

    /// The sockets of the account service, if it is enabled: with TLS, and the one without if there is one.
    #[must_use]
    pub fn account_addrs(&self) -> Option<(SocketAddr, Option<SocketAddr>)> {
        let accounts = self.accounts.as_ref()?;
        Some((accounts.local_addr(), accounts.plaintext_addr()))
    }

    /// The password of the first administrator of the account service, if this start made one: to be shown once.
    pub fn take_first_password(&mut self) -> Option<Redacted> {
        self.accounts.as_mut()?.take_first_password()
    }

    /// The socket of CAPIF-1 to 5.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Host and port under which others reach it.
    #[must_use]
    pub fn address(&self) -> String {
        self.core.config.address()
    }

    /// The socket of the health probes.
    #[must_use]
    pub fn management_addr(&self) -> SocketAddr {
        self.management.local_addr()
    }

    /// The socket of revocation lists and OCSP.
    #[must_use]
    pub fn revocation_addr(&self) -> SocketAddr {
        self.distribution.local_addr()
    }

    /// The root certificate of the authority that signs, as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.core.authorities.root_pem()
    }

    /// The live connections of CAPIF-1 to 5.
    #[must_use]
    pub fn connections(&self) -> &Arc<Connections> {
        self.server.connections()
    }

    /// Ends service: takes no more connections, answers what is under way, at most for `grace`.
    pub async fn drain(self, grace: Duration) {
        // Side by side, so that together they take no longer than one of them may (P-42).
        let accounts = async {
            if let Some(accounts) = self.accounts {
                accounts.drain(grace).await;
            }
        };
        let operators = async {
            if let Some(operators) = self.operators {
                operators.drain(grace).await;
            }
        };
        let _ended = tokio::join!(
            accounts,
            operators,
            self.tasks.stop(),
            self.operator.drain(grace),
            self.server.drain(grace),
            self.management.drain(grace),
            self.distribution.drain(grace),
        );
        self.core.settle_trail().await;
        // Requests that were broken off let go of the store a moment later; then the folder is free for the next one.
        let core = Arc::downgrade(&self.core);
        drop(self.core);
        let released = async {
            while core.strong_count() > 0 {
                tokio::time::sleep(RELEASE_POLL).await;
            }
        };
        if tokio::time::timeout(RELEASE_MAX, released).await.is_err() {
            tracing::warn!("a request that was broken off still holds on to the store");
        }
    }
}

/// The operator's API over the network shows the same certificate as the core function.
fn serve_operators(
    address: SocketAddr,
    core: &Arc<Core>,
    hosts: Vec<String>,
) -> Result<Server, StartError> {
    let limits = Limits {
        connections_max: OPERATOR_CONNECTIONS_MAX,
        ..Limits::default()
    };
    let acceptor = Arc::clone(core.presence.acceptor());
    let handler = admin::Admin::over_the_network(Arc::clone(core), hosts)?;
    Server::bind(address, acceptor, limits, handler)
        .map_err(listen_error(address.to_string(), "operator.listen"))
}

pub(crate) fn listen_error(
    address: String,
    key: &'static str,
) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Listen {
        address,
        key,
        source,
    }
}

/// Whether a name stands for whatever machine uses it: gateways share those with the CCF, and are told apart by role and id.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The names and addresses that the server certificate carries.
pub(crate) fn hosts(config: &Config) -> Vec<String> {
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let mut add = |host: &str| {
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if !host.is_empty() && !hosts.contains(&host) {
            hosts.push(host);
        }
    };
    if !config.ccf.listen.ip().is_unspecified() {
        add(&config.ccf.listen.ip().to_string());
    }
    if let Some((host, _port)) = config.address().rsplit_once(':') {
        add(host);
    }
    if let Some(listen) = config.operator.listen
        && !listen.ip().is_unspecified()
    {
        add(&listen.ip().to_string());
    }
    for name in &config.ccf.names {
        add(name);
    }
    hosts
}
