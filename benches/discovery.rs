//! W7: discovery among many published APIs, over kept connections with client certificates, with what each invoker may see applied.
//!
//! The APIs are written into the store's folder before the core function starts; it finds them there as its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    arguments::Arguments,
    cores::{Cores, Meter},
    figures::summary,
    load::{Worker, closed, paced},
    people::{Core, Invoker},
    process::Machine,
    seed,
    wire::{Wire, request},
};

/// One invoker that asks one question after the other.
struct Seeker {
    wire: Wire,
    requests: Arc<[Vec<u8>]>,
    next: usize,
}

impl Worker for Seeker {
    async fn turn(&mut self) -> Option<bool> {
        let request = &self.requests[self.next % self.requests.len()];
        // In steps that meet all of them, and not in the order of their numbers.
        self.next += 7919;
        let answer = self.wire.exchange(request).await;
        Some(answer.is_ok_and(|answer| answer.status == 200 && answer.body.len() > 2))
    }
}

pub async fn run(arguments: &Arguments) {
    let apis: u32 = arguments.get("--apis", 1_000_000);
    let seconds: u64 = arguments.get("--seconds", 5);
    let at_once: usize = arguments.get("--at-once", 16);
    let cores = Cores::new();
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let begun = Instant::now();
    seed::apis(&machine.ccf_folder(), apis).await;
    println!(
        "{apis} APIs written in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let begun = Instant::now();
    let service = cores.core_function(&mut machine).await;
    let meter = Meter::of(&service);
    println!(
        "ready after {:.2} s, {} MB of private memory",
        begun.elapsed().as_secs_f64(),
        meter.memory_kib() / 1024
    );
    let core = Core::of(&machine, &service).await;
    let everything = Invoker::onboard(&machine, &core, None).await;
    // Names that stand in for all that somebody was granted.
    let names: Vec<String> = (0..100)
        .map(|index| seed::name(index * apis / 1000))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let limited = Invoker::onboard(&machine, &core, Some(&names)).await;

    let questions = 10_000.min(apis / seed::PER_NAME).max(1);
    let step = apis / seed::PER_NAME / questions;
    let numbers = || (0..questions).map(move |index| index * step);
    let (warm, time) = (Duration::from_secs(1), Duration::from_secs(seconds));
    let by_name: Vec<String> = numbers()
        .map(|number| format!("&api-name={}", seed::name(number)))
        .collect();
    let combined: Vec<String> = numbers()
        .map(|number| {
            format!(
                "&api-name={}&api-version=v1&protocol=HTTP_2&data-format=JSON&comm-type=REQUEST_RESPONSE",
                seed::name(number)
            )
        })
        .collect();
    let by_aef: Vec<String> = (0..seed::aefs(apis).min(10_000))
        .map(|number| {
            format!(
                "&aef-id={}&api-cat={}",
                seed::aef(number),
                seed::category(number)
            )
        })
        .collect();
    let within: Vec<String> = names
        .iter()
        .map(|name| format!("&api-name={name}"))
        .collect();
    let kinds = [
        ("a name, 10 APIs", &everything, by_name),
        (
            "a name and four criteria more, 10 APIs",
            &everything,
            combined,
        ),
        ("an AEF and a category", &everything, by_aef),
        ("a name among those granted, 10 APIs", &limited, within),
    ];
    for (what, invoker, queries) in kinds {
        let requests = ask(&invoker.party.id, &queries);
        let seekers = seekers(&core, invoker, &requests, at_once).await;
        let (outcome, seekers) = closed(seekers, meter, warm, time).await;
        let rate = outcome.per_second() / 2.0;
        outcome.print(&format!("W7, {what}, as fast as it goes"));
        let (outcome, _) = paced(seekers, meter, rate, time).await;
        outcome.print(&format!("W7, {what}, at half of that, {rate:.0} a second"));
    }

    // What no index helps: every API is looked at.
    let scans = [
        ("service-kpis", r#"&service-kpis={"maxReqRate":999999}"#),
        (
            "net-slice-info",
            r#"&net-slice-info=[{"nsiId":"slice-7"}]&supported-features=f"#,
        ),
        ("ue-ip-addr", r#"&ue-ip-addr={"ipv4Addr":"10.9.9.9"}"#),
        (
            "api-supported-features",
            "&api-name=service-000000&api-supported-features=8000000000&supported-features=f",
        ),
    ];
    for (what, query) in scans {
        let requests = ask(&everything.party.id, &[query.to_owned()]);
        let mut wire = Wire::connect(core.address, &everything.party.tls)
            .await
            .unwrap();
        let mut times = Vec::new();
        let mut last = (0, 0);
        for _ in 0..20 {
            let begun = Instant::now();
            let answer = wire.exchange(&requests[0]).await.unwrap();
            times.push(begun.elapsed());
            last = (answer.status, answer.body.len());
        }
        println!("W7, {what} (status {}, {} octets):", last.0, last.1);
        println!("  {}", summary(times));
    }
}

fn ask(id: &str, queries: &[String]) -> Arc<[Vec<u8>]> {
    let encoded = |query: &String| {
        let mut text = String::new();
        for octet in query.bytes() {
            match octet {
                b'{' | b'}' | b'[' | b']' | b'"' | b':' | b' ' => {
                    text.push_str(&format!("%{octet:02X}"));
                }
                _ => text.push(char::from(octet)),
            }
        }
        let path = format!("/service-apis/v1/allServiceAPIs?api-invoker-id={id}{text}");
        request("GET", &path, &[], None)
    };
    queries.iter().map(encoded).collect()
}

async fn seekers(
    core: &Core,
    invoker: &Invoker,
    requests: &Arc<[Vec<u8>]>,
    count: usize,
) -> Vec<Seeker> {
    let mut seekers = Vec::new();
    for index in 0..count {
        seekers.push(Seeker {
            wire: Wire::connect(core.address, &invoker.party.tls)
                .await
                .unwrap(),
            requests: Arc::clone(requests),
            next: index * 1009,
        });
    }
    seekers
}
