//! AEFs that do not judge tokens themselves ask whether one counts (RFC 7662), and find out where (RFC 8414).

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World,
    people::{Domain, RawInvoker, wishes},
    reveal,
};

const INTROSPECT: &str = "/capif-token-introspection/v1/introspect";

struct Scene {
    world: World,
    acme: Domain,
    umbrella: Domain,
    invoker: RawInvoker,
    token: String,
}

/// An invoker with a token for two AEFs.
async fn scene() -> Scene {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    acme.publish("weather", &["OAUTH"]).await;
    umbrella.publish("traffic", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let both = wishes(&[(&acme.aef.id, &["OAUTH"]), (&umbrella.aef.id, &["OAUTH"])]);
    let agreed = invoker.put(&invoker.context(), &both).await;
    assert_eq!(agreed.status, StatusCode::CREATED);
    let token = invoker.token(None).await.json()["access_token"].clone();
    let token = token.as_str().unwrap().to_owned();
    Scene {
        world,
        acme,
        umbrella,
        invoker,
        token,
    }
}

async fn asked(domain: &Domain, token: &str) -> Value {
    let said = domain
        .aef
        .caller
        .form(INTROSPECT, &[("token", token)])
        .await;
    assert_eq!(said.status, StatusCode::OK, "{said:?}");
    assert_eq!(said.headers["cache-control"], "no-store");
    said.json()
}

/// Each AEF is told its own part of what the token opens; whoever is no AEF is told nothing.
#[tokio::test]
async fn an_aef_is_told_what_concerns_it() {
    let scene = scene().await;
    for (domain, api) in [(&scene.acme, "weather"), (&scene.umbrella, "traffic")] {
        let said = asked(domain, &scene.token).await;
        assert_eq!(said["active"], true, "{said}");
        assert_eq!(said["client_id"], scene.invoker.id);
        assert_eq!(said["scope"], format!("3gpp#{}:{api}", domain.aef.id));
        assert_eq!(said["aud"], json!([domain.aef.id]));
        assert!(said["exp"].is_i64());
    }
    let third = scene.world.domain("third").await;
    third.publish("other", &["OAUTH"]).await;
    let inactive = json!({ "active": false });
    assert_eq!(asked(&third, &scene.token).await, inactive);
    let other_kind = scene.world.invite(&[]).await.credential;
    let long = "a".repeat(100_000);
    for token in [
        "",
        "x",
        "a.b.c",
        &format!("{}x", scene.token),
        reveal(&other_kind),
        &long,
    ] {
        assert_eq!(asked(&scene.acme, token).await, inactive, "{token}");
    }
}

/// RFC 7662 sections 2.1 and 4: only AEFs ask, by a form with one token; whoever else asks is told nothing, also of good tokens.
#[tokio::test]
async fn only_aefs_ask_and_by_a_form() {
    let scene = scene().await;
    let token = scene.token.as_str();
    let form = [("token", token)];
    for caller in [
        &scene.invoker.caller,
        &scene.acme.apf.caller,
        &scene.acme.amf.caller,
    ] {
        let said = caller.form(INTROSPECT, &form).await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{said:?}");
        let detail = said.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("API exposing functions (AEF)"), "{detail}");
    }
    let said = scene.world.anonymous().form(INTROSPECT, &form).await;
    assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{said:?}");
    let aef = &scene.acme.aef;
    for form in [&[("other", "x")][..], &[("token", token), ("token", token)]] {
        let said = aef.caller.form(INTROSPECT, form).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{said:?}");
    }
    let said = aef.post(INTROSPECT, &json!({ "token": token })).await;
    assert_eq!(said.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{said:?}");
    let query = format!("{INTROSPECT}?token={token}");
    let said = aef.get(&query).await;
    assert_eq!(said.status, StatusCode::METHOD_NOT_ALLOWED, "{said:?}");
    // A hint may be wrong; what is asked about is the token.
    let hinted = [("token", token), ("token_type_hint", "refresh_token")];
    let said = aef.caller.form(INTROSPECT, &hinted).await;
    assert_eq!(said.json()["active"], true, "{said:?}");
    assert_eq!(said.headers["content-type"], "application/json");
}

/// What ends a token ends it here at once: its time, a revocation, an API that is withdrawn, the offboarding.
#[tokio::test]
async fn what_is_taken_away_is_not_active() {
    let scene = scene().await;
    let inactive = json!({ "active": false });
    let path = format!("{}/delete", scene.invoker.context());
    let apis = scene.acme.apf.get(&scene.acme.apis()).await.json();
    let notice = json!({
        "apiInvokerId": scene.invoker.id, "apiIds": [apis[0]["apiId"]], "cause": "OVERLIMIT_USAGE",
    });
    let revoked = scene.acme.aef.post(&path, &notice).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT, "{revoked:?}");
    assert_eq!(asked(&scene.acme, &scene.token).await, inactive);

    let token = scene.invoker.token(None).await.json()["access_token"].clone();
    let token = token.as_str().unwrap();
    assert_eq!(asked(&scene.umbrella, token).await["active"], true);
    assert_eq!(asked(&scene.acme, token).await, inactive);
    scene.world.clock.advance(time::Duration::seconds(600));
    assert_eq!(asked(&scene.umbrella, token).await, inactive, "its time");

    let token = scene.invoker.token(None).await.json()["access_token"].clone();
    let token = token.as_str().unwrap();
    assert_eq!(asked(&scene.umbrella, token).await["active"], true);
    let apis = scene.umbrella.apf.get(&scene.umbrella.apis()).await.json();
    let api = format!(
        "{}/{}",
        scene.umbrella.apis(),
        apis[0]["apiId"].as_str().unwrap()
    );
    assert_eq!(scene.umbrella.apf.delete(&api).await.status, 204);
    assert_eq!(asked(&scene.umbrella, token).await, inactive, "withdrawn");
    scene.umbrella.publish("traffic", &["OAUTH"]).await;
    assert_eq!(asked(&scene.umbrella, token).await["active"], true);
    let own = format!("{}/{}", crate::support::people::INVOKERS, scene.invoker.id);
    assert_eq!(scene.invoker.delete(&own).await.status, 204);
    assert_eq!(asked(&scene.umbrella, token).await, inactive, "offboarded");
}

