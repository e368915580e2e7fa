//! S0 at a gateway: its own certificates are renewed while it serves, and it follows renewals of API invokers and of the
//! authority (R-U-04, R-U-06, R-U-08).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use capif_aef::Gateway;
use capif_client::{ErrorKind, Provider};
use capif_spec::publish_service::SecurityMethod;
use http::{Method, StatusCode};
use serde_json::json;
use time::Duration;
use tokio::task::JoinHandle;

use super::renewable::{renewable, renewed};
use crate::support::{
    World, eventually,
    people::RawInvoker,
    relay::Relay,
    site::{ALL, API, Credential, Line, Site},
};

/// The life of the certificates of a gateway in these tests, in days, and when two thirds of it have passed.
const LIFE_DAYS: u32 = 30;
const DUE: Duration = Duration::days(20);

/// As long as old and new certificates count side by side.
const OVERLAP: Duration = Duration::minutes(60);

async fn world() -> World {
    World::with(|config| config.certificates.function_days = LIFE_DAYS).await
}

/// Another process of the gateway, in the same folder.
async fn joined(site: &Site) -> Gateway {
    let url = site.backend.url();
    let mut config = site.world.gateway_config("acme", None, API, &url, &ALL);
    config.join = true;
    Gateway::start(config).await.unwrap()
}

/// Calls without a pause, on a connection that is kept and on a new one each time.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Load {
    fn start(site: &Site, invoker: &RawInvoker, addresses: &[&str]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut tasks = Vec::new();
        for address in addresses {
            let kept = site.line_to(address, invoker, &Credential::Certificate);
            let stopped = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                let mut calls = 0;
                while !stopped.load(Ordering::Relaxed) {
                    assert_eq!(kept.status().await, 200);
                    calls += 1;
                }
                calls
            }));
            let fresh: Vec<_> = (0..2000)
                .map(|_| site.line_to(address, invoker, &Credential::Certificate))
                .collect();
            let stopped = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                let mut calls = 0;
                for line in fresh {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    assert_eq!(line.status().await, 200);
                    calls += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                calls
            }));
        }
        Self { stop, tasks }
    }

    /// Fails the test if a call or a handshake has failed.
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            assert!(task.await.unwrap() > 0);
        }
    }
}

/// Two thirds of a life have passed: one of the processes renews, the other follows, and nobody who calls notices. After the overlap
/// the old certificates count for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_a_gateway_are_renewed_under_load_by_one_of_its_processes() {
    let site = Site::of(world().await, &ALL, |_| {}).await;
    let second = joined(&site).await;
    let old = site.provider().await;
    let before = site.gateway.certificate();
    assert_eq!(second.certificate(), before);
    let amy = site.world.raw_invoker(&[]).await;
    site.negotiate(&amy, &SecurityMethod::Pki).await;
    let load = Load::start(&site, &amy, &[site.gateway.address(), second.address()]);

    site.world.clock.advance(DUE - Duration::hours(1));
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(
        (site.gateway.certificate(), second.certificate()),
        (before, before)
    );
    site.world.clock.advance(Duration::hours(1));
    eventually("both show the new certificate", || async {
        let shown = (site.gateway.certificate(), second.certificate());
        shown.0 != before && shown.0 == shown.1
    })
    .await;
    let after = site.gateway.certificate();
    // The old ones count beside them until the overlap is over.
    eventually("the new ones are in use", || async {
        site.provider().await.activate().await
    })
    .await;
    old.apis().await.unwrap();
    site.world.clock.advance(OVERLAP);
    let error = old.apis().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    load.stop().await;
    // Once was enough.
    assert_eq!(
        (site.gateway.certificate(), second.certificate()),
        (after, after)
    );
    site.settled().await;
}

/// The operator asks for it: at once, whatever is left of a life, and a compromise lets nothing else through meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_renews_when_it_is_asked_to() {
    for compromise in [false, true] {
        let site = Site::start(&ALL).await;
        let old = site.provider().await;
        let before = site.gateway.certificate();
        let amy = site.world.raw_invoker(&[]).await;
        site.negotiate(&amy, &SecurityMethod::Pki).await;
        let line = site.line(&amy, &Credential::Certificate);
        assert_eq!(line.status().await, 200);
        let body = json!({ "provider": "acme", "compromise": compromise });
        let (status, asked) = site
            .world
            .operator(Method::POST, "/renewals", Some(body))
            .await;
        assert_eq!(status, StatusCode::OK, "{asked}");
        assert_eq!(asked["asked"].as_array().unwrap().len(), 3, "{asked}");
        // It is heard of with the next comparison.
        site.world.clock.advance(Duration::seconds(31));
        eventually("the gateway has renewed", || async {
            site.gateway.certificate() != before
        })
        .await;
        eventually("calls are answered", || async {
            line.status().await == 200
        })
        .await;
        eventually("the new ones are in use", || async {
            site.provider().await.activate().await
        })
        .await;
        // In a compromise there is no overlap.
        assert_eq!(old.apis().await.is_ok(), !compromise);
    }
}

