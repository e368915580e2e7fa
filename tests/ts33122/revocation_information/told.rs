//! Lists, OCSP and staples.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;
use x509_parser::{
    parse_x509_certificate,
    pem::parse_x509_pem,
    prelude::{CertificateRevocationList, FromDer},
};

use super::{NO_OPENSSL, Openssl, list, served};
use crate::support::{
    World, eventually, keys,
    people::{INVOKERS, Party, RawInvoker, enrolment},
};

const VENDOR: &str = "vendorSpecific-capif";

/// Whether the revocation list has a certificate, after its signature was checked.
async fn is_listed(world: &World, party: &Party) -> bool {
    let blocks = pem::parse_many(&party.pems.chain).unwrap();
    let (_, leaf) = parse_x509_certificate(blocks[0].contents()).unwrap();
    let (_, issuing) = parse_x509_certificate(blocks[1].contents()).unwrap();
    let list = list(world, 1).await;
    let (_, list) = CertificateRevocationList::from_der(&list).unwrap();
    list.verify_signature(issuing.public_key()).unwrap();
    assert_eq!(list.issuer(), issuing.subject());
    list.iter_revoked_certificates()
        .any(|revoked| revoked.raw_serial() == leaf.raw_serial())
}

/// R-6.8-04: who was offboarded stands in the revocation list and is revoked for the responder when the answer to the offboarding is
/// there, and others are not.
#[tokio::test(flavor = "multi_thread")]
async fn an_offboarded_invoker_is_revoked_at_once() {
    let world = World::start().await;
    let (amy, bob) = (world.raw_invoker(&[]).await, world.raw_invoker(&[]).await);
    assert!(!is_listed(&world, &amy).await);
    let openssl = Openssl::find();
    if let Some(openssl) = &openssl {
        assert_eq!(openssl.ocsp(&world, &amy).await, "good");
        assert!(openssl.passes(&world, &amy).await);
    }
    let gone = amy.delete(&format!("{INVOKERS}/{}", amy.id)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert!(is_listed(&world, &amy).await);
    assert!(!is_listed(&world, &bob).await);
    let Some(openssl) = openssl else {
        return println!("{NO_OPENSSL}");
    };
    assert_eq!(openssl.ocsp(&world, &amy).await, "revoked");
    assert!(!openssl.passes(&world, &amy).await);
    assert_eq!(openssl.ocsp(&world, &bob).await, "good");
    assert!(openssl.passes(&world, &bob).await);
}

/// An invoker with the certificate that it was onboarded with, and with the one that it renewed for and has not used yet.
async fn renewed(world: &World) -> (RawInvoker, RawInvoker) {
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body[VENDOR] = json!({ "features": ["renewal"] });
    // Extended expiry and PatchUpdate.
    body["supportedFeatures"] = json!("C");
    let answer = world.onboard(&world.credential(&[]).await, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let before = world.invoker_of(&answer, &key);
    let key = keys::p256();
    let body = json!({ "onboardingInformation": {
        "apiInvokerPublicKey": keys::request(&key),
        VENDOR: { "renewal": "r1" },
    } });
    let answer = before
        .patch(&format!("{INVOKERS}/{}", before.id), &body)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let after = world.invoker_of(&answer, &key);
    (before, after)
}

/// R-U-06: at the end of the overlap the replaced certificate is revoked, the new one and its holder are not; both stay so over a
/// restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_revoked_at_the_end_of_the_overlap() {
    let mut world = World::with(|config| config.renewal.overlap_minutes = 1).await;
    let (amy, next) = renewed(&world).await;
    let status = format!("/capif-renewal/v1/{}", next.id);
    assert_eq!(next.get(&status).await.status, StatusCode::OK);
    assert!(!is_listed(&world, &amy).await, "both count");
    world.clock.advance(Duration::minutes(1));
    eventually("the old certificate is revoked", || is_listed(&world, &amy)).await;
    assert!(!is_listed(&world, &next).await);
    world.stop().await;
    world.resume().await;
    assert!(is_listed(&world, &amy).await);
    let Some(openssl) = Openssl::find() else {
        return println!("{NO_OPENSSL}");
    };
    assert_eq!(openssl.ocsp(&world, &amy).await, "revoked");
    assert_eq!(openssl.ocsp(&world, &next).await, "good");
}

/// Each authority has a list of its own, and the responder answers for each; of one that is retired nothing is said any more.
#[tokio::test(flavor = "multi_thread")]
async fn every_authority_that_counts_has_its_list() {
    let world = World::start().await;
    let amy = world.raw_invoker(&[]).await;
    let post = async |path: &str, body: Value| {
        let (status, answer) = world.operator(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    };
    post("/authority/roll", json!({ "overlapSeconds": 3600 })).await;
    let bob = world.raw_invoker(&[]).await;
    let gone = bob.delete(&format!("{INVOKERS}/{}", bob.id)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let entries = async |authority: u32| {
        let octets = list(&world, authority).await;
        let (_, list) = CertificateRevocationList::from_der(&octets).unwrap();
        list.iter_revoked_certificates().count()
    };
    assert_eq!((entries(1).await, entries(2).await), (0, 1));
    let openssl = Openssl::find();
    if let Some(openssl) = &openssl {
        assert_eq!(openssl.ocsp(&world, &amy).await, "good");
        assert_eq!(openssl.ocsp(&world, &bob).await, "revoked");
    }
    post("/authority/retire", json!({})).await;
    assert_eq!(entries(2).await, 1);
    assert_eq!(served(&world, 1).await, None);
}

/// R-T-04: the core function staples an answer to its own certificate, which verifies, and renews it while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_core_function_staples() {
    let Some(openssl) = Openssl::find() else {
        return println!("{NO_OPENSSL}");
    };
    let world = World::start().await;
    let shown = openssl.staple(&world).await;
    assert!(
        shown.contains("OCSP Response Status: successful"),
        "{shown}"
    );
    assert!(shown.contains("Cert Status: good"), "{shown}");
    let produced = |shown: &str| {
        let line = shown.lines().find(|line| line.contains("Produced At"));
        line.unwrap().to_owned()
    };
    let first = produced(&shown);
    world.clock.advance(Duration::minutes(30));
    eventually("another one is stapled", || async {
        produced(&openssl.staple(&world).await) != first
    })
    .await;
}

/// R-T-04: an AEF is given the answer for its own certificate, to staple it; others are given none, since they serve nobody.
#[tokio::test(flavor = "multi_thread")]
async fn an_aef_is_given_its_staple() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let status = async |party: &Party| -> Value {
        let answer = party.get(&format!("/capif-renewal/v1/{}", party.id)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()
    };
    assert!(status(&domain.apf).await["ocspResponse"].is_null());
    assert!(status(&domain.amf).await["ocspResponse"].is_null());
    let given = status(&domain.aef).await;
    let response = given["ocspResponse"].as_str().unwrap();
    let response = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, response).unwrap();
    let Some(openssl) = Openssl::find() else {
        return println!("{NO_OPENSSL}");
    };
    openssl.put_chain(&world.root_pem(), &domain.aef.pems.chain);
    openssl.file("response.der", &response);
    let output = openssl
        .run(&[
            "ocsp",
            "-respin",
            "response.der",
            "-CAfile",
            "roots.pem",
            "-issuer",
            "issuing.pem",
            "-cert",
            "leaf.pem",
            "-no_nonce",
        ])
        .await;
    let said = super::text(&output.stdout) + &super::text(&output.stderr);
    assert!(said.contains("Response verify OK"), "{said}");
    assert!(said.contains("leaf.pem: good"), "{said}");
}

/// RFC 5280 section 4.2.1.13: every certificate says where to ask, and that is where the core function answers.
#[tokio::test]
async fn certificates_say_where_to_ask() {
    let world = World::start().await;
    let amy = world.raw_invoker(&[]).await;
    let (_, block) = parse_x509_pem(amy.pems.chain.as_bytes()).unwrap();
    let address = world.ccf().revocation_addr();
    for place in [
        format!("http://{address}/crl/1.crl"),
        format!("http://{address}/ocsp"),
    ] {
        let place = place.as_bytes();
        assert!(
            block
                .contents
                .windows(place.len())
                .any(|part| part == place)
        );
    }
}
