//! A whole roll-over, root included, while handshake follows handshake.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use capif_spec::publish_service::SecurityMethod;
use capif_transport::Anchors;
use http::Method;

use super::{HOUR, advance, generations, roll, root, states};
use crate::support::{
    World, eventually,
    site::{PATH, Site},
    wire::{Caller, request},
};

/// Somebody who connects anew for each request, and keeps to the roots that are told: who cannot connect, fails the test.
struct Load {
    roots: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(world: &Arc<Site>, address: &str, path: &'static str) -> Self {
        let roots = Arc::new(Mutex::new(root(&world.world, 1)));
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let task = {
            let (site, address) = (Arc::clone(world), address.to_owned());
            let (roots, stop, count) = (Arc::clone(&roots), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let anchors = Anchors::from_pem(&roots.lock().unwrap()).unwrap();
                    let caller = Caller::believing(&site.world, &address, anchors, None);
                    let answer = caller
                        .try_send(request(Method::GET, path, None, None))
                        .await;
                    assert!(answer.is_some(), "a handshake with {address} failed");
                    count.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        Self {
            roots,
            stop,
            count,
            task,
        }
    }

    fn believe(&self, roots: &str) {
        *self.roots.lock().unwrap() = roots.to_owned();
    }

    /// Waits for some more handshakes.
    async fn goes_on(&self) {
        let enough = self.count.load(Ordering::SeqCst) + 20;
        eventually("handshakes go on", || async {
            assert!(!self.task.is_finished(), "a handshake failed");
            self.count.load(Ordering::SeqCst) > enough
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_roll_over_fails_no_handshake() {
    let site = Arc::new(Site::start(&[SecurityMethod::Oauth]).await);
    let world: &World = &site.world;
    let loads = [
        Load::start(&site, world.address(), "/.well-known/jwks.json"),
        Load::start(&site, site.gateway.address(), PATH),
    ];
    let go_on = async || {
        for load in &loads {
            load.goes_on().await;
        }
    };
    go_on().await;
    roll(world, true).await;
    // Who knows the old root alone still gets through everywhere.
    go_on().await;
    eventually("the gateway has renewed", || async {
        generations(world).await[0]["certificates"] == 0
    })
    .await;
    go_on().await;
    // Then the new one alone.
    for load in &loads {
        load.believe(&root(world, 2));
    }
    go_on().await;
    advance(world, HOUR);
    eventually("the old authority is retired", || async {
        states(world).await == ["retired", "current"]
    })
    .await;
    go_on().await;
    for load in loads {
        load.end().await;
    }
}
