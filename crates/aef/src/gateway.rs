//! A running gateway.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use capif_client::{ErrorKind, Keystore, KeystoreError, Provider, ProviderRequest};
use capif_spec::{
    common::{AefId, Port, SubscriptionId, Uri},
    events::CapifEvent,
    publish_service::{
        AefProfile, CommunicationType, DataFormat, InterfaceDescription, Protocol, Resource,
        ServiceApiDescription, Version,
    },
};
use capif_transport::{
    Acceptor, Anchors, Body, Client, ClientCertificates, ClientLimits, ClientTls, Connection,
    Connections, Handler, Server, ServerTls, TlsError,
};
use http::{Request, Response};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    api::{self, OwnApi},
    config::{ExposedApi, GatewayConfig},
    contexts::Contexts,
    invocation::Invocations,
    log::CallLog,
    tokens::TokenKeys,
};

/// The name under which the subscription is kept.
const SUBSCRIPTION: &str = "gateway-subscription";

/// The events by which the gateway keeps what it knows current.
const EVENTS: [CapifEvent; 3] = [
    CapifEvent::ApiInvokerOffboarded,
    CapifEvent::ApiInvokerAuthorizationRevoked,
    CapifEvent::ServiceApiUpdate,
];

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// It was told something that cannot be.
    #[error("{0}")]
    Config(String),
    /// The CCF refused or was not reached.
    #[error(transparent)]
    Ccf(#[from] capif_client::Error),
    /// Keys or certificates cannot be kept.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
            Self::Ccf(error) => error.kind(),
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
    stop: watch::Sender<bool>,
    log: JoinHandle<()>,
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
        let upstream = config.api.check()?;
        let listener =
            capif_transport::listen(config.listen).map_err(|source| GatewayError::Listen {
                address: config.listen,
                source,
            })?;
        let socket = listener
            .local_addr()
            .map_err(|source| GatewayError::Listen {
                address: config.listen,
                source,
            })?;
        let address = Address::new(config.address.as_deref(), socket)?;

        let provider = Arc::new(provider(&config, &address, socket).await?);
        let aef_id = provider.aef_id().clone();
        // Whoever is offboarded from now on is heard of, and nobody can have called before the API is published.
        let subscription = subscribe(&config, &provider, &address).await?;
        let published = provider
            .publish(&description(&config.api, &aef_id, &address))
            .await?;
        let api_id = published.api_id.ok_or_else(|| {
            GatewayError::Config("the CAPIF core function gave the API no id".to_owned())
        })?;

        let (stop, stopped) = watch::channel(false);
        let (call_log, log) = CallLog::start(Arc::clone(&provider), aef_id.clone(), stopped);
        let contexts = Arc::new(Contexts::new(
            Arc::clone(&provider),
            Arc::clone(&config.clock),
        ));
        let invocations = Invocations {
            aef_id: aef_id.clone(),
            api_id,
            client: upstream_client(&config, upstream.scheme.as_str() == "https")?,
            api: config.api,
            upstream,
            contexts: Arc::clone(&contexts),
            tokens: TokenKeys::fetch(Arc::clone(&provider), config.clock.now()).await?,
            log: call_log,
            clock: Arc::clone(&config.clock),
        };
        let acceptor = Acceptor::new(ServerTls {
            identity: provider.aef_identity(),
            client_certificates: ClientCertificates::Requested(provider.anchors().clone()),
            clock: config.clock,
        })?;
        let connections = Arc::new(OnceLock::new());
        let edge = Edge {
            invocations,
            own: OwnApi {
                contexts,
                subscription,
            },
            connections: Arc::clone(&connections),
        };
        let server =
            Server::serve(listener, Arc::new(acceptor), config.limits, edge).map_err(|source| {
                GatewayError::Listen {
                    address: socket,
                    source,
                }
            })?;
        let _first = connections.set(Arc::clone(server.connections()));
        Ok(Self {
            server,
            aef_id,
            address: address.to_string(),
            stop,
            log,
        })
    }

    /// The socket of CAPIF-2e.
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

    /// The live connections of CAPIF-2e.
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
    }
}

/// Host and port under which the gateway is reached.
struct Address {
    host: String,
    port: u16,
}

