//! Change of the security method (TS 33.122 clause 6.7), the whole way: the publisher changes it, the gateway takes it over,
//! and invokers that are in the middle of calling recover by themselves.

mod at_gateway;
mod hostile;
mod keys;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use capif_aef::{Gateway, change_methods};
use capif_client::{Invoker, Provider, Wish};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Body, empty, full};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::{
    World,
    backend::Backend,
    eventually,
    raw::Pems,
    reveal,
    wire::{Answer, Caller, request},
};

const PATH: &str = "/weather/v1/today";
const ALL: [SecurityMethod; 3] = [
    SecurityMethod::Psk,
    SecurityMethod::Pki,
    SecurityMethod::Oauth,
];

/// A gateway whose methods the provider changes, and an API behind it.
struct Site {
    world: World,
    backend: Backend,
    gateway: Gateway,
    provider: Provider,
}

impl Site {
    async fn start() -> Self {
        let world = World::start().await;
        let backend = Backend::start();
        let gateway = world.gateway("acme", "weather", &backend.url(), &ALL).await;
        let provider = Provider::open(world.keystore("acme"), world.clock())
            .await
            .unwrap();
        Self {
            world,
            backend,
            gateway,
            provider,
        }
    }

    /// Publishes another method, and does not wait.
    async fn publish(&self, method: &SecurityMethod) {
        let methods = std::slice::from_ref(method);
        change_methods(&self.provider, "weather", Some(methods))
            .await
            .unwrap();
    }

    /// Publishes another method, and waits until the gateway has taken it over.
    async fn change(&self, method: &SecurityMethod) {
        self.publish(method).await;
        eventually("the gateway takes the method over", async || {
            self.gateway.methods() == std::slice::from_ref(method)
        })
        .await;
    }

    /// How many of the calls that change something reached the API.
    fn carried_out(&self) -> usize {
        let seen = self.backend.seen();
        seen.iter().filter(|seen| seen.method == "POST").count()
    }

    fn wish(&self) -> Wish {
        Wish::at(self.gateway.aef_id().clone())
    }

    fn caller(&self, who: Option<&str>) -> Caller {
        let pems = who.map(|who| Pems::of_invoker(&self.world.folder(who)));
        let identity = pems.map(|pems| pems.identity());
        Caller::new(&self.world, self.gateway.address(), identity)
    }

    /// What an invoker shows for a method at this moment, to be shown later.
    async fn credential(&self, name: &str, invoker: &Invoker, method: &SecurityMethod) -> Shown {
        match method {
            SecurityMethod::Psk => {
                let credential = keys::held(&self.world.folder(name)).remove(0);
                Shown {
                    caller: Caller::with_key(self.gateway.address(), credential),
                    token: None,
                }
            }
            SecurityMethod::Pki => Shown {
                caller: self.caller(Some(name)),
                token: None,
            },
            _ => {
                let scope = format!("3gpp#{}:weather", self.gateway.aef_id());
                let token = invoker.token(&scope.parse().unwrap()).await.unwrap();
                Shown {
                    caller: self.caller(None),
                    token: Some(reveal(&token.access_token).to_owned()),
                }
            }
        }
    }
}

/// A credential in use.
struct Shown {
    caller: Caller,
    token: Option<String>,
}

impl Shown {
    async fn call(&self) -> Option<Answer> {
        let request = request(Method::GET, PATH, self.token.as_deref(), None);
        self.caller.try_send(request).await
    }
}

fn get() -> Request<Body> {
    Request::get(PATH).body(empty()).unwrap()
}

async fn call(invoker: &Invoker) -> StatusCode {
    invoker.call("weather", get()).await.unwrap().status()
}

fn method_of(invoker: &Invoker) -> Option<SecurityMethod> {
    invoker.agreements().into_iter().next()?.method
}

