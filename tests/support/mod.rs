//! A small world for tests: a core function in a temporary folder, people who enrol, and raw requests.

pub mod backend;
pub mod capture;
pub mod certificates;
pub mod cutter;
pub mod jws;
pub mod keys;
pub mod lines;
pub mod moving;
pub mod people;
pub mod plain;
pub mod process;
pub mod psk;
pub mod raw;
pub mod receiver;
pub mod relay;
pub mod site;
pub mod upstream;
pub mod wire;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use capif_aef::{ExposedApi, Gateway, GatewayConfig};
use capif_ccf::{
    admin::{EnrolmentParts, NewInvite, NewProvider, SOCKET},
    ccf::Ccf,
    config::{CallbacksSection, Compat, Config},
    init::{self, Options},
    moved::Moved,
};
use capif_client::{Bundle, Enrolment, Invoker, Keystore, OnboardingRequest};
use capif_spec::{common::Redacted, publish_service::SecurityMethod};
use capif_transport::{Client, ClientLimits, ManualClock, SharedClock, collect, empty, full};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;

/// How long a test waits for what must happen, on a busy machine as well.
pub const SOON: Duration = Duration::from_secs(30);

/// A core function with its folder; time is moved by the test.
pub struct World {
    pub dir: TempDir,
    pub clock: Arc<ManualClock>,
    pub config: Config,
    /// The password of the first administrator of the account service, if the last start made one.
    pub first_password: Option<Redacted>,
    ccf: Option<Ccf>,
    /// What is left of it here, once it has moved.
    moved: Option<Moved>,
    address: String,
}

