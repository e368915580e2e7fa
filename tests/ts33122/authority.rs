//! The authority changes while everybody goes on (D-24, D-28; R-T-04; TS 33.310 clause 6): another issuing authority and another
//! root ([`roll`]; under load, [`load`]), the core function's own certificate ([`own`]), the keys of access tokens ([`keys`]).

mod keys;
mod load;
mod own;
mod roll;

use std::{net::SocketAddr, time::Duration};

use capif_transport::Anchors;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{World, raw, wire::Caller};

const HOUR: u64 = 3600;

/// The operator lets another authority follow, with an overlap of an hour.
async fn roll(world: &World, root: bool) -> Value {
    let body = json!({ "root": root, "overlapSeconds": HOUR });
    let (status, answer) = world
        .operator(Method::POST, "/authority/roll", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The generations, in order.
async fn generations(world: &World) -> Vec<Value> {
    let (status, answer) = world.operator(Method::GET, "/authority", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["generations"].as_array().unwrap().clone()
}

/// The state of each of them.
async fn states(world: &World) -> Vec<String> {
    let state = |generation: &Value| generation["state"].as_str().unwrap().to_owned();
    generations(world).await.iter().map(state).collect()
}

/// The root of a generation as PEM.
fn root(world: &World, number: u32) -> String {
    let file = match number {
        1 => "ca/root.pem".to_owned(),
        number => format!("ca/root-{number}.pem"),
    };
    std::fs::read_to_string(world.dir.path().join(file)).unwrap()
}

/// Somebody without a certificate who believes these roots and no others.
fn believing(world: &World, roots: &str) -> Caller {
    Caller::believing(
        world,
        world.address(),
        Anchors::from_pem(roots).unwrap(),
        None,
    )
}

/// Whether who believes these roots gets through to the core function, on a connection of its own.
async fn reaches(world: &World, roots: &str) -> bool {
    let request = http::Request::get("/.well-known/jwks.json").body(Vec::new());
    let answer = believing(world, roots).try_send(request.unwrap()).await;
    answer.is_some_and(|answer| answer.status == StatusCode::OK)
}

/// The certificates that the core function shows, leaf first, to somebody who believes these roots. By the time of the machine, so
/// the world's clock must not have been moved far.
async fn shown(world: &World, roots: &str) -> Vec<Vec<u8>> {
    let address: SocketAddr = world.address().parse().unwrap();
    let stream = raw::tls(address, roots, None, b"http/1.1").await.unwrap();
    let (_, tls) = stream.get_ref();
    let chain = tls.peer_certificates().unwrap();
    chain.iter().map(|one| one.to_vec()).collect()
}

fn pem_of(certificates: &[Vec<u8>]) -> String {
    let block = |der: &Vec<u8>| pem::encode(&pem::Pem::new("CERTIFICATE", der.clone()));
    certificates.iter().map(block).collect()
}

fn advance(world: &World, seconds: u64) {
    let by = Duration::from_secs(seconds);
    world.clock.advance(time::Duration::try_from(by).unwrap());
}
