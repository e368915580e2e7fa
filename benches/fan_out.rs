//! Fan-out of events: offboardings that many subscribers hear of, each an AEF with a listener of its own, over connections that are
//! kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use capif_transport::{
    Acceptor, Anchors, Body, ClientCertificates, Connection, Handler, Limits, Server, ServerTls,
    SystemClock, collect, empty,
};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::{
    SOON,
    arguments::Arguments,
    cores::{Cores, Meter},
    figures::summary,
    people::{Core, Domain, Invoker},
    process::Machine,
};

/// How many AEFs a domain has.
const AEFS_PER_DOMAIN: usize = 10;

/// All that was delivered.
#[derive(Default)]
struct Deliveries {
    count: AtomicU64,
    begun: Mutex<Option<Instant>>,
    times: Mutex<Vec<Duration>>,
}

struct Receiver(Arc<Deliveries>);

impl Handler for Receiver {
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        let _body = collect(request.into_body(), 1 << 20, SOON).await.unwrap();
        let begun = *self.0.begun.lock().unwrap();
        if let Some(begun) = begun {
            self.0.times.lock().unwrap().push(begun.elapsed());
        }
        self.0.count.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

pub async fn run(arguments: &Arguments) {
    let subscribers: usize = arguments.get("--subscribers", 1000);
    let events: u64 = arguments.get("--events", 50);
    let cores = Cores::new();
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let service = cores.core_function(&mut machine).await;
    let core = Core::of(&machine, &service).await;
    let meter = Meter::of(&service);

    let deliveries = Arc::new(Deliveries::default());
    let mut servers = Vec::new();
    for number in 0..subscribers.div_ceil(AEFS_PER_DOMAIN) {
        let name = format!("subscriber{number}");
        let domain = Domain::register(&machine, &core, &name, AEFS_PER_DOMAIN).await;
        // So that every invoker has to do with every domain.
        domain.publish(&core, &name, &["PKI"]).await;
        for aef in domain.aefs.iter().take(subscribers - servers.len()) {
            let acceptor = Acceptor::new(ServerTls {
                identity: aef.identity(),
                client_certificates: ClientCertificates::Requested(
                    Anchors::from_pem(&core.anchors_pem).unwrap(),
                ),
                clock: Arc::new(SystemClock),
                psk: None,
                session: None,
            });
            let server = Server::bind(
                "127.0.0.1:0".parse().unwrap(),
                Arc::new(acceptor.unwrap()),
                Limits::default(),
                Receiver(Arc::clone(&deliveries)),
            )
            .unwrap();
            let body = json!({
                "events": ["API_INVOKER_OFFBOARDED"],
                "notificationDestination": format!("https://{}/events", server.local_addr()),
            });
            let path = format!("/capif-events/v1/{}/subscriptions", aef.id);
            aef.send(core.address, "POST", &path, &body)
                .await
                .expect(201);
            servers.push(server);
        }
    }
    let subscribers = servers.len() as u64;
    println!("{subscribers} subscribers, each with a listener of its own");

    let mut invokers = Vec::new();
    for _ in 0..events + 4 {
        invokers.push(Invoker::onboard(&machine, &core, None).await.party.id);
    }
    // The first event finds no connections; it is not measured.
    offboard(&machine, invokers.pop()).await;
    arrived(&deliveries, subscribers).await;
    let mut last = Vec::new();
    for _ in 0..3 {
        deliveries.times.lock().unwrap().clear();
        let before = deliveries.count.load(Ordering::Relaxed);
        *deliveries.begun.lock().unwrap() = Some(Instant::now());
        offboard(&machine, invokers.pop()).await;
        arrived(&deliveries, before + subscribers).await;
        last.extend(deliveries.times.lock().unwrap().drain(..));
    }
    println!("fan-out, one event, from the request that causes it to each delivery:");
    println!("  {}", summary(last));

    *deliveries.begun.lock().unwrap() = None;
    let before = deliveries.count.load(Ordering::Relaxed);
    let (begun, processor) = (Instant::now(), meter.processor());
    while !invokers.is_empty() {
        offboard(&machine, invokers.pop()).await;
    }
    let raised = begun.elapsed();
    arrived(&deliveries, before + events * subscribers).await;
    let (wall, processor) = (begun.elapsed(), meter.processor() - processor);
    let count = (deliveries.count.load(Ordering::Relaxed) - before) as f64;
    println!(
        "fan-out, {events} events one after the other: {:.0} deliveries/s, {:.0} per processor second of the server \
         ({:.0} % of it used); raising them took {:.2} s of {:.2} s",
        count / wall.as_secs_f64(),
        count / processor.as_secs_f64().max(0.01),
        100.0 * processor.as_secs_f64() / wall.as_secs_f64(),
        raised.as_secs_f64(),
        wall.as_secs_f64()
    );
    println!("  {} MB of private memory", meter.memory_kib() / 1024);
}

async fn offboard(machine: &Machine, invoker: Option<String>) {
    let path = format!("/invokers/{}", invoker.unwrap());
    let (status, answer) = machine.operator(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
}

/// Waits until so many deliveries came in.
async fn arrived(deliveries: &Deliveries, count: u64) {
    let begun = Instant::now();
    while deliveries.count.load(Ordering::Relaxed) < count {
        let so_far = deliveries.count.load(Ordering::Relaxed);
        assert!(
            begun.elapsed() < 10 * SOON,
            "{so_far} of {count} deliveries"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
