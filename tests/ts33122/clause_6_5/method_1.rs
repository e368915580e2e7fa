//! Method 1, TLS-PSK (TS 33.122 clause 6.5.2.1): the key of the context opens a session, and nothing else does.

use capif_spec::{publish_service::SecurityMethod, vendor::PskTls};
use capif_transport::{Client, ClientError, ClientLimits, Psk, PskCredential, PskVersion, empty};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::json;

use super::{PATH, assert_refused};
use crate::support::{
    World,
    people::RawInvoker,
    site::{ALL, Credential, Site},
    upstream::{Upstream, piecewise},
    wire::{Caller, request},
};

const PSK: SecurityMethod = SecurityMethod::Psk;

fn key(credential: Credential) -> PskCredential {
    match credential {
        Credential::Psk(key) => key,
        _ => unreachable!("PSK was negotiated"),
    }
}

/// How a handshake ends.
async fn refusal(address: &str, credential: PskCredential) -> String {
    let client = Client::psk(credential, ClientLimits::default()).unwrap();
    let uri = format!("https://{address}{PATH}");
    let request = Request::get(uri).body(empty()).unwrap();
    match client.request(request).await {
        Err(ClientError::Tls(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// R-6.5.2.1-04 and R-6.5.2.1-05: both versions of TLS, each where the interface names it; the session is the invoker's.
#[tokio::test]
async fn a_key_opens_a_session_of_the_invoker() {
    for (published, version) in [
        (PskTls::Tls13, PskVersion::Tls13),
        (PskTls::Tls12, PskVersion::Tls12),
    ] {
        let world = World::start().await;
        let site = Site::of(world, &ALL, |config| config.psk_tls = Some(published)).await;
        let amy = site.world.raw_invoker(&[]).await;
        let key = key(site.negotiate(&amy, &PSK).await);
        assert_eq!(key.version, version);
        let line = site.line(&amy, &Credential::Psk(key));
        for _ in 0..3 {
            assert_eq!(line.status().await, 200);
        }
        assert_eq!(site.connections_of(&amy), 1);
        let seen = site.backend.seen();
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[0].headers["capif-api-invoker-id"], amy.id.as_str());
        site.gateway.drain(crate::support::SOON).await;
        assert_eq!(site.world.list("logs").await.len(), 3);
    }
}

/// R-6.5.2.1-04 and P-27: what is wrong with a key cannot be told from outside, be it unknown, of somebody unknown, of another
/// interface, expired, or merely wrong.
#[tokio::test]
async fn every_wrong_key_is_refused_alike() {
    for published in [PskTls::Tls13, PskTls::Tls12] {
        let world = World::start().await;
        let site = Site::of(world, &ALL, |config| config.psk_tls = Some(published)).await;
        let elsewhere = site
            .world
            .gateway("zeta", "tides", &site.backend.url(), &[PSK])
            .await;
        let amy = site.world.raw_invoker(&[]).await;
        let own = key(site.negotiate(&amy, &PSK).await);
        let line = site.line(&amy, &Credential::Psk(own.clone()));
        assert_eq!(line.status().await, 200);

        let with = |change: fn(&mut PskCredential)| {
            let mut credential = own.clone();
            change(&mut credential);
            credential
        };
        let mut wrong = vec![
            with(|credential| credential.key = Psk::new([7; 32])),
            with(|credential| credential.identity.push('1')),
            with(|credential| credential.identity = "3GPP-CAPIF.INVnobody.1".to_owned()),
            with(|credential| credential.identity = "Client_identity".to_owned()),
            with(|credential| {
                credential.identity = credential.identity.replace("3GPP-CAPIF", "3gpp-capif");
            }),
        ];
        let there = (elsewhere.aef_id().as_str(), elsewhere.address());
        let mut other = amy.psk(&site.world, there.0, there.1).await;
        other.version = own.version;
        wrong.push(other);
        let mut reasons = Vec::new();
        for credential in wrong {
            reasons.push(refusal(site.gateway.address(), credential).await);
        }
        reasons.dedup();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        // The negotiation elsewhere has taken the context of this AEF away.
        assert_eq!(
            refusal(site.gateway.address(), own.clone()).await,
            reasons[0]
        );
        assert_eq!(site.backend.seen().len(), 1);
    }
}

/// R-6.5.2.1-06 and D-07: a key ends with its time, on open connections as well.
#[tokio::test]
async fn a_key_ends_with_its_time() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &PSK).await;
    let line = site.line(&amy, &credential);
    assert_eq!(line.status().await, 200);
    site.world
        .clock
        .advance(time::Duration::hours(24) - time::Duration::SECOND);
    assert_eq!(line.status().await, 200);
    assert_eq!(site.line(&amy, &credential).status().await, 200);
    site.world.clock.advance(time::Duration::SECOND);
    if let Some(answer) = line.call().await {
        assert_eq!(answer.cause(), "SECURITY_KEY_INVALID");
        assert_refused(&answer, http::StatusCode::UNAUTHORIZED, Some("CAPIF"));
    }
    site.disconnected(&amy).await;
    assert!(line.call().await.is_none());
    assert!(site.line(&amy, &credential).call().await.is_none());
    let fresh = site.negotiate(&amy, &PSK).await;
    assert_eq!(site.line(&amy, &fresh).status().await, 200);
    assert_eq!(site.backend.seen().len(), 4);
}

/// D-07: a key that was replaced works for the overlap and not longer; the new one works at once.
#[tokio::test]
async fn a_replaced_key_works_for_the_overlap() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let old = site.negotiate(&amy, &PSK).await;
    let open = site.line(&amy, &old);
    assert_eq!(open.status().await, 200);
    let new = site.negotiate(&amy, &PSK).await;
    // The gateway has just been told of the old one alone.
    assert_eq!(site.line(&amy, &new).status().await, 200);
    for line in [&open, &site.line(&amy, &old)] {
        assert_eq!(line.status().await, 200);
    }
    site.world.clock.advance(time::Duration::seconds(61));
    assert!(site.line(&amy, &old).call().await.is_none());
    let answer = open.call().await;
    assert!(answer.is_none_or(|answer| answer.status == 401));
    assert_eq!(site.line(&amy, &new).status().await, 200);
}

