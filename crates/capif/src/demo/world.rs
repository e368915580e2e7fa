//! Who takes part, and where.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use capif_aef::{ExposedApi, Gateway, GatewayConfig};
use capif_ccf::{
    admin::{EnrolmentParts, NewInvite, NewProvider},
    ccf::{Ccf, StartError},
    config::Config,
    init,
    store::Fault,
};
use capif_client::{Bundle, Enrolment, EnrolmentCode, Invoker, Keystore, OnboardingRequest};
use capif_spec::{common::Redacted, publish_service::SecurityMethod};
use capif_transport::{
    Body, Clock, Closing, Connection, Connections, Handler, Identity, Limits, Server, SharedClock,
    SystemClock, full,
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::{
    stage::{eventually, missing},
    wire::{Key, Said, Wire},
};
use crate::{folder::root_of, operator::Operator};

/// How long anything may take to come to its end.
const GRACE: Duration = Duration::from_secs(2);

/// The name of the API behind the gateway.
pub(super) const WEATHER: &str = "weather";

/// The name of an API of somebody else.
pub(super) const FORECAST: &str = "forecast";

/// Everyone who takes part. Who is not there yet, or did not come about, is missing.
pub(super) struct World {
    dir: TempDir,
    clock: Arc<MovedClock>,
    root_pem: String,
    ccf: Option<Ccf>,
    api: Option<Api>,
    gateway: Option<Gateway>,
    /// A provider of somebody else, on the bare wire.
    pub(super) rival: Option<Rival>,
    /// An invoker on the bare wire.
    pub(super) bare: Option<Bare>,
    /// An invoker that uses the library.
    pub(super) app: Option<Invoker>,
    /// An invoker whom the operator removes.
    pub(super) unwanted: Option<Invoker>,
    /// An invoker who stays to the end.
    pub(super) steady: Option<Invoker>,
    /// A credential that was used.
    pub(super) used: Option<Redacted>,
}

/// An API invoker of which this program holds every part.
pub(super) struct Bare {
    pub(super) id: String,
    pub(super) identity: Identity,
    pub(super) secret: Redacted,
    /// The access token for the API behind the gateway.
    pub(super) token: Option<Redacted>,
}

impl Bare {
    /// What the answer to an onboarding makes of a key.
    pub(super) fn of(key: &Key, said: &Said) -> anyhow::Result<Self> {
        let chain = said.text("/onboardingInformation/apiInvokerCertificate")?;
        Ok(Self {
            id: said.text("/apiInvokerId")?,
            identity: key.identity(&chain)?,
            secret: said.text("/onboardingInformation/onboardingSecret")?.into(),
            token: None,
        })
    }
}

/// An API provider of which this program holds every part.
pub(super) struct Rival {
    pub(super) domain_id: String,
    pub(super) amf: Identity,
    pub(super) apf_id: String,
    pub(super) apf: Identity,
    pub(super) aef_id: String,
    pub(super) aef: Identity,
}

impl World {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            dir: tempfile::Builder::new()
                .prefix("capif-demo-")
                .tempdir()
                .context("no temporary folder could be made")?,
            clock: Arc::default(),
            root_pem: String::new(),
            ccf: None,
            api: None,
            gateway: None,
            rival: None,
            bare: None,
            app: None,
            unwanted: None,
            steady: None,
            used: None,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of the core function.
    pub(super) fn ccf_folder(&self) -> PathBuf {
        self.dir.path().join("ccf")
    }

    pub(super) fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    /// Lets time pass for everyone.
    pub(super) fn pass(&self, time: time::Duration) {
        self.clock
            .0
            .fetch_add(time.whole_seconds(), Ordering::Relaxed);
    }

    /// Makes the core function's folder, and starts it on any free port.
    pub(super) async fn start_ccf(&mut self) -> anyhow::Result<()> {
        init::init(&self.ccf_folder(), &*self.clock)?;
        self.root_pem = std::fs::read_to_string(self.ccf_folder().join("ca/root.pem"))?;
        self.serve_ccf(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Ends the core function and starts it anew from its folder, where it was.
    pub(super) async fn restart_ccf(&mut self) -> anyhow::Result<()> {
        let ccf = self
            .ccf
            .take()
            .ok_or_else(|| missing("the core function"))?;
        let address = ccf.local_addr();
        ccf.drain(GRACE).await;
        self.serve_ccf(address).await
    }

    async fn serve_ccf(&mut self, listen: SocketAddr) -> anyhow::Result<()> {
        let mut config = Config::default();
        config.ccf.listen = listen;
        config.management.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (folder, clock) = (self.ccf_folder(), self.clock());
        let mut ccf = None;
        // Sessions of a former core function in this process may hold on to the store for a moment.
        eventually("the store", async || {
            match Ccf::start(&folder, config.clone(), clock.clone()).await {
                Ok(started) => {
                    ccf = Some(started);
                    Ok(true)
                }
                Err(StartError::Store(Fault::Locked { .. })) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.ccf = ccf;
        Ok(())
    }

    pub(super) fn ccf(&self) -> anyhow::Result<&Ccf> {
        self.ccf
            .as_ref()
            .ok_or_else(|| missing("the core function"))
    }

    /// The root certificate of the core function.
    pub(super) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root certificate of an authority that has nothing to do with any of this.
    pub(super) fn foreign_root_pem(&self) -> anyhow::Result<String> {
        let folder = self.dir.path().join("elsewhere");
        init::init(&folder, &*self.clock)?;
        Ok(std::fs::read_to_string(folder.join("ca/root.pem"))?)
    }

    /// The operator of the core function.
    pub(super) fn operator(&self) -> Operator {
        Operator::of(&self.ccf_folder())
    }

    /// What the operator sees.
    pub(super) async fn listed(&self, what: &str) -> anyhow::Result<Vec<Value>> {
        Ok(self.operator().get(&format!("/{what}")).await?)
    }

    /// Somebody's connection to the core function.
    pub(super) fn to_ccf(&self, identity: Option<&Identity>) -> anyhow::Result<Wire> {
        let address = self.ccf()?.address();
        Wire::new(&address, &self.root_pem, identity.cloned(), self.clock())
    }

    /// Somebody's connection to the gateway.
    pub(super) fn to_gateway(&self, identity: Option<&Identity>) -> anyhow::Result<Wire> {
        let address = self.gateway()?.address();
        Wire::new(address, &self.root_pem, identity.cloned(), self.clock())
    }

    /// Has the operator invite an invoker; no names mean every API.
    pub(super) async fn invite(
        &self,
        apis: &[&str],
        minutes: u32,
    ) -> anyhow::Result<EnrolmentParts> {
        let invite = NewInvite {
            apis: (!apis.is_empty()).then(|| apis.iter().map(|api| (*api).to_owned()).collect()),
            minutes: Some(minutes),
        };
        Ok(self.operator().post("/invites", &invite).await?)
    }

    /// Has the operator admit a provider.
    pub(super) async fn admit(&self, name: &str) -> anyhow::Result<EnrolmentParts> {
        let provider = NewProvider {
            name: name.to_owned(),
        };
        Ok(self.operator().post("/providers", &provider).await?)
    }

    /// Enrols an invoker for the API behind the gateway, in the way of `capif call --code`.
    pub(super) async fn enrol(&self, name: &str) -> anyhow::Result<Invoker> {
        let parts = self.invite(&[WEATHER], 15).await?;
        let code = code_of(&parts)?.to_string();
        let code: EnrolmentCode = code.parse()?;
        let enrolment = Enrolment::from_code(&code, self.clock()).await?;
        let keystore = Keystore::open(self.invoker_folder(name))?;
        let request = OnboardingRequest::default();
        Ok(Invoker::onboard(keystore, &enrolment, request, self.clock()).await?)
    }

    /// Enrols an invoker on the bare wire.
    pub(super) async fn enrol_bare(&self, apis: &[&str]) -> anyhow::Result<Bare> {
        let parts = self.invite(apis, 15).await?;
        let key = Key::generate()?;
        let said = self
            .to_ccf(None)?
            .onboarding(&key.request()?, Some(parts.credential.expose()))
            .expect(201)
            .await?;
        Bare::of(&key, &said)
    }

    /// The folder of an invoker.
    pub(super) fn invoker_folder(&self, name: &str) -> PathBuf {
        self.dir.path().join("invokers").join(name)
    }

    /// Starts the API.
    pub(super) fn start_api(&mut self) -> anyhow::Result<SocketAddr> {
        let api = Api::start()?;
        let address = api.server.local_addr();
        self.api = Some(api);
        Ok(address)
    }

    pub(super) fn api(&self) -> anyhow::Result<&Api> {
        self.api.as_ref().ok_or_else(|| missing("the API"))
    }

    /// Starts the gateway of a newly admitted provider.
    pub(super) async fn start_gateway(&mut self) -> anyhow::Result<()> {
        let parts = self.admit("acme").await?;
        let bundle = Bundle {
            address: parts.address,
            anchors_pem: parts.ca_pem,
            domain_name: "acme".to_owned(),
            credential: parts.credential,
        };
        let methods = vec![SecurityMethod::Pki, SecurityMethod::Oauth];
        let socket = SocketAddr::from(([127, 0, 0, 1], 0));
        self.serve_gateway(Some(bundle), socket, methods).await
    }

    /// Starts the gateway anew, where it was, with other security methods.
    pub(super) async fn restart_gateway(
        &mut self,
        methods: Vec<SecurityMethod>,
    ) -> anyhow::Result<()> {
        let gateway = self.gateway.take().ok_or_else(|| missing("the gateway"))?;
        let socket = gateway.local_addr();
        gateway.drain(GRACE).await;
        self.serve_gateway(None, socket, methods).await
    }

    async fn serve_gateway(
        &mut self,
        bundle: Option<Bundle>,
        listen: SocketAddr,
        methods: Vec<SecurityMethod>,
    ) -> anyhow::Result<()> {
        let api = ExposedApi {
            name: WEATHER.to_owned(),
            version: "v1".to_owned(),
            upstream: format!("http://{}", self.api()?.server.local_addr()),
            strip: false,
            methods,
        };
        let dir = self.dir.path().join("gateway");
        let mut config = GatewayConfig::new(dir, bundle, api, self.clock());
        config.listen = listen;
        self.gateway = Some(Gateway::start(config).await?);
        Ok(())
    }

    pub(super) fn gateway(&self) -> anyhow::Result<&Gateway> {
        self.gateway.as_ref().ok_or_else(|| missing("the gateway"))
    }

    pub(super) fn bare(&self) -> anyhow::Result<&Bare> {
        self.bare
            .as_ref()
            .ok_or_else(|| missing("the invoker on the bare wire"))
    }

    pub(super) fn rival(&self) -> anyhow::Result<&Rival> {
        self.rival
            .as_ref()
            .ok_or_else(|| missing("the other provider"))
    }

    pub(super) fn app(&self) -> anyhow::Result<&Invoker> {
        self.app
            .as_ref()
            .ok_or_else(|| missing("the invoker that uses the library"))
    }

    /// Ends everything.
    pub(super) async fn end(self) {
        if let Some(gateway) = self.gateway {
            gateway.drain(GRACE).await;
        }
        if let Some(ccf) = self.ccf {
            ccf.drain(GRACE).await;
        }
    }
}

/// The code that an invitation makes.
pub(super) fn code_of(parts: &EnrolmentParts) -> anyhow::Result<EnrolmentCode> {
    Ok(EnrolmentCode {
        address: parts.address.clone(),
        ca_sha256: *root_of(&parts.ca_pem)?.as_bytes(),
        credential: parts.credential.clone(),
    })
}

/// How many live connections are such.
pub(super) fn live(connections: &Connections, such: impl Fn(&Connection) -> bool) -> usize {
    let count = AtomicUsize::new(0);
    // Picks none to be closed.
    connections.close(
        |connection| {
            count.fetch_add(usize::from(such(connection)), Ordering::Relaxed);
            false
        },
        Closing::AfterResponses,
    );
    count.into_inner()
}

/// The time of day, moved on by some seconds: what ends in a minute need not be waited for.
#[derive(Default)]
struct MovedClock(AtomicI64);

impl Clock for MovedClock {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + time::Duration::seconds(self.0.load(Ordering::Relaxed))
    }
}

/// A small HTTP API that knows nothing of CAPIF: it tells the weather, and remembers how it was asked.
pub(super) struct Api {
    server: Server,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// How the API was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Api {
    fn start() -> anyhow::Result<Self> {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let weather = Weather {
            asked: asked.clone(),
        };
        let socket = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind_plain(socket, Limits::default(), weather)?;
        Ok(Self { server, asked })
    }

    /// How often it was asked.
    pub(super) fn count(&self) -> usize {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// How it was asked last.
    pub(super) fn last(&self) -> anyhow::Result<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.last().cloned().context("the API was not asked")
    }
}

struct Weather {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Handler for Weather {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let answer = json!({ "path": request.uri().path(), "weather": "sunny" });
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Asked {
                path: request.uri().path().to_owned(),
                headers: request.headers().clone(),
            });
        let mut response = Response::new(full(answer.to_string()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}
