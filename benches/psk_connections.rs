//! W3: new connections with TLS-PSK at a gateway that knows many keys.
//!
//! Enrols the invokers for real, makes the gateway learn every key, and then stands by for a load generator: what that needs
//! to know is printed. Without one, it measures nothing.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use capif_transport::{Limits, Server};
use http::StatusCode;

use crate::{
    arguments::Arguments,
    cores::without_bounds,
    enrolment::{Invoker, Proof, Target},
    process::Machine,
    time_to_refusal::{Api, gateway},
};

/// How many enrol at the same time.
const ENROLLING: usize = 16;

/// The gateways, by the version of TLS in which they take keys.
const VERSIONS: [&str; 2] = ["1.3", "1.2"];

pub async fn run(arguments: &Arguments) {
    let keys: usize = arguments.get("--keys", 100_000);
    let seconds: u64 = arguments.get("--seconds", 600);
    let upstream: String = arguments.get("--upstream", String::new());
    let api = Server::bind_plain("127.0.0.1:0".parse().unwrap(), Limits::default(), Api).unwrap();
    let upstream = if upstream.is_empty() {
        format!("http://{}", api.local_addr())
    } else {
        upstream
    };

    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    without_bounds(&mut machine);
    let _core = machine.core_function().await;
    // Each is measured on one processor.
    machine.set("TOKIO_WORKER_THREADS", "1");
    let mut gateways = Vec::new();
    for (index, version) in VERSIONS.iter().enumerate() {
        let options = [
            "--methods",
            "PSK",
            "--psk-tls",
            version,
            "--lookups-per-second",
            "1000000",
        ];
        gateways.push(gateway(&machine, index, &upstream, &options).await);
    }
    let targets: Arc<[Target]> = gateways.iter().map(|(_, target)| target.clone()).collect();

    let begun = Instant::now();
    let machine = Arc::new(machine);
    let next = Arc::new(AtomicUsize::new(0));
    let mut enrolling = Vec::new();
    for _ in 0..ENROLLING {
        let (machine, next, targets) = (Arc::clone(&machine), Arc::clone(&next), targets.clone());
        enrolling.push(tokio::spawn(async move {
            let mut last = None;
            while next.fetch_add(1, Ordering::Relaxed) < keys {
                let invoker = Invoker::enrol(&machine, "PSK", &targets).await;
                for (index, target) in targets.iter().enumerate() {
                    let answer = invoker.call(&invoker.client(index), target).await;
                    assert!(
                        answer.is_some_and(|status| status != StatusCode::UNAUTHORIZED),
                        "a gateway does not know {}",
                        invoker.id
                    );
                }
                last = Some(invoker);
            }
            last
        }));
    }
    let mut last = None;
    for task in enrolling {
        last = task.await.unwrap().or(last);
    }
    let Some(Proof::Keys(credentials)) = last.map(|invoker| invoker.proof) else {
        panic!("nobody was enrolled");
    };
    println!(
        "{keys} keys at each gateway, enrolled and used once each in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    for (((service, target), credential), version) in
        gateways.iter().zip(&credentials).zip(VERSIONS)
    {
        let octets = credential.key.expose().iter();
        let hex: String = octets.map(|octet| format!("{octet:02x}")).collect();
        println!(
            "tls {version} address {} process {} path /{}/v1/today credential {}:{hex}",
            target.address,
            service.id(),
            target.api,
            credential.identity,
        );
    }
    std::io::stdout().flush().unwrap();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
