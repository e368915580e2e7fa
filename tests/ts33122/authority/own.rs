//! The core function's own certificate.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{advance, reaches, root};
use crate::support::{World, eventually};

const DAY: u64 = 86_400;

/// It is renewed at two thirds of its life, while handshake follows handshake, and none of them fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_renewed_while_it_runs_without_a_failed_handshake() {
    let world = Arc::new(World::with(|config| config.certificates.function_days = 3).await);
    let roots = root(&world, 1);
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let handshakes = {
        let (world, roots) = (Arc::clone(&world), roots.clone());
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                assert!(reaches(&world, &roots).await);
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let ends = async || {
        let (_, answer) = world.operator(http::Method::GET, "/authority", None).await;
        answer["ownCertificateExpires"].as_str().unwrap().to_owned()
    };
    let first = ends().await;
    advance(&world, 2 * DAY - 60);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(ends().await, first, "not before two thirds of its life");
    advance(&world, 120);
    eventually("the certificate is renewed", || async {
        ends().await != first
    })
    .await;
    let enough = count.load(Ordering::SeqCst) + 5;
    eventually("handshakes go on", || async {
        count.load(Ordering::SeqCst) > enough
    })
    .await;
    // And well past the end of the first one.
    advance(&world, DAY + DAY / 2);
    assert!(reaches(&world, &roots).await);
    stop.store(true, Ordering::SeqCst);
    handshakes.await.unwrap();
}
