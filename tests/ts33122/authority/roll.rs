//! Another issuing authority, another root.

use std::process::Command;

use capif_client::{Enrolment, EnrolmentCode, Invoker, OnboardingRequest};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::Anchors;
use http::{Method, StatusCode};
use serde_json::json;

use super::{HOUR, advance, generations, pem_of, reaches, roll, root, shown, states};
use crate::support::{
    World, eventually, keys,
    people::RawInvoker,
    raw::Pems,
    site::{Credential, Site},
    wire::{Answer, Caller, request},
};

/// Waits until so many certificates of the first authority are in use, and no more.
async fn left(world: &World, count: u64) {
    eventually(
        "the certificates of the old authority are replaced",
        || async { generations(world).await[0]["certificates"] == count },
    )
    .await;
}

/// A call of somebody at the core function, with its certificate.
async fn status(invoker: &RawInvoker) -> u16 {
    let path = "/service-apis/v1/allServiceAPIs?api-invoker-id=";
    let answer = invoker.get(&format!("{path}{}", invoker.id)).await;
    answer.status.as_u16()
}

/// The names in the certificates of a chain, leaf first.
fn issuers(chain_pem: &str) -> Vec<String> {
    let blocks = pem::parse_many(chain_pem).unwrap();
    let issuer = |block: &pem::Pem| {
        let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).unwrap();
        certificate.issuer().to_string()
    };
    blocks.iter().map(issuer).collect()
}

/// During the overlap certificates of both authorities count, at the core function and at the gateway; when it ends, to the second,
/// those of the old one are refused at both, on open connections too.
#[tokio::test]
async fn another_issuing_authority_takes_over_and_the_old_one_ends() {
    let site = Site::start(&[SecurityMethod::Pki]).await;
    let world = &site.world;
    let old = world.raw_invoker(&["weather"]).await;
    let to_gateway = site.negotiate(&old, &SecurityMethod::Pki).await;
    roll(world, false).await;
    assert_eq!(states(world).await, ["overlapping", "current"]);
    let new = world.raw_invoker(&["weather"]).await;
    site.negotiate(&new, &SecurityMethod::Pki).await;
    assert_ne!(issuers(&old.pems.chain)[0], issuers(&new.pems.chain)[0]);
    assert_eq!(issuers(&old.pems.chain)[1], issuers(&new.pems.chain)[1]);

    let open = site.line(&old, &to_gateway);
    assert_eq!(open.status().await, 200);
    for invoker in [&old, &new] {
        assert_eq!(status(invoker).await, 200);
        let line = site.line(invoker, &Credential::Certificate);
        assert_eq!(line.status().await, 200);
    }
    advance(world, HOUR - 1);
    assert_eq!(status(&old).await, 200);

    // The gateway itself has renewed by then.
    left(world, 1).await;
    advance(world, 1);
    assert_eq!(status(&old).await, 401);
    assert_eq!(states(world).await, ["retired", "current"]);
    eventually("a new handshake with the old certificate fails", || async {
        let path = "/.well-known/jwks.json";
        let old = Caller::new(world, world.address(), Some(old.pems.identity()));
        old.try_send(request(Method::GET, path, None, None))
            .await
            .is_none()
    })
    .await;
    eventually("the gateway refuses the old certificate", || async {
        site.line(&old, &Credential::Certificate)
            .call()
            .await
            .is_none()
    })
    .await;
    assert_eq!(status(&new).await, 200);
    assert_eq!(
        site.line(&new, &Credential::Certificate).status().await,
        200
    );
}

