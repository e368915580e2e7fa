//! S0 as an application sees it: its invoker renews by itself, nothing is interrupted, and no cut locks it out (R-U-01, R-U-05 to
//! R-U-07).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use capif_client::{Departure, ErrorKind, Invoker, OnboardingRequest, RenewalOptions, Wish};
use capif_spec::{common::DateTime, publish_service::SecurityMethod};
use capif_transport::{Clock, empty};
use http::{Method, Request, StatusCode};
use serde_json::json;
use time::Duration;
use tokio::task::JoinHandle;

use crate::support::{
    SOON, World,
    cutter::{Cutter, Seeded},
    eventually,
    raw::Pems,
    site::{API, PATH, Site},
    wire::Caller,
};

const METHODS: [SecurityMethod; 3] = [
    SecurityMethod::Pki,
    SecurityMethod::Oauth,
    SecurityMethod::Psk,
];

async fn site(method: &SecurityMethod) -> Site {
    let world = World::with(|config| config.certificates.invoker_days = 30).await;
    Site::of(world, std::slice::from_ref(method), |_| {}).await
}

/// Calls without a pause until it is stopped; no call may fail.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Load {
    fn start(invoker: &Arc<Invoker>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let calls = Arc::<AtomicUsize>::default();
        let (invoker, stopped, counter) =
            (Arc::clone(invoker), Arc::clone(&stop), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                call(&invoker).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, calls, task }
    }

    /// Waits until some more calls were made.
    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::SeqCst);
        eventually("the calls go on", || async {
            assert!(!self.task.is_finished(), "a call failed");
            self.calls.load(Ordering::SeqCst) >= before + 5
        })
        .await;
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.calls.load(Ordering::SeqCst)
    }
}

async fn call(invoker: &Invoker) {
    let request = Request::get(PATH).body(empty()).unwrap();
    let response = invoker.call(API, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    capif_transport::collect(response.into_body(), 1 << 16, SOON)
        .await
        .unwrap();
}

/// Certificate and key in the folder of somebody, as they are just now.
fn held(site: &Site, name: &str) -> Pems {
    Pems::of_invoker(&site.world.folder(name))
}

/// The status of a request to the core function with a certificate; none when the handshake fails.
async fn at_ccf(site: &Site, pems: &Pems, id: &str) -> Option<u16> {
    let path = format!("/capif-renewal/v1/{id}");
    let caller = site.world.with_certificate(pems);
    let request = crate::support::wire::request(Method::GET, &path, None, None);
    let answer = caller.try_send(request).await?;
    Some(answer.status.as_u16())
}

/// The same for a call at the gateway.
async fn at_gateway(site: &Site, pems: &Pems) -> Option<u16> {
    let caller = Caller::new(&site.world, site.gateway.address(), Some(pems.identity()));
    let request = crate::support::wire::request(Method::GET, PATH, None, None);
    let answer = caller.try_send(request).await?;
    Some(answer.status.as_u16())
}

/// R-U-01, R-U-05, R-U-06: by every method calls go on over two thirds of the life of a certificate and over the end of the overlap.
/// Afterwards the new one is in use, and the old one counts nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_over_a_renewal() {
    for method in METHODS {
        let site = site(&method).await;
        let invoker = Arc::new(site.world.invoker("amy", &[]).await);
        let id = invoker.id().to_string();
        let old = held(&site, "amy");
        let load = Load::start(&invoker);
        let first = invoker.renewal_status();
        assert!(first.agreed, "{first:?}");
        for _ in 0..19 {
            site.world.clock.advance(Duration::days(1));
            load.goes_on().await;
        }
        assert_eq!(
            invoker.renewal_status().certificate_expires,
            first.certificate_expires
        );
        site.world
            .clock
            .advance(Duration::days(1) + Duration::hours(1));
        eventually("it renews by itself", || async {
            let now = invoker.renewal_status();
            now.certificate_expires != first.certificate_expires && !now.unconfirmed
        })
        .await;
        load.goes_on().await;
        let new = held(&site, "amy");
        assert_ne!(old.chain, new.chain);
        assert_ne!(old.key, new.key);
        // Both count side by side.
        assert_eq!(at_ccf(&site, &old, &id).await, Some(200), "{method}");
        assert_eq!(at_ccf(&site, &new, &id).await, Some(200), "{method}");
        for _ in 0..7 {
            site.world.clock.advance(Duration::minutes(9));
            load.goes_on().await;
        }
        assert_ne!(at_ccf(&site, &old, &id).await, Some(200), "{method}");
        assert_eq!(at_ccf(&site, &new, &id).await, Some(200), "{method}");
        if method == SecurityMethod::Pki {
            assert_ne!(at_gateway(&site, &old).await, Some(200));
            assert_eq!(at_gateway(&site, &new).await, Some(200));
        }
        let calls = load.end().await;
        assert!(calls >= 100, "{calls}");
        assert_eq!(site.world.list("invokers").await.len(), 1);
    }
}

