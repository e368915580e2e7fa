//! The keys of access tokens (TS 33.122 clause C.2).

use capif_spec::publish_service::SecurityMethod;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::advance;
use crate::support::{
    World, eventually,
    site::{Credential, Site},
};

async fn rotate(world: &World, compromise: bool) {
    let body = json!({ "compromise": compromise });
    let (status, answer) = world
        .operator(Method::POST, "/keys/rotate", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// The names of the keys that are handed out.
async fn handed_out(world: &World) -> Vec<String> {
    let answer = world
        .anonymous()
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(answer.headers["cache-control"], "max-age=60");
    let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
    answer.json()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(kid)
        .collect()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// How many keys stand beside the ring: in the profile of deployed clients that of the server certificate, by which all tokens are signed.
fn beside(world: &World) -> usize {
    usize::from(world.is_lenient())
}

/// The next key is handed out ten minutes before it signs, the last one until its last token has ended: with each token of its time
/// every call gets through.
#[tokio::test]
async fn keys_follow_one_another_without_a_refused_call() {
    let site = Site::start(&[SecurityMethod::Oauth]).await;
    let world = &site.world;
    let invoker = world.raw_invoker(&["weather"]).await;
    site.negotiate(&invoker, &SecurityMethod::Oauth).await;
    let call = async |token: &str| {
        let credential = Credential::Token(token.to_owned());
        site.line(&invoker, &credential).status().await
    };
    let first = site.token(&invoker).await;
    if world.is_lenient() {
        // Deployed AEFs would not hear of another key.
        let body = Some(json!({ "compromise": false }));
        let (status, _) = world.operator(Method::POST, "/keys/rotate", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        advance(world, 60);
        assert_eq!(kid(&site.token(&invoker).await), kid(&first));
        return;
    }
    rotate(world, false).await;
    let keys = handed_out(world).await;
    assert_eq!((keys.len(), &keys[0]), (2, &kid(&first)));
    // Not two at once.
    let again = Some(json!({}));
    let (status, _) = world.operator(Method::POST, "/keys/rotate", again).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    let mut last = first.clone();
    for minute in 0..25 {
        let token = site.token(&invoker).await;
        let signs = usize::from(minute >= 10);
        assert_eq!(kid(&token), keys[signs], "minute {minute}");
        assert_eq!(call(&token).await, 200, "minute {minute}");
        // The last token of the old key, to its end.
        if signs == 0 {
            last = token;
        } else if minute < 19 {
            assert_eq!(call(&last).await, 200, "minute {minute}");
        }
        advance(world, 60);
    }
    eventually("the old key is gone", || async {
        handed_out(world).await == keys[1..]
    })
    .await;
}

/// A key in other hands is gone at once, and with it every token that it signed, at the gateway too.
#[tokio::test]
async fn tokens_of_a_compromised_key_are_refused() {
    let site = Site::start(&[SecurityMethod::Oauth]).await;
    let world = &site.world;
    let invoker = world.raw_invoker(&["weather"]).await;
    site.negotiate(&invoker, &SecurityMethod::Oauth).await;
    let token = site.token(&invoker).await;
    let line = site.line(&invoker, &Credential::Token(token.clone()));
    assert_eq!(line.status().await, 200);
    rotate(world, true).await;
    let keys = handed_out(world).await;
    assert_eq!(keys.len(), 1 + beside(world));
    assert!(!keys.contains(&kid(&token)), "{keys:?}");
    eventually("the gateway refuses the token", || async {
        line.status().await == 401
    })
    .await;
    let next = site.token(&invoker).await;
    assert_eq!(
        site.line(&invoker, &Credential::Token(next)).status().await,
        200
    );
}

/// They follow one another by themselves, `security.token_key_days` apart.
#[tokio::test]
async fn keys_follow_one_another_by_themselves() {
    let world = World::with(|config| config.security.token_key_days = 1).await;
    let first = handed_out(&world).await;
    assert_eq!(first.len(), 1 + beside(&world));
    advance(&world, 24 * 3600 - 600);
    eventually("the next key is handed out", || async {
        handed_out(&world).await.len() == 2 + beside(&world)
    })
    .await;
    advance(&world, 30 * 60);
    eventually("the first key is gone", || async {
        let keys = handed_out(&world).await;
        keys.len() == 1 + beside(&world) && keys != first
    })
    .await;
}