/// R-6.5.2.1-06: the key of a negotiation works at once, also when the gateway has just been told that there is none: by an attempt
/// with a key that was taken away, or by somebody who only knew the invoker's id.
#[tokio::test]
async fn a_new_key_works_although_there_was_none_just_now() {
    for published in [PskTls::Tls13, PskTls::Tls12] {
        let world = World::start().await;
        let site = Site::of(world, &ALL, |config| config.psk_tls = Some(published)).await;
        let amy = site.world.raw_invoker(&[]).await;
        let bob = site.world.raw_invoker(&[]).await;
        let mut guess = key(site.negotiate(&bob, &PSK).await);
        guess.identity = guess.identity.replace(&bob.id, &amy.id);
        refusal(site.gateway.address(), guess).await;
        let first = site.negotiate(&amy, &PSK).await;
        assert_eq!(site.line(&amy, &first).status().await, 200);

        take_away(&site, &amy, "aef").await;
        site.settled().await;
        assert!(site.line(&amy, &first).call().await.is_none());
        let second = site.negotiate(&amy, &PSK).await;
        assert_eq!(site.line(&amy, &second).status().await, 200);
    }
}

/// R-6.5.2.1-06, R-6.8-11 and R-6.8-12: with the authorization the key goes, and the connection that it opened, whoever takes it
/// away.
#[tokio::test]
async fn a_key_dies_with_the_authorization() {
    let site = Site::start(&ALL).await;
    for way in ["offboard", "invoker", "aef", "operator"] {
        let amy = site.world.raw_invoker(&[]).await;
        let bob = site.world.raw_invoker(&[]).await;
        let credential = site.negotiate(&amy, &PSK).await;
        let bobs = site.negotiate(&bob, &PSK).await;
        let (line, bobs_line) = (site.line(&amy, &credential), site.line(&bob, &bobs));
        assert_eq!(line.status().await, 200);
        assert_eq!(bobs_line.status().await, 200);
        take_away(&site, &amy, way).await;
        site.settled().await;
        site.disconnected(&amy).await;
        assert!(line.call().await.is_none(), "{way}");
        assert!(site.line(&amy, &credential).call().await.is_none(), "{way}");
        assert_eq!(bobs_line.status().await, 200, "{way}");
    }
}