/// The answer to the renewal gets lost, and the gateway stays off for longer than any overlap: the old certificates are as good as
/// before, and when it is back, the same request gives what it gave.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_and_a_long_absence_cost_nothing() {
    let world = world().await;
    let relay = Relay::start(world.address()).await;
    let address = relay.address();
    let site = Site::of(world, &ALL, |config| {
        if let Some(bundle) = &mut config.bundle {
            bundle.address = address;
        }
    })
    .await;
    let before = site.gateway.certificate();
    let amy = site.world.raw_invoker(&[]).await;
    site.negotiate(&amy, &SecurityMethod::Pki).await;

    let provider = site.provider().await;
    // Connections are there already: what gets lost is the answer.
    provider.standing().await.unwrap();
    relay.lose(true);
    let error = provider.renew().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(state(&site)["renewal"].is_array());
    relay.lose(false);
    // All goes on, be it that the gateway asks again by itself.
    let line = site.line(&amy, &Credential::Certificate);
    eventually("calls are answered", || async {
        line.status().await == 200
    })
    .await;
    let site = restarted_after(site, OVERLAP * 100).await;
    assert_ne!(site.gateway.certificate(), before);
    let line = site.line(&amy, &Credential::Certificate);
    assert_eq!(line.status().await, 200);
    // It was one and the same request.
    assert_eq!(state(&site)["renewals"], 1);
    // After another absence, it goes on with what it has.
    let after = site.gateway.certificate();
    let site = restarted_after(site, OVERLAP * 2).await;
    assert_eq!(site.gateway.certificate(), after);
    let line = site.line(&amy, &Credential::Certificate);
    assert_eq!(line.status().await, 200);
}

/// What the provider keeps in its folder.
fn state(site: &Site) -> serde_json::Value {
    let file = site.world.folder("acme").join("capif-provider.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    state["registered"].clone()
}

/// The same site after its gateway was off for a while.
async fn restarted_after(site: Site, off: Duration) -> Site {
    let Site {
        world,
        backend,
        gateway,
    } = site;
    gateway.drain(std::time::Duration::from_secs(5)).await;
    world.clock.advance(off);
    let config = world.gateway_config("acme", None, API, &backend.url(), &ALL);
    let gateway = Gateway::start(config).await.unwrap();
    Site {
        world,
        backend,
        gateway,
    }
}

/// A new root: the gateway takes it in and gets certificates of the new authority while it serves. It is then off until the old one
/// is gone, comes back, and serves those who have followed.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_follows_the_authority_and_outlasts_its_change_switched_off() {
    let site = Site::start(&ALL).await;
    let before = site.gateway.certificate();
    let amy = renewable(&site.world).await;
    site.negotiate(&amy, &SecurityMethod::Pki).await;
    let load = Load::start(&site, &amy, &[site.gateway.address()]);
    let overlap = Duration::days(10);
    let body = json!({ "root": true, "overlapSeconds": overlap.whole_seconds() });
    let (status, rolled) = site
        .world
        .operator(Method::POST, "/authority/roll", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{rolled}");
    // By event: no clock is moved.
    eventually("the gateway believes both roots", || async {
        site.provider().await.anchors().fingerprints().len() == 2
    })
    .await;
    eventually("its certificates are of the new authority", || async {
        site.gateway.certificate() != before
    })
    .await;
    let amy = renewed(&site.world, &amy, "new-authority").await;
    load.stop().await;
    let line = site.line(&amy, &Credential::Certificate);
    assert_eq!(line.status().await, 200);
    let after = site.gateway.certificate();
    let site = restarted_after(site, overlap + Duration::hours(1)).await;
    assert_eq!(site.gateway.certificate(), after);
    assert_eq!(site.provider().await.anchors().fingerprints().len(), 1);
    site.provider().await.apis().await.unwrap();
}

/// An invoker that calls with its certificate and can renew it, and its connection.
async fn calling(site: &Site) -> (RawInvoker, Line) {
    let amy = renewable(&site.world).await;
    site.negotiate(&amy, &SecurityMethod::Pki).await;
    let line = site.line(&amy, &Credential::Certificate);
    assert_eq!(line.status().await, 200);
    (amy, line)
}

/// Old and new certificate of an invoker count side by side, the new one from its first call on, before the gateway has heard of
/// it; at the end of the overlap the old one is refused to the second, and its connections end.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_counts_until_the_overlap_is_over_and_not_a_second_longer() {
    let site = Site::start(&ALL).await;
    let (amy, old) = calling(&site).await;
    let successor = renewed(&site.world, &amy, "one").await;
    let new = site.line(&successor, &Credential::Certificate);
    assert_eq!(new.status().await, 200);
    assert_eq!(old.status().await, 200);
    // The core function sees it too: from now on the old one is on its way out.
    let answer = successor
        .get(&format!("/capif-renewal/v1/{}", amy.id))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    site.settled().await;
    site.world.clock.advance(OVERLAP - Duration::SECOND);
    assert_eq!(old.status().await, 200);
    assert_eq!(new.status().await, 200);
    assert_eq!(site.connections_of(&amy), 2);
    site.world.clock.advance(Duration::SECOND);
    assert_eq!(old.status().await, 401);
    assert_eq!(new.status().await, 200);
    eventually("the connection under the old one ends", || async {
        site.connections_of(&amy) == 1
    })
    .await;
    // Nor does a new connection help, however often: even when the gateway hears of the end in the midst of it, and ends the connection
    // before the request is there (503).
    for _ in 0..20 {
        let again = site.line(&amy, &Credential::Certificate).call().await;
        let status = again.map_or(503, |answer| answer.status.as_u16());
        assert!([401, 503].contains(&status), "{status}");
    }
    assert_eq!(new.status().await, 200);
}