/// The metadata lead to everything, and to addresses that answer.
#[tokio::test]
async fn the_metadata_lead_to_keys_and_introspection() {
    let scene = scene().await;
    let metadata = scene
        .world
        .anonymous()
        .json(Method::GET, "/.well-known/oauth-authorization-server", None)
        .await;
    assert_eq!(metadata.status, StatusCode::OK);
    let metadata = metadata.json();
    let root = format!("https://{}", scene.world.address());
    assert_eq!(metadata["issuer"], root);
    assert_eq!(
        metadata["introspection_endpoint"],
        format!("{root}{INTROSPECT}")
    );
    let keys = metadata["jwks_uri"].as_str().unwrap();
    let keys = keys.strip_prefix(&root).unwrap();
    let keys = scene.world.anonymous().json(Method::GET, keys, None).await;
    // In the profile of deployed clients the key of the server certificate stands beside the ring.
    let number = 1 + usize::from(scene.world.is_lenient());
    assert_eq!(keys.json()["keys"].as_array().unwrap().len(), number);
    let endpoint = metadata["token_endpoint"].as_str().unwrap();
    let own = endpoint.replace("{securityId}", &scene.invoker.id);
    assert_eq!(own, format!("{root}{}", scene.invoker.token_path()));
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["client_credentials"])
    ); // RFC 8414 section 2: what must be there is.
    for member in [
        "issuer",
        "token_endpoint",
        "jwks_uri",
        "response_types_supported",
    ] {
        assert!(metadata.get(member).is_some(), "{member}");
    }
}

/// RFC 7517, RFC 8414 section 3.2: JSON for everyone, kept no longer than keys are handed out ahead, and never anything private.
#[tokio::test]
async fn keys_and_metadata_are_for_everyone() {
    let scene = scene().await;
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
    ] {
        for accept in ["application/json", "application/jwk-set+json", "*/*"] {
            let request = http::Request::get(path)
                .header("accept", accept)
                .body(Vec::new())
                .unwrap();
            let said = scene.world.anonymous().send(request).await;
            assert_eq!(said.status, StatusCode::OK, "{path} {accept}: {said:?}");
            assert_eq!(said.headers["content-type"], "application/json");
        }
    }
    let said = scene
        .world
        .anonymous()
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(said.headers["cache-control"], "max-age=60");
    for key in said.json()["keys"].as_array().unwrap() {
        let members: Vec<&String> = key.as_object().unwrap().keys().collect();
        assert!(key["kid"].is_string() && key["use"] == "sig", "{key}");
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(!members.iter().any(|name| *name == private), "{private}");
        }
    }
}