/// R-U-02: in a compromise the invoker renews first, by itself, and goes on.
#[tokio::test]
async fn a_compromise_is_followed_without_anybody() {
    for method in METHODS {
        let site = site(&method).await;
        let invoker = site.world.invoker("amy", &[]).await;
        call(&invoker).await;
        let old = held(&site, "amy");
        let (status, answer) = super::renewable::ask(
            &site.world,
            json!({ "ids": [invoker.id()], "compromise": true }),
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        // What the core function is asked first is answered under the new certificate.
        let found = invoker.discover(&Default::default()).await.unwrap();
        assert_eq!(found.len(), 1);
        let id = invoker.id().to_string();
        assert_ne!(at_ccf(&site, &old, &id).await, Some(200), "{method}");
        eventually("the calls go on", || async {
            let request = Request::get(PATH).body(empty()).unwrap();
            let answer = invoker.call(API, request).await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }
}

/// R-U-07: wherever the connection to the core function is cut during a renewal, it can be asked again, by the same process or by
/// another one; under steady calls, none of which fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cut_locks_an_invoker_out() {
    const RENEWALS: usize = 60;
    // Somewhat more than a renewal takes, handshakes included.
    const OCTETS: usize = 24 << 10;
    for (seed, method) in (1..).zip(METHODS) {
        let site = site(&method).await;
        let cutter = Cutter::start(site.world.address()).await;
        let mut enrolment = site.world.invite(&[]).await;
        enrolment.address = cutter.address();
        let keystore = site.world.keystore("amy");
        let request = OnboardingRequest::default();
        let clock = site.world.clock();
        let invoker = Invoker::onboard(keystore, &enrolment, request, clock).await;
        let invoker = Arc::new(invoker.unwrap());
        let load = Load::start(&invoker);
        load.goes_on().await;
        let mut random = Seeded::new(seed);
        let mut cut = 0;
        for number in 0..RENEWALS / METHODS.len() {
            site.world.clock.advance(Duration::minutes(20));
            // Every other time another process does it, and every third it dies of the cut.
            let other;
            let renewing = if number % 2 == 0 {
                &*invoker
            } else {
                other = Invoker::open(site.world.keystore("amy"), site.world.clock())
                    .await
                    .unwrap();
                &other
            };
            let before = cutter.cuts();
            cutter.cut_after(random.below(OCTETS));
            let mut tries = 0;
            let mut result = renewing.renew(RenewalOptions::default()).await;
            while let Err(error) = result {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::Network | ErrorKind::TimedOut),
                    "{method} {number}: {error:?}"
                );
                tries += 1;
                assert!(tries < 5, "{method} {number}: {error:?}");
                result = if tries == 1 && number % 3 == 0 {
                    let next = Invoker::open(site.world.keystore("amy"), site.world.clock());
                    next.await.unwrap().renew(RenewalOptions::default()).await
                } else {
                    renewing.renew(RenewalOptions::default()).await
                };
            }
            cut += cutter.cuts() - before;
            cutter.rest();
            load.goes_on().await;
        }
        assert!(cut >= 5, "{method}: cut {cut} times");
        load.end().await;
        // It is one invoker, and in good standing.
        let later = Invoker::open(site.world.keystore("amy"), site.world.clock());
        let later = later.await.unwrap();
        later.upkeep().await.unwrap();
        call(&later).await;
        assert_eq!(later.id(), invoker.id());
        assert_eq!(site.world.list("invokers").await.len(), 1);
        let keys = std::fs::read_dir(site.world.folder("amy")).unwrap();
        let keys = keys.filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|kind| kind == "key")
        });
        assert_eq!(keys.count(), 1);
    }
}

