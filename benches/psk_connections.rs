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
    enrolment::{Invoker, Proof, Target},
    process::Machine,
    time_to_refusal::{Api, gateway},
};

/// How many enrol at the same time.
const ENROLLING: usize = 16;

pub async fn run(arguments: &Arguments) {
    let keys: usize = arguments.get("--keys", 100_000);
    let version: String = arguments.get("--tls", "1.3".to_owned());
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
    let _core = machine.core_function().await;
    let options = [
        "--methods",
        "PSK",
        "--psk-tls",
        &version,
        "--lookups-per-second",
        "1000000",
    ];
    let (service, target) = gateway(&machine, 0, &upstream, &options).await;
    let targets: Arc<[Target]> = vec![target.clone()].into();

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
                let answer = invoker.call(&invoker.client(0), &targets[0]).await;
                assert!(
                    answer.is_some_and(|status| status != StatusCode::UNAUTHORIZED),
                    "the gateway does not know {}",
                    invoker.id
                );
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
    let hex: String = credentials[0]
        .key
        .expose()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    println!(
        "{keys} keys at the gateway, enrolled and used once each in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    println!("address {}", target.address);
    println!("process {}", service.id());
    println!("path /{}/v1/today", target.api);
    println!("credential {}:{hex}", credentials[0].identity);
    std::io::stdout().flush().unwrap();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
