//! The life of a key of Method 1 as the invoker sees it (TS 33.122 clause 6.5.2.1, D-07, P-27).

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_client::{Error, ErrorKind, Invoker, Wish};
use capif_spec::{publish_service::SecurityMethod, vendor::PskProfile};
use capif_transport::{Psk, PskCredential};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use super::{Shown, Site, call, get, negotiations};
use crate::support::wire::Caller;

/// The keys that an invoker's folder holds.
pub(super) fn held(folder: &Path) -> Vec<PskCredential> {
    let state = std::fs::read(folder.join("capif-invoker.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let keys = state["onboarded"]["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| {
            let text = |name: &str| key[name].as_str().unwrap();
            let octets = BASE64_URL_SAFE_NO_PAD.decode(text("key")).unwrap();
            PskCredential {
                identity: text("identity").to_owned(),
                key: Psk::new(octets.try_into().unwrap()),
                version: text("tls").parse().unwrap(),
            }
        })
        .collect()
}

/// An invoker that calls by key.
async fn by_key(site: &Site) -> Invoker {
    let amy = site.world.invoker("amy", &[]).await;
    let wish = Wish {
        preferred: vec![SecurityMethod::Psk],
        ..site.wish()
    };
    amy.negotiate(&[wish]).await.unwrap();
    amy
}

fn shown(site: &Site, credential: PskCredential) -> Shown {
    Shown {
        caller: Caller::with_key(site.gateway.address(), credential),
        token: None,
    }
}

/// R-6.5.2.1-01 to 05: key, call, and everything in between.
#[tokio::test]
async fn a_call_goes_by_key() {
    let site = Site::start().await;
    let amy = by_key(&site).await;
    assert_eq!(call(&amy).await, StatusCode::OK);
    let seen = site.backend.seen();
    assert_eq!(seen[0].headers["capif-api-invoker-id"], amy.id().as_str());
    let agreed = amy.agreements().remove(0).psk.unwrap();
    assert_eq!(
        agreed.interface,
        format!("https://{}", site.gateway.address())
    );
    assert_eq!(agreed.identity, format!("3GPP-CAPIF.{}.1", amy.id()));
    // Only the two ends and the core function hold it, and there it is sealed.
    let key = held(&site.world.folder("amy")).remove(0);
    assert!(!site.world.store_holds(key.key.expose()));
    let text = BASE64_URL_SAFE_NO_PAD.encode(key.key.expose());
    assert!(!site.world.store_holds(text.as_bytes()));
}

/// R-A-03: the literal profile, over TLS 1.2.
#[tokio::test]
async fn the_literal_profile_serves_as_well() {
    let site = Site::start().await;
    let amy = site.world.invoker("amy", &[]).await;
    let wish = Wish {
        preferred: vec![SecurityMethod::Psk],
        profile: Some(PskProfile::A1Tls12),
        ..site.wish()
    };
    amy.negotiate(&[wish]).await.unwrap();
    assert_eq!(call(&amy).await, StatusCode::OK);
    let agreed = amy.agreements().remove(0).psk.unwrap();
    assert_eq!(agreed.profile, PskProfile::A1Tls12);
}

/// R-6.3-13, R-6.5.2.1-06: a renegotiation replaces the key; the old one ends after 60 seconds, on open connections too.
#[tokio::test]
async fn a_renegotiated_key_replaces_the_old_one() {
    let site = Site::start().await;
    let amy = by_key(&site).await;
    let old = held(&site.world.folder("amy")).remove(0);
    let open = shown(&site, old.clone());
    assert_eq!(open.call().await.unwrap().status, 200);
    amy.negotiate(&[Wish {
        preferred: vec![SecurityMethod::Psk],
        ..site.wish()
    }])
    .await
    .unwrap();
    let new = held(&site.world.folder("amy"));
    assert_eq!(new.len(), 1);
    assert_ne!(new[0].identity, old.identity);
    assert_ne!(new[0].key, old.key);
    assert_eq!(call(&amy).await, StatusCode::OK);
    assert_eq!(open.call().await.unwrap().status, 200);

    site.world.clock.advance(Duration::seconds(61));
    assert_eq!(call(&amy).await, StatusCode::OK);
    let answer = open.call().await;
    assert!(answer.is_none_or(|answer| answer.status == 401));
    assert!(shown(&site, old).call().await.is_none());
}

/// A key that another process of the same invoker replaced is given up for the new one, without a question.
#[tokio::test]
async fn a_key_that_another_process_replaced_is_given_up() {
    let site = Site::start().await;
    let amy = by_key(&site).await;
    assert_eq!(call(&amy).await, StatusCode::OK);
    let other = Invoker::open(site.world.keystore("amy"), site.world.clock())
        .await
        .unwrap();
    other.negotiate(&[site.wish()]).await.unwrap();
    let wish = Wish {
        preferred: vec![SecurityMethod::Psk],
        ..site.wish()
    };
    other.negotiate(&[wish]).await.unwrap();
    site.world.clock.advance(Duration::seconds(61));
    let asked = negotiations(&site, "amy");
    assert_eq!(call(&amy).await, StatusCode::OK);
    assert_eq!(negotiations(&site, "amy"), asked);
}

/// D-07: before a key ends it is renewed; one that has ended is not accepted by anybody.
#[tokio::test]
async fn a_key_ends_and_is_renewed_before() {
    let site = Site::start().await;
    let amy = by_key(&site).await;
    assert_eq!(call(&amy).await, StatusCode::OK);
    let first = held(&site.world.folder("amy")).remove(0);
    site.world.clock.advance(Duration::hours(23));
    assert_eq!(call(&amy).await, StatusCode::OK);
    let second = held(&site.world.folder("amy")).remove(0);
    assert_ne!(first.identity, second.identity);
    // A day without a call.
    site.world.clock.advance(Duration::hours(25));
    assert!(shown(&site, second).call().await.is_none());
    assert_eq!(call(&amy).await, StatusCode::OK);
    assert_eq!(negotiations(&site, "amy"), 3);
}

/// D-07: a key does not outlive the invoker's certificate.
#[tokio::test]
async fn a_key_ends_with_the_certificate() {
    let site = Site::start().await;
    let amy = by_key(&site).await;
    let certificate = capif_spec::common::DateTime(amy.agreements().remove(0).psk.unwrap().ends);
    site.world.clock.advance(Duration::days(91));
    let error = amy.call("weather", get()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Authentication,
        "{certificate} {error}"
    );
}

/// After a revocation by the operator the answer names no method, and the invoker says whom to ask.
#[tokio::test]
async fn a_revoked_invoker_is_told_whom_to_ask() {
    for method in super::ALL {
        let site = Site::start().await;
        let amy = site.world.invoker("amy", &[]).await;
        let wish = Wish {
            preferred: vec![method.clone()],
            ..site.wish()
        };
        amy.negotiate(&[wish]).await.unwrap();
        assert_eq!(call(&amy).await, StatusCode::OK, "{method}");
        let verdict = json!({ "invoker": amy.id() });
        let revoked = site
            .world
            .operator(Method::POST, "/revocations", Some(verdict));
        assert_eq!(revoked.await.0, StatusCode::OK, "{method}");
        crate::support::eventually("the gateway hears of it", async || {
            match amy.call("weather", get()).await {
                Err(Error::NoCommonMethod { .. }) => true,
                Err(error) => panic!("{method}: {error}"),
                Ok(_) => false,
            }
        })
        .await;
        let error = amy.call("weather", get()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{method}");
        assert!(error.to_string().contains("capif permit"), "{error}");
        assert!(held(&site.world.folder("amy")).is_empty(), "{method}");
    }
}
