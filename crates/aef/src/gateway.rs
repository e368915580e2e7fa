//! A running gateway.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use capif_client::{ErrorKind, Keystore, KeystoreError, Provider, ProviderRequest};
use capif_spec::{
    common::{AefId, DateTime, Uri},
    publish_service::SecurityMethod,
    vendor::PskTls as PskTlsWord,
};
use capif_transport::{
    Acceptor, Anchors, Buckets, Client, ClientCertificates, ClientLimits, ClientTls, Connections,
    Fingerprint, PskTls, PskVersion, Server, ServerTls, TlsError,
};
use time::OffsetDateTime;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    access::Access,
    address::Address,
    api::{self, OwnApi},
    comparison::Comparison,
    config::{GatewayConfig, Interface},
    contexts::{self, ContextSource, Contexts, Endings},
    doubts::Doubts,
    edge::Edge,
    invocation::Invocations,
    keys::ContextKeys,
    link::Link,
    log::CallLog,
    memory::Ages,
    publication::Publication,
    settlement::Settlement,
    subscription::Subscription,
    tokens::TokenKeys,
    trust::Trust,
    upkeep::{Superseded, Upkeep},
};

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// It was told something that cannot be.
    #[error("{0}")]
    Config(String),
    /// The API is not published by this provider.
    #[error("this provider publishes no API `{0}`: check the name and --dir")]
    NotPublished(String),
    /// The CCF refused or was not reached.
    #[error(transparent)]
    Ccf(#[from] capif_client::Error),
    /// Keys or certificates cannot be kept.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Somebody else has the certificates of this provider.
    #[error(
        "another gateway registered as this provider on {}, and has its certificates: those in this folder count until {} and are not taken back; stop one of the two, give both one --dir, or each a bundle of its own. If the other one is gone for good, delete this folder and register again with the bundle",
        DateTime(*.since),
        DateTime(*.until)
    )]
    Superseded {
        /// Since when.
        since: OffsetDateTime,
        /// From when on those in the folder count no more.
        until: OffsetDateTime,
    },
    /// The socket is not to be had.
    #[error(
        "cannot listen on {address}: {source}; stop what listens there or choose another with --listen"
    )]
    Listen {
        /// The socket.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl GatewayError {
    /// The sort of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) => ErrorKind::Usage,
            Self::NotPublished(_) => ErrorKind::NotFound,
            Self::Ccf(error) => error.kind(),
            Self::Superseded { .. } => ErrorKind::Conflict,
            Self::Keystore(_) | Self::Tls(_) => ErrorKind::Internal,
            Self::Listen { .. } => ErrorKind::Network,
        }
    }
}