async fn take_away(site: &Site, invoker: &RawInvoker, way: &str) {
    let status = match way {
        "offboard" => {
            let path = format!("/invokers/{}", invoker.id);
            site.world.operator(Method::DELETE, &path, None).await.0
        }
        "invoker" => {
            let path = format!(
                "/api-invoker-management/v1/onboardedInvokers/{}",
                invoker.id
            );
            invoker.delete(&path).await.status
        }
        "aef" => {
            let provider = site.provider().await;
            let api = site.api_id().await.into();
            let cause = capif_spec::security::Cause::AuthorizationIssue;
            let id = invoker.id.as_str().into();
            assert!(provider.revoke(&id, vec![api], cause).await.unwrap());
            http::StatusCode::NO_CONTENT
        }
        _ => {
            let body = json!({ "invoker": invoker.id });
            let (status, _) = site
                .world
                .operator(Method::POST, "/revocations", Some(body))
                .await;
            status
        }
    };
    assert!(status.is_success(), "{way}: {status}");
}

/// R-6.8-12: an answer that is under way over a session of a key ends with the authorization.
#[tokio::test]
async fn a_streaming_answer_ends_with_the_authorization() {
    let world = World::start().await;
    let (sender, body) = piecewise();
    let body = std::sync::Mutex::new(Some(body));
    let upstream = Upstream::start(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        std::future::ready(http::Response::new(body))
    });
    let gateway = world
        .gateway("acme", "weather", &upstream.url(), &[PSK])
        .await;
    let amy = world.raw_invoker(&[]).await;
    let there = (gateway.aef_id().as_str(), gateway.address());
    let key = amy.psk(&world, there.0, there.1).await;
    let client = Client::psk(key, ClientLimits::default()).unwrap();
    let uri = format!("https://{}{PATH}", gateway.address());
    let request = Request::get(uri).body(empty()).unwrap();
    sender.send("first".into()).unwrap();
    let mut stream = client.request(request).await.unwrap().into_body();
    let first = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");
    let path = format!("/invokers/{}", amy.id);
    world.operator(Method::DELETE, &path, None).await;
    let end = tokio::time::timeout(crate::support::SOON, stream.frame()).await;
    assert!(!matches!(end.unwrap(), Some(Ok(_))));
    sender.closed().await;
}

/// The gateway takes an invoker with the method of its context alone: a token over a session of a key is none of its method.
#[tokio::test]
async fn a_token_over_a_session_of_a_key_is_another_method() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let bob = site.world.raw_invoker(&[]).await;
    let (Credential::Token(amys), Credential::Token(bobs)) = (
        site.negotiate(&amy, &SecurityMethod::Oauth).await,
        site.negotiate(&bob, &SecurityMethod::Oauth).await,
    ) else {
        unreachable!("OAUTH was negotiated");
    };
    let key = key(site.negotiate(&amy, &PSK).await);
    let caller = Caller::with_key(site.gateway.address(), key);
    let with = |token: &str| caller.try_send(request(Method::GET, PATH, Some(token), None));
    let answer = with(&amys).await.unwrap();
    assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
    let answer = with(&bobs).await.unwrap();
    assert_refused(
        &answer,
        http::StatusCode::UNAUTHORIZED,
        super::INVALID_TOKEN,
    );
    assert!(site.backend.seen().is_empty());
    assert_eq!(caller.json(Method::GET, PATH, None).await.status, 200);
}
