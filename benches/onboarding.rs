//! W5: onboarding. Each is a new TLS session, a signed credential, a request whose signature is checked, a certificate, a secret, and
//! records on the disk before the answer leaves.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::KeyPair;
use tokio::task::JoinSet;

use crate::{
    arguments::Arguments,
    cores::{Cores, Meter},
    load::{Worker, closed, paced},
    people::{Core, INVOKERS, credential, enrolment, signing_request},
    process::Machine,
    wire::{Wire, request},
};

/// Requests that nobody has sent yet.
type Requests = Arc<Mutex<Vec<Vec<u8>>>>;

struct Newcomers {
    core: Core,
    requests: Requests,
}

impl Worker for Newcomers {
    async fn turn(&mut self) -> Option<bool> {
        let request = self.requests.lock().unwrap().pop()?;
        let onboarded = async {
            let mut wire = Wire::connect(self.core.address, &self.core.anonymous).await?;
            wire.exchange(&request).await
        };
        Some(onboarded.await.is_ok_and(|answer| answer.status == 201))
    }
}

pub async fn run(arguments: &Arguments) {
    let seconds: u64 = arguments.get("--seconds", 10);
    let rate_max: u64 = arguments.get("--rate-max", 2500);
    let at_once: usize = arguments.get("--at-once", 32);
    let cores = Cores::new();
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let service = cores.core_function(&mut machine).await;
    let core = Core::of(&machine, &service).await;
    let meter = Meter::of(&service);

    let machine = Arc::new(machine);
    let time = Duration::from_secs(seconds);
    let (outcome, used_up) = {
        let requests = prepared(&machine, (seconds + 1) * rate_max).await;
        let workers = newcomers(&core, &requests, at_once);
        let outcome = closed(workers, meter, Duration::from_secs(1), time).await.0;
        (outcome, requests.lock().unwrap().is_empty())
    };
    let rate = outcome.per_second() / 2.0;
    outcome.print("W5, as fast as it goes");
    if used_up {
        println!(
            "  the prepared requests ran out, so that this is too low: give a higher --rate-max"
        );
    }
    let requests = prepared(
        &machine,
        (rate.ceil() as u64 + 1) * seconds + at_once as u64,
    )
    .await;
    let workers = newcomers(&core, &requests, at_once);
    let (outcome, _) = paced(workers, meter, rate, time).await;
    outcome.print(&format!("W5, at half of that, {rate:.0} a second"));
    println!("  {} MB of private memory", meter.memory_kib() / 1024);
}

fn newcomers(core: &Core, requests: &Requests, count: usize) -> Vec<Newcomers> {
    let worker = |_| Newcomers {
        core: core.clone(),
        requests: Arc::clone(requests),
    };
    (0..count).map(worker).collect()
}

/// Requests that are good for one onboarding each.
async fn prepared(machine: &Arc<Machine>, count: u64) -> Requests {
    let requests = Requests::default();
    let mut making = JoinSet::new();
    for share in 0..16 {
        let (machine, requests) = (Arc::clone(machine), Arc::clone(&requests));
        making.spawn(async move {
            for _ in (share..count).step_by(16) {
                let credential = credential(&machine, None).await;
                let key = KeyPair::generate().unwrap();
                let body = enrolment(&signing_request(&key)).to_string();
                let bearer = format!("Bearer {credential}");
                let headers = [("authorization", bearer.as_str()), ("connection", "close")];
                let body = Some(("application/json", body.as_str()));
                let request = request("POST", INVOKERS, &headers, body);
                requests.lock().unwrap().push(request);
            }
        });
    }
    making.join_all().await;
    requests
}