/// A gateway that serves until it is drained.
pub struct Gateway {
    server: Server,
    aef_id: AefId,
    address: String,
    interface: Interface,
    publication: Arc<Publication>,
    upkeep: Arc<Upkeep>,
    stop: watch::Sender<bool>,
    log: JoinHandle<()>,
    comparison: JoinHandle<()>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("aef_id", &self.aef_id)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Registers the domain if that was not done before, subscribes to events, publishes the API and serves it.
    ///
    /// # Errors
    /// Says what cannot be, what the CCF refused, or what is taken.
    pub async fn start(config: GatewayConfig) -> Result<Self, GatewayError> {
        let upstream = config.check()?;
        let unbound = |address| move |source| GatewayError::Listen { address, source };
        let listener = capif_transport::listen(config.listen).map_err(unbound(config.listen))?;
        let socket = listener.local_addr().map_err(unbound(config.listen))?;
        let address = Address::new(config.address.as_deref(), socket)?;
        let clock = Arc::clone(&config.clock);

        let provider = Arc::new(provider(&config, &address, socket).await?);
        let aef_id = provider.aef_id().clone();
        let bundle = config.bundle.clone();
        let upkeep = Upkeep::new(Arc::clone(&provider), bundle, Arc::clone(&clock));
        let upkeep = Arc::new(upkeep);
        upkeep.catch_up().await;
        if let Some(Superseded { since, until }) = upkeep.superseded() {
            return Err(GatewayError::Superseded { since, until });
        }
        // Whoever is offboarded from now on is heard of, and nobody can have called before the API is published.
        let subscription = Subscription::make(
            Arc::clone(&provider),
            config.dir.clone(),
            Uri::from(format!("https://{address}{}", api::NOTIFICATIONS)),
            !config.join,
        );
        let subscription = Arc::new(subscription.await?);
        let interface = address.interface();
        let publication =
            Publication::make(&config, Arc::clone(&provider), interface.clone()).await?;
        let publication = Arc::new(publication);
        let version = match publication.terms().psk_tls {
            PskTlsWord::Tls12 => PskVersion::Tls12,
            PskTlsWord::Tls13 => PskVersion::Tls13,
        };

        let link = Arc::new(Link::new(Arc::clone(&clock)));
        let trust = Arc::new(Trust::new(provider.anchors()));
        let stale = config.stale_after();
        let endings = Arc::<Endings>::default();
        let source = ContextSource {
            provider: Arc::clone(&provider),
            interface,
            version,
            trust: Arc::clone(&trust),
            endings: Arc::clone(&endings),
        };
        let ages = contexts::ages(stale);
        let contexts = Contexts::new(source, ages, Arc::clone(&link), Arc::clone(&clock));
        let contexts = Arc::new(contexts);
        let access = Arc::new(Access::new(
            Arc::clone(&provider),
            publication.api_id().clone(),
            Ages::new(stale),
            Arc::clone(&link),
            Arc::clone(&clock),
        ));
        let tokens = TokenKeys::fetch(Arc::clone(&provider)).await?;
        let tokens = Arc::new(tokens);

        let lookups = Buckets::per_second(config.lookups_per_second);
        let keys = ContextKeys::new(Arc::clone(&contexts), lookups, Arc::clone(&clock));
        let anchors = provider.anchors();
        let acceptor = Arc::new(Acceptor::new(ServerTls {
            identity: provider.aef_identity(),
            client_certificates: match config.interface {
                Interface::Capif2 => ClientCertificates::Required(anchors),
                Interface::Capif2e => ClientCertificates::Requested(anchors),
            },
            clock: Arc::clone(&clock),
            // Also when the method is not published: an invoker whose key still counts is told so by an answer.
            psk: Some(PskTls {
                version,
                keys: Arc::new(keys),
            }),
            session: None,
        })?);
        trust.lead(Arc::clone(&acceptor));
        upkeep.lead(trust, Arc::clone(&acceptor));

        let (stop, stopped) = watch::channel(false);
        let (call_log, log) =
            CallLog::start(Arc::clone(&provider), aef_id.clone(), stopped.clone());
        let connections = Arc::new(OnceLock::new());
        let settlement = Arc::new(Settlement {
            contexts: Arc::clone(&contexts),
            connections: Arc::clone(&connections),
            endings,
            clock: Arc::clone(&clock),
            api_name: config.api.name.clone(),
        });
        let edge = Edge {
            interface: config.interface,
            invocations: Invocations {
                aef_id: aef_id.clone(),
                publication: Arc::clone(&publication),
                client: upstream_client(&config, upstream.scheme.as_str() == "https")?,
                api: config.api.clone(),
                upstream,
                contexts: Arc::clone(&contexts),
                doubts: Doubts::default(),
                access: Arc::clone(&access),
                tokens: Arc::clone(&tokens),
                log: call_log,
                clock: Arc::clone(&clock),
            },
            own: OwnApi {
                contexts: Arc::clone(&contexts),
                access: Arc::clone(&access),
                publication: Arc::clone(&publication),
                subscription: Arc::clone(&subscription),
                settlement: Arc::clone(&settlement),
                upkeep: Arc::clone(&upkeep),
                tokens: Arc::clone(&tokens),
                checks: Buckets::per_second(config.lookups_per_second),
            },
        };
        let server =
            Server::serve(listener, acceptor, config.limits, edge).map_err(unbound(socket))?;
        let _first = connections.set(Arc::clone(server.connections()));
        let comparison = Comparison {
            contexts,
            access,
            publication: Arc::clone(&publication),
            subscription,
            tokens,
            settlement,
            upkeep: Arc::clone(&upkeep),
            link,
            clock,
            period: ages.fresh,
        };
        Ok(Self {
            server,
            aef_id,
            address: address.to_string(),
            interface: config.interface,
            publication,
            upkeep,
            stop,
            log,
            comparison: tokio::spawn(comparison.run(stopped)),
        })
    }

