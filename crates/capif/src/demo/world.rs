//! Who takes part, and where.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use capif_aef::{ExposedApi, Gateway, GatewayConfig, change_methods};
use capif_ccf::{
    admin::{EnrolmentParts, NewInvite, NewProvider},
    ccf::{Ccf, StartError},
    config::Config,
    init,
    store::Fault,
};
use capif_client::{
    Bundle, Enrolment, EnrolmentCode, Invoker, Keystore, OnboardingRequest, Provider,
};
use capif_spec::{common::Redacted, publish_service::SecurityMethod};
use capif_transport::{
    Clock, Closing, Connection, Connections, Identity, PskCredential, SharedClock, SystemClock,
};
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::{
    stage::{eventually, missing},
    weather::Api,
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
    /// An invoker on the bare wire that calls by a key.
    pub(super) keyed: Option<Keyed>,
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

/// An API invoker with the key that it derived for the gateway.
pub(super) struct Keyed {
    pub(super) bare: Bare,
    pub(super) key: PskCredential,
}

/// An API provider of which this program holds every part.
pub(super) struct Rival {
    pub(super) domain_id: String,
    pub(super) amf: Identity,
    pub(super) apf_id: String,
    pub(super) apf: Identity,
    pub(super) aef_id: String,
    pub(super) aef: Identity,
    /// Its functions as the core function answered them.
    pub(super) functions: Vec<Value>,
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
            keyed: None,
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
        // As long as an invoker's, so that all are due at the same time.
        config.certificates.function_days = config.certificates.invoker_days;
        config.revocation.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.operator.listen = None;
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

    /// The first such entry of the invocation log, of which a listing shows a part at a time.
    pub(super) async fn logged(
        &self,
        such: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Option<Value>> {
        let mut part = "logs".to_owned();
        loop {
            let entries = self.listed(&part).await?;
            let Some(last) = entries.last().and_then(|entry| entry.get("id")?.as_str()) else {
                return Ok(None);
            };
            part = format!("logs?after={last}");
            if let Some(found) = entries.into_iter().find(&such) {
                return Ok(Some(found));
            }
        }
    }

    /// Somebody's connection to the core function.
    pub(super) fn to_ccf(&self, identity: Option<&Identity>) -> anyhow::Result<Wire> {
        let address = self.ccf()?.address();
        Wire::new(&address, &self.root_pem, identity.cloned(), self.clock())
    }

    /// The connection of an invoker to the core function, of which it keeps what a key can be derived from.
    pub(super) fn to_negotiate(&self, identity: &Identity) -> anyhow::Result<Wire> {
        let address = self.ccf()?.address();
        Wire::with_facts(&address, &self.root_pem, identity.clone(), self.clock())
    }

    /// Somebody's connection to the gateway.
    pub(super) fn to_gateway(&self, identity: Option<&Identity>) -> anyhow::Result<Wire> {
        let address = self.gateway()?.address();
        Wire::new(address, &self.root_pem, identity.cloned(), self.clock())
    }

    /// Somebody's connection to the gateway, over which a key proves both ends.
    pub(super) fn to_gateway_by_key(&self, key: &PskCredential) -> anyhow::Result<Wire> {
        Wire::by_key(self.gateway()?.address(), key.clone())
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
            approval: false,
        };
        Ok(self.operator().post("/invites", &invite).await?)
    }

    /// Has the operator admit a provider.
    pub(super) async fn admit(&self, name: &str) -> anyhow::Result<EnrolmentParts> {
        let provider = NewProvider {
            reusable: false,
            days: None,
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
        let address = api.local_addr();
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
        let api = ExposedApi {
            name: WEATHER.to_owned(),
            version: "v1".to_owned(),
            upstream: format!("http://{}", self.api()?.local_addr()),
            strip: false,
            methods: vec![SecurityMethod::Pki, SecurityMethod::Oauth],
        };
        let dir = self.gateway_folder();
        let mut config = GatewayConfig::new(dir, Some(bundle), api, self.clock());
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        self.gateway = Some(Gateway::start(config).await?);
        Ok(())
    }

    fn gateway_folder(&self) -> PathBuf {
        self.dir.path().join("gateway")
    }

    /// The provider that the gateway belongs to.
    pub(super) async fn provider(&self) -> anyhow::Result<Provider> {
        let keystore = Keystore::open(self.gateway_folder())?;
        Ok(Provider::open(keystore, self.clock()).await?)
    }

    /// Has the provider publish other security methods, in the way of `capif api methods`, and waits until the running gateway
    /// has taken them.
    pub(super) async fn publish_methods(
        &self,
        methods: &[SecurityMethod],
    ) -> anyhow::Result<Duration> {
        change_methods(&self.provider().await?, WEATHER, Some(methods)).await?;
        eventually("the gateway's change", async || {
            Ok(self.gateway()?.methods() == methods)
        })
        .await
    }

    /// Waits until the gateway has acknowledged every event.
    pub(super) async fn acknowledged(&self) -> anyhow::Result<Duration> {
        let aef = self.gateway()?.aef_id().to_string();
        eventually("the acknowledgement", async || {
            let subscriptions = self.listed("events").await?;
            let own = subscriptions
                .iter()
                .find(|row| row.get("subscriber").and_then(Value::as_str) == Some(&aef))
                .context("the AEF has no subscription")?;
            Ok(own.get("waiting").and_then(Value::as_u64) == Some(0))
        })
        .await
    }

    /// Waits until the gateway has acknowledged every event, and has no connection of this invoker left.
    pub(super) async fn dropped(&self, id: &str) -> anyhow::Result<Duration> {
        let acknowledged = self.acknowledged().await?;
        let closed = eventually("the end of its connections to the AEF", async || {
            Ok(self.at_gateway(id)? == 0)
        })
        .await?;
        Ok(acknowledged + closed)
    }

    /// How many live connections to the gateway are those of this invoker.
    pub(super) fn at_gateway(&self, id: &str) -> anyhow::Result<usize> {
        Ok(live(self.gateway()?.connections(), |connection| {
            connection.claimed_by() == Some(id)
        }))
    }

    pub(super) fn gateway(&self) -> anyhow::Result<&Gateway> {
        self.gateway.as_ref().ok_or_else(|| missing("the gateway"))
    }

    pub(super) fn bare(&self) -> anyhow::Result<&Bare> {
        self.bare
            .as_ref()
            .ok_or_else(|| missing("the invoker on the bare wire"))
    }

    pub(super) fn keyed(&self) -> anyhow::Result<&Keyed> {
        self.keyed
            .as_ref()
            .ok_or_else(|| missing("the invoker with a key"))
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