impl Address {
    fn new(told: Option<&str>, socket: SocketAddr) -> Result<Self, GatewayError> {
        let Some(told) = told else {
            if socket.ip().is_unspecified() {
                return Err(GatewayError::Config(format!(
                    "the gateway listens on every address of this machine ({socket}): say with --address under which one invokers reach it"
                )));
            }
            return Ok(Self {
                host: socket.ip().to_string(),
                port: socket.port(),
            });
        };
        if let Ok(address) = told.parse::<IpAddr>() {
            return Ok(Self {
                host: address.to_string(),
                port: socket.port(),
            });
        }
        let (host, port) = match told.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, port),
                Err(_) => {
                    return Err(GatewayError::Config(format!(
                        "`{told}` is not HOST or HOST:PORT"
                    )));
                }
            },
            None => (told, socket.port()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(GatewayError::Config(format!(
                "`{told}` is not HOST or HOST:PORT"
            )));
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    fn interface(&self) -> InterfaceDescription {
        let mut interface = InterfaceDescription {
            port: Some(Port::from(self.port)),
            ..InterfaceDescription::default()
        };
        match self.host.parse() {
            Ok(IpAddr::V4(_)) => interface.ipv4_addr = Some(self.host.clone()),
            Ok(IpAddr::V6(_)) => interface.ipv6_addr = Some(self.host.clone()),
            Err(_) => interface.fqdn = Some(self.host.clone()),
        }
        interface
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
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

/// Makes sure of the one subscription.
async fn subscribe(
    config: &GatewayConfig,
    provider: &Provider,
    address: &Address,
) -> Result<SubscriptionId, GatewayError> {
    let keystore = Keystore::open(&config.dir)?;
    let destination = Uri::from(format!("https://{address}{}", api::NOTIFICATIONS));
    if let Some(id) = keystore.load::<SubscriptionId>(SUBSCRIPTION)? {
        match provider
            .update_subscription(&id, EVENTS.to_vec(), destination.clone())
            .await
        {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let id = provider.subscribe(EVENTS.to_vec(), destination).await?;
    keystore.lock().await?.store(SUBSCRIPTION, &id)?;
    Ok(id)
}

/// What is published.
fn description(api: &ExposedApi, aef_id: &AefId, address: &Address) -> ServiceApiDescription {
    let version = Version {
        api_version: api.version.clone(),
        expiry: None,
        resources: Some(vec![Resource {
            resource_name: "all".to_owned(),
            comm_type: CommunicationType::RequestResponse,
            uri: format!("/{}/{}", api.name, api.version),
            cust_op_name: None,
            cust_operations: None,
            operations: None,
            description: None,
            extra: Default::default(),
        }]),
        cust_operations: None,
        extra: Default::default(),
    };
    let profile = AefProfile {
        aef_id: aef_id.clone(),
        versions: vec![version],
        protocol: Some(Protocol::Http11),
        data_format: Some(DataFormat::Json),
        security_methods: Some(api.methods.clone()),
        grant_types: None,
        domain_name: None,
        interface_descriptions: Some(vec![address.interface()]),
        aef_location: None,
        service_kpis: None,
        ue_ip_range: None,
        extra: Default::default(),
    };
    ServiceApiDescription {
        api_name: api.name.clone(),
        api_id: None,
        api_status: None,
        aef_profiles: Some(vec![profile]),
        description: None,
        supported_features: None,
        shareable_info: None,
        service_api_category: None,
        api_supp_feats: None,
        pub_api_path: None,
        ccf_id: None,
        api_prov_name: None,
        net_slice_info: None,
        extra: Default::default(),
    }
}

/// The client towards the API: plain HTTP is the provider's choice; with https the system's trust anchors count.
fn upstream_client(config: &GatewayConfig, tls: bool) -> Result<Client, GatewayError> {
    let anchors = if tls { Some(Anchors::native()?) } else { None };
    Ok(Client::new(
        ClientTls {
            anchors,
            identity: None,
            clock: Arc::clone(&config.clock),
        },
        ClientLimits {
            plain: true,
            ..ClientLimits::default()
        },
    )?)
}

/// The handler of the listener.
struct Edge {
    invocations: Invocations,
    own: OwnApi,
    connections: Arc<OnceLock<Arc<Connections>>>,
}

impl Handler for Edge {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let clock = &self.invocations.clock;
        let started = clock.now();
        let request_id = request_id();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let (invoker, result) = if api::is_own(&path) {
            let result = match self.connections.get() {
                Some(connections) => self.own.answer(request, &connection, connections).await,
                None => Err(crate::answer::Denial::Unchecked),
            };
            (None, result)
        } else {
            let outcome = self
                .invocations
                .call(request, &connection, &request_id)
                .await;
            (outcome.invoker, outcome.result)
        };
        let (response, denial) = match result {
            Ok(response) => (response, None),
            Err(denial) => {
                let methods = &self.invocations.api.methods;
                (denial.answer(methods, &request_id), Some(denial))
            }
        };
        tracing::info!(
            target: "capif::request",
            request_id,
            interface = "CAPIF-2e",
            remote = %connection.remote,
            caller = invoker.as_ref().map_or("-", |invoker| invoker.as_str()),
            operation = shown(&path),
            %method,
            status = response.status().as_u16(),
            duration_us = i64::try_from((clock.now() - started).whole_microseconds()).unwrap_or(i64::MAX),
            cause = denial.map(|denial| denial.to_string()).unwrap_or_default(),
        );
        response
    }
}

/// How much of a path a log line shows.
const SHOWN_CHARS_MAX: usize = 512;

/// A path for the log: whoever reads it on a terminal sees characters and no effects.
fn shown(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars().take(SHOWN_CHARS_MAX) {
        if character.is_ascii_graphic() {
            text.push(character);
        } else {
            text.extend(character.escape_unicode());
        }
    }
    text
}

/// A name for a request that nobody else has.
fn request_id() -> String {
    let mut octets = [0; 16];
    if aws_lc_rs::rand::fill(&mut octets).is_err() {
        return String::new();
    }
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