    /// The socket of CAPIF-2/2e.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The id of the AEF.
    #[must_use]
    pub fn aef_id(&self) -> &AefId {
        &self.aef_id
    }

    /// Host and port under which it is published.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Which interface of CAPIF it serves.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.interface
    }

    /// The security methods that are published for it now.
    #[must_use]
    pub fn methods(&self) -> Vec<SecurityMethod> {
        self.publication.terms().methods.clone()
    }

    /// The SHA-256 of the certificate that it shows; another one after each renewal.
    #[must_use]
    pub fn certificate(&self) -> Fingerprint {
        self.upkeep.certificate()
    }

    /// From when on its certificates count no more, if another gateway without access to its folder has registered as the same
    /// provider: this one does not take them back, and serves nobody then.
    #[must_use]
    pub fn superseded(&self) -> Option<OffsetDateTime> {
        self.upkeep.superseded().map(|noted| noted.until)
    }

    /// The live connections of CAPIF-2/2e.
    #[must_use]
    pub fn connections(&self) -> &Arc<Connections> {
        self.server.connections()
    }

    /// Ends service: takes no more connections, answers what is under way, at most for `grace`, and sends what is left of the
    /// log. The API stays published: the gateway is expected back.
    pub async fn drain(self, grace: Duration) {
        self.server.drain(grace).await;
        self.stop.send_replace(true);
        if self.log.await.is_err() {
            tracing::error!("the invocation log ended early");
        }
        if self.comparison.await.is_err() {
            tracing::error!("the comparison with the core function ended early");
        }
    }
}

/// The provider of this folder, registered with the bundle if it is new.
async fn provider(
    config: &GatewayConfig,
    address: &Address,
    socket: SocketAddr,
) -> Result<Provider, GatewayError> {
    let keystore = Keystore::open(&config.dir)?;
    let mut hosts = vec![address.host.clone()];
    for host in [socket.ip().to_string(), "localhost".to_owned()] {
        if !socket.ip().is_unspecified() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let provider = match &config.bundle {
        Some(bundle) => {
            let request = ProviderRequest {
                hosts,
                ..ProviderRequest::default()
            };
            Provider::register(keystore, bundle, request, Arc::clone(&config.clock)).await?
        }
        None => Provider::open(keystore, Arc::clone(&config.clock)).await?,
    };
    if !provider.hosts().contains(&address.host) {
        return Err(GatewayError::Config(format!(
            "this gateway was registered for {}, and its certificate does not name {}; keep the address, or register anew with a new bundle and another --dir",
            provider.hosts().join(", "),
            address.host
        )));
    }
    Ok(provider)
}

/// The client towards the API: plain HTTP is the provider's choice; with https the system's trust anchors count.
fn upstream_client(config: &GatewayConfig, tls: bool) -> Result<Client, GatewayError> {
    let anchors = if tls { Some(Anchors::native()?) } else { None };
    Ok(Client::new(
        ClientTls {
            anchors,
            identity: None,
            clock: Arc::clone(&config.clock),
            session: None,
            tls12_only: false,
        },
        ClientLimits {
            plain: true,
            ..ClientLimits::default()
        },
    )?)
}