/// Invokers that call without a pause, each in several tasks.
struct Load {
    over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    /// Those of them that change something.
    changing: Arc<AtomicUsize>,
    /// In milliseconds.
    longest: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(invoker: &Arc<Invoker>, tasks: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let changing = Arc::new(AtomicUsize::new(0));
        let longest = Arc::new(AtomicU64::new(0));
        let tasks = (0..tasks)
            .map(|index| {
                let invoker = Arc::clone(invoker);
                let (over, served) = (Arc::clone(&over), Arc::clone(&served));
                let (changing, longest) = (Arc::clone(&changing), Arc::clone(&longest));
                tokio::spawn(async move {
                    while !over.load(Ordering::Relaxed) {
                        // Half of the tasks change something each time, so that nobody may send it twice unasked.
                        let request = match index % 2 {
                            0 => get(),
                            _ => Request::post(PATH).body(full("rain")).unwrap(),
                        };
                        let began = Instant::now();
                        let response = invoker.call("weather", request).await.unwrap();
                        assert_eq!(response.status(), StatusCode::OK);
                        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
                        longest.fetch_max(took, Ordering::Relaxed);
                        changing.fetch_add(index % 2, Ordering::Relaxed);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self {
            over,
            served,
            changing,
            longest,
            tasks,
        }
    }

    /// Until so many more calls were answered.
    async fn more(&self, calls: usize) {
        let enough = self.served.load(Ordering::Relaxed) + calls;
        eventually("calls go on", async || {
            let failed = self.tasks.iter().any(JoinHandle::is_finished);
            failed || self.served.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    /// Ends it, and fails the test if a single call failed or took much longer than the others.
    async fn end(self) -> Served {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let longest = Duration::from_millis(self.longest.load(Ordering::Relaxed));
        assert!(longest < PATIENCE, "{longest:?}");
        Served {
            all: self.served.load(Ordering::Relaxed),
            changing: self.changing.load(Ordering::Relaxed),
        }
    }
}

/// How many calls were answered.
struct Served {
    all: usize,
    changing: usize,
}

/// R-6.7-01 to 04: each of the six changes happens while calls are under way. No call fails, and once the gateway has taken a
/// method over nobody is served by the one before, on new and on open connections.
#[tokio::test(flavor = "multi_thread")]
async fn all_six_changes_recover_under_load() {
    let site = Site::start().await;
    let amy = Arc::new(site.world.invoker("amy", &[]).await);
    let [psk, pki, oauth] = &ALL;
    site.change(psk).await;
    assert_eq!(call(&amy).await, StatusCode::OK);
    let load = Load::start(&amy, 8);
    let mut before = psk;
    for after in [pki, oauth, psk, oauth, pki, psk] {
        let shown = site.credential("amy", &amy, before).await;
        let fresh = site.credential("amy", &amy, before).await;
        assert_eq!(shown.call().await.unwrap().status, 200, "{before}");
        load.more(40).await;
        site.change(after).await;
        for old in [&shown, &fresh] {
            for _ in 0..2 {
                let answer = old.call().await;
                // A key that was replaced meanwhile may not even finish the handshake (D-20).
                let Some(answer) = answer else {
                    assert_eq!(before, psk);
                    continue;
                };
                assert_eq!(answer.status, 401, "{before} to {after}");
                assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
                assert_eq!(answer.json()["supportedMethods"][0], after.as_str());
            }
        }
        load.more(40).await;
        assert_eq!(method_of(&amy).as_ref(), Some(after), "{before} to {after}");
        before = after;
    }
    let served = load.end().await;
    assert!(served.all >= 6 * 80);
    assert_eq!(site.carried_out(), served.changing);
    assert_eq!(amy.agreements().len(), 1);
}

/// The same with changes that follow each other faster than the invoker can follow.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_overtake_each_other_recover_under_load() {
    let site = Site::start().await;
    let amy = Arc::new(site.world.invoker("amy", &[]).await);
    assert_eq!(call(&amy).await, StatusCode::OK);
    let load = Load::start(&amy, 8);
    for round in 0..4 {
        for method in &ALL {
            site.publish(method).await;
            if round % 2 == 1 {
                load.more(1).await;
            }
        }
    }
    load.more(50).await;
    let served = load.end().await;
    assert!(served.all > 50);
    assert_eq!(site.carried_out(), served.changing);
    assert_eq!(method_of(&amy), Some(SecurityMethod::Oauth));
}

/// R-6.7-04: several invokers, each with an agreement of its own.
#[tokio::test(flavor = "multi_thread")]
async fn all_invokers_recover() {
    let site = Site::start().await;
    let mut invokers = Vec::new();
    for name in ["amy", "ben", "cem", "dan"] {
        invokers.push(Arc::new(site.world.invoker(name, &[]).await));
    }
    let loads: Vec<Load> = invokers
        .iter()
        .map(|invoker| Load::start(invoker, 2))
        .collect();
    for method in [SecurityMethod::Psk, SecurityMethod::Oauth] {
        for load in &loads {
            load.more(5).await;
        }
        site.change(&method).await;
        for load in &loads {
            load.more(5).await;
        }
        for invoker in &invokers {
            assert_eq!(method_of(invoker).as_ref(), Some(&method));
        }
    }
    for load in loads {
        load.end().await;
    }
}

/// A call whose body streams cannot be sent again: the refusal is its answer, and the next call goes by the right method.
#[tokio::test]
async fn a_streaming_body_is_not_sent_twice() {
    let site = Site::start().await;
    let amy = site.world.invoker("amy", &[]).await;
    site.change(&SecurityMethod::Pki).await;
    assert_eq!(call(&amy).await, StatusCode::OK);
    site.change(&SecurityMethod::Oauth).await;
    let (sender, body) = crate::support::upstream::piecewise();
    sender.send("rain".into()).unwrap();
    drop(sender);
    let request = Request::post(PATH).body(body).unwrap();
    let response = amy.call("weather", request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(site.backend.seen().len(), 1);
    assert_eq!(method_of(&amy), Some(SecurityMethod::Oauth));
    assert_eq!(call(&amy).await, StatusCode::OK);
}

/// R-6.7-03 across processes: what one process of an invoker learned, the other need not ask.
#[tokio::test]
async fn two_processes_of_an_invoker_recover_together() {
    let site = Site::start().await;
    let amy = site.world.invoker("amy", &[]).await;
    site.change(&SecurityMethod::Pki).await;
    assert_eq!(call(&amy).await, StatusCode::OK);
    let other = Invoker::open(site.world.keystore("amy"), site.world.clock())
        .await
        .unwrap();
    for method in [
        SecurityMethod::Psk,
        SecurityMethod::Oauth,
        SecurityMethod::Pki,
    ] {
        site.change(&method).await;
        assert_eq!(call(&amy).await, StatusCode::OK, "{method}");
        let asked = negotiations(&site, "amy");
        assert_eq!(call(&other).await, StatusCode::OK, "{method}");
        assert_eq!(negotiations(&site, "amy"), asked, "{method}");
    }
}

/// How often an invoker has negotiated.
fn negotiations(site: &Site, name: &str) -> u64 {
    state(site, name)["negotiations"].as_u64().unwrap()
}

fn state(site: &Site, name: &str) -> Value {
    let file = site.world.folder(name).join("capif-invoker.json");
    let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    state["onboarded"].clone()
}

/// No call takes longer, whatever changes meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Far less than twenty calls would take that wait.
const SHORTLY: Duration = Duration::from_secs(8);
