//! S0 for the authority itself: another root takes over while every call is a handshake of its own.
//!
//! Half of the invokers use the library and follow; the others hold what they had and know the old root alone. Until the overlap
//! is over no handshake and no call may fail; afterwards those who followed go on, and the others get nowhere.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use capif_client::{Keystore, OnboardingRequest};
use capif_transport::{Limits, Server};
use http::StatusCode;

use crate::{
    arguments::Arguments,
    cores::without_bounds,
    enrolment::Invoker,
    process::{Machine, system_clock},
    renewals,
    time_to_refusal::{Api, gateway},
};

/// The pause between two calls of one invoker.
const PACE: Duration = Duration::from_millis(20);

pub async fn run(arguments: &Arguments) {
    let invokers: usize = arguments.get("--invokers", 12);
    let overlap: u64 = arguments.get("--overlap", 90);
    let api = Server::bind_plain("127.0.0.1:0".parse().unwrap(), Limits::default(), Api).unwrap();
    let upstream = format!("http://{}", api.local_addr());
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    without_bounds(&mut machine);
    let _core = machine.core_function().await;
    let (_gateway, target) = gateway(&machine, 0, &upstream, &[]).await;

    let (served, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let stop = Arc::new(AtomicBool::new(false));
    // Only what happens before this moment must not fail for those who do not follow.
    let limit = Arc::new(Mutex::new(None::<Instant>));
    let mut tasks = Vec::new();
    let mut followers = Vec::new();
    let mut others = Vec::new();
    for index in 0..invokers {
        let method = ["PSK", "PKI", "OAUTH"][index % 3];
        let invoker = Invoker::enrol(&machine, method, std::slice::from_ref(&target)).await;
        let (invoker, target) = (Arc::new(invoker), target.clone());
        others.push(Arc::clone(&invoker));
        let (served, failed, stop) = (Arc::clone(&served), Arc::clone(&failed), Arc::clone(&stop));
        let limit = Arc::clone(&limit);
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // A client without a connection: each call is a handshake.
                let answer = invoker.call(&invoker.client(0), &target).await;
                let over = limit.lock().unwrap().is_some_and(|at| Instant::now() > at);
                if answer == Some(StatusCode::OK) {
                    served.fetch_add(1, Ordering::Relaxed);
                } else if !over {
                    println!("{} {method}: {answer:?}", invoker.id);
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(PACE).await;
            }
        }));

        let enrolment = machine.invite().await;
        let keystore = Keystore::open(machine.folder(&format!("follower{index}"))).unwrap();
        let request = OnboardingRequest::default();
        let follower =
            capif_client::Invoker::onboard(keystore, &enrolment, request, system_clock())
                .await
                .unwrap();
        followers.push(Arc::new(follower));
    }
    let path = format!("/{}/v1/today", target.api);
    for follower in &followers {
        let (follower, name, path) = (Arc::clone(follower), target.api.clone(), path.clone());
        let (served, failed, stop) = (Arc::clone(&served), Arc::clone(&failed), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                match renewals::call(&follower, &name, &path).await {
                    Ok(()) => served.fetch_add(1, Ordering::Relaxed),
                    Err(why) => {
                        println!("{}: {why}", follower.id());
                        failed.fetch_add(1, Ordering::Relaxed)
                    }
                };
                tokio::time::sleep(PACE).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = served.load(Ordering::Relaxed);
    // A little early, since calls take their time.
    *limit.lock().unwrap() = Some(Instant::now() + Duration::from_secs(overlap - 2));
    let length = format!("{overlap}s");
    machine
        .capif(&["ca", "roll", "--root", "--overlap", &length])
        .await
        .done();
    println!("rolled after {before} calls; both roots count for {overlap} s");
    tokio::time::sleep(Duration::from_secs(10)).await;
    for follower in &followers {
        let status = follower.ask_renewal_status().await.unwrap();
        assert!(status.demand.is_some() || status.asked.is_some());
        follower.upkeep().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(overlap)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    println!(
        "{} calls served over handshakes of both kinds, {} failed before the end of the overlap",
        served.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed)
    );
    let mut refused = 0;
    for other in &others {
        let answer = other.call(&other.client(0), &target).await;
        refused += usize::from(answer != Some(StatusCode::OK));
    }
    let mut going_on = 0;
    for follower in &followers {
        going_on += usize::from(renewals::call(follower, &target.api, &path).await.is_ok());
    }
    println!(
        "after it: {refused} of {} who did not follow are refused, {going_on} of {} who did go on",
        others.len(),
        followers.len()
    );
}
