//! S0: renewals from both sides under steady calls through a gateway, while the wire between the invokers and the core function
//! breaks at random places.
//!
//! Every second renewal is begun by the invoker, the others by the operator; each is asked for until it is done. What counts is
//! that no call fails and nobody is locked out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use capif_client::{
    DiscoveryQuery, Enrolment, Invoker, Keystore, OnboardingRequest, RenewalOptions, Wish,
};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Limits, Server, collect, empty};
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::{
    SOON,
    arguments::Arguments,
    cores::without_bounds,
    cuts::Relay,
    figures::summary,
    process::{Machine, system_clock},
    time_to_refusal::{Api, gateway},
};

/// The pause between two calls of one invoker.
const PACE: Duration = Duration::from_millis(100);

/// How often one renewal is tried.
const TRIES_MAX: usize = 60;

/// Calls of everybody.
#[derive(Default)]
struct Calls {
    served: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Calls {
    fn failed(&self, why: String) {
        *self.failures.lock().unwrap().entry(why).or_default() += 1;
    }
}

pub async fn run(arguments: &Arguments) {
    let renewals: usize = arguments.get("--renewals", 1000);
    let invokers: usize = arguments.get("--invokers", 60);
    let seed: u64 = arguments.get("--seed", 1);

    let api = Server::bind_plain("127.0.0.1:0".parse().unwrap(), Limits::default(), Api).unwrap();
    let upstream = format!("http://{}", api.local_addr());
    let mut machine = Machine::new();
    machine.set("CAPIF_RENEWAL__OVERLAP_MINUTES", "1");
    machine.capif(&["init"]).await.done();
    without_bounds(&mut machine);
    let core = machine.core_function().await;
    let address = core.word_after("serving at ");
    let relay = Relay::start(address.trim_end_matches(';').parse().unwrap(), seed).await;
    let (_gateway, target) = gateway(&machine, 0, &upstream, &[]).await;

    let mut people = Vec::new();
    for index in 0..invokers {
        let invited = machine.invite().await;
        let enrolment = Enrolment::from_parts(
            relay.address.to_string(),
            invited.anchors_pem,
            invited.credential,
        )
        .unwrap();
        let keystore = Keystore::open(machine.folder(&format!("invoker{index}"))).unwrap();
        let request = OnboardingRequest::default();
        let invoker = Invoker::onboard(keystore, &enrolment, request, system_clock())
            .await
            .unwrap();
        let method = [
            SecurityMethod::Psk,
            SecurityMethod::Pki,
            SecurityMethod::Oauth,
        ][index % 3]
            .clone();
        let wish = Wish {
            preferred: vec![method],
            ..Wish::at(target.aef_id.clone().into())
        };
        invoker.negotiate(&[wish]).await.unwrap();
        people.push(Arc::new(invoker));
    }
    println!(
        "{invokers} invokers (PSK, PKI, OAUTH in turn), {renewals} renewals, half of them begun by the operator; seed {seed}"
    );

    let calls = Arc::new(Calls::default());
    let stop = Arc::new(AtomicBool::new(false));
    let path = format!("/{}/v1/today", target.api);
    let callers: Vec<_> = people
        .iter()
        .map(|invoker| {
            let (invoker, calls, stop) =
                (Arc::clone(invoker), Arc::clone(&calls), Arc::clone(&stop));
            let (api, path) = (target.api.clone(), path.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match call(&invoker, &api, &path).await {
                        Ok(()) => _ = calls.served.fetch_add(1, Ordering::Relaxed),
                        Err(why) => calls.failed(why),
                    }
                    tokio::time::sleep(PACE).await;
                }
            })
        })
        .collect();

    relay.set_cuts(true);
    let begun = Instant::now();
    let (mut by_invoker, mut by_operator) = (Vec::new(), Vec::new());
    let mut tries = 0;
    for number in 0..renewals {
        let invoker = &people[number % people.len()];
        let started = Instant::now();
        // The sides take turns anew in each round, so that everybody is renewed from both.
        if (number + number / people.len()).is_multiple_of(2) {
            tries += renew(invoker).await;
            by_invoker.push(started.elapsed());
        } else {
            let demand = json!({ "ids": [invoker.id()] });
            let (status, answer) = machine
                .operator(Method::POST, "/renewals", Some(demand))
                .await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            tries += follow(invoker).await;
            by_operator.push(started.elapsed());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    // The overlap of the last ones ends under calls too.
    tokio::time::sleep(Duration::from_secs(65)).await;
    relay.set_cuts(false);
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let mut locked_out = 0;
    for invoker in &people {
        let seen = invoker.discover(&DiscoveryQuery::default()).await;
        let called = call(invoker, &target.api, &path).await;
        if seen.is_err() || called.is_err() {
            locked_out += 1;
            println!("{} is locked out: {seen:?} {called:?}", invoker.id());
        }
    }
    println!("by the invoker   {}", summary(by_invoker));
    println!("by the operator  {}", summary(by_operator));
    println!(
        "{renewals} renewals in {seconds:.0} s, {tries} tries, {} connections cut",
        relay.cut()
    );
    let failures = calls.failures.lock().unwrap();
    println!(
        "{} calls served, {} failed, {locked_out} invokers locked out",
        calls.served.load(Ordering::Relaxed),
        failures.values().sum::<u64>()
    );
    for (why, times) in failures.iter() {
        println!("failed {times} times: {why}");
    }
}

/// One call; what went wrong, if it was not answered with 200.
pub async fn call(invoker: &Invoker, api: &str, path: &str) -> Result<(), String> {
    let request = Request::get(path).body(empty()).unwrap();
    let answer = invoker.call(api, request).await;
    let response = answer.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = collect(response.into_body(), 1 << 16, SOON).await;
    match body {
        Ok(_) if status == StatusCode::OK => Ok(()),
        Ok(body) => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
        Err(error) => Err(error.to_string()),
    }
}

/// Renews, as often as it takes; says how often it was tried.
async fn renew(invoker: &Invoker) -> usize {
    for tried in 1..=TRIES_MAX {
        match invoker.renew(RenewalOptions::default()).await {
            Ok(renewal) if renewal.confirmed => return tried,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{} was not renewed in {TRIES_MAX} tries", invoker.id());
}

/// Asks how it stands and does what is asked for, as a program does from time to time.
async fn follow(invoker: &Invoker) -> usize {
    let mut asked = false;
    for tried in 1..=TRIES_MAX {
        if let Ok(status) = invoker.ask_renewal_status().await {
            asked |= status.demand.is_some();
            if asked && status.demand.is_none() && !status.pending && !status.unconfirmed {
                return tried;
            }
            let _tried_again = invoker.upkeep().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} did not follow in {TRIES_MAX} tries", invoker.id());
}
