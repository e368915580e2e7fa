//! W8: how long after the answer to an offboarding every gateway refuses the invoker, on live and on new connections, while
//! others call.
//!
//! The invokers prove themselves by TLS-PSK, by certificate and by token in turn; a token is one that was fetched before, and
//! every new connection of its holder presents it again. Sessions are never resumed, so a new connection stands for a resumed
//! one too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use capif_transport::{Limits, Server, full};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use crate::{
    arguments::Arguments,
    cores::without_bounds,
    enrolment::{Invoker, Target},
    figures::summary,
    process::{Machine, Service},
};

/// How long after the answer a refusal is waited for.
const REFUSAL_MAX: Duration = Duration::from_secs(10);

/// The pause between two calls of one who is measured.
const PACE: Duration = Duration::from_millis(1);

/// Starts a gateway for `api0`, `api1` and so on.
pub async fn gateway(
    machine: &Machine,
    index: usize,
    upstream: &str,
    more: &[&str],
) -> (Service, Target) {
    let provider = format!("provider{index}");
    let api = format!("api{index}");
    let bundle = format!("{provider}.bundle");
    machine.capif(&["provider", "add", &provider]).await.done();
    let mut arguments = vec![
        "gateway",
        "--bundle",
        &bundle,
        "--api",
        &api,
        "--upstream",
        upstream,
        "--listen",
        "127.0.0.1:0",
    ];
    arguments.extend(more);
    let service = machine.serve(&arguments, "serving https://").await;
    let address = service.word_after("serving https://");
    let target = Target {
        aef_id: service.word_after("gateway "),
        address: address.split('/').next().unwrap().parse().unwrap(),
        api,
    };
    (service, target)
}

/// An API that answers at once.
pub struct Api;

impl capif_transport::Handler for Api {
    async fn handle(
        &self,
        _request: Request<capif_transport::Body>,
        _connection: Arc<capif_transport::Connection>,
    ) -> Response<capif_transport::Body> {
        Response::new(full("{}"))
    }
}

pub async fn run(arguments: &Arguments) {
    let gateways: usize = arguments.get("--gateways", 10);
    let invokers: usize = arguments.get("--invokers", 1000);
    let trials: usize = arguments.get("--trials", 60);
    let callers: usize = arguments.get("--callers", 16);

    let api = Server::bind_plain("127.0.0.1:0".parse().unwrap(), Limits::default(), Api).unwrap();
    let upstream = format!("http://{}", api.local_addr());
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    without_bounds(&mut machine);
    let _core = machine.core_function().await;
    let mut services = Vec::new();
    let mut targets = Vec::new();
    for index in 0..gateways {
        let (service, target) = gateway(&machine, index, &upstream, &[]).await;
        services.push(service);
        targets.push(target);
    }
    let mut people = Vec::new();
    for index in 0..invokers.max(trials + callers) {
        let method = ["PSK", "PKI", "OAUTH"][index % 3];
        people.push(Arc::new(Invoker::enrol(&machine, method, &targets).await));
    }
    println!(
        "{gateways} gateways, {} invokers (PSK, PKI, OAUTH in turn), {trials} offboardings, {callers} callers besides",
        people.len()
    );

    let targets: Arc<[Target]> = targets.into();
    let subjects: Vec<Arc<Invoker>> = people.drain(..trials).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicU64::new(0));
    let mut load = Vec::new();
    for caller in 0..callers {
        let mine: Vec<Arc<Invoker>> = people
            .iter()
            .skip(caller)
            .step_by(callers)
            .cloned()
            .collect();
        let (targets, stop) = (Arc::clone(&targets), Arc::clone(&stop));
        let (served, failed) = (Arc::clone(&served), Arc::clone(&failed));
        load.push(tokio::spawn(async move {
            // Every caller keeps its connections for a while and goes on to the next invoker.
            for (turn, invoker) in mine.iter().cycle().enumerate() {
                let index = turn % targets.len();
                let client = invoker.client(index);
                for _ in 0..50 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match invoker.call(&client, &targets[index]).await {
                        Some(StatusCode::OK) => served.fetch_add(1, Ordering::Relaxed),
                        _ => failed.fetch_add(1, Ordering::Relaxed),
                    };
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }));
    }
    let begun = Instant::now();
    let (mut live, mut new) = (Vec::new(), Vec::new());
    let mut by_method = [Vec::new(), Vec::new(), Vec::new()];
    for (index, subject) in subjects.into_iter().enumerate() {
        let (of_live, of_new) = trial(&machine, &subject, &targets).await;
        if let Some(slowest) = of_live.iter().chain(&of_new).max() {
            println!(
                "offboarding {index:3}: refused everywhere after {:.1} ms",
                slowest.as_secs_f64() * 1000.0
            );
        }
        by_method[index % 3].extend(of_live.iter().chain(&of_new).copied());
        live.extend(of_live);
        new.extend(of_new);
    }
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for caller in load {
        caller.await.unwrap();
    }
    println!(
        "load: {:.0} calls a second served, {} failed",
        served.load(Ordering::Relaxed) as f64 / seconds,
        failed.load(Ordering::Relaxed)
    );
    for (name, values) in ["PSK", "PKI", "OAUTH"].iter().zip(by_method) {
        println!("{name:16} {}", summary(values));
    }
    println!("live connections {}", summary(live.clone()));
    println!("new connections  {}", summary(new.clone()));
    live.extend(new);
    println!("all              {}", summary(live));
}

/// Offboards one invoker, and gives the times from the answer to each gateway's refusal.
async fn trial(
    machine: &Machine,
    subject: &Arc<Invoker>,
    targets: &Arc<[Target]>,
) -> (Vec<Duration>, Vec<Duration>) {
    let (gone, watch) = watch::channel(None::<Instant>);
    let mut watching = Vec::new();
    for index in 0..targets.len() {
        for fresh in [false, true] {
            let (subject, targets) = (Arc::clone(subject), Arc::clone(targets));
            let gone = watch.clone();
            let client = subject.client(index);
            assert_eq!(
                subject.call(&client, &targets[index]).await,
                Some(StatusCode::OK),
                "a call before the offboarding"
            );
            let watcher = tokio::spawn(async move {
                let mut client = client;
                loop {
                    if fresh {
                        client = subject.client(index);
                    }
                    let answer = subject.call(&client, &targets[index]).await;
                    if answer != Some(StatusCode::OK) {
                        return Instant::now();
                    }
                    let late = gone.borrow().is_some_and(|at| at.elapsed() > REFUSAL_MAX);
                    assert!(!late, "{} is still served", subject.id);
                    tokio::time::sleep(PACE).await;
                }
            });
            watching.push((fresh, watcher));
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let path = format!("/invokers/{}", subject.id);
    let (status, answer) = machine.operator(Method::DELETE, &path, None).await;
    let at = Instant::now();
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    gone.send_replace(Some(at));
    let (mut live, mut new) = (Vec::new(), Vec::new());
    for (fresh, watcher) in watching {
        let refused = watcher.await.unwrap();
        let times = if fresh { &mut new } else { &mut live };
        times.push(refused.saturating_duration_since(at));
    }
    (live, new)
}