impl World {
    /// A new core function with the default configuration on free ports.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A new core function with a configuration of the test's own.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::made(&Options::default(), change).await
    }

    /// The same, in a folder that is made in a certain way.
    pub async fn made(options: &Options, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(wall_clock()));
        init::init_with(dir.path(), options, clock.as_ref()).unwrap();
        let mut config = Config::load(dir.path()).unwrap();
        config.ccf.listen = lasting_address();
        config.management.listen = lasting_address();
        config.revocation.listen = lasting_address();
        config.operator.listen = None;
        // Where nobody listens; tests say which other places they mean.
        config.callbacks = CallbacksSection {
            allow: vec!["127.0.0.1:1".parse().unwrap()],
            ca_file: dir.path().join("ca/root.pem"),
            ..CallbacksSection::default()
        };
        config.compat = compat();
        change(&mut config);
        let mut world = Self {
            dir,
            clock,
            config,
            first_password: None,
            ccf: None,
            moved: None,
            address: String::new(),
        };
        world.resume().await;
        world
    }

    /// Starts the core function again on its folder, at the same address as before.
    pub async fn resume(&mut self) {
        let clock: SharedClock = self.clock.clone();
        if self.config.moved.is_elsewhere() {
            let moved = Moved::start(self.dir.path(), self.config.clone(), clock).await;
            self.moved = Some(moved.unwrap());
            return;
        }
        let mut ccf = Ccf::start(self.dir.path(), self.config.clone(), clock)
            .await
            .unwrap();
        self.first_password = ccf.take_first_password();
        self.config.ccf.listen = ccf.local_addr();
        self.config.management.listen = ccf.management_addr();
        self.config.revocation.listen = ccf.revocation_addr();
        self.config.operator.listen = ccf.operator_addr();
        self.address = ccf.address();
        self.ccf = Some(ccf);
    }

    /// Stops the core function.
    pub async fn stop(&mut self) {
        if let Some(ccf) = self.ccf.take() {
            ccf.drain(Duration::from_secs(5)).await;
        }
        if let Some(moved) = self.moved.take() {
            moved.drain(Duration::from_secs(5)).await;
        }
    }

    pub fn ccf(&self) -> &Ccf {
        self.ccf.as_ref().unwrap()
    }

    /// Whether it understands the dialect of deployed clients: what that relaxes, and nothing else, tests ask of it in two ways.
    pub fn is_lenient(&self) -> bool {
        self.config.is_lenient()
    }

    /// Host and port of the core function.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    /// A request of the operator.
    pub async fn operator(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let client = Client::unix(self.dir.path().join(SOCKET), ClientLimits::default());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://operator{path}"));
        let body = match body {
            None => empty(),
            Some(body) => {
                request = request.header("content-type", "application/json");
                full(body.to_string())
            }
        };
        let response = client.request(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let octets = collect(response.into_body(), 8 << 20, SOON).await.unwrap();
        (
            status,
            serde_json::from_slice(&octets).unwrap_or(Value::Null),
        )
    }

    /// A listing of the operator.
    pub async fn list(&self, what: &str) -> Vec<Value> {
        let (status, rows) = self.operator(Method::GET, &format!("/{what}"), None).await;
        assert_eq!(status, StatusCode::OK);
        rows.as_array().unwrap().clone()
    }

    /// The enrolment information for an invoker of these APIs; of all if there are none.
    pub async fn invite(&self, apis: &[&str]) -> Enrolment {
        let apis: BTreeSet<String> = apis.iter().map(|api| (*api).to_owned()).collect();
        let invite = NewInvite {
            apis: (!apis.is_empty()).then_some(apis),
            minutes: None,
            approval: false,
        };
        let parts = self
            .parts("/invites", serde_json::to_value(invite).unwrap())
            .await;
        Enrolment::from_parts(parts.address, parts.ca_pem, parts.credential).unwrap()
    }

    async fn parts(&self, path: &str, body: Value) -> EnrolmentParts {
        let (status, parts) = self.operator(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{parts}");
        serde_json::from_value(parts).unwrap()
    }

    /// A folder of its own for somebody.
    pub fn folder(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("people").join(name)
    }

    pub fn keystore(&self, name: &str) -> Keystore {
        std::fs::create_dir_all(self.dir.path().join("people")).unwrap();
        Keystore::open(self.folder(name)).unwrap()
    }

    /// An onboarded invoker.
    pub async fn invoker(&self, name: &str, apis: &[&str]) -> Invoker {
        let enrolment = self.invite(apis).await;
        let request = OnboardingRequest {
            apis: apis.iter().map(|api| (*api).to_owned()).collect(),
            ..OnboardingRequest::default()
        };
        Invoker::onboard(self.keystore(name), &enrolment, request, self.clock())
            .await
            .unwrap()
    }

    /// The bundle for a provider domain.
    pub async fn bundle(&self, name: &str) -> Bundle {
        self.bundle_of(NewProvider {
            name: name.to_owned(),
            reusable: false,
            days: None,
        })
        .await
    }

    /// The same, with which the domain may register again.
    pub async fn reusable_bundle(&self, name: &str) -> Bundle {
        self.bundle_of(NewProvider {
            name: name.to_owned(),
            reusable: true,
            days: None,
        })
        .await
    }

    async fn bundle_of(&self, provider: NewProvider) -> Bundle {
        let name = provider.name.clone();
        let body = serde_json::to_value(provider).unwrap();
        let parts = self.parts("/providers", body).await;
        Bundle {
            address: parts.address,
            anchors_pem: parts.ca_pem,
            domain_name: name,
            credential: parts.credential,
        }
    }

    /// A gateway of a new provider domain in front of an upstream.
    pub async fn gateway(
        &self,
        provider: &str,
        api: &str,
        upstream: &str,
        methods: &[SecurityMethod],
    ) -> Gateway {
        let bundle = self.bundle(provider).await;
        let config = self.gateway_config(provider, Some(bundle), api, upstream, methods);
        Gateway::start(config).await.unwrap()
    }

    pub fn gateway_config(
        &self,
        provider: &str,
        bundle: Option<Bundle>,
        api: &str,
        upstream: &str,
        methods: &[SecurityMethod],
    ) -> GatewayConfig {
        let exposed = ExposedApi {
            name: api.to_owned(),
            version: "v1".to_owned(),
            upstream: upstream.to_owned(),
            strip: false,
            methods: methods.to_vec(),
        };
        std::fs::create_dir_all(self.dir.path().join("people")).unwrap();
        let mut config = GatewayConfig::new(self.folder(provider), bundle, exposed, self.clock());
        config.listen = "127.0.0.1:0".parse().unwrap();
        config
    }

    /// Whether any file of the core function's store holds these octets.
    pub fn store_holds(&self, octets: &[u8]) -> bool {
        holds(&self.dir.path().join("store"), octets)
    }

    /// The root certificate as PEM, the newest one.
    pub fn root_pem(&self) -> String {
        let numbered = |number: u32| self.dir.path().join(format!("ca/root-{number}.pem"));
        let newest = (2..10).rev().map(numbered).find(|path| path.exists());
        let path = newest.unwrap_or_else(|| self.dir.path().join("ca/root.pem"));
        std::fs::read_to_string(path).unwrap()
    }
}

/// Whether a file below a folder holds these octets.
pub fn holds(folder: &Path, octets: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, octets);
        }
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(octets.len()).any(|window| window == octets)
    })
}

/// A free address that nobody is given by chance, so that it can be taken again after a pause: it lies below the ports that the
/// system hands out.
pub fn lasting_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    loop {
        let offset = std::process::id().wrapping_mul(211) % PORTS;
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until something holds; fails the test when it does not in time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SOON, wait).await.is_err() {
        panic!("did not happen in time: {what}");
    }
}

/// In which mode core functions run that no test has an opinion on: strictly, or, with `CAPIF_TEST_COMPAT=opencapif`, in the profile of
/// deployed clients.
pub fn compat() -> Compat {
    match std::env::var("CAPIF_TEST_COMPAT").as_deref() {
        Ok("opencapif") => Compat::Opencapif,
        Ok(other) if !other.is_empty() => panic!("CAPIF_TEST_COMPAT={other} is no mode"),
        _ => Compat::None,
    }
}

/// The text of a secret, for tests alone.
pub fn reveal(secret: &Redacted) -> &str {
    secret.expose()
}

/// The time of day, to start clocks at: certificates of the outside tools are valid around it.
#[expect(
    clippy::disallowed_methods,
    reason = "the start of the test's own clock"
)]
fn wall_clock() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