/// A key and a token that were got under a certificate of an authority that is no more count no longer than that.
#[tokio::test]
async fn what_hangs_on_an_old_certificate_ends_with_its_authority() {
    let site = Site::start(&[SecurityMethod::Psk, SecurityMethod::Oauth]).await;
    let world = &site.world;
    let keyed = world.raw_invoker(&["weather"]).await;
    let bearer = world.raw_invoker(&["weather"]).await;
    let by_key = site.negotiate(&keyed, &SecurityMethod::Psk).await;
    site.negotiate(&bearer, &SecurityMethod::Oauth).await;
    roll(world, false).await;
    advance(world, HOUR - 30);
    let by_token = Credential::Token(site.token(&bearer).await);
    let (keyed, bearer) = (site.line(&keyed, &by_key), site.line(&bearer, &by_token));
    for line in [&keyed, &bearer] {
        assert_eq!(line.status().await, 200);
    }
    left(world, 2).await;
    advance(world, 31);
    for (what, line) in [("key", &keyed), ("token", &bearer)] {
        eventually(what, || async {
            line.call().await.is_none_or(|answer| answer.status == 401)
        })
        .await;
    }
}

/// An AMF that knows nothing of renewal and repeats what it registered with gets certificates of the new authority for its old
/// keys: it is not locked out when the overlap ends.
#[tokio::test]
async fn a_provider_that_repeats_its_registration_is_not_locked_out() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let same = json!({ "apiProvFuncs": domain.details["apiProvFuncs"] });
    let answer = domain.amf.patch(&domain.path(), &same).await;
    let certificates = |answer: &Answer| -> Vec<String> {
        let details = answer.json();
        let functions = details["apiProvFuncs"].as_array().unwrap().iter();
        functions
            .map(|held| held["regInfo"]["apiProvCert"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = certificates(&answer);
    roll(&world, false).await;
    let answer = domain.amf.patch(&domain.path(), &same).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let after = certificates(&answer);
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(issuers(before)[0], issuers(after)[0]);
    }
    let again = domain.amf.patch(&domain.path(), &same).await;
    assert_eq!(certificates(&again), after);

    let amf = domain.details["apiProvFuncs"].as_array().unwrap().iter();
    let place = amf
        .clone()
        .position(|held| held["apiProvFuncId"] == domain.amf.id.as_str());
    let pems = Pems {
        chain: after[place.unwrap()].clone(),
        key: domain.amf.pems.key.clone(),
    };
    advance(&world, HOUR);
    let renewed = world.with_certificate(&pems);
    let answer = renewed
        .json(Method::PATCH, &domain.path(), Some(&same))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(domain.amf.patch(&domain.path(), &same).await.status, 401);
}

/// During the overlap of two roots, who knows only one of them gets through, whichever it is; so says `openssl verify` too. Then
/// the old one leads nowhere any more.
#[tokio::test]
async fn who_knows_either_root_gets_through_until_the_old_one_ends() {
    let mut world = World::start().await;
    roll(&world, true).await;
    let (old, new) = (root(&world, 1), root(&world, 2));
    let both = format!("{new}{old}");
    for roots in [&old, &new, &both] {
        assert!(reaches(&world, roots).await);
    }
    let chain = shown(&world, &old).await;
    assert!(chain.contains(&keys::der(&old)) && chain.contains(&keys::der(&new)));
    for roots in [&old, &new] {
        openssl_verifies(&chain, roots);
    }
    // What is issued leads to both roots as well.
    let invoker = world.raw_invoker(&["weather"]).await;
    let chain = pem::parse_many(&invoker.pems.chain).unwrap();
    let chain: Vec<_> = chain.into_iter().map(pem::Pem::into_contents).collect();
    for roots in [&old, &new] {
        openssl_verifies(&chain, roots);
    }

    world.stop().await;
    world.resume().await;
    for roots in [&old, &new] {
        assert!(reaches(&world, roots).await, "after a restart");
    }
    advance(&world, HOUR);
    eventually("the old root leads nowhere", || async {
        !reaches(&world, &old).await
    })
    .await;
    assert!(reaches(&world, &new).await);
    assert_eq!(states(&world).await, ["retired", "current"]);
    world.stop().await;
    world.resume().await;
    assert!(!reaches(&world, &old).await);
    assert!(reaches(&world, &new).await);
}

fn openssl_verifies(chain: &[Vec<u8>], roots: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let outcome = Command::new("openssl")
        .arg("verify")
        .arg("-x509_strict")
        .arg("-CAfile")
        .arg(file("roots.pem", roots))
        .arg("-untrusted")
        .arg(file("others.pem", &pem_of(&chain[1..])))
        .arg(file("leaf.pem", &pem_of(&chain[..1])))
        .output();
    match outcome {
        Err(_) => println!("did not run: there is no openssl here"),
        Ok(outcome) => assert!(
            outcome.status.success(),
            "{}",
            String::from_utf8_lossy(&outcome.stderr)
        ),
    }
}

async fn code(world: &World) -> EnrolmentCode {
    let enrolment = world.invite(&[]).await;
    let root = Anchors::from_pem(&enrolment.anchors_pem).unwrap();
    EnrolmentCode {
        address: enrolment.address,
        ca_sha256: *root.fingerprints()[0].as_bytes(),
        credential: enrolment.credential,
    }
}

/// A code that was made before the roll-over still enrols, by the fingerprint of the old root; one made after carries the new root.
#[tokio::test]
async fn codes_of_before_and_after_enrol() {
    let world = World::start().await;
    let before = code(&world).await;
    roll(&world, true).await;
    let after = code(&world).await;
    assert_ne!(before.ca_sha256, after.ca_sha256);
    for (name, code) in [("amy", before), ("bob", after)] {
        let enrolment = Enrolment::from_code(&code, world.clock()).await.unwrap();
        let request = OnboardingRequest::default();
        let invoker = Invoker::onboard(world.keystore(name), &enrolment, request, world.clock())
            .await
            .unwrap();
        invoker.discover(&Default::default()).await.unwrap();
    }
}

/// A new root reaches gateways while they run: they are told, renew, and believe what is under it; when the overlap has ended, what
/// is under the old root is refused there too, and notifications still arrive.
#[tokio::test]
async fn a_new_root_reaches_gateways_that_run() {
    let site = Site::start(&[SecurityMethod::Pki]).await;
    let world = &site.world;
    let old = world.raw_invoker(&["weather"]).await;
    site.negotiate(&old, &SecurityMethod::Pki).await;
    assert_eq!(
        site.line(&old, &Credential::Certificate).status().await,
        200
    );
    roll(world, true).await;
    left(world, 1).await;
    let new = world.raw_invoker(&["weather"]).await;
    site.negotiate(&new, &SecurityMethod::Pki).await;
    for invoker in [&old, &new] {
        assert_eq!(
            site.line(invoker, &Credential::Certificate).status().await,
            200
        );
    }
    advance(world, HOUR);
    eventually("the gateway refuses what is under the old root", || async {
        site.line(&old, &Credential::Certificate)
            .call()
            .await
            .is_none()
    })
    .await;
    assert_eq!(states(world).await, ["retired", "current"]);
    site.settled().await;
    assert_eq!(
        site.line(&new, &Credential::Certificate).status().await,
        200
    );
    // The core function as a client: what it tells now is taken, by the new chain alone.
    let (status, _) = world
        .operator(Method::DELETE, &format!("/invokers/{}", new.id), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    site.settled().await;
}

/// What cannot be done is refused with what to do next, and changes nothing.
#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let world = World::start().await;
    let post = async |path: &str, body| {
        let (status, answer) = world.operator(Method::POST, path, Some(body)).await;
        let detail = answer["detail"].as_str().unwrap_or_default().to_owned();
        (status, detail)
    };
    let (status, detail) = post("/authority/retire", json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{detail}");
    for seconds in [json!(-1), json!(1e12), json!(u64::MAX), json!("30d")] {
        let (status, detail) = post("/authority/roll", json!({ "overlapSeconds": seconds })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{detail}");
    }
    let key = world.dir.path().join("ca/root.key");
    let away = world.dir.path().join("away");
    std::fs::rename(&key, &away).unwrap();
    let (status, detail) = post("/authority/roll", json!({ "overlapSeconds": 60 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("root.key"), "{detail}");
    std::fs::rename(&away, &key).unwrap();
    assert_eq!(states(&world).await, ["current"]);

    roll(&world, false).await;
    let (status, detail) = post("/authority/roll", json!({ "overlapSeconds": 60 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("capif ca retire"), "{detail}");
    let (status, _) = post("/authority/retire", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(states(&world).await, ["retired", "current"]);
}