/// P-08: an onboarding whose answer was lost is asked again: one invoker, and the credential is not burnt.
#[tokio::test]
async fn a_lost_answer_to_the_onboarding_is_given_again() {
    let world = World::start().await;
    let mut random = Seeded::new(7);
    for number in 0..8 {
        let name = format!("amy-{number}");
        let cutter = Cutter::start(world.address()).await;
        let mut enrolment = world.invite(&[]).await;
        enrolment.address = cutter.address();
        let onboard = || {
            let request = OnboardingRequest::default();
            Invoker::onboard(world.keystore(&name), &enrolment, request, world.clock())
        };
        cutter.cut_after(2_000 + random.below(8_000));
        let mut result = onboard().await;
        cutter.rest();
        if result.is_err() {
            result = onboard().await;
        }
        let invoker = result.unwrap_or_else(|error| panic!("{number}: {error:?}"));
        invoker.discover(&Default::default()).await.unwrap();
        assert_eq!(world.list("invokers").await.len(), number + 1);
    }
}

/// R-U-01: an end of the enrolment can be asked for, at the onboarding and by a renewal.
#[tokio::test]
async fn an_end_of_the_enrolment_can_be_asked_for() {
    let world = World::start().await;
    let until = |days| DateTime(world.clock.now() + Duration::days(days));
    let whole = |time: DateTime| DateTime(time.0.replace_nanosecond(0).unwrap());
    let request = OnboardingRequest {
        expires: Some(whole(until(40))),
        ..OnboardingRequest::default()
    };
    let enrolment = world.invite(&[]).await;
    let invoker = Invoker::onboard(world.keystore("amy"), &enrolment, request, world.clock())
        .await
        .unwrap();
    let status = invoker.renewal_status();
    assert_eq!(status.enrolment_expires, Some(whole(until(40))));
    assert!(status.certificate_expires <= whole(until(40)));
    let options = RenewalOptions {
        same_key: true,
        expires: Some(whole(until(60))),
    };
    let renewed = invoker.renew(options).await.unwrap();
    assert!(renewed.confirmed);
    assert_eq!(renewed.enrolment_expires, Some(whole(until(60))));
    assert!(renewed.certificate_expires <= whole(until(60)));
}

/// Who was away until its certificate had ended can clear up all the same, and only then without an answer.
#[tokio::test]
async fn an_enrolment_whose_certificate_ended_can_be_cleared_up() {
    let world = World::with(|config| config.certificates.invoker_days = 30).await;
    let invoker = world.invoker("amy", &[]).await.without_upkeep();
    world.clock.advance(Duration::days(31));
    let folder = world.keystore("amy").folder().to_owned();
    assert_eq!(invoker.offboard().await.unwrap(), Departure::Unheard);
    assert!(!folder.exists());
    world.invoker("amy", &[]).await;
}

/// R-U-06: the wishes of before hold after a renewal, and so does the security context.
#[tokio::test]
async fn what_was_negotiated_survives_a_renewal() {
    let site = site(&SecurityMethod::Psk).await;
    let invoker = site.world.invoker("amy", &[]).await;
    let wish = Wish {
        preferred: vec![SecurityMethod::Psk],
        ..Wish::at(site.aef().into())
    };
    invoker.negotiate(&[wish]).await.unwrap();
    call(&invoker).await;
    let before = invoker.agreements();
    invoker.renew(RenewalOptions::default()).await.unwrap();
    let after = invoker.agreements();
    assert_eq!(before.len(), after.len());
    assert_eq!(after[0].method, Some(SecurityMethod::Psk));
    let identity = |agreements: &[capif_client::Agreement]| {
        agreements[0].psk.as_ref().unwrap().identity.clone()
    };
    assert_ne!(identity(&before), identity(&after));
    call(&invoker).await;
}
