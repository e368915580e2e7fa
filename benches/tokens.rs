//! W6: access tokens, each signed afresh with ES256, over kept connections with client certificates; every one has its record in the
//! audit trail before it is handed out.

use std::time::Duration;

use crate::{
    arguments::Arguments,
    cores::{Cores, Meter},
    load::{Worker, closed, paced},
    people::{Core, Domain, Invoker},
    process::Machine,
    wire::{Wire, request},
};

/// One invoker on one connection.
struct Holder {
    wire: Wire,
    request: Vec<u8>,
}

impl Worker for Holder {
    async fn turn(&mut self) -> Option<bool> {
        let answer = self.wire.exchange(&self.request).await;
        Some(answer.is_ok_and(|answer| answer.status == 200))
    }
}

pub async fn run(arguments: &Arguments) {
    let seconds: u64 = arguments.get("--seconds", 10);
    let invokers: usize = arguments.get("--invokers", 64);
    let cores = Cores::new();
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let service = cores.core_function(&mut machine).await;
    let core = Core::of(&machine, &service).await;
    let meter = Meter::of(&service);
    let domain = Domain::register(&machine, &core, "provider", 1).await;
    domain.publish(&core, "weather", &["OAUTH"]).await;
    let mut holders = Vec::new();
    for _ in 0..invokers {
        let invoker = Invoker::onboard(&machine, &core, None).await;
        invoker.negotiate(&core, &domain.aefs[0].id, "OAUTH").await;
        let id = &invoker.party.id;
        let form = format!(
            "grant_type=client_credentials&client_id={id}&client_secret={}",
            invoker.secret
        );
        let form = Some(("application/x-www-form-urlencoded", form.as_str()));
        let path = format!("/capif-security/v1/securities/{id}/token");
        let mut wire = Wire::connect(core.address, &invoker.party.tls)
            .await
            .unwrap();
        let request = request("POST", &path, &[], form);
        let answer = wire.exchange(&request).await.unwrap().expect(200);
        assert!(answer["access_token"].is_string());
        holders.push(Holder { wire, request });
    }
    let (warm, time) = (Duration::from_secs(1), Duration::from_secs(seconds));
    let (outcome, holders) = closed(holders, meter, warm, time).await;
    let rate = outcome.per_second() / 2.0;
    outcome.print(&format!("W6, {invokers} invokers, as fast as it goes"));
    let (outcome, _) = paced(holders, meter, rate, time).await;
    outcome.print(&format!("W6, at half of that, {rate:.0} a second"));
    println!("  {} MB of private memory", meter.memory_kib() / 1024);
}
