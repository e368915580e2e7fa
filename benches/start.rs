//! W9: from the start of the program to the first right answer with many invokers in its store, and the memory that it takes.

use std::time::{Duration, Instant};

use crate::{
    arguments::Arguments,
    cores::{Cores, Meter},
    figures::summary,
    people::{Core, Invoker},
    process::Machine,
    seed,
    wire::{Wire, request},
};

/// How long a core function is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(2);

pub async fn run(arguments: &Arguments) {
    let invokers: u32 = arguments.get("--invokers", 100_000);
    let starts: usize = arguments.get("--starts", 5);
    let cores = Cores::new();
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let mut service = cores.core_function(&mut machine).await;
    tokio::time::sleep(REST).await;
    let fresh = Meter::of(&service).memory_kib();
    println!(
        "W9, a fresh core function at rest: {:.1} MB",
        fresh as f64 / 1024.0
    );
    let core = Core::of(&machine, &service).await;
    let invoker = Invoker::onboard(&machine, &core, None).await;
    let id = &invoker.party.id;
    let path = format!("/service-apis/v1/allServiceAPIs?api-invoker-id={id}");
    let question = request("GET", &path, &[], None);
    let ask = async || {
        let mut wire = Wire::connect(core.address, &invoker.party.tls)
            .await
            .unwrap();
        assert_eq!(wire.exchange(&question).await.unwrap().status, 200);
    };
    ask().await;
    service.terminate().await;
    seed::invokers(&machine.ccf_folder(), invokers).await;

    let (mut times, mut answers, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..starts {
        let begun = Instant::now();
        service = cores.core_function(&mut machine).await;
        times.push(begun.elapsed());
        processor.push(Meter::of(&service).processor());
        ask().await;
        answers.push(begun.elapsed());
        tokio::time::sleep(REST).await;
        let held = Meter::of(&service).memory_kib();
        println!(
            "  {:.1} MB, {:.2} KiB for each invoker",
            held as f64 / 1024.0,
            held.saturating_sub(fresh) as f64 / f64::from(invokers)
        );
        service.terminate().await;
    }
    println!("W9, {invokers} invokers, from the start of the program");
    println!("  to readiness:             {}", summary(times));
    println!("  to the first answer:      {}", summary(answers));
    println!("  processor time until then {}", summary(processor));
}
