//! Tokens that count with the invoker's certificate alone (D-29, RFC 8705 section 3; TS 33.122 clause 6.5.2.3).

use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;
use crate::support::people::profile;

/// Publishes an API on an interface that takes tokens over mutual TLS alone, or says nothing of it.
async fn publish(domain: &Domain, api: &str, port: u16, mutual: Option<bool>) {
    let mut interface = json!({ "ipv4Addr": "127.0.0.1", "port": port });
    if let Some(mutual) = mutual {
        interface["vendorSpecific-capif"] = json!({ "oauthMutualTls": mutual });
    }
    let mut profile = profile(&domain.aef.id, &["OAUTH"]);
    profile["interfaceDescriptions"] = json!([interface]);
    let body = json!({ "apiName": api, "aefProfiles": [profile] });
    let answer = domain.apf.post(&domain.apis(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
}

/// What a token says of the certificate.
async fn confirmed(invoker: &RawInvoker, scope: Option<&str>) -> Option<Value> {
    let answer = invoker.token(scope).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let body = answer.json();
    let (_, claims, _) = taken_apart(body["access_token"].as_str().unwrap());
    claims.get("cnf").cloned()
}

fn thumbprint(invoker: &RawInvoker) -> Value {
    let leaf = pem::parse_many(&invoker.pems.chain)
        .unwrap()
        .remove(0)
        .into_contents();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf);
    json!({ "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode(digest) })
}

fn told(entry: &Value) -> Value {
    serde_json::from_str(entry["authenticationInfo"].as_str().unwrap()).unwrap()
}

/// A token that opens an interface published with `oauthMutualTls` names the certificate, another one does not; invoker and AEF are
/// told where it is so.
#[tokio::test]
async fn a_token_names_the_certificate_where_the_interface_wants_it() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    publish(&acme, "weather", 8443, Some(true)).await;
    publish(&umbrella, "traffic", 9443, None).await;
    let invoker = world.raw_invoker(&[]).await;
    let both = wishes(&[(&acme.aef.id, &["OAUTH"]), (&umbrella.aef.id, &["OAUTH"])]);
    let answer = invoker.put(&invoker.context(), &both).await;
    let entries = &answer.json()["securityInfo"];
    assert_eq!(
        told(&entries[0]),
        json!({ "method": "OAUTH", "mutualTls": true })
    );
    assert_eq!(told(&entries[1]), json!({ "method": "OAUTH" }));

    let bound = Some(thumbprint(&invoker));
    let weather = format!("3gpp#{}:weather", acme.aef.id);
    let traffic = format!("3gpp#{}:traffic", umbrella.aef.id);
    assert_eq!(confirmed(&invoker, None).await, bound);
    assert_eq!(confirmed(&invoker, Some(&weather)).await, bound);
    assert_eq!(confirmed(&invoker, Some(&traffic)).await, None);

    let path = format!("{}?authenticationInfo=true", invoker.context());
    for (domain, mutual) in [(&acme, Some(&json!(true))), (&umbrella, None)] {
        let answer = domain.aef.get(&path).await.json();
        assert_eq!(told(&answer["securityInfo"][0]).get("mutualTls"), mutual);
    }
}

/// The operator can have every token bound.
#[tokio::test]
async fn the_operator_can_have_every_token_bound() {
    let world = World::with(|config| config.security.certificate_bound_tokens = true).await;
    let domain = world.domain("acme").await;
    publish(&domain, "weather", 8443, Some(false)).await;
    let invoker = world.raw_invoker(&[]).await;
    let answer = invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(told(&answer.json()["securityInfo"][0])["mutualTls"], true);
    assert_eq!(confirmed(&invoker, None).await, Some(thumbprint(&invoker)));
}