/// A connection that rests on a certificate which has come to its end is ended without any call on it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_with_its_certificate() {
    let site = Site::start(&ALL).await;
    let (amy, old) = calling(&site).await;
    let successor = renewed(&site.world, &amy, "one").await;
    let path = format!("/capif-renewal/v1/{}", amy.id);
    assert_eq!(successor.get(&path).await.status, StatusCode::OK);
    site.settled().await;
    assert_eq!(old.status().await, 200);
    site.world.clock.advance(OVERLAP);
    site.disconnected(&amy).await;
}

/// An invoker whose material may be in other hands is refused at once, on open connections too; when it has renewed, it counts
/// again, and the old certificate does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_compromise_is_in_force_at_once_and_ends_with_the_renewal() {
    let site = Site::start(&ALL).await;
    let amy = renewable(&site.world).await;
    site.negotiate(&amy, &SecurityMethod::Pki).await;
    let old = site.line(&amy, &Credential::Certificate);
    assert_eq!(old.status().await, 200);
    let body = json!({ "ids": [amy.id], "compromise": true });
    let (status, asked) = site
        .world
        .operator(Method::POST, "/renewals", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{asked}");
    site.settled().await;
    site.disconnected(&amy).await;
    assert_eq!(old.status().await, 401);
    let successor = renewed(&site.world, &amy, "after").await;
    let path = format!("/capif-renewal/v1/{}", amy.id);
    assert_eq!(successor.get(&path).await.status, StatusCode::OK);
    site.negotiate(&successor, &SecurityMethod::Pki).await;
    site.settled().await;
    let new = site.line(&successor, &Credential::Certificate);
    assert_eq!(new.status().await, 200);
    assert_eq!(
        site.line(&amy, &Credential::Certificate).status().await,
        401
    );
    assert_eq!(new.status().await, 200);
}

/// Tokens are signed by another key from one moment to the next: none of them is refused, whether the gateway has heard of the key
/// or not; in a compromise those before are.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_new_key_count_at_once_and_of_a_compromised_one_no_more() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let Credential::Token(before) = site.negotiate(&amy, &SecurityMethod::Oauth).await else {
        unreachable!("OAUTH was negotiated");
    };
    let line = |token: &str| site.line(&amy, &Credential::Token(token.to_owned()));
    assert_eq!(line(&before).status().await, 200);
    for _ in 0..3 {
        let body = json!({ "compromise": true });
        let (status, keys) = site
            .world
            .operator(Method::POST, "/keys/rotate", Some(body))
            .await;
        assert_eq!(status, StatusCode::OK, "{keys}");
        let token = site.token(&amy).await;
        let calls = (0..20).map(|_| {
            let line = line(&token);
            tokio::spawn(async move { line.status().await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), 200);
        }
        site.settled().await;
        assert_eq!(line(&before).status().await, 401);
    }
}

/// A token that is bound to a certificate counts beside that one alone, be it the old or the new one (RFC 8705 section 3).
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_counts_with_its_certificate_alone() {
    let world = World::with(|config| config.security.certificate_bound_tokens = true).await;
    let site = Site::of(world, &ALL, |_| {}).await;
    let amy = renewable(&site.world).await;
    let Credential::Token(before) = site.negotiate(&amy, &SecurityMethod::Oauth).await else {
        unreachable!("OAUTH was negotiated");
    };
    let successor = renewed(&site.world, &amy, "one").await;
    let after = site.token(&successor).await;
    for (invoker, token, status) in [
        (&amy, &before, 200),
        (&successor, &after, 200),
        (&amy, &after, 401),
        (&successor, &before, 401),
    ] {
        assert_eq!(site.mutual_line(invoker, token).status().await, status);
    }
}

/// What `capif provider renew` does, beside a gateway that runs in the same folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_hand_is_taken_over_by_a_gateway_that_runs() {
    let site = Site::start(&ALL).await;
    let before = site.gateway.certificate();
    let provider: Provider = site.provider().await;
    provider.renew().await.unwrap();
    let shown = provider.aef_identity().fingerprint();
    eventually("the gateway shows it", || async {
        site.gateway.certificate() == shown
    })
    .await;
    assert_ne!(shown, before);
}
